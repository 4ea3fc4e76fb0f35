"""The same cells on disk and in W&B say the same of when things emerged."""

from __future__ import annotations

import json
from functools import partial
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from circuitwatch.records import Cell, find_cells
from circuitwatch.results import Results
from circuitwatch.summary.importers import Request, read_sources, wandb_runs
from circuitwatch.summary.importers.wandb_runs import find_runs
from support.wandb_server import FakeApi, FakeRun

OURS = ["status", "reason", "rule", "level", "crossing", "crossing_low", "crossing_high", "final"]
"""What values say, whether or not those of single prompts are known, which W&B doesn't have."""


def logged(cell: Cell, thresholds: dict[str, float] | None = None) -> FakeRun:
    """A cell as tracking logs it, through JSON as W&B keeps it; with thresholds of its own, as
    runs logged before there were facts have them.
    """
    header = cell.header
    config = {**header["config"], "model_facts": header["model"], "facts": header.get("facts", {})}
    if thresholds is not None:
        config |= {"heads": {"thresholds": thresholds}, "facts": {}}
    rows = [{"tokens": r.tokens, "step": r.step, **r.scalars} for r in cell.records()]
    config.setdefault("task", {"name": header["task"]})
    config["model"] = {"name": header["model"]["name"]}
    config |= {"task": {"name": header["task"]}, "seed": header["seed"]}
    name = f"{header['model']['name']} {header['task']}"
    return FakeRun(name, json.loads(json.dumps(config)), json.loads(json.dumps(rows)))


def emergence(source: str, to: Path) -> pd.DataFrame:
    results = Results(read_sources(Request((source,), to)), n_bootstrap=40)
    frame = results.emergence.frame().sort_values(["model", "task", "quantity", "seed"])
    return frame.set_index(["model", "task", "quantity", "seed"])


@pytest.fixture
def runs(sweep_folder: Path, monkeypatch: pytest.MonkeyPatch) -> dict[str, list[FakeRun]]:
    """Projects: the sweep, and the same with thresholds instead of facts."""
    cells = list(find_cells(sweep_folder))
    projects = {
        "me/sweep": [logged(cell) for cell in cells],
        "me/before": [logged(cell, {"induction": 0.2, "name_mover": 0.3}) for cell in cells],
    }
    monkeypatch.setattr(wandb_runs, "find_runs", partial(find_runs, api=lambda: FakeApi(projects)))
    return projects


def test_the_same_rows(sweep_folder: Path, runs: dict[str, list[FakeRun]], tmp_path: Path) -> None:
    disk, tracked = emergence(str(sweep_folder), tmp_path), emergence("wandb:me/sweep", tmp_path)
    assert list(disk.index) == list(tracked.index) and len(disk) > 40
    pd.testing.assert_frame_equal(disk[OURS], tracked[OURS])
    # The interval rests on prompts on disk, on standard errors in W&B: the estimates lie in both.
    both = disk["status"] == "emerged"
    for one, other in ((disk, tracked), (tracked, disk)):
        tokens = other.loc[both, "tokens"]
        assert (one.loc[both, "tokens_low"] <= tokens * (1 + 1e-9)).all()
        assert (one.loc[both, "tokens_high"].fillna(np.inf) >= tokens * (1 - 1e-9)).all()


def test_thresholds_of_runs_that_log_no_facts(
    runs: dict[str, list[FakeRun]], tmp_path: Path
) -> None:
    table = emergence("wandb:me/before", tmp_path).reset_index().set_index("quantity")
    assert set(table.loc[["roles/induction/max"], "level"]) == {0.2}
    assert set(table.loc[["roles/name_mover/max"], "level"]) == {0.3}


def test_of_two_runs_of_a_cell_the_one_made_last_is_read(
    sweep_folder: Path, runs: dict[str, list[FakeRun]], tmp_path: Path
) -> None:
    """The earlier has other values, and points that the later has not."""
    own = [logged(cell) for cell in find_cells(sweep_folder)]
    for run in own:
        run.config["sweep"] = "demo"
        run.created_at = "2026-11-26T10:00:00Z"  # type: ignore[attr-defined]
    assert isinstance(own[0].rows, list)
    rows = [{**row, "tokens": row["tokens"] + 1, "behaviour/value": 0.0} for row in own[0].rows]
    earlier = FakeRun("an earlier one", dict(own[0].config), rows)
    earlier.created_at = "2026-11-25T10:00:00Z"  # type: ignore[attr-defined]
    for order in ([earlier, *own], [*own, earlier]):
        runs["me/twice"] = order
        sources = read_sources(Request(("wandb:me/twice",), tmp_path))
        note = "1 run of cells that have a later one (an earlier one): left out"
        assert any(note in said for said in sources.curves.notes)
        pd.testing.assert_frame_equal(
            emergence("wandb:me/twice", tmp_path).drop(columns="source"),
            emergence("wandb:me/sweep", tmp_path).drop(columns="source"),
        )
