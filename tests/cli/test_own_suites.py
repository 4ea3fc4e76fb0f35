"""A user's suite of folders, as mine/suites/own.yaml: its models are choices of model=, also of a
sweep.
"""

from __future__ import annotations

from pathlib import Path

import pytest

from circuitwatch.cli import main
from circuitwatch.records import Cell
from support.growing import TOKENS_PER_STEP, Run
from support.imported import imported

SMALL = (
    *("task=gendered_pronoun", "task.n_prompts=16", "circuit.resamples=0", "n_bootstrap=50"),
    *("heads.length=6", "heads.n_sequences=2", "heads.n_prompts=4", "tracking=off", "device=cpu"),
)


@pytest.fixture
def mine(tmp_path: Path, trained_suite: Path) -> Path:
    """A folder for --config-dir with a suite of two runs, of which one is there."""
    (tmp_path / "mine/suites").mkdir(parents=True)
    (tmp_path / "mine/suites/own.yaml").write_text(
        f"about: ours\npath: ../../runs/{{model}}\ntokens_per_step: {TOKENS_PER_STEP}\n"
        "models: {tiny: , small: }\n"
    )
    Run(trained_suite, tmp_path / "runs/tiny").write(0, 128)
    return tmp_path / "mine"


def test_a_sweep_over_folders(mine: Path, tmp_path: Path, trained_suite: Path) -> None:
    Run(trained_suite, tmp_path / "runs/small").write(128)
    out = tmp_path / "out"
    main(["-m", "--config-dir", str(mine), "model=tiny,small", *SMALL, f"out={out}", "sweep=own"])
    for name, steps in (("tiny", [0, 128]), ("small", [128])):
        cell = Cell.open(out / "own" / name / "gendered_pronoun/seed0")
        assert cell.steps_done() == steps
        model = cell.header["config"]["model"]
        assert model["path"] == str(tmp_path / "runs" / name) and model["source"] == "folder"
        assert cell.header["schedule"][-1]["tokens"] == 128 * TOKENS_PER_STEP


def test_a_folder_that_is_missing_is_one_line_before_torch(mine: Path, tmp_path: Path) -> None:
    text, modules = imported("--config-dir", str(mine), "model=small", f"out={tmp_path / 'out'}")
    missing = tmp_path / "runs/small"
    assert text.strip() == f"circuitwatch: error: model.path={missing}: no such directory"
    assert "torch" not in modules


def test_both_places_are_one_line(mine: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = mine / "suites/own.yaml"
    path.write_text(path.read_text().replace("tiny: ", "tiny: {path: a, hub_id: b}"))
    with pytest.raises(SystemExit) as exited:
        main(["--config-dir", str(mine), "model=tiny"])
    assert exited.value.code == 2
    said = capsys.readouterr().err
    assert said.count("\n") == 1 and "own.yaml: tiny has both path and hub_id; give path" in said
