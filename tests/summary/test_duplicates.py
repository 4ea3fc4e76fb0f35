"""Checkpoints that serve another's weights: crossed out in figures, and without a say in when something emerged."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from pathlib import Path

from circuitwatch.records import find_cells
from circuitwatch.summary.figures import DUPLICATES, behaviour_figure, circuits_figure
from circuitwatch.summary.head_tables import head_tables
from circuitwatch.summary.heads_figures import roles_figure
from circuitwatch.summary.report import behaviour_figure as interactive
from circuitwatch.summary.tables import cells_table, emergence_table, read_cell


def test_a_copy_of_the_last_checkpoint_changes_nothing_but_the_picture(
    make_sweep: Callable[..., Path], tmp_path: Path
) -> None:
    folder = make_sweep(tmp_path, models=("nano-400k",), tasks=("ioi",))
    cell = find_cells(folder)[0]
    before = emergence_table([read_cell(cell)], n_bootstrap=20)
    heads_before = head_tables(folder, [read_cell(cell)], before).files()
    last = cell.read(cell.steps_done()[-1])
    scalars = {**last.scalars, "weights/duplicate_of": last.revision}
    cell.write(dataclasses.replace(last, step=3, tokens=3 * 1008, revision="step3", scalars=scalars))
    cell.skip(5, 5 * 1008, "step5", "the hub has no such revision", again=False)
    data = read_cell(cell)
    after = emergence_table([data], n_bootstrap=20)
    assert after.drop(columns=["note"]).equals(before.drop(columns=["note"]))
    heads_after = head_tables(folder, [data], after).files()
    for name, table in heads_before.items():
        assert heads_after[name].equals(table), name
    row = cells_table([data]).iloc[0]
    assert row["duplicates"] == 1 and row["skipped"] == 1 and row["checkpoints"] == len(cell.steps_done())
    for draw in (behaviour_figure, roles_figure, circuits_figure):
        shown = [label for axis in draw([data]).axes for label in axis.get_legend_handles_labels()[1]]
        assert DUPLICATES in shown
    crosses = [trace for trace in interactive([data]).data if trace.marker.symbol == "x"]
    assert [list(trace.y) for trace in crosses] == [[last.scalars["behaviour/value"]]]
