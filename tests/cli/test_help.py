"""Help: anywhere in the line, of one command where one is named, and without torch or Hydra's own
page.
"""

from __future__ import annotations

from pathlib import Path

import pytest

from circuitwatch.cli import main
from circuitwatch.cli.command import COMMANDS
from support.imported import imported


@pytest.mark.parametrize(
    "arguments",
    [
        [],
        ["task=ioi", "--help"],
        ["--config-dir", "nowhere", "--help"],
        ["-m", "model=a,b", "-h"],
        ["summarize", "--help"],
        ["watch", "task=ioi", "--help"],
    ],
)
def test_help_needs_neither_torch_nor_pandas(arguments: list[str]) -> None:
    shown, modules = imported(*arguments)
    assert (
        shown.startswith(("circuitwatch ", "  circuitwatch ")) and "powered by" not in shown.lower()
    )
    assert not {"torch", "pandas", "transformers", "wandb"} & modules


@pytest.mark.parametrize(
    "arguments",
    [
        ["model=folder", "model.path=nowhere"],
        ["doctor", "model=folder", "model.path=nowhere"],
        ["task=file", "task.path=none.csv"],
        ["--config-dir", "nowhere"],
        ["summarize", "sweep=none"],
    ],
)
def test_a_missing_path_is_said_before_torch_is_imported(
    arguments: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    shown, modules = imported(*arguments)
    assert shown.startswith("circuitwatch: error: ") and shown.count("\n") <= 1, shown
    assert "torch" not in modules


@pytest.mark.parametrize("command", COMMANDS)
def test_the_help_of_one_command(command: str, capsys: pytest.CaptureFixture[str]) -> None:
    main([command, "x=1", "--help"])
    shown = capsys.readouterr().out
    assert command in shown and "heads.thresholds" not in shown
    others = {f"circuitwatch {other} sweep=" for other in COMMANDS if other != command}
    assert not any(other in shown for other in others)


def test_alone_it_says_what_there_is_and_starts_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    main([])
    shown = capsys.readouterr().out
    assert all(command in shown for command in COMMANDS) and "circuitwatch --help" in shown
    assert len(shown.splitlines()) < 60 and not list(tmp_path.iterdir())


def test_help_lists_a_folders_own_suites(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "suites").mkdir()
    (tmp_path / "suites/lab.yaml").write_text(
        "about: ours\nhub_id: lab/{model}\nrevisions: step{step}\ntokens_per_step: 1\n"
        "steps: [1]\nmodels: {lab-1m: }\n"
    )
    main(["--config-dir", str(tmp_path), "--help"])
    assert "lab: ours" in capsys.readouterr().out
