"""`circuitwatch track`: the W&B runs of a sweep made from its records, whatever happened before.

A run that is whole is left alone. One that has the first of the rows is gone on with; any other is
overwritten. Afterwards the server is asked what it has: a run that is not equal to the records is
deleted there and made once more.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

from circuitwatch.errors import UserError
from circuitwatch.records import Cell, cell_folders, open_cells
from circuitwatch.tracking import runs, summary_run
from circuitwatch.tracking.account import NotTaken, connect, reason_of
from circuitwatch.tracking.alone import hold_run
from circuitwatch.tracking.answers import CONTENT, content_of
from circuitwatch.tracking.folders import Folders
from circuitwatch.tracking.identity import identity_of, sweep_of
from circuitwatch.tracking.server import Held, Place, found_run, held_of
from circuitwatch.tracking.settings import TrackingConfig

WHOLE, MADE, WENT_ON, OVERWRITTEN = "whole already", "made", "gone on with", "overwritten"


@dataclass(frozen=True)
class Sent:
    """What was done about a run, and where it is seen."""

    name: str
    done: str
    rows: int
    url: str


def cells_of(folder: Path) -> tuple[list[Cell], list[str]]:
    """The cells of a sweep that have a record, and why others can't be opened."""
    cells, failures = open_cells(cell_folders(folder))
    return [cell for cell in cells if cell.steps_done()], failures


def send_sweep(
    folder: Path,
    config: TrackingConfig,
    say: Callable[[str], None] = lambda what: None,
    done: Callable[[Sent], None] = lambda sent: None,
) -> None:
    """Send every cell of a sweep, and its summary where there is one. A cell that is damaged,
    whose run the server will not have, or which another process sends, is passed over, and named at
    the end.

    Args:
        folder: of the sweep.
        config: the project and entity.
        say: told which run is being sent.
        done: told what was done about it.

    Raises:
        UserError: no cell with a record, no account, no server, or runs that could not be sent
            whole; all others are sent.
    """
    cells, failures = cells_of(folder)
    if not cells:
        why = "".join(f"; {failure}" for failure in failures)
        raise UserError(f"{folder}: no cell with a record; nothing to send{why}")
    api = connect()
    todo: dict[str, Callable[[], Sent]] = {
        str(cell.folder.relative_to(folder)): partial(send_cell, cell, config, api)
        for cell in cells
    }
    if summary_run.has_summary(folder):
        todo["summary"] = partial(_send_summary, folder, cells, config, api)
    for name, action in todo.items():
        say(name)
        try:
            done(replace(action(), name=name))
        except (UserError, NotTaken) as error:
            failures.append(f"{name}: {error}")
        except Exception as error:  # W&B raises many kinds
            raise UserError(
                f"{name}: not sent whole ({reason_of(error)}); the same command goes on"
            ) from error
    if failures:
        raise UserError(f"not sent: {'; '.join(failures)}")


def send_cell(cell: Cell, config: TrackingConfig, api: Any) -> Sent:
    """Make a cell's run whole on the server.

    Raises InUse, Unreachable, NotUploaded, NotTaken, or what W&B raises.
    """
    with hold_run(cell):
        return _made_whole(cell, config, api)


def _made_whole(cell: Cell, config: TrackingConfig, api: Any) -> Sent:
    name, wanted, content = cell.folder.name, runs.places_of(cell), content_of(cell)
    where, identity = (config.project, config.entity), identity_of(cell)
    held = held_of(*where, identity, api)
    if held is not None and _is_whole(held, wanted, content):
        return Sent(name, WHOLE, len(wanted), held.url)
    done = MADE if held is None or not held.places else OVERWRITTEN
    if held is not None and held.last_of(wanted) is not None:
        done = WENT_ON
    for attempt in range(2):
        _send(cell, config, held)
        held = held_of(*where, identity, api)
        if held is not None and _is_whole(held, wanted, content):
            return Sent(name, done, len(wanted), held.url)
        if not attempt and (stale := found_run(*where, identity, api)) is not None:
            stale.delete()
            held = None
    there = 0 if held is None else len(held.places)
    raise NotTaken(f"the server has {there} of {len(wanted)} rows, or others")


def _send(cell: Cell, config: TrackingConfig, held: Held | None) -> None:
    """Send a cell's rows that are missing, and what it says as a whole."""
    run = runs.start(cell, config, online=True, held=held)
    try:
        run.log_all()
        run.complete()
    except BaseException:
        run.session.finish(failed=True)
        raise
    run.session.finish()


def _is_whole(held: Held, wanted: Sequence[Place], content: str) -> bool:
    return held.places == list(wanted) and held.summary.get(CONTENT) == content


def _send_summary(folder: Path, cells: Sequence[Cell], config: TrackingConfig, api: Any) -> Sent:
    content = summary_run.content_of(folder)
    names = {sweep_of(cell) for cell in cells}
    # The group of the cells' runs, whatever the folder is called since.
    identity = summary_run.identity_of_summary(names.pop() if len(names) == 1 else folder.name)
    there = found_run(config.project, config.entity, identity, api)
    if there is not None and dict(there.summary_metrics or {}).get(CONTENT) == content:
        return Sent("summary", WHOLE, 1, str(there.url))
    id = "" if there is None else str(there.id)
    folders = Folders([cell.header for cell in cells], folder)
    url = summary_run.send_summary(folder, identity, folders, config, id)
    return Sent("summary", MADE if there is None else OVERWRITTEN, 1, url)
