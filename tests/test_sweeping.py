"""A sweep's state: what is planned, what failed and why, what is left; each failure said once."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from dataclasses import asdict
from pathlib import Path
from typing import Any

import pytest

from circuitwatch import cli
from circuitwatch.cli.composing import with_hydra
from circuitwatch.config import Config, cell_folder
from circuitwatch.errors import UserError
from circuitwatch.locks import CELL, hold
from circuitwatch.record_files import CheckpointRecord
from circuitwatch.records import Cell
from circuitwatch.sweeping import job
from circuitwatch.sweeping.failures import (
    forget_failure,
    read_failures,
    without_places,
    write_failure,
)
from circuitwatch.sweeping.plan import PLAN, Planned, add_to_plan, read_plan
from circuitwatch.sweeping.showing import summary_lines
from circuitwatch.sweeping.state import CellState, SweepState, state_of

SCHEDULE = [{"step": s, "tokens": 10 * s, "revision": f"step{s}"} for s in (0, 8, 16)]
GRAPH = {"senders": ["input"], "receivers": ["logits"], "n_edges": 1}
SWEEP = ("-m", "model=nano-100k,nano-200k", "task=ioi,agreement", "sweep=s", "tracking=off")


def records(config: Config, steps: tuple[int, ...] = (0, 8, 16), *, done: bool = True) -> None:
    """What watching a cell leaves, made up."""
    header = {
        "config": asdict(config),
        "model": {"name": config.model.name},
        "task": config.task.name,
        "seed": config.seed,
        "schedule": SCHEDULE,
        "graph": GRAPH,
    }
    cell = Cell.create(cell_folder(config), header)
    for step in steps:
        cell.write(a_record(step), {"total": 2.0})
    if done:
        cell.mark_done()


def a_record(step: int) -> CheckpointRecord:
    import pandas as pd

    nothing = pd.DataFrame({"prompt": [0], "value": [0.5], "corrupted": [0.1], "correct": [True]})
    roles = pd.DataFrame({"role": ["induction"], "layer": [0], "head": [0], "score": [0.5]})
    scalars: dict[str, Any] = {"behaviour/value": 0.5, "circuit/status": "none: not asked for"}
    return CheckpointRecord(step, 10 * step, f"step{step}", scalars, nothing, roles)


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "argv", ["circuitwatch"])
    return tmp_path / "multirun" / "s"


def test_cells_that_fail_are_noted_said_once_and_tried_again(
    here: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    tried: list[str] = []

    def action(config: Config) -> None:
        tried.append(f"{config.model.name} {config.task.name}")
        assert {entry.folder for entry in read_plan(here)} == {
            f"{model}/{task}/seed0"
            for model in ("nano-100k", "nano-200k")
            for task in ("ioi", "agreement")
        }  # before the first of them starts
        if tried[-1] == "nano-100k ioi":
            raise UserError("task.n_prompts=1: too few")
        if tried[-1] == "nano-200k ioi":
            records(config, (0,), done=False)
            raise ZeroDivisionError("of ours")
        if tried[-1] == "nano-100k agreement":
            sys.exit(3)
        records(config)

    with pytest.raises(
        UserError, match=r"^3 of 4 cells failed: nano-100k/ioi/seed0, nano-100k/agr"
    ):
        with_hydra(list(SWEEP), action, watches=True)
    assert len(tried) == 4
    said = capsys.readouterr().err.splitlines()
    assert said == [
        "circuitwatch: error: nano-100k/ioi/seed0: task.n_prompts=1: too few",
        "circuitwatch: error: nano-100k/agreement/seed0: SystemExit: 3 (its log is "
        "multirun/s/failed/nano-100k__agreement__seed0.log)",
        "circuitwatch: error: nano-200k/ioi/seed0: ZeroDivisionError: of ours (its log is "
        "multirun/s/failed/nano-200k__ioi__seed0.log)",
    ]
    state = {cell.name: cell for cell in state_of(here).cells}
    assert [state[f"nano-{size}/{task}/seed0"].state for size in ("100k", "200k")
            for task in ("ioi", "agreement")] == ["failed", "failed", "failed", "done"]  # fmt: skip
    assert "of ours" in (here / "failed/nano-200k__ioi__seed0.log").read_text()
    assert str(Path.cwd()) not in (here / "failed/nano-200k__ioi__seed0.log").read_text()
    # Half of it is recorded, at 2 s each; of the other models' cells the schedule is known too.
    half = state["nano-200k/ioi/seed0"]
    assert (half.recorded, half.scheduled, half.left) == (1, 3, 4.0)
    assert state["nano-100k/ioi/seed0"].left is None

    def well(config: Config) -> None:
        records(config)

    with_hydra(list(SWEEP), well, watches=True)
    assert state_of(here).count("done") == 4 and not (here / "failed").exists()
    assert capsys.readouterr().err == ""


def test_what_others_noted_is_said_though_nothing_else_is_there(
    here: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """As of jobs of a cluster that were cancelled before they began: the sweep's folder is empty
    but for that, and is removed.
    """

    def action(config: Config) -> None:
        monkeypatch.setattr(job.CURRENT, "launcher", "SlurmLauncher")
        shutil.rmtree(here / "nano-100k")
        write_failure(here, "nano-100k/ioi/seed0", UserError("it was cancelled"))

    with pytest.raises(UserError, match="1 of 1 cells failed"):
        with_hydra(["-m", "model=nano-100k", "task=ioi", "sweep=s"], action, watches=True)
    said = capsys.readouterr().err
    assert said == "circuitwatch: error: nano-100k/ioi/seed0: it was cancelled\n"


def test_a_file_where_a_cells_folder_belongs_stops_no_other(
    here: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """It is met before the job itself, where Hydra makes the folder."""
    (here / "nano-100k/ioi").mkdir(parents=True)
    (here / "nano-100k/ioi/seed0").write_text("in the way")
    with pytest.raises(UserError, match=r"^1 of 4 cells failed: nano-100k/ioi/seed0;"):
        with_hydra(list(SWEEP), records, watches=True)
    assert capsys.readouterr().err == (
        "circuitwatch: error: nano-100k/ioi/seed0: multirun/s/nano-100k/ioi/seed0: is a file; a "
        "folder has to be there\n"
    )
    state = {cell.name: cell.state for cell in state_of(here).cells}
    assert state.pop("nano-100k/ioi/seed0") == "failed" and set(state.values()) == {"done"}
    (here / "nano-100k/ioi/seed0").unlink()
    with_hydra(list(SWEEP), records, watches=True)
    assert state_of(here).count("done") == 4


@pytest.mark.parametrize("more", [(), ("-m",)])
def test_a_file_where_the_sweeps_go_is_named(here: Path, more: tuple[str, ...]) -> None:
    here.parent.write_text("in the way")
    line = [*more, "model=nano-100k", "task=ioi", "sweep=s"]
    with pytest.raises(UserError, match=r"^multirun: is a file; a folder has to be there$"):
        with_hydra(line, records, watches=True)


def test_a_job_that_ends_without_a_word_is_no_success(
    here: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    def action(config: Config) -> None:
        records(config, (0, 8), done=False)

    with pytest.raises(UserError, match="1 of 1 cells failed"):
        with_hydra(["-m", "model=nano-100k", "task=ioi", "sweep=s"], action, watches=True)
    assert "ended without a word" in capsys.readouterr().err
    (cell,) = state_of(here).cells
    assert (cell.state, cell.left) == ("stopped", 2.0)


@pytest.mark.parametrize(("steps", "is_whole"), [((0, 16), True), ((0,), False)])
def test_a_shard_is_asked_for_its_own_part_only(
    here: Path, capsys: pytest.CaptureFixture[str], steps: tuple[int, ...], is_whole: bool
) -> None:
    """Of three checkpoints the first of two shards has the first and the last."""

    def action(config: Config) -> None:
        records(config, steps, done=False)

    sweep = ["-m", "model=nano-100k", "task=ioi", "sweep=s", "shard=1/2"]
    if is_whole:
        with_hydra(sweep, action, watches=True)
        assert capsys.readouterr().err == ""
        return
    with pytest.raises(UserError, match="1 of 1 cells failed"):
        with_hydra(sweep, action, watches=True)
    assert "ended without a word" in capsys.readouterr().err


def test_a_worker_whose_notes_nobody_looks_for_raises(
    here: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As under a sweeper of others', of whose jobs nothing is planned."""

    def action(config: Config) -> None:
        monkeypatch.setattr(job.CURRENT, "planned", None)
        monkeypatch.setattr(job.CURRENT, "process", -1)
        raise UserError("mine")

    with pytest.raises(UserError, match="mine"):
        with_hydra(["-m", "model=nano-100k", "task=ioi", "sweep=s"], action, watches=True)
    assert read_failures(here) == []


def test_jobs_in_one_folder_are_told_apart(here: Path) -> None:
    def action(config: Config) -> None:
        if config.circuit.method == "exact":
            raise UserError("no")
        records(config)

    with pytest.raises(UserError, match=r"1 of 2 cells failed: nano-100k/ioi/seed0 circuit.method"):
        with_hydra(
            ["-m", "model=nano-100k", "task=ioi", "sweep=s", "circuit.method=eap,exact"],
            action,
            watches=True,
        )
    assert [failure.name for failure in read_failures(here)] == [
        "nano-100k/ioi/seed0 circuit.method=exact"
    ]


def test_only_watching_keeps_a_state(here: Path) -> None:
    with_hydra([*SWEEP, "hydra.run.dir=."], lambda config: None)
    assert not here.exists()


def test_status_says_who_runs_a_cell(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    add_to_plan(here, [Planned("m/ioi/seed0", "m/ioi/seed0"), Planned("m/own/seed0", "x")])
    (here / "m/ioi/seed0").mkdir(parents=True)
    holding = (
        "import sys, pathlib; from circuitwatch.locks import CELL, hold\n"
        "with hold(pathlib.Path(sys.argv[1]) / CELL, 'this cell'):\n"
        "    print('held', flush=True); sys.stdin.read()"
    )
    with subprocess.Popen(
        [sys.executable, "-c", holding, str(here / "m/ioi/seed0")],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        env=os.environ,
    ) as other:
        assert other.stdout is not None and other.stdout.readline() == b"held\n"
        cli.main(["status", "sweep=s", "json=true"])
        said = json.loads(capsys.readouterr().out)["cells"]
        other.communicate()
    assert [cell["state"] for cell in said] == ["running", "not begun"]
    assert f"process {other.pid}" in said[0]["by"][0]
    cli.main(["status", "sweep=s"])
    shown = capsys.readouterr().out
    assert "2 not begun" in shown and "left not known" in shown
    with hold(here / "m/own/seed0" / CELL, "this cell"):
        assert state_of(here).count("running") == 1


@pytest.mark.parametrize(
    "damage", ["", "{", "[]", '{"cells": 3}', '{"cells": [{"folder": "/etc", "name": "x"}]}']
)
def test_what_is_no_plan_is_no_fault(here: Path, damage: str) -> None:
    here.mkdir(parents=True)
    (here / PLAN).write_text(damage)
    (here / "failed").mkdir()
    (here / "failed/x.json").write_text(damage)
    assert read_plan(here) == [] and read_failures(here) == []
    with pytest.raises(UserError, match="no cell there"):
        state_of(here)
    add_to_plan(here, [Planned("m/ioi/seed0", "m/ioi/seed0")])
    assert state_of(here).count("not begun") == 1


def test_a_damaged_cell_is_a_state(here: Path) -> None:
    (here / "m/ioi/seed0").mkdir(parents=True)
    (here / "m/ioi/seed0/cell.json").write_text("{")
    (cell,) = state_of(here).cells
    assert cell.state == "damaged" and "not JSON" in str(cell.error)


def test_failures_name_nothing_of_the_machine(here: Path) -> None:
    inside, home = Path.cwd() / "runs/mine", Path.home() / "models"
    write_failure(here, "m/ioi/seed0", UserError(f"{inside}: no such folder, nor {home}"))
    (failure,) = read_failures(here)
    assert failure.error == "runs/mine: no such folder, nor ~/models"
    assert without_places(f"{sys.prefix}/lib/x.py") == "lib/x.py"
    forget_failure(here, "m/ioi/seed0")
    assert read_failures(here) == [] and not (here / "failed").exists()


def test_the_time_left_is_that_of_one_process_and_of_those_there_are() -> None:
    cells = (
        CellState("a", "running", 1, 0, 3, by=("x",), seconds=60.0, left=120.0),
        CellState("b", "running", 1, 0, 3, by=("y",), seconds=60.0, left=120.0),
        CellState("c", "not begun"),
    )
    assert summary_lines(SweepState("s", cells)) == [
        "s: 3 cells: 2 running, 1 not begun",
        "time: 2 min taken, left about 4 min of one process, 2 min with the 2 now; not counted: "
        "1 cells of which no checkpoint is timed yet",
    ]
