"""Whether the algorithm stays, and whether circuits transfer: on the made-up sweep, whose answers
are known, and on hand-made tables.
"""

from __future__ import annotations

from itertools import combinations
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from circuitwatch.records import find_cells
from circuitwatch.summary.cells import CellData
from circuitwatch.summary.heads.algorithm import MIN_TREND, algorithm_table
from circuitwatch.summary.heads.bands import bands_table
from circuitwatch.summary.heads.transfer import (
    matrix,
    mean_jaccard,
    read_transfer,
    specificity_table,
    transfer_table,
)
from circuitwatch.summary.importers.cells import read_cell
from circuitwatch.summary.statistics.trends import slope_interval
from support.sweeps import faithfulness


def cell(task: str, bands: dict[float, list] | None = None, **columns: list) -> CellData:
    """bands: of the measure D, cut-off → values."""
    n = len(next(iter(columns.values())))
    curves = pd.DataFrame(
        {"step": range(1, n + 1), "tokens": [10 * 2**k for k in range(n)], **columns}
    )
    rows = [
        {
            "step": k + 1,
            "tokens": 10 * 2**k,
            "measure": "D",
            "cutoff": c,
            "value": v,
            "low": v - 0.1,
            "high": v + 0.1,
        }
        for c, values in (bands or {}).items()
        for k, v in enumerate(values)
    ]
    header = {"model": {"name": "m", "params_total": 5}, "task": task, "seed": 0}
    return CellData(Path(), header, True, curves, pd.DataFrame(), bands=pd.DataFrame(rows))


def table_of(*cells: CellData) -> pd.DataFrame:
    return algorithm_table(list(cells), bands_table(list(cells), []))


def test_range_trend_and_reason() -> None:
    above = [True, False, *[True] * 6]
    values = [0.9, np.nan, 0.2, 0.4, 0.5, np.nan, 0.7, 0.6]
    reasons = [None, None, None, None, None, "no name mover", None, None]
    data = cell(
        "ioi",
        **{"behaviour/above_chance": above, "algorithm/B": values, "algorithm/B_left_out": reasons},
    )
    rows = table_of(data).set_index("quantity")
    found = rows.loc["B"]  # the first checkpoint is above chance by itself, and does not count
    assert (
        found["n"] == 5
        and found["first"] == 0.2
        and found["last"] == 0.6
        and found["min"] == 0.2
        and found["max"] == 0.7
    )
    there = [2, 3, 4, 6, 7]
    expected = slope_interval(np.log10(10 * 2.0 ** np.array(there)), np.array(values)[there])
    assert tuple(found[["trend", "trend_low", "trend_high"]]) == pytest.approx(expected)
    assert found["trend_low"] < 0 < found["trend"] < found["trend_high"]
    assert found["missing_at"] == 1 and found["why_missing"] == "no name mover"
    assert rows.loc["C", "verdict"] == "missing" and rows.loc["C", "n"] == 0


def test_heads_that_no_role_explains_are_those_of_the_last_checkpoint() -> None:
    """Where none is sure any more, none is named, though an earlier checkpoint had one."""
    shares = {"behaviour/above_chance": [True] * 4, "algorithm/unexplained": [0.4, 0.3, 0.1, 0.0]}
    for named, expected in (
        (["a0.h0 -0.40", "a0.h0 -0.30", None, None], ""),
        ([None, None, None, "a1.h0 -0.01"], "a1.h0 -0.01"),
    ):
        data = cell("ioi", **shares, **{"algorithm/unexplained_heads": named})
        assert table_of(data).set_index("quantity").loc["unexplained", "heads"] == expected


@pytest.mark.parametrize(
    ("values", "verdict"),
    [
        ([0.5, 0.55, 0.6, 0.65, 0.69, 0.7], "stays"),
        ([0.1, 0.3, 0.4, 0.6, 0.7, 0.9], "rises"),
        ([0.9, 0.7, 0.6, 0.4, 0.3, 0.1], "falls"),
        ([0.2, 0.7, 0.3, 0.6, 0.2, 0.7], "varies without a trend"),
        ([0.1, 0.5, 0.9, 0.95], "too few checkpoints"),
    ],
)
def test_verdicts(values: list[float], verdict: str) -> None:
    bands = {c: [v + shift for v in values] for c, shift in ((0.1, 0.1), (0.5, 0.0), (0.9, -0.1))}
    data = cell(
        "ioi", bands, **{"behaviour/above_chance": [True] * len(values), "algorithm/D": values}
    )
    found = table_of(data).set_index("quantity").loc["D"]
    assert found["verdict"] == verdict and pd.isna(found["trend"]) == (len(values) < MIN_TREND)


def test_records_without_the_measures_have_no_table() -> None:
    assert table_of(cell("ioi", **{"behaviour/above_chance": [True, True]})).empty


def test_the_made_up_sweeps_d_falls_and_the_others_stay(cells: list[CellData]) -> None:
    rows = table_of(*cells).set_index(["model", "task", "quantity"])
    assert rows.loc[("nano-400k", "ioi", "D"), "verdict"] == "falls"
    assert rows.loc[("nano-400k", "ioi", "D"), "trend"] == pytest.approx(
        -0.9, abs=0.1
    )  # noise of 0.015 over half a decade
    assert rows.loc[("nano-400k", "ioi", "C"), "why_missing"] == "no name mover in the circuit"
    unexplained = rows.index.get_level_values("quantity").str.startswith("unexplained")
    assert set(
        rows[~unexplained].drop([("nano-400k", "ioi", "D")]).loc["nano-400k", "verdict"]
    ) == {"stays"}
    assert set(rows[unexplained]["verdict"]) == {""}
    assert rows.loc[("nano-400k", "ioi", "unexplained"), "heads"] == "a1.h0 -0.27, a0.h0 +0.21"
    assert rows.loc[("nano-100k", "ioi", "B"), "verdict"] == "missing"
    assert "above chance" in rows.loc[("nano-100k", "ioi", "B"), "why_missing"]


def test_transfer_over_checkpoints(sweep_folder: Path, cells: list[CellData]) -> None:
    every = read_transfer(sweep_folder, cells)
    assert list(dict.fromkeys(every["model"])) == ["nano-100k", "nano-400k"]
    own = every[(every["model"] == "nano-400k") & (every["task"] == "ioi")]
    found = transfer_table(every, cells).set_index(["model", "task"]).loc[("nano-400k", "ioi")]
    tokens = sorted(own.loc[own["circuit_task"] == "ioi", "circuit_tokens"].unique())
    later = [faithfulness(a, b) for a, b in combinations(tokens, 2)]
    earlier = [faithfulness(b, a) for a, b in combinations(tokens, 2)]
    assert found["circuits"] == len(tokens) and found["own"] == pytest.approx(0.85)
    assert found["earlier_on_later"] == pytest.approx(np.mean(later)) and found[
        "later_on_earlier"
    ] == pytest.approx(np.mean(earlier))
    square = matrix(own)
    assert square.index.tolist() == tokens and square.loc[tokens[0], tokens[-1]] == pytest.approx(
        faithfulness(tokens[0], tokens[-1])
    )


def test_mean_jaccard_is_that_of_the_masks(sweep_folder: Path) -> None:
    (found,) = [
        c
        for c in find_cells(sweep_folder)
        if c.header["model"]["name"] == "nano-400k" and c.header["task"] == "ioi"
    ]
    masks = {record.step: record.mask for record in found.records() if record.mask is not None}
    expected = [(a & b).sum() / (a | b).sum() for a, b in combinations(masks.values(), 2)]
    assert mean_jaccard(read_cell(found), set(masks)) == pytest.approx(np.mean(expected))
    assert mean_jaccard(read_cell(found), set(list(masks)[:1])) is None


def test_specificity(sweep_folder: Path, cells: list[CellData]) -> None:
    """A cell that stopped half-way has no circuit at the others' last checkpoint: then there is no
    common one, and only the mean is left.
    """
    rows = specificity_table(read_transfer(sweep_folder, cells))
    done = rows[rows["model"] == "nano-100k"]
    assert len(done) == 9 and set(done["last_tokens"]) == {1_008_000}
    same = done["task"] == done["circuit_task"]
    assert done.loc[same, "last"].tolist() == pytest.approx([0.85] * 3) and done.loc[
        ~same, "mean"
    ].tolist() == pytest.approx([0.12] * 6)
    unfinished = rows[rows["model"] == "nano-400k"]
    assert unfinished["mean"].notna().all()


def test_no_transfer_files(tmp_path: Path, cells: list[CellData]) -> None:
    every = read_transfer(tmp_path, cells)
    assert every.empty and transfer_table(every, cells).empty and specificity_table(every).empty
