"""Every command that README.md and docs/ show is run: as it stands, or with less to do; one that
needs a hub or W&B against a server on loopback; one that trains or analyses for minutes up to the
point at which it would begin. A new command fails here until HOW says which.
"""

from __future__ import annotations

import importlib.util
import json
import os
import re
import subprocess
import sys
import tomllib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import huggingface_hub
import pytest
from hydra import compose, initialize_config_dir

from circuitwatch import monitor
from circuitwatch.cli import main
from circuitwatch.cli.choices import conf_dir
from circuitwatch.cli.command import COMMANDS
from circuitwatch.config import register
from circuitwatch.nano.check import _parsed
from circuitwatch.records import find_cells
from support.hub import running_hub
from support.launched import SMALL
from support.models import random_model
from support.pages import ROOT, Line, commands, inline, pages
from support.pythias import write_pythia
from support.tokenizers import tokenizer_named
from support.wandb import WandbServer
from support.wandb.client import environment

LINES = commands()
TARGETS = set(re.findall(r"^([a-z0-9-]+):", (ROOT / "Makefile").read_text(), flags=re.M))


@dataclass
class Shell:
    """What a command is run with: the folder, a sweep of a trained model below `real`, pytest's
    patches and what was printed.
    """

    place: Path
    patch: pytest.MonkeyPatch
    said: pytest.CaptureFixture[str]
    real: Callable[[], Path]

    def printed(self, *words: str) -> str:
        """The output of circuitwatch, in this process."""
        self.said.readouterr()
        main(list(words))
        return self.said.readouterr().out


How = Callable[[Shell, list[str]], Any]


def as_it_stands(shell: Shell, words: list[str]) -> None:
    """Run, and there is an answer."""
    assert shell.printed(*words[1:]).strip()


def up_to_the_work(shell: Shell, words: list[str]) -> None:
    """Read, composed and checked, and nothing is analysed or trained: of a sweep the cell of the
    first value of each list, and that of the last.
    """
    begun: list[Any] = []
    shell.patch.setattr(monitor, "watch_cell", lambda config, *_, **__: begun.append(config))
    shell.patch.setattr(monitor, "trained_suite", lambda config: begun.append(config))
    cells = {one_of(words[1:], which) for which in (0, -1)}
    for cell in cells:
        main(list(cell))
    assert len(begun) == len(cells)


def one_of(words: list[str], which: int) -> tuple[str, ...]:
    """A cell's command of a sweep's: of each list the first value (0) or the last (-1)."""

    def chosen(word: str) -> str:
        key, equals, value = word.partition("=")
        return word if value.startswith("[") else f"{key}{equals}{value.split(',')[which]}"

    return tuple(chosen(word) for word in words if word != "-m")


def by_its_launcher(shell: Shell, words: list[str]) -> None:
    """The cells as without the launcher, and the launcher with its options; what it does is tested
    where it is installed (tests/e2e).
    """
    up_to_the_work(shell, [word for word in words if "launcher" not in word])
    with initialize_config_dir(str(conf_dir()), version_base="1.3"):
        register()
        composed = compose(
            "config", [w for w in words if "launcher" in w], return_hydra_config=True
        )
    launcher = composed.hydra.launcher
    assert launcher._target_.startswith("hydra_plugins.circuitwatch_launchers.")
    for word in words:
        if word.startswith("hydra.launcher."):
            key, _, value = word.removeprefix("hydra.launcher.").partition("=")
            assert str(launcher[key]) == value


def with_less(shell: Shell, words: list[str]) -> None:
    """The sweep over the folder that the page names, really watched."""
    assert words[1:] == list(WATCHED)
    cells = find_cells(shell.real() / "mine")
    assert len(cells) == 2 and all(cell.is_done() for cell in cells)


def on_the_real_sweep(shell: Shell, words: list[str]) -> None:
    """On a sweep whose models are there."""
    shell.printed(*words[1:], f"out={shell.real()}")
    assert list(shell.real().glob("mine/mine/transfer/seed0/*.parquet"))


def on_a_hub(shell: Shell, words: list[str]) -> None:
    """The hub is a server on loopback that has some of the revisions."""
    root = shell.place / "hub"
    for step in (0, 1000, 143000):
        folder = root / f"EleutherAI/pythia-2.8b/step{step}"
        if not folder.exists():
            write_pythia(folder, seed=step)
    revision = root / "HuggingFaceTB/SmolLM2-135M-intermediate-checkpoints/step-240000"
    if not revision.exists():
        tokenizer_named("words").save_pretrained(revision)
        random_model("llama").save_pretrained(revision)
    shell.patch.setattr(huggingface_hub.constants, "HF_HUB_OFFLINE", False)
    shell.patch.setattr(huggingface_hub.constants, "HF_HOME", str(shell.place / "hf"))
    with running_hub(root) as hub:
        shell.patch.setattr(huggingface_hub.constants, "ENDPOINT", hub.url)
        file = f"{hub.url}/{{repo_id}}/resolve/{{revision}}/{{filename}}"
        shell.patch.setattr(huggingface_hub.constants, "HUGGINGFACE_CO_URL_TEMPLATE", file)
        assert shell.printed(*words[1:]).strip()


def as_json(shell: Shell, words: list[str]) -> None:
    """Up to what would be sent, of one cell (tests/cli/test_workspace.py sends it to a server)."""
    shell.patch.chdir(shell.place / "one")
    assert json.loads(shell.printed(*words[1:], "dry_run=true")).keys() == {"workspace", "report"}


def on_wandb(shell: Shell, words: list[str]) -> None:
    """The real client, in a process of its own, with a server on loopback, and one cell."""
    cwd = shell.place / "one" if words[1] == "track" else shell.place
    with WandbServer() as server:
        done = subprocess.run(
            [sys.executable, "-m", "circuitwatch", *words[1:]],
            env=environment(server.url, shell.place) | {"PYTHONPATH": os.pathsep.join(sys.path)},
            cwd=cwd, capture_output=True, text=True, timeout=240,
        )  # fmt: skip
        assert done.returncode == 0, done.stderr
        assert server.unknown == []


def target(shell: Shell, words: list[str]) -> None:
    """A target of the Makefile, whose recipe make can read."""
    (name,) = words[1:]
    assert name in TARGETS
    subprocess.run(["make", "--dry-run", name], cwd=ROOT, check=True, capture_output=True)


def module(shell: Shell, words: list[str]) -> None:
    """A module of the tests that can be run."""
    assert importlib.util.find_spec(words[3]) is not None, words[3]


def checked(shell: Shell, words: list[str]) -> None:
    """What is trained and checked (tests/nano) is what the command line says."""
    assert len(_parsed(words[3:])) == 6


def package(shell: Shell, words: list[str]) -> None:
    """It is called so."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    assert words[2] == project["name"]


def there(shell: Shell, words: list[str]) -> None:
    """The tests are there."""
    assert (ROOT / words[-1]).exists()


def of_slurm(shell: Shell, words: list[str]) -> None:
    """Installs and starts Slurm, as root: tests/e2e/test_launchers.py does that."""
    script = ROOT / "tests/e2e/slurm.sh"
    if words[0] == "tests/e2e/slurm.sh":
        assert re.search(rf"^(\w+ \| )*{words[1]}\b.*\)", script.read_text(), flags=re.M)
    else:
        assert words[0] in ("export", "sinfo")


WATCHED = (
    *("-m", "model=folder", "model.path=runs/mine", "model.name=mine"),
    *("model.tokens_per_step=524288", "task=gendered_pronoun,agreement", "sweep=mine"),
)
"""The sweep that is really watched, with less to do."""
HOW: dict[str, How] = {
    r"circuitwatch( summarize)? --help": as_it_stands,
    r"circuitwatch completion \w+": as_it_stands,
    r"circuitwatch -m .*hydra/launcher=(joblib|submitit_slurm)\b.*": by_its_launcher,
    re.escape(" ".join(("circuitwatch", *WATCHED))): with_less,
    r"circuitwatch .* --cfg job": as_it_stands,
    r"circuitwatch (-m |--config-dir \w+ )*(model|experiment)=.*": up_to_the_work,
    r"circuitwatch train model=.*": up_to_the_work,
    r"circuitwatch models.*": as_it_stands,
    r"circuitwatch doctor.*": on_a_hub,
    r"circuitwatch prompts model=nano-.*": as_it_stands,
    r"circuitwatch prompts model=.*": on_a_hub,
    r"circuitwatch summarize from=.*wandb:.*": on_wandb,
    r"circuitwatch (status|summarize|export) .*": as_it_stands,
    r"circuitwatch transfer .*": on_the_real_sweep,
    r"circuitwatch track .*": on_wandb,
    r"circuitwatch workspace .*": as_json,
    r"make [a-z0-9-]+": target,
    r"pip install circuitwatch": package,
    r"PYTHONPATH=tests python -m benchmarks\.\w+": module,
    r"python -m circuitwatch\.nano\.check .*": checked,
    r"\.venv/bin/pytest .*": there,
    r"tests/e2e/slurm\.sh .*|export SLURM_CONF=.*|sinfo": of_slurm,
}
"""How a command is run: the first whose pattern is that of the whole command."""


@pytest.fixture(scope="package")
def real(place: Path) -> Callable[[], Path]:
    """The folder of a sweep over a trained model, which is watched when it is first asked for."""

    def watched() -> Path:
        out = place / "real"
        if not (out / "mine").exists():
            options = [one for one in SMALL if not one.startswith("schedule.steps")]
            main([*WATCHED, *options, "schedule.steps=[150,300]", f"out={out}"])
        return out

    return watched


@pytest.fixture
def shell(
    place: Path,
    real: Callable[[], Path],
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> Iterator[Shell]:
    """In the folder, without an account."""
    monkeypatch.chdir(place)
    monkeypatch.setenv("WANDB_MODE", "offline")
    argv = sys.argv
    yield Shell(place, monkeypatch, capsys, real)
    sys.argv = argv


@pytest.mark.parametrize("line", LINES, ids=lambda line: f"{line.page}: {line}"[:90])
def test_the_command(line: Line, shell: Shell) -> None:
    how = [run for pattern, run in HOW.items() if re.fullmatch(pattern, str(line))]
    assert how, f"{line.page}: nothing in HOW says how this is run: {line}"
    how[0](shell, list(line.words))


def test_there_are_commands_of_every_kind() -> None:
    """A pattern that no page needs any more is to go."""
    for pattern in HOW:
        assert any(re.fullmatch(pattern, str(line)) for line in LINES), pattern
    assert {line.words[1] for line in LINES if line.words[0] == "circuitwatch"} >= {
        *COMMANDS[1:]
    }, "a command that no page shows"


@pytest.mark.parametrize("page", pages(), ids=lambda page: page.name)
def test_commands_within_sentences_exist(page: Path) -> None:
    for code in inline(page):
        words = code.split()
        if words[0] == "circuitwatch" and len(words) > 1 and words[1].isidentifier():
            assert words[1] in COMMANDS, f"{page.name}: {code}"
        if words[0] == "make" and len(words) > 1:
            assert words[1] in TARGETS, f"{page.name}: {code}"
