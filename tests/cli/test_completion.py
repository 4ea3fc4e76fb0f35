"""Shell completion, by the shells themselves; zsh and fish where they are installed."""

from __future__ import annotations

import os
import resource
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from circuitwatch import cli
from circuitwatch.cli.choices import GROUPS
from circuitwatch.cli.command import COMMANDS
from circuitwatch.cli.completion import (
    FILES,
    FOLDERS,
    MANY,
    OFTEN,
    SCRIPTS,
    candidates,
)
from circuitwatch.config import Config
from circuitwatch.errors import UserError
from circuitwatch.options import as_written, options_of
from support.imported import imported

OPTIONS = {as_written(key, spec) for key, spec in options_of(Config)}


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A working folder with two sweeps and a table, and the program on the path of the shells."""
    program = tmp_path / "bin" / "circuitwatch"
    program.parent.mkdir()
    program.write_text(f'#!/bin/sh\nexec "{sys.executable}" -m circuitwatch "$@"\n')
    program.chmod(0o755)
    monkeypatch.setenv("PATH", f"{program.parent}{os.pathsep}{os.environ['PATH']}")
    folder = tmp_path / "work"
    for name in ("multirun/first", "multirun/second", "multirun/.hidden", "runs/mine"):
        (folder / name).mkdir(parents=True)
    (folder / "runs" / "losses.csv").write_text("")
    (folder / "own").mkdir()
    (folder / "own" / "other").mkdir()
    monkeypatch.chdir(folder)
    return folder


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        (("sta",), ["status "]),
        (("model=nano-2",), ["model=nano-200k "]),
        (("-m", "model=nano-200k,nano-4"), ["model=nano-200k,nano-400k"]),
        (("watch", "model=pythia-160m-seed9"), ["model=pythia-160m-seed9 "]),
        (("task=gre",), ["task=greater_than "]),
        (("schedule=s",), ["schedule=sparse ", "schedule=steps "]),
        (("hydra/launcher=sub",), ["hydra/launcher=submitit_slurm "]),
        (("circuit.me",), ["circuit.method=", "circuit.memory="]),
        (("circuit.method=e",), ["circuit.method=eap-ig ", "circuit.method=eap ",
                                 "circuit.method=exact "]),
        (("follow=",), ["follow=true ", "follow=false "]),
        (("prompts", "sho"), ["show="]),
        (("prompts", "task=ioi", "task"), ["task.name=", "task.path=", "task.metric=",
          "task.min_prompts=", "task.space=", "task.counterfactual=", "task.sha256=",
          "task.n_prompts=", "task.prepend_bos=", "task.corruption="]),
        (("summarize", "sweep="), ["sweep=first ", "sweep=second "]),
        (("status", "out=own", "sweep="), ["sweep=other "]),
        (("status", ""), ["sweep=", "out=", "json="]),
        (("status", "sweep=first", "js"), ["json="]),
        (("status", "json="), ["json=true ", "json=false "]),
        (("summarize", "from=runs/"), ["from=runs/losses.csv ", "from=runs/mine/"]),
        (("summarize", "from=runs/losses.csv,mul"), ["from=runs/losses.csv,multirun/"]),
        (("model.path=runs/l",), []),
        (("model.path=runs/m",), ["model.path=runs/mine/"]),
        (("--config-dir", "ru"), ["runs/"]),
        (("--mul",), ["--multirun "]),
        (("completion", "z"), ["zsh "]),
        (("models", "stan"), ["stanford-gpt2 "]),
        (("status", "--"), []),
        (("model.path=nowhere/",), []),
        (("seed=",), []),
    ],
)  # fmt: skip
def test_what_a_word_may_become(line: tuple[str, ...], expected: list[str], here: Path) -> None:
    assert candidates(line) == expected


def test_the_first_word_is_a_command_or_an_option(here: Path) -> None:
    found = candidates([""])
    assert found[: len(COMMANDS)] == [f"{command} " for command in COMMANDS]
    assert {"model=", "task=", "schedule=", "sweep="} <= set(found)
    assert not [one for one in found if "." in one]  # the many come with a letter
    assert "model=" not in candidates(["model=nano-200k", ""])


def test_a_folder_of_ones_own_adds_its_models(here: Path) -> None:
    (here / "own" / "model").mkdir()
    (here / "own" / "model" / "mine.yaml").write_text("{}")
    assert candidates(["--config-dir", "own", "model=mi"]) == ["model=mine "]


def test_what_is_listed_here_there_is() -> None:
    of_others = {one for command in COMMANDS for one in candidates([command, ""])}
    known = OPTIONS | set(GROUPS) | {one.rstrip("= ") for one in of_others}
    assert {*OFTEN} - {"hydra/launcher"} <= OPTIONS
    assert {*FOLDERS, *FILES, *MANY} <= known


@pytest.mark.parametrize("line", ["", "model=nano", "circuit.m", "sweep="])
def test_a_completion_is_quick_and_imports_little(line: str, here: Path) -> None:
    shown, modules = imported("completion", "words", given=f"{line}\n")
    assert shown and not {"torch", "pandas", "transformers", "wandb", "scipy"} & modules
    taken = []
    for _ in range(3):
        before = resource.getrusage(resource.RUSAGE_CHILDREN)
        subprocess.run(["circuitwatch", "completion", "words"], input=line, text=True, check=True,
                       capture_output=True)  # fmt: skip
        after = resource.getrusage(resource.RUSAGE_CHILDREN)
        taken.append(after.ru_utime - before.ru_utime + after.ru_stime - before.ru_stime)
    assert min(taken) < 1, taken  # of the processor: the wall clock also tells of others


def by_bash(line: str, load: str) -> list[str]:
    """What bash offers for a line: it splits it as it does at a press of the tab key."""
    script = f"""
{load}
spec=$(complete -p circuitwatch)
COMP_LINE={line!r}; COMP_POINT=${{#COMP_LINE}}
COMP_WORDBREAKS=$' \\t\\n"\\'><=;|&(:'
{{ [[ $spec == *"-F _circuitwatch "* && $spec == *"-o nospace"* ]]; }} || exit 7
_circuitwatch
printf '%s|\\n' "${{COMPREPLY[@]}}"
"""
    done = subprocess.run(["bash", "--norc", "-c", script], capture_output=True, text=True)
    assert done.returncode == 0 and done.stderr == "", done.stderr
    return [one.removesuffix("|") for one in done.stdout.splitlines() if one != "|"]


@pytest.mark.parametrize(
    "load",
    ['eval "$(circuitwatch completion bash)"', 'eval "$(circuitwatch -sc install=bash)"'],
)
def test_bash(load: str, here: Path) -> None:
    assert by_bash("circuitwatch summ", load) == ["summarize "]
    # Bash takes what follows = for the word, so that is what it is given.
    assert by_bash("circuitwatch summarize sweep=", load) == ["first ", "second "]
    assert by_bash("circuitwatch -m model=nano-200k,nano-4", load) == ["nano-200k,nano-400k"]
    assert by_bash("circuitwatch watch  task=gre", load) == ["greater_than "]
    assert "model=" in by_bash("circuitwatch ", load)
    assert by_bash("circuitwatch nothing-like-this", load) == []


def test_bash_completes_what_is_typed(here: Path) -> None:
    """An interactive bash on a terminal of its own, and a press of the tab key."""
    import pty
    import select
    import time

    shell, terminal = pty.openpty()
    with subprocess.Popen(
        ["bash", "--norc", "--noprofile", "-i"],
        stdin=terminal, stdout=terminal, stderr=terminal, start_new_session=True,
        env={**os.environ, "PS1": "> ", "TERM": "dumb"},
    ) as process:  # fmt: skip
        os.close(terminal)
        seen = ""

        def until(words: str) -> None:
            nonlocal seen
            end = time.monotonic() + 60
            while words not in seen and time.monotonic() < end:
                if select.select([shell], [], [], 1)[0]:
                    seen += os.read(shell, 4096).decode(errors="replace")
            assert words in seen, seen

        os.write(shell, b'eval "$(circuitwatch completion bash)"; echo loa""ded\n')
        until("loaded\r\n")
        os.write(shell, b"echo sweep; circuitwatch summarize sweep=fir\t")
        until("summarize sweep=first ")
        os.write(shell, b"\x15exit\n")
        process.wait(30)
    os.close(shell)


@pytest.mark.skipif(shutil.which("zsh") is None, reason="zsh isn't installed")
def test_zsh(here: Path) -> None:
    """Its function is called as zsh calls it, with `compadd` listening in."""
    script = r"""
autoload -Uz compinit && compinit -u -d "$PWD/.zcompdump"
eval "$(circuitwatch completion zsh)"
[[ ${_comps[circuitwatch]} == _circuitwatch ]] || exit 7
compadd() { shift 4; print -rl -- "${@/%/|}" }
complete() { words=("$@"); CURRENT=$#words; PREFIX="${words[-1]}"; _circuitwatch; print -- -- }
complete circuitwatch summ
complete circuitwatch summarize sweep=
complete circuitwatch -m model=nano-200k,nano-4
complete circuitwatch nothing-like-this
"""
    done = subprocess.run(["zsh", "-f", "-c", script], capture_output=True, text=True)
    assert done.returncode == 0 and done.stderr == "", done.stderr
    assert [part.split("\n")[:-1] for part in done.stdout.split("--\n")][:-1] == [
        ["summarize |"],
        ["sweep=first |", "sweep=second |"],
        ["model=nano-200k,nano-400k|"],
        [],
    ]


@pytest.mark.skipif(shutil.which("fish") is None, reason="fish isn't installed")
def test_fish(here: Path) -> None:
    def offered(line: str) -> list[str]:
        script = f"circuitwatch completion fish | source; complete -C {line!r}"
        done = subprocess.run(
            ["fish", "--no-config", "-c", script], capture_output=True, text=True,
            env={**os.environ, "HOME": str(here)},
        )  # fmt: skip
        assert done.returncode == 0, done.stderr
        return done.stdout.split()

    assert offered("circuitwatch summ") == ["summarize"]
    assert offered("circuitwatch summarize sweep=") == ["sweep=first", "sweep=second"]
    assert offered("circuitwatch -m model=nano-200k,nano-4") == ["model=nano-200k,nano-400k"]
    assert offered("circuitwatch nothing-like-this") == []


@pytest.mark.parametrize("shell", SCRIPTS)
def test_each_script_says_where_it_goes_and_the_help_does_too(
    shell: str, capsys: pytest.CaptureFixture[str]
) -> None:
    cli.main(["completion", shell])
    first = capsys.readouterr().out.splitlines()[0]
    assert first.startswith(f"# circuitwatch for {shell}. Put into ")
    cli.main(["--help"])
    assert f"circuitwatch completion {shell}" in " ".join(capsys.readouterr().out.split())


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        ([], "give one of bash, zsh, fish"),
        (["bsh"], "completion bsh: did you mean bash"),
        (["bash", "zsh"], "completion bash zsh: give one of bash, zsh, fish"),
    ],
)
def test_another_shell_is_one_line(arguments: list[str], says: str) -> None:
    from circuitwatch.cli.completion import completion

    with pytest.raises(UserError, match=says):
        completion(arguments)
