"""The state of a sweep as people read it: a table of its cells, and one line of what is left."""

from __future__ import annotations

import rich.box
from rich.table import Table

from circuitwatch.progress import wide_console
from circuitwatch.sweeping.state import DONE, FAILED, RUNNING, STATES, CellState, SweepState
from circuitwatch.units import format_duration

COLOURS = {DONE: "green", RUNNING: "cyan", FAILED: "red"}


def print_state(state: SweepState) -> None:
    """Print a row for each cell, and below what that comes to."""
    console = wide_console()
    table = Table(box=rich.box.SIMPLE_HEAD, padding=(0, 1, 0, 0))
    for column, justify in (("cell", "left"), ("state", "left"), ("checkpoints", "right")):
        table.add_column(column, justify="right" if justify == "right" else "left")
    table.add_column("left", justify="right")
    table.add_column("", overflow="fold")
    for cell in state.cells:
        table.add_row(
            cell.name,
            f"[{COLOURS.get(cell.state, 'default')}]{cell.state}[/]",
            _checkpoints(cell),
            _left(cell),
            # Markup in an error is the error's, not ours.
            _remark(cell).replace("[", r"\["),
        )
    console.print(table)
    for line in summary_lines(state):
        console.print(line, highlight=False, soft_wrap=True)


def summary_lines(state: SweepState) -> list[str]:
    """Cells by state, then the time that was taken and what is left."""
    counts = ", ".join(f"{state.count(name)} {name}" for name in STATES if state.count(name))
    lines = [f"{state.name}: {len(state.cells)} cells: {counts}"]
    if state.count(DONE) == len(state.cells):
        lines.append(f"time: {format_duration(state.seconds)} of one process")
        return lines
    left = f"about {format_duration(state.left)}" if state.left else "not known"
    running = sum(len(cell.by) for cell in state.cells)
    if state.left and running > 1:
        left += f" of one process, {format_duration(state.left / running)} with the {running} now"
    elif state.left:
        left += " of one process"
    if state.unknown and state.left:
        left += f"; not counted: {state.unknown} cells of which no checkpoint is timed yet"
    lines.append(f"time: {format_duration(state.seconds)} taken, left {left}")
    return lines


def _checkpoints(cell: CellState) -> str:
    if cell.scheduled is None:
        return ""
    skipped = f" +{cell.skipped} skipped" if cell.skipped else ""
    return f"{cell.recorded}{skipped}/{cell.scheduled}"


def _left(cell: CellState) -> str:
    if cell.state == DONE:
        return ""
    return "?" if cell.left is None else format_duration(cell.left)


def _remark(cell: CellState) -> str:
    log = f" (log: {cell.log})" if cell.log else ""
    return "; ".join([*cell.by, *([f"{cell.error}{log}"] if cell.error else [])])
