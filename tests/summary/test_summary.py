"""The summary of a made-up sweep: tables, figures, a report that needs no network; and quickly,
without torch.
"""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from matplotlib.image import imread

from circuitwatch.errors import UserError
from circuitwatch.record_files import CheckpointRecord
from circuitwatch.records import Cell
from circuitwatch.summary import SummaryResult, print_summary, summarize
from circuitwatch.summary.figures.shared import COLUMN, DPI
from circuitwatch.summary.report.findings import findings
from support.sweeps import HANDOVER, HOLDERS, THRESHOLDS, moment


def rows(result: SummaryResult, **where: str) -> pd.DataFrame:
    table = result.emergence
    for column, value in where.items():
        table = table[table[column] == value]
    return table


def test_known_moments_are_found(result: SummaryResult) -> None:
    for task in ("ioi", "gendered_pronoun"):
        (row,) = rows(result, model="nano-400k", task=task, quantity="behaviour/value").itertuples()
        assert row.status == "emerged" and row.tokens == pytest.approx(
            moment(task, "nano-400k"), rel=0.15
        )
    (never,) = rows(result, model="nano-100k", task="ioi", quantity="behaviour/value").itertuples()
    assert never.status != "emerged" and np.isnan(never.tokens)


def test_head_roles_are_a_models_and_appear_once(result: SummaryResult) -> None:
    roles = result.emergence[result.emergence["quantity"].str.startswith("roles/")]
    assert set(roles["task"]) == {"-"}
    # one of the ten can be held in neither model; three are in one task's cells only
    assert not roles.duplicated(["model", "quantity"]).any() and len(roles) == 2 * 9


def test_known_turnover_is_found(result: SummaryResult) -> None:
    for _, change in result.heads.handovers.iterrows():
        assert (change["role"], change["from"], change["to"]) == ("induction", "a1.h0", "a1.h2")
        assert change["tokens_before"] <= HANDOVER <= change["tokens_after"]
    assert list(result.heads.handovers["model"]) == ["nano-100k", "nano-400k"]
    roles = result.heads.roles.set_index(["model", "role"])
    for role, heads in HOLDERS.items():
        held = result.heads.turnover.query("model == 'nano-400k' and role == @role")["head"]
        assert set(held) == (set() if role == "copy_suppression" else set(heads)), role
        assert (
            role == "copy_suppression"
            or roles.loc[("nano-400k", role), "threshold"] == THRESHOLDS[role]
        )
    returned = roles.loc[("nano-400k", "duplicate_token")]
    assert (returned["born"], returned["lost"], returned["regained"], returned["handovers"]) == (
        2,
        1,
        1,
        0,
    )
    assert (
        roles.loc[("nano-400k", "induction"), "compensation"]
        > roles.loc[("nano-400k", "induction"), "compensation_chance"]
    )
    assert (
        roles.loc[("nano-100k", "copy_suppression"), "note"]
        == "heads of the first 2 layers hold none"
    )
    looks_like = result.heads.turnover.query(
        "model == 'nano-400k' and role == 'duplicate_token' and head == 'a0.h0'"
    ).iloc[0]
    assert (
        looks_like["checked_ioi"] == looks_like["checkpoints"] and looks_like["confirmed_ioi"] == 0
    )


def test_unfinished_cells_are_named(
    result: SummaryResult, capsys: pytest.CaptureFixture[str]
) -> None:
    print_summary(result)
    shown = capsys.readouterr().out
    assert "not finished: nano-400k × agreement" in shown and "report.html" in shown
    assert (~result.cells["finished"]).sum() == 1


def test_files(result: SummaryResult) -> None:
    names = {path.name for path in result.folder.iterdir()}
    tables = {
        "emergence",
        "comparison",
        "scaling",
        "cells",
        "turnover",
        "handovers",
        "roles",
        "algorithm",
        "transfer",
        "specificity",
        "lags",
        "agreement",
        "changes",
        "stability",
        "circuit_stability",
        "metrics",
        "overlap",
        "algorithm_bands",
    }
    figures = {
        "behaviour",
        "roles",
        "roles_by_size",
        "timeline",
        "circuits",
        "overlaps",
        "circuit",
        "algorithm",
        "transfer",
        "emergence",
        "emergence_by_size",
        "circuit_sizes",
    }
    assert names == (
        {f"{name}.csv" for name in tables}
        | {f"{name}.png" for name in figures}
        | {"report.html", "notes.txt"}
    )
    assert len(pd.read_csv(result.folder / "emergence.csv")) == len(result.emergence)
    assert len(pd.read_csv(result.folder / "turnover.csv")) == len(result.heads.turnover)
    for name in figures:
        height, width = imread(result.folder / f"{name}.png").shape[:2]
        assert width / DPI <= 2 * COLUMN and height / DPI > 1, name


def test_several_seeds_give_a_spread_and_three_sizes_a_trend(
    make_sweep: Callable[..., Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(
        "circuitwatch.summary.writing.draw_figures", lambda *_: {}
    )  # drawn in other tests
    models = ("nano-100k", "nano-1m", "nano-3m")
    made = summarize(
        make_sweep(tmp_path / "many", models=models, tasks=("gendered_pronoun",), seeds=(0, 1)),
        n_bootstrap=20,
        formats=("png",),
    )
    trend = made.scaling.set_index("quantity").loc["behaviour/value"]
    assert (
        trend["status"] == "fitted"
        and trend["slope"] == pytest.approx(-0.25, abs=0.1)
        and trend["spearman"] == pytest.approx(-1)
    )
    spread = pd.read_csv(made.folder / "seeds.csv")
    assert set(spread["seeds"]) == {2}
    handovers = spread.set_index(["model", "quantity"]).loc[
        ("nano-1m", "roles/induction/handovers")
    ]
    assert (
        handovers["known"] == 2 and handovers["median"] == handovers["min"] == handovers["max"] == 1
    )
    found = [
        finding
        for finding in findings(made.emergence, made.heads, made.comparisons, made.facts)
        if finding.model == "nano-1m"
    ]
    assert [finding.seed for finding in found] == [None, 0, 1]
    assert "all roles together: median 1, from 1 to 1." in " ".join(found[0].sentences)


def test_a_cell_of_one_record_and_a_sweep_without_cells(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="no cell with a record"):
        summarize(tmp_path)
    header = {
        "config": {},
        "code_version": "0",
        "model": {"name": "m", "params_total": 5, "params_non_embedding": 3},
        "task": "ioi",
        "seed": 0,
        "schedule": [{"step": 0, "tokens": 0, "revision": "step0"}],
        "graph": {"n_edges": 4},
    }
    cell = Cell.create(tmp_path / "m/ioi/seed0", header)
    prompts = pd.DataFrame(
        {"prompt": [0], "value": [0.1], "corrupted": [0.0], "correct": [True], "log_prob": [-1.0]}
    )
    scalars = {
        "behaviour/value": 0.1,
        "behaviour/low": 0.0,
        "behaviour/high": 0.2,
        "behaviour/accuracy": 1.0,
        "circuit/status": "none: x",
    }
    cell.write(
        CheckpointRecord(
            0,
            0,
            "step0",
            scalars,
            prompts,
            pd.DataFrame(columns=["role", "layer", "head", "score"]),
        )
    )
    made = summarize(tmp_path, n_bootstrap=20, formats=("png",))
    assert (
        set(made.emergence["status"]) == {"ambiguous"}
        and not (made.folder / "circuits.png").exists()
    )
    assert not (made.folder / "roles.csv").exists()


def test_the_summary_imports_no_torch() -> None:
    code = (
        "import sys, circuitwatch.summary, circuitwatch.cli; assert not {'torch', "
        "'transformers', 'wandb'} & set(sys.modules)"
    )
    subprocess.run([sys.executable, "-c", code], check=True)
