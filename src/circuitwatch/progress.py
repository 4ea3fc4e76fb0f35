"""What a person sees while a cell is watched: a bar with the checkpoint, what is being done and the
time left; a table at the end.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Collection
from datetime import timedelta
from types import TracebackType
from typing import Any

import numpy as np
import pandas as pd
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
from rich.table import Table

from circuitwatch.facts import Facts
from circuitwatch.record_files import PREFIX_REMOVED
from circuitwatch.records import Cell
from circuitwatch.units import counted, format_tokens

TABLE_ROWS = 14
TABLE_WIDTH = 146
STYLE: dict[str, Any] = {
    "title_justify": "left",
    "caption_justify": "left",
    "box": rich.box.SIMPLE_HEAD,
    "padding": (0, 1, 0, 0),
}
QUIET = 30.0
"""Seconds without a line, off a terminal, after which one says what is being done."""
ROLES_SHOWN = 6
"""Roles in the table of a cell."""


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


EFFECT = (
    "\neffect: what the deciding word does, clean less corrupted; a behaviour needs "
    "both above chance"
)
OUT_OF_RANGE = (
    "\n!: faithfulness above 1.2 or below −0.2: this circuit does more than the "
    "model, or the opposite"
)
"""Printed below the table of a cell, the second where it happens."""


def wide_console() -> Console:
    """Standard output, at least as wide as our tables: what is piped into a file should not be cut
    to 80 columns.
    """
    console = Console()
    return console if console.width >= TABLE_WIDTH else Console(width=TABLE_WIDTH)


def cell_tables(cell: Cell) -> tuple[Table, Table]:
    """About a dozen of a cell's checkpoints, the first and last among them: behaviour and circuit,
    and the strongest head of each role.
    """
    scalars = cell.scalars_table().astype(object)
    shown = scalars.iloc[
        np.unique(
            np.linspace(0, len(scalars) - 1, min(TABLE_ROWS, len(scalars))).round().astype(int)
        )
    ]
    title = f"{cell.header['model']['name']} · {cell.header['task']} · seed {cell.header['seed']}"
    circuits = Table(title=title, **STYLE)
    heads = Table(title="strongest head of each role", caption=_caption(cell, scalars), **STYLE)
    facts = Facts.of_headers([cell.header])
    roles = roles_shown(facts, cell.header["task"], scalars.columns)
    for name in (
        "tokens",
        "behaviour",
        "95 % interval",
        "effect",
        "95 % interval ",
        "accuracy",
        "circuit edges",
        "share",
        "recovery",
        "faithful",
        "edge Jaccard",
    ):
        circuits.add_column(name, justify="right", no_wrap=True)
    for name in ("tokens", *(facts.words(role) for role in roles)):
        heads.add_column(name, justify="right", no_wrap=True)
    for _, row in shown.iterrows():
        circuits.add_row(
            format_tokens(row["tokens"]),
            _number(row, "behaviour/value"),
            f"{_number(row, 'behaviour/low')} … {_number(row, 'behaviour/high')}",
            _number(row, "behaviour/effect"),
            f"{_number(row, 'behaviour/effect_low')} … {_number(row, 'behaviour/effect_high')}",
            _number(row, "behaviour/accuracy"),
            _number(row, "circuit/edges", "d"),
            _number(row, "circuit/edges_share", ".1%"),
            _number(row, "circuit/recovery"),
            _number(row, "circuit/faithfulness")
            + (" !" if row.get("circuit/out_of_range") is True else ""),
            _number(row, "overlap/edge_jaccard"),
        )
        strongest = [
            f"{_number(row, f'roles/{role}/max')} {row.get(f'roles/{role}/head', '')}"
            for role in roles
        ]
        heads.add_row(format_tokens(row["tokens"]), *strongest)
    return circuits, heads


def roles_shown(facts: Facts, task: str, scalars: Collection[str]) -> list[str]:
    """The first roles that serve the task, or of all if none does, that have a curve among the
    names of scalars.
    """
    serving = facts.task(task).roles or tuple(facts.roles)
    drawn = [role for role in serving if facts.role(role).quantity.key in scalars]
    return drawn[:ROLES_SHOWN]


def _caption(cell: Cell, scalars: pd.DataFrame) -> str:
    skipped = [f"{entry['revision']} ({entry['reason']})" for entry in cell.skipped().values()]
    more = f" and {len(skipped) - 3} more" if len(skipped) > 3 else ""
    usable = ", ".join(
        f"{count} {words.replace('_', ' ')}"
        for words, count in cell.header.get("lexicon", {}).items()
    )
    words = f"\nwith this tokenizer: {usable}" if usable else ""
    flagged = scalars.get("circuit/out_of_range", pd.Series(dtype=object)).eq(True)
    bos = cell.header.get("bos", "")
    begins = f"every prompt begins with {bos}" if bos else "no token is put before the prompts"
    begins = f"\n{begins}" if "bos" in cell.header else ""
    words = EFFECT + (OUT_OF_RANGE if flagged.any() else "") + words + begins
    prefixes = scalars[PREFIX_REMOVED].dropna() if PREFIX_REMOVED in scalars else []
    wrapped = ", ".join(sorted(set(prefixes)))
    names = counted(len(prefixes), "checkpoint's weights", "checkpoints' weights")
    taken_off = f"\ntaken off the names of {names}: {wrapped}" if wrapped else ""
    return f"{counted(len(scalars), 'checkpoint')} in {cell.folder}{words}{taken_off}" + (
        f"\nskipped: {'; '.join(skipped[:3])}{more}" if skipped else ""
    )


def _number(row: pd.Series, name: str, form: str = ".2f") -> str:
    value = row.get(name)
    if value is None or pd.isna(value):
        return "–"
    return format(int(value) if form == "d" else float(value), form)
