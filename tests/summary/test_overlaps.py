"""Overlap with the last circuit, and what stands beside every overlap in tables, sentences and the report."""

from __future__ import annotations

from dataclasses import replace
from itertools import pairwise
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from circuitwatch.circuits.overlap import jaccard_by_chance
from circuitwatch.records import find_cells
from circuitwatch.summary.curves import combine
from circuitwatch.summary.heads.tables import head_tables
from circuitwatch.summary.importers.cells import read_cells
from circuitwatch.summary.overlaps import overlap_table, with_final, with_final_overlaps
from circuitwatch.summary.report.findings import findings
from circuitwatch.summary.tables import CellData, read_cell
from circuitwatch.summary.together import compare
from support.sweeps import FLOOR, N_EDGES, write_sweep


@pytest.fixture(scope="module")
def sweep(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_sweep(tmp_path_factory.mktemp("m") / "sweep", models=("nano-400k",), tasks=("greater_than",))


@pytest.fixture(scope="module")
def cell(sweep: Path) -> CellData:
    return with_final(read_cell(find_cells(sweep)[0]))


def test_final_overlaps_are_those_of_the_sets(cell: CellData) -> None:
    """Edges as Python sets, whatever the masks look like."""
    steps = sorted(cell.circuits)
    last = set(cell.circuits[steps[-1]].tolist())
    curves = cell.curves.set_index("step")
    for step in steps[:-1]:
        own = set(cell.circuits[step].tolist())
        assert curves.loc[step, "overlap/edge_jaccard_final"] == pytest.approx(len(own & last) / len(own | last))
        chance = jaccard_by_chance(len(own), len(last), N_EDGES)
        assert curves.loc[step, "overlap/edge_jaccard_final_chance"] == pytest.approx(chance)
        assert 0 < curves.loc[step, "overlap/node_jaccard_final"] <= 1
    assert np.isnan(curves.loc[steps[-1], "overlap/edge_jaccard_final"])


def test_the_last_circuit_is_not_that_of_a_copy(cell: CellData) -> None:
    """The last checkpoint serves the weights of an earlier one: the last circuit is the one before it."""
    steps = sorted(cell.circuits)
    copies = cell.curves[["step"]].assign(copy=None).astype({"copy": object})
    copies.loc[copies["step"] == steps[-1], "copy"] = "step150"
    without = [name for name in cell.curves if "final" not in name]
    marked = with_final(replace(cell, curves=cell.curves[without].assign(**{"weights/duplicate_of": copies["copy"]})))
    known = marked.curves.dropna(subset=["overlap/edge_jaccard_final"])["step"]
    assert known.max() == steps[-3]


def test_cells_that_do_not_say_how_masks_are_laid_out_stay_as_they_are(cell: CellData) -> None:
    plain = replace(cell, header=cell.header | {"graph": {"n_edges": N_EDGES}})
    assert with_final(plain) is plain
    assert with_final(replace(cell, circuits={})).circuits == {}


def test_curves_and_table_have_the_overlaps(sweep: Path, cell: CellData) -> None:
    curves = with_final_overlaps(combine([read_cells(find_cells(sweep))]), [cell])
    own = curves.curve("nano-400k", "greater_than", "overlap/edge_jaccard_final")
    table = overlap_table([cell])
    assert own.to_dict() == pytest.approx(
        table.dropna(subset="edge_jaccard_final").set_index("tokens")["edge_jaccard_final"].to_dict()
    )
    assert len(table) == len(cell.circuits) and (table["edge_jaccard_floor"] == FLOOR).all()
    assert {"edge_jaccard", "edge_jaccard_final_chance", "node_jaccard_final", "edges"} <= set(table)
    assert overlap_table([]).empty


def test_stability_lies_between_chance_and_the_noise_floor(sweep: Path, cell: CellData) -> None:
    """(J − chance) / (floor − chance), from the sets; and it is said in a sentence."""
    steps = sorted(cell.circuits)
    sets = [set(cell.circuits[step].tolist()) for step in steps]
    overlap = np.mean([len(a & b) / len(a | b) for a, b in pairwise(sets)])
    chance = np.mean([jaccard_by_chance(len(a), len(b), N_EDGES) for a, b in pairwise(sets)])
    curves = combine([read_cells(find_cells(sweep))])
    compared = compare(curves, pd.DataFrame(), [cell], n_bootstrap=20)
    row = compared.circuits.iloc[0]
    assert row["floor"] == pytest.approx(FLOOR) and row["chance"] == pytest.approx(chance)
    assert row["stability"] == pytest.approx((overlap - chance) / (FLOOR - chance))
    assert row["low"] <= row["stability"] <= row["high"]
    emergence = pd.DataFrame({"model": ["nano-400k"], "seed": [0], "task": ["x"], "quantity": ["y"]})
    sentences = findings(emergence, head_tables([], emergence), compared)[0].sentences
    assert f"(resampled prompts of one checkpoint {FLOOR:.2f}, by chance {chance:.2f}: stability" in sentences[-1]
