"""Checkpoints that serve another's weights: crossed out in figures, and without a say in when
something emerged.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from pathlib import Path

import pandas as pd
import pytest
from matplotlib.collections import PathCollection

from circuitwatch.records import Cell, find_cells
from circuitwatch.summary.charts.together import charts
from circuitwatch.summary.curve_tables import emergence_rows
from circuitwatch.summary.curves import Curves, combine
from circuitwatch.summary.figures.curves import behaviour_figure, circuits_figure
from circuitwatch.summary.figures.roles import roles_figure
from circuitwatch.summary.fits import Fits
from circuitwatch.summary.heads.tables import head_tables
from circuitwatch.summary.importers.cells import curves_of, read_cell
from circuitwatch.summary.lines import DUPLICATES
from circuitwatch.summary.panels import specification
from circuitwatch.summary.report.data import report_data
from circuitwatch.summary.tables import cells_table


def emergence_of(cell: Cell) -> tuple[Curves, pd.DataFrame]:
    curves = combine([curves_of([read_cell(cell)])])
    return curves, emergence_rows(Fits(curves, n_bootstrap=20)).frame()


def test_a_copy_of_the_last_checkpoint_changes_nothing_but_the_picture(
    make_sweep: Callable[..., Path], tmp_path: Path
) -> None:
    folder = make_sweep(tmp_path, models=("nano-400k",), tasks=("ioi",))
    cell = find_cells(folder)[0]
    _, before = emergence_of(cell)
    heads_before = head_tables([read_cell(cell)], before).files()
    last = cell.read(cell.steps_done()[-1])
    scalars = {**last.scalars, "weights/duplicate_of": last.revision}
    copy = {"step": 3, "tokens": 3 * 1008, "revision": "step3"}
    cell.grow(sorted([*cell.header["schedule"], copy], key=lambda entry: int(entry["step"])))
    cell.write(
        dataclasses.replace(last, step=3, tokens=3 * 1008, revision="step3", scalars=scalars)
    )
    cell.skip(5, 5 * 1008, "step5", "the hub has no such revision", again=False)
    data = read_cell(cell)
    curves, after = emergence_of(cell)
    assert after.drop(columns=["note"]).equals(before.drop(columns=["note"]))
    heads_after = head_tables([data], after).files()
    for name, table in heads_before.items():
        assert heads_after[name].equals(table), name
    row = cells_table([data]).frame().iloc[0]
    assert (
        row["duplicates"] == 1
        and row["skipped"] == 1
        and row["checkpoints"] == len(cell.steps_done())
    )
    spec = specification(curves, [data])
    heads = head_tables([data], after)
    drawn = charts(spec, [data], after, pd.DataFrame(), heads)
    assert drawn.roles is not None
    figures = behaviour_figure(spec), roles_figure(drawn.roles), circuits_figure(spec)
    for figure in figures:
        assert figure is not None
        words = [text.get_text() for one in figure.legends for text in one.get_texts()]
        assert DUPLICATES in words
        assert any(one.get_offsets().shape == (1, 2) for axis in figure.axes
                   for one in axis.collections if isinstance(one, PathCollection))  # fmt: skip
    assert any("1 checkpoint has the weights of another" in note for note in curves.notes)
    shown, _ = report_data(drawn)
    (behaviour,) = [
        line for line in shown["series"] if line["q"] == "behaviour/value" and "copies" in line
    ]  # the other is the one that stands beside roles, scaled
    tokens, values = behaviour["copies"]
    assert tokens == [3 * 1008] and 3 * 1008 not in shown["axes"][behaviour["a"]]
    assert values == [pytest.approx(last.scalars["behaviour/value"], rel=1e-3)]
