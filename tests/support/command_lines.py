"""Command lines at random: true ones, with what people and scripts get wrong done to them.

    PYTHONPATH=tests python -m support.command_lines [how many] [seed]

composes and checks so many, without a run, and prints each that ends in anything but success or a
UserError.
"""

from __future__ import annotations

import contextlib
import io
import random
import sys
import tempfile
import traceback
from collections.abc import Iterator
from pathlib import Path

from circuitwatch.config import Config
from circuitwatch.errors import UserError
from circuitwatch.options import as_written, options_of

TRUE = (
    ["model=nano-400k", "task=ioi"],
    ["model=pythia-160m", "schedule=sparse", "schedule.to=100B", "checkpoints.disk=10GiB"],
    ["model=folder", "model.path=.", "model.tokens_per_step=1", "follow=true", "follow_idle=30min"],
    ["-m", "model=nano-200k,nano-400k", "task=ioi,greater_than", "sweep=mine"],
    ["-m", "experiment=demo"],
    ["schedule=steps", "schedule.steps=[0,128,1000]", "circuit.threshold=0.5"],
    ["heads.thresholds.induction=0.4", "circuit=exact", "seed=3", "tracking=off"],
    ["model=hub", "model.hub_id=a/b", 'model.revisions="step{step}"', "model.tokens_per_step=9"],
    ["--cfg", "job", "circuit.method=eap", "device=cpu", "threads=2"],
    ["-m", "seed=range(0,3)", "circuit.method=eap,exact"],
)
"""Lines that are right."""
VALUES = (
    *(
        "",
        "null",
        "true",
        "-inf",
        "nan",
        "1e400",
        "99999999999999999999",
        "-1",
        "0",
        "0.5",
        "1_000",
    ),
    *("[]", "[1,2]", "[128,0]", "{}", "{a:1}", "[[[]]]", "{a:{b:[c]}}", "a,b", "1,2", ","),
    *("'", '"', "'a", "[a", "a]", "(", "{", "}", "\\", "a b", "a=b", "=", ":", "step{step}"),
    *("${x}", "${oc.env:NOTHING}", "${model.name}", "${", "${published:'gpt2'}", "???", "_"),
    *("é", "模型", "\u202e", "\x00", "\n", "\t", "💥", "a/b", "../..", "~", "%", "#", "x" * 300),
    *("range(1,3)", "range(3)", "choice(a,b)", "choice()", "glob(*)", "interval(0,1)", "sort(1,2)"),
    *(
        "shuffle(a,b)",
        "int(a)",
        "float(1)",
        "tag(x,1)",
        "extend_list(1)",
        "eap-ig",
        "ioi",
        "folder",
    ),
)
KEYS = (
    *("model", "task", "schedule", "circuit", "heads", "tracking", "experiment", "hydra", "x", ""),
    *("hydra/launcher", "hydra/sweeper", "hydra.sweeper.params", "hydra.job.name", "hydra.run.dir"),
    *("hydra/job_logging", "hydra.mode", "hydra.nothing", "hydra.sweep.subdir", "hydra.verbose"),
    *("model.name.x", "model.", ".model", "model..name", "modle", "modèle", "a b", "model@x"),
    *(
        "heads.thresholds",
        "heads.thresholds.x",
        "schedule.start",
        "model/x",
        "defaults",
        "_target_",
    ),
    *(as_written(key, spec) for key, spec in options_of(Config)),
)
FLAGS = (
    *("-m", "--multirun", "-r", "--resolve", "-p", "--cfg", "-c", "job", "--cfg=job", "--info"),
    *("--info=plugins", "--config-dir", "--config-dir=nowhere", "-cd", "-cn", "--config-name=x"),
    *("--package=model", "--nonsense", "-x", "--", "-", "--run", "--experimental-rerun=x", "-cp"),
)
COMMANDS = ("watch", "train", "doctor", "prompts")


def mutated(chosen: random.Random) -> list[str]:
    """A command line with up to three things done to it; its first argument is a command."""
    line = [*chosen.choice(TRUE)]
    for _ in range(chosen.randint(1, 3)):
        line = chosen.choice(MUTATIONS)(chosen, line)
    return [chosen.choice(COMMANDS), *line]


def _another_value(chosen: random.Random, line: list[str]) -> list[str]:
    return _at(chosen, line, lambda text: f"{text.partition('=')[0]}={chosen.choice(VALUES)}")


def _another_key(chosen: random.Random, line: list[str]) -> list[str]:
    return _at(chosen, line, lambda text: f"{chosen.choice(KEYS)}={text.partition('=')[2]}")


def _one_more(chosen: random.Random, line: list[str]) -> list[str]:
    sign = chosen.choice(("", "", "", "+", "++", "~"))
    return [*line, f"{sign}{chosen.choice(KEYS)}={chosen.choice(VALUES)}"]


def _a_sign(chosen: random.Random, line: list[str]) -> list[str]:
    return _at(chosen, line, lambda text: chosen.choice(("+", "++", "~", "@", "-", "=")) + text)


def _a_flag(chosen: random.Random, line: list[str]) -> list[str]:
    line.insert(chosen.randint(0, len(line)), chosen.choice(FLAGS))
    return line


def _a_slip(chosen: random.Random, line: list[str]) -> list[str]:
    """A letter is missing, doubled, swapped with the next or another."""

    def slip(text: str) -> str:
        if not text:
            return text
        k = chosen.randrange(len(text))
        return chosen.choice(
            (
                text[:k] + text[k + 1 :],
                text[: k + 1] + text[k:],
                text[:k] + text[k : k + 2][::-1] + text[k + 2 :],
                text[:k] + chosen.choice("aZ0.,=[]{}()'\"$:~+-/ \\é") + text[k + 1 :],
            )
        )

    return _at(chosen, line, slip)


def _twice(chosen: random.Random, line: list[str]) -> list[str]:
    return [*line, chosen.choice(line)]


def _one_less(chosen: random.Random, line: list[str]) -> list[str]:
    del line[chosen.randrange(len(line))]
    return line or ["task=ioi"]


MUTATIONS = (
    *(_another_value, _another_key, _one_more, _a_sign, _a_flag, _a_slip, _twice, _one_less),
)


def _at(chosen: random.Random, line: list[str], change: object) -> list[str]:
    k = chosen.randrange(len(line))
    return [*line[:k], change(line[k]), *line[k + 1 :]]  # type: ignore[operator]


def outcome(arguments: list[str]) -> str:
    """What becomes of a command line that is composed and checked and not run: "done",
    "refused", or the traceback of anything else.
    """
    from circuitwatch.cli.composing import with_hydra

    said = io.StringIO()
    argv = sys.argv
    try:
        with contextlib.redirect_stdout(said), contextlib.redirect_stderr(said):
            with_hydra(arguments[1:], lambda config: None)
    except UserError as error:
        is_one_line = 0 < len(str(error)) < 5000 and "Traceback" not in str(error)
        return "refused" if is_one_line else f"not one line: {error}"
    except SystemExit as end:
        return "done" if end.code in (0, None) else _ended(end, said.getvalue())
    except BaseException:
        return traceback.format_exc()
    finally:
        sys.argv = argv
    return "done"


def _ended(end: SystemExit, said: str) -> str:
    """What Hydra itself has said, as of a package that there isn't, counts if it is one line."""
    if end.code == 2 and len(said.splitlines()) == 1:
        return "refused"
    return f"exit {end.code}: {said}"


def outcomes(n: int, seed: int) -> Iterator[tuple[list[str], str]]:
    """So many mutated command lines and what becomes of each."""
    chosen = random.Random(seed)
    for _ in range(n):
        arguments = mutated(chosen)
        yield arguments, outcome(arguments)


def main() -> None:
    """Try so many, in a folder of their own."""
    n = int(sys.argv[1]) if len(sys.argv) > 1 else 1000
    seed = int(sys.argv[2]) if len(sys.argv) > 2 else 0
    counted = {"done": 0, "refused": 0, "else": 0}
    with tempfile.TemporaryDirectory() as folder, contextlib.chdir(folder):
        for arguments, became in outcomes(n, seed):
            counted[became if became in counted else "else"] += 1
            if became not in counted:
                print(f"{arguments}\n{became}\n", flush=True)
        left = [str(path) for path in Path(folder).rglob("*")]
    print(counted, "left:", left)


if __name__ == "__main__":
    main()
