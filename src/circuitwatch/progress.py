"""What a person sees while a cell is watched: a bar with the checkpoint, what is being done and the
time left, and where that and the tables at the end are printed.
"""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Callable
from datetime import timedelta
from types import TracebackType
from typing import Any

import rich.box
from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    SpinnerColumn,
    TextColumn,
    TimeRemainingColumn,
)

TABLE_WIDTH = 146
FILE_WIDTH = 120
STYLE: dict[str, Any] = {
    "title_justify": "left",
    "caption_justify": "left",
    "box": rich.box.SIMPLE_HEAD,
    "padding": (0, 1, 0, 0),
}
QUIET = 30.0
"""Seconds without a line, off a terminal, after which one says what is being done."""


class CellProgress:
    """A bar over units of work.

    On something that is not a terminal it prints one line a unit instead, and what it is at
    whenever nothing was printed for `QUIET` seconds; a wait, which may last for days, says so once.
    """

    def __init__(
        self,
        title: str,
        total: int,
        *,
        done: int = 0,
        console: Console | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.title, self.total, self.done = title, total, done
        self._is_waiting = False
        self._where, self._clock = "", clock
        self._since = self._said = clock()
        self._ended = threading.Event()
        self._pulse: threading.Thread | None = None
        self.console = console or Console(stderr=True)
        self._bar = Progress(
            SpinnerColumn(),
            TextColumn("[bold]{task.description}"),
            BarColumn(),
            MofNCompleteColumn(),
            TextColumn("{task.fields[where]}"),
            TimeRemainingColumn(),
            TextColumn("{task.fields[left]}"),
            console=self.console,
            transient=True,
        )
        self._task = self._bar.add_task(title, total=total, completed=done, where="", left="left")

    def __enter__(self) -> CellProgress:
        if self.console.is_terminal:
            self._bar.start()
        else:
            self._pulse = threading.Thread(target=self._say_at_times, daemon=True)
            self._pulse.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if self.console.is_terminal:  # else it never started, and stopping prints an empty line
            self._bar.stop()
        self._ended.set()
        if self._pulse is not None:
            self._pulse.join()

    def say_if_quiet(self) -> float:
        """Say what is being worked on, how much is done and for how long it has taken, if nothing
        was said for `QUIET` seconds. Returns the seconds until it is time to look again.
        """
        now = self._clock()
        left = self._said + QUIET - now
        if left > 0:
            return left
        if not self._is_waiting:
            spent = timedelta(seconds=round(now - self._since))
            self._say(f"{self.done}/{self.total} {self._where}".rstrip() + f" ({spent} so far)")
        self._said = now
        return QUIET

    def _say_at_times(self) -> None:
        while not self._ended.wait(self.say_if_quiet()):
            pass

    def _say(self, line: str) -> None:
        """Print a line where there is no bar."""
        if not self.console.is_terminal:
            self._said = self._clock()
            self.console.print(f"{self.title} {line}", highlight=False, soft_wrap=True)

    def at(self, where: str) -> None:
        """Show what is being worked on now."""
        self._where = where
        self._bar.update(self._task, where=where)

    def wait(self, line: str) -> None:
        """Show what is waited for. Without a terminal the first line of a wait is enough."""
        self._bar.update(self._task, where=line, left="")
        self._bar.tasks[0].total = None  # which rich shows as a bar that goes back and forth
        if not self._is_waiting:
            self._say(line)
        self._is_waiting = True

    def expect(self, total: int, *, done: int) -> None:
        """There are other numbers of units now, in all and done."""
        self.total, self.done = total, done
        self._bar.update(self._task, total=total, completed=done, left="left")

    def advance(self, line: str) -> None:
        """One unit is done; `line` says what came of it."""
        self.done += 1
        self._is_waiting = False
        self._bar.update(self._task, completed=self.done)
        self._where, self._since = "", self._clock()
        self._say(f"{self.done}/{self.total} {line}")

    def advance_quietly(self, done: int) -> None:
        """`done` units are done; without a terminal only each tenth of the whole is worth a
        line.
        """
        self.done = done
        self._bar.update(self._task, completed=done)
        if done * 10 // self.total > (done - 1) * 10 // self.total:
            self._say(f"{done}/{self.total}")


def wide_console() -> Console:
    """Standard output, at least as wide as our tables: what is piped into a file should not be cut
    to 80 columns.
    """
    console = Console()
    return console if console.width >= TABLE_WIDTH else Console(width=TABLE_WIDTH)


def table_console() -> Console:
    """Standard output for tables that adapt to its width: of a terminal as it is, of a file or a
    pipe FILE_WIDTH columns unless the environment says COLUMNS.
    """
    console = Console()
    if console.is_terminal or os.environ.get("COLUMNS", "").isdigit():
        return console
    return Console(width=FILE_WIDTH)
