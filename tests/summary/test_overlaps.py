"""Overlap with the last circuit, and what stands beside every overlap in tables, sentences and the
report.
"""

from __future__ import annotations

from dataclasses import replace
from itertools import pairwise
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from matplotlib.axes import Axes

from circuitwatch.circuits.overlap import jaccard_by_chance
from circuitwatch.records import find_cells
from circuitwatch.summary.cells import CellData
from circuitwatch.summary.curves import combine
from circuitwatch.summary.figures.curves import circuits_figure
from circuitwatch.summary.fits import Fits
from circuitwatch.summary.heads.tables import head_tables
from circuitwatch.summary.importers.cells import curves_of, read_cell
from circuitwatch.summary.overlaps import overlap_table, references, with_final
from circuitwatch.summary.panels import specification
from circuitwatch.summary.report.findings import findings
from circuitwatch.summary.together import BEFORE, FINAL, compare
from circuitwatch.units import format_number
from support.sweeps import N_EDGES, write_sweep


@pytest.fixture(scope="module")
def sweep(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_sweep(
        tmp_path_factory.mktemp("m") / "sweep", models=("nano-400k",), tasks=("greater_than",)
    )


@pytest.fixture(scope="module")
def cell(sweep: Path) -> CellData:
    return read_cell(find_cells(sweep)[0])


def test_final_overlaps_are_those_of_the_sets(cell: CellData) -> None:
    """Edges as Python sets, whatever the masks look like."""
    steps = sorted(cell.circuits)
    last = set(cell.circuits[steps[-1]].tolist())
    curves = cell.curves.set_index("step")
    for step in steps[:-1]:
        own = set(cell.circuits[step].tolist())
        assert curves.loc[step, "overlap/edge_jaccard_final"] == pytest.approx(
            len(own & last) / len(own | last)
        )
        chance = jaccard_by_chance(len(own), len(last), N_EDGES)
        assert curves.loc[step, "overlap/edge_jaccard_final_chance"] == pytest.approx(chance)
        assert 0 < curves.loc[step, "overlap/node_jaccard_final"] <= 1
    assert np.isnan(curves.loc[steps[-1], "overlap/edge_jaccard_final"])


def test_the_last_circuit_is_not_that_of_a_copy(cell: CellData) -> None:
    """The last checkpoint serves the weights of an earlier one: the last circuit is the one before
    it.
    """
    steps = sorted(cell.circuits)
    copies = cell.curves[["step"]].assign(copy=None).astype({"copy": object})
    copies.loc[copies["step"] == steps[-1], "copy"] = "step150"
    without = [name for name in cell.curves if "final" not in name]
    marked = with_final(
        replace(
            cell, curves=cell.curves[without].assign(**{"weights/duplicate_of": copies["copy"]})
        )
    )
    known = marked.curves.dropna(subset=["overlap/edge_jaccard_final"])["step"]
    assert known.max() == steps[-3]


def test_cells_that_do_not_say_how_masks_are_laid_out_stay_as_they_are(cell: CellData) -> None:
    plain = replace(cell, header=cell.header | {"graph": {"n_edges": N_EDGES}})
    assert with_final(plain) is plain
    assert with_final(replace(cell, circuits={})).circuits == {}


def test_curves_and_table_have_the_overlaps(sweep: Path, cell: CellData) -> None:
    curves = combine([curves_of([cell])])
    own = curves.curve("nano-400k", "greater_than", "overlap/edge_jaccard_final")
    table = overlap_table([cell])
    assert own.to_dict() == pytest.approx(
        table.dropna(subset="edge_jaccard_final")
        .set_index("tokens")["edge_jaccard_final"]
        .to_dict()
    )
    assert len(table) == len(cell.circuits) and table["edge_jaccard_ceiling"].between(0.7, 1).all()
    assert {"edge_jaccard_resampled_ceiling", "weighted_edge_jaccard_final_resampled"} <= set(table)
    assert {"edge_jaccard", "edge_jaccard_final_chance", "node_jaccard_final", "edges"} <= set(
        table
    )
    assert overlap_table([]).empty


def sets_of(cell: CellData) -> list[tuple[set[int], set[int]]]:
    """Edges of both resamples' circuits as Python sets, by step."""
    return [
        (set(a.places.tolist()), set(b.places.tolist()))
        for _, (a, b) in sorted(cell.resamples.items())
    ]  # type: ignore[union-attr]


def like_with_like(
    pairs: list[tuple[tuple[set[int], set[int]], ...]],
) -> tuple[float, float, float]:
    """Means of observed overlap, ceiling and chance over pairs of checkpoints, each with its two
    sets.
    """
    observed, ceiling, chance = [], [], []
    for (a, b), (later_a, later_b) in pairs:
        observed += [
            len(one & other) / len(one | other) for one, other in ((a, later_b), (b, later_a))
        ]
        ceiling += [
            len(one & other) / len(one | other) for one, other in ((a, b), (later_a, later_b))
        ]
        chance += [
            jaccard_by_chance(len(one), len(other), N_EDGES)
            for one, other in ((a, later_b), (b, later_a))
        ]
    return float(np.mean(observed)), float(np.mean(ceiling)), float(np.mean(chance))


def row_of(table: pd.DataFrame, compared: str, measure: str = "edge_jaccard") -> pd.Series:
    return table[(table["compared"] == compared) & (table["measure"] == measure)].iloc[0]


def test_stability_lies_between_chance_and_the_noise_ceiling(sweep: Path, cell: CellData) -> None:
    """(o − chance) / (c − chance), from the sets, to the checkpoint before and to the last; and it
    is said in a sentence.
    """
    sets = sets_of(cell)
    curves = combine([curves_of([cell])])
    compared = compare(Fits(curves, n_bootstrap=20), [], [cell]).frames()
    for words, pairs in (
        (BEFORE, list(pairwise(sets))),
        (FINAL, [(own, sets[-1]) for own in sets[:-1]]),
    ):
        observed, ceiling, chance = like_with_like(pairs)
        row = row_of(compared.circuits, words)
        assert row["n"] == len(sets) - 1 and 0 < row["stability"] < 1
        assert (row["jaccard"], row["ceiling"], row["chance"]) == pytest.approx(
            (observed, ceiling, chance)
        )
        assert row["stability"] == pytest.approx((observed - chance) / (ceiling - chance))
        assert row["low"] <= row["stability"] <= row["high"]
    assert len(compared.circuits) == 6 and compared.circuits["stability"].notna().sum() >= 4
    row = row_of(compared.circuits, BEFORE)
    assert row["turnover_n"] == len(sets) - 1 and pd.isna(
        row_of(compared.circuits, FINAL)["turnover_n"]
    )
    emergence = pd.DataFrame(
        {"model": ["nano-400k"], "seed": [0], "task": ["x"], "quantity": ["y"]}
    )
    sentences = findings(emergence, head_tables([], emergence), compared, curves.facts)[0].sentences
    shown = (
        f"different prompts share {format_number(row['jaccard'])}, where chance gives "
        f"{format_number(row['chance'])} and unchanged circuits {format_number(row['ceiling'])} "
        f"(the noise ceiling): stability {format_number(row['stability'])}"
    )
    assert shown in sentences[-1]


def test_only_pairs_with_all_four_circuits_count(cell: CellData) -> None:
    """A checkpoint of which one resample has no circuit takes no part, nor does its neighbour's
    pair with it; without resamples there is the overlap of all prompts and no stability."""
    steps = sorted(cell.resamples)
    plain = replace(
        cell, curves=cell.curves[[name for name in cell.curves if "_final" not in name]]
    )
    without_one = plain.resamples | {steps[2]: (plain.resamples[steps[2]][0], None)}
    known = with_final(replace(plain, resamples=without_one)).curves.set_index("step")
    assert np.isnan(known.loc[steps[2], "overlap/edge_jaccard_final_resampled"])
    assert known.loc[steps[2], "overlap/edge_jaccard_final"] > 0
    assert known.loc[steps[1], "overlap/edge_jaccard_final_resampled"] > 0
    no_resamples = [
        name for name in plain.curves if "resampled" not in name and "ceiling" not in name
    ]
    table = compare(
        Fits(combine([])),
        [],
        [with_final(replace(plain, resamples={}, curves=plain.curves[no_resamples]))],
    ).circuits.frame()
    assert (
        table["stability"].isna().all()
        and (table["n"] == 0).all()
        and table["all_prompts"].notna().all()
    )


def test_only_overlaps_of_other_prompts_have_a_ceiling() -> None:
    assert references("overlap/edge_jaccard") == {"chance": "overlap/edge_jaccard_chance"}
    assert references("overlap/edge_jaccard_mean") == {"chance": "overlap/edge_jaccard_chance"}
    assert references("overlap/edge_jaccard_final") == {
        "chance": "overlap/edge_jaccard_final_chance"
    }
    for name in ("overlap/edge_jaccard_resampled", "overlap/node_jaccard_final_resampled"):
        assert references(name) == {"ceiling": f"{name}_ceiling", "chance": f"{name}_chance"}
    assert references("behaviour/value") == {}


def test_figures_draw_other_prompts_beside_their_ceiling(cell: CellData) -> None:
    """And the overlap of all prompts, without one, where there are no resamples."""
    axis = overlap_panel(cell)
    assert "other prompts" in " ".join(axis.get_ylabel().split())
    by_style = {line.get_linestyle(): line.get_ydata() for line in axis.lines}
    own = cell.curves["overlap/edge_jaccard_resampled"].dropna().to_numpy()
    assert any(np.array_equal(line, own) for line in by_style.values()) and len(axis.lines) == 3
    dropped = [name for name in cell.curves if "resampled" not in name]
    plain = overlap_panel(replace(cell, curves=cell.curves[dropped]))
    assert "prompts" not in plain.get_ylabel() and len(plain.lines) == 2


def overlap_panel(cell: CellData) -> Axes:
    figure = circuits_figure(specification(combine([curves_of([cell])]), [cell]))
    assert figure is not None
    return figure.axes[1]
