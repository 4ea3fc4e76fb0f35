"""A cell's run while the cell is watched. Tracking never stops a cell: if W&B fails, one line says
so and names the command that sends the run later.
"""

from __future__ import annotations

import contextlib
import shlex
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING

from circuitwatch.record_files import CheckpointRecord
from circuitwatch.records import Cell
from circuitwatch.tracking.account import (
    NotUploaded,
    Unreachable,
    reach,
    reason_of,
    resolve_mode,
    say,
    stay_offline,
)
from circuitwatch.tracking.alone import InUse, hold_run
from circuitwatch.tracking.settings import TrackingConfig

if TYPE_CHECKING:
    from circuitwatch.tracking.runs import CellRun
    from circuitwatch.tracking.server import Held

IN_USE = "is in use"
"""What W&B says of the id of a run whose start failed, if it is started once more (0.31)."""


class Tracker:
    """Logs a cell's records. Use as a context manager: leaving it finishes the run.

    cell: whose records those on disk are sent at once; config: where to; sweep: its name, for what
    is said.
    """

    def __init__(self, cell: Cell, config: TrackingConfig, *, sweep: str) -> None:
        self._cell, self._config = cell, config
        self._run: CellRun | None = None
        self._out_of_order = False
        self._later = send_later(cell, sweep)
        self._alone = contextlib.ExitStack()
        self.mode = resolve_mode(config.mode)
        if self.mode == "online":
            self._start_if_alone()
        elif self.mode == "offline":
            self._attempt(self._start)

    def __enter__(self) -> Tracker:
        return self

    def __exit__(self, kind: object, *_: object) -> None:
        self.finish(failed=kind is not None)

    def log(self, record: CheckpointRecord, seconds: Mapping[str, float] | None = None) -> None:
        """Send one record; seconds: that the parts of its analysis took."""
        run = self._run
        if run is not None:
            self._attempt(lambda: self._log(run, record, seconds or {}))

    def complete(self) -> None:
        """Send what the cell says as a whole; for a cell that is done."""
        if self._run is not None and not self._out_of_order:
            self._attempt(self._run.complete)

    def finish(self, *, failed: bool = False) -> None:
        """Send what is left and end the run."""
        with self._alone:
            self._finish(failed=failed)

    def _finish(self, *, failed: bool) -> None:
        if self._run is None:
            return
        run, self._run = self._run, None
        try:
            run.session.finish(failed=failed)
        except NotUploaded as error:
            self._not_uploaded(str(error))
            return
        if self._out_of_order:
            say(f"W&B: some rows came out of order and are not there; {self._later}")
        elif self.mode == "offline":
            kept = shlex.quote(str(run.session.folder))
            say(f"W&B: run kept offline; `wandb sync {kept}` or {self._later}")
        elif lacking := self._lacking():
            say(f"W&B: not all of the run may be there ({lacking}); {self._later}")

    def _lacking(self) -> str:
        """What the server lacks of the rows, empty if nothing: W&B says nothing of those that it
        refuses.
        """
        from circuitwatch.tracking.runs import places_of

        try:
            held = self._held()
        except Exception as error:  # W&B raises many kinds
            return f"the server can't be asked what it has: {reason_of(error)}"
        whole = held is not None and held.places == places_of(self._cell)
        return "" if whole else "the server has not all of its rows"

    def _held(self) -> Held | None:
        from circuitwatch.tracking.identity import identity_of
        from circuitwatch.tracking.server import held_of

        return held_of(self._config.project, self._config.entity, identity_of(self._cell))

    def _not_uploaded(self, why: str) -> None:
        stay_offline(why)
        say(f"W&B: not all of the run was uploaded ({why}); {self._later}")

    def _start_if_alone(self) -> None:
        """Start online, unless another process sends the run: then this cell is not tracked."""
        try:
            self._alone.enter_context(hold_run(self._cell))
        except InUse as error:
            say(f"W&B: {error}; records go on without it; {self._later}")
            return
        self._start_online()

    def _start_online(self) -> None:
        """Start online, or find out that it must be offline, for this and later cells."""
        try:
            reach()
            self._start()
        except Unreachable as error:
            stay_offline(str(error))
            self.mode = "offline"
            self._start_offline(str(error))
        except Exception as error:  # W&B raises many kinds
            self._failed(error)

    def _start_offline(self, why: str) -> None:
        """Start offline a run that could not be started online, and say why. One whose start
        failed half-way is in use for W&B as long as the process lasts, so it can't be kept.
        """
        kept = "runs are kept offline from now on"
        problem: Exception | None = None
        try:
            self._start()
        except Exception as error:  # W&B raises many kinds
            if IN_USE in str(error):
                kept = "this run is not kept, later ones are kept offline"
            else:
                problem = error
        say(f"W&B: {why}; {kept}; {self._later}")
        if problem is not None:
            self._failed(problem)

    def _start(self) -> None:
        from circuitwatch.tracking import runs

        online, held = self.mode == "online", None
        if online and self._cell.steps_done():
            try:
                held = self._held()
            except Exception as error:  # W&B raises many kinds
                raise Unreachable(reason_of(error)) from error
        self._run = runs.start(self._cell, self._config, online=online, held=held)
        if online:
            say(f"W&B: {self._run.session.url}")
        self._run.log_all()

    def _log(self, run: CellRun, record: CheckpointRecord, seconds: Mapping[str, float]) -> None:
        self._out_of_order |= not run.log(record, seconds)

    def _attempt(self, action: Callable[[], object]) -> None:
        """Do something with W&B; its failure is reported once and ends tracking, not the cell."""
        try:
            action()
        except Exception as error:  # W&B raises many kinds, and none may cost the analysis
            self._failed(error)

    def _failed(self, error: Exception) -> None:
        run, self._run = self._run, None
        if isinstance(error, NotUploaded):
            stay_offline(str(error))
        say(f"W&B: {reason_of(error)}; tracking stopped, records go on; {self._later}")
        if run is not None:
            with contextlib.suppress(Exception):  # said already
                run.session.finish(failed=True)


def send_if_needed(cell: Cell, config: TrackingConfig, *, sweep: str) -> None:
    """Make the run of a cell that is done whole, if the server can be reached; what can't be sent
    is said.
    """
    from circuitwatch.tracking.account import connect
    from circuitwatch.tracking.sending import send_cell

    if resolve_mode(config.mode) != "online":
        return  # the server could not be reached for the cell before, which was said
    try:
        sent = send_cell(cell, config, connect())
    except InUse as error:
        say(f"W&B: {error}; {send_later(cell, sweep)}")
        return
    except Exception as error:  # W&B raises many kinds, and none may cost the sweep
        stay_offline(str(error))
        say(f"W&B: {reason_of(error)}; {send_later(cell, sweep)}")
        return
    say(f"W&B: {sent.done}, {sent.url}")


def send_later(cell: Cell, sweep: str) -> str:
    """What sends a cell's run when W&B can be reached again."""
    out = cell.folder.parents[3] if len(cell.folder.parents) > 3 else None
    where = "" if out is None or str(out) == "multirun" else f" out={shlex.quote(str(out))}"
    return f"`circuitwatch track sweep={shlex.quote(sweep)}{where}` sends it"
