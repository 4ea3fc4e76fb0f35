"""How far a sweep is, read from its folder without disturbing who works there: of each cell whether
it is done, failed, running, stopped on the way or not begun, and what is left in seconds.

What is left is estimated from `timing.json` of what is done: of the cell itself, else of cells with
the same model, whose checkpoints cost about the same; where neither has one it is not known.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from circuitwatch.errors import UserError
from circuitwatch.locks import running
from circuitwatch.records import Cell, cell_folders, has_records
from circuitwatch.sweeping.failures import Failure, read_failures
from circuitwatch.sweeping.plan import read_plan

DONE, RUNNING, FAILED, STOPPED, PLANNED, DAMAGED = (
    *("done", "running", "failed", "stopped", "not begun"),
    "damaged",
)
STATES = (DONE, RUNNING, FAILED, STOPPED, PLANNED, DAMAGED)


@dataclass(frozen=True)
class CellState:
    """How far one cell is.

    name: its folder, as seen from the sweep's. state: one of STATES. recorded, skipped, scheduled:
    checkpoints; scheduled is None where it is not known yet. by: who works there and since when, a
    line each. error, log: of the last failure. seconds: that its records took; left: an estimate
    for the rest, None where nothing tells.
    """

    name: str
    state: str
    recorded: int = 0
    skipped: int = 0
    scheduled: int | None = None
    by: tuple[str, ...] = ()
    error: str | None = None
    log: str | None = None
    seconds: float = 0.0
    left: float | None = None


@dataclass(frozen=True)
class SweepState:
    """How far a sweep is: its cells by name."""

    name: str
    cells: tuple[CellState, ...]

    def count(self, state: str) -> int:
        """Number of cells in a state."""
        return sum(cell.state == state for cell in self.cells)

    @property
    def seconds(self) -> float:
        """Seconds of one process that the records took."""
        return sum(cell.seconds for cell in self.cells)

    @property
    def left(self) -> float:
        """Seconds of one process for what is left, of the cells of which that is known."""
        return sum(cell.left or 0.0 for cell in self.cells)

    @property
    def unknown(self) -> int:
        """Number of cells with something left of which nothing tells how long it takes."""
        return sum(cell.left is None for cell in self.cells)


def state_of(sweep: Path) -> SweepState:
    """The state of the sweep in a folder.

    Raises UserError if there is nothing of a sweep.
    """
    folders = {entry.folder for entry in read_plan(sweep)}
    folders |= {folder.relative_to(sweep).as_posix() for folder in cell_folders(sweep)}
    failures = {failure.name: failure for failure in read_failures(sweep)}
    folders |= {_folder_of(name) for name in failures}
    if not folders:
        raise UserError(f"{sweep}: no cell there; run circuitwatch -m sweep={sweep.name} … first")
    found = [_cell_state(sweep, name, _failures_of(name, failures)) for name in sorted(folders)]
    return SweepState(sweep.name, tuple(_estimated(found)))


def _folder_of(name: str) -> str:
    """The folder in a short name, which may go on with what tells a job from others there."""
    return name.split(" ", 1)[0]


def _failures_of(folder: str, failures: dict[str, Failure]) -> list[Failure]:
    return [failure for name, failure in failures.items() if _folder_of(name) == folder]


def _cell_state(sweep: Path, name: str, failures: Sequence[Failure]) -> CellState:
    folder = sweep / name
    error = "; ".join(failure.error for failure in failures) or None
    log = next((failure.log for failure in failures if failure.log), None)
    by = tuple(holder.said for holder in running(folder))
    if not (folder / "cell.json").is_file() and not has_records(folder):
        state = RUNNING if by else FAILED if failures else PLANNED
        return CellState(name, state, by=by, error=error, log=log)
    try:
        cell = Cell.open(folder)
        recorded, skipped, done = cell.steps_done(), cell.skipped(), cell.is_done()
        seconds = sum(cell.seconds(step).get("total", 0.0) for step in recorded)
    except (UserError, OSError) as damage:
        state = RUNNING if by else DAMAGED
        return CellState(name, state, by=by, error=error or str(damage), log=log)
    state = RUNNING if by else FAILED if failures else DONE if done else STOPPED
    return CellState(
        name,
        state,
        len(recorded),
        len(skipped),
        len(cell.header["schedule"]),
        by,
        error,
        log,
        seconds,
    )


def _estimated(cells: Sequence[CellState]) -> Iterable[CellState]:
    """The cells with what is left of each."""
    for cell in cells:
        model = cell.name.split("/")[0]
        same = [other for other in cells if other.name.split("/")[0] == model]
        each = _seconds_each([cell]) or _seconds_each(same)
        scheduled = cell.scheduled
        if scheduled is None:  # the cells of a model mostly have one schedule
            known = {other.scheduled for other in same if other.scheduled is not None}
            scheduled = max(known, default=None)
        if cell.state == DONE:
            left: float | None = 0.0
        elif each is None or scheduled is None:
            left = None
        else:
            left = each * max(0, scheduled - cell.recorded - cell.skipped)
        yield replace(cell, left=left)


def _seconds_each(cells: Iterable[CellState]) -> float | None:
    """Seconds of a checkpoint, on average over some cells; None if none has a time."""
    timed = [cell for cell in cells if cell.seconds and cell.recorded]
    recorded = sum(cell.recorded for cell in timed)
    return sum(cell.seconds for cell in timed) / recorded if recorded else None
