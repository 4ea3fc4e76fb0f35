"""What is printed when a cell ends, from its records: what the model does at the first and at the
last checkpoint, its circuit, the strongest heads, how long it took, and what to do next.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from rich.console import Console
from rich.markup import escape
from rich.table import Table

from circuitwatch.beside import MISSING, say
from circuitwatch.facts import Facts
from circuitwatch.progress import STYLE
from circuitwatch.record_files import DUPLICATE_OF, PREFIX_REMOVED, Scalar
from circuitwatch.records import Cell
from circuitwatch.units import counted, format_duration, format_number, format_tokens

ROLES_SHOWN = 6
"""Roles in the table of a cell."""
REASONS_SHOWN = 3
"""Checkpoints that were skipped that are named with their reason."""
OUT_OF_RANGE = (
    "faithfulness above 1.2 or below −0.2: this circuit does more than the model, or the opposite"
)
NOT_ABOVE_CHANCE = "none: behaviour not above chance"
"""What `circuit/status` says where there is nothing to explain; the row above says so already."""


@dataclass(frozen=True)
class Seen:
    """One checkpoint of a cell: its tokens and scalars."""

    step: int
    tokens: int
    scalars: Mapping[str, Scalar]

    def number(self, name: str) -> float | None:
        """A scalar that is a number; none where there is none."""
        value = self.scalars.get(name)
        return float(value) if isinstance(value, int | float) and value == value else None

    @property
    def is_above_chance(self) -> bool:
        """Whether the task's behaviour is above chance."""
        return self.scalars.get("behaviour/above_chance") is True


class CellEnd:
    """A cell as its end is told: its checkpoints, without those that have the weights of another.

    Reads each record's scalars once. Raises UserError if one is damaged.
    """

    def __init__(self, cell: Cell) -> None:
        self.cell = cell
        self.steps = cell.steps_done()
        tokens = {entry["step"]: entry["tokens"] for entry in cell.header["schedule"]}
        self.every = [
            Seen(step, int(tokens[step]), cell.scalars_of(step))
            for step in self.steps
            if step in tokens
        ]
        self.seen = [one for one in self.every if DUPLICATE_OF not in one.scalars] or self.every

    @cached_property
    def facts(self) -> Facts:
        """What the cell says of its task and roles."""
        return Facts.of_headers([self.cell.header])

    @property
    def model(self) -> str:
        """Name of the model."""
        return str(self.cell.header["model"]["name"])

    @property
    def params(self) -> float | None:
        """Parameters of the model, where the cell says."""
        return self.cell.header["model"].get("params_total")

    @property
    def task(self) -> str:
        """Name of the task."""
        return str(self.cell.header["task"])

    @property
    def seconds(self) -> float:
        """Seconds of one process that the records took."""
        return sum(self.cell.seconds(step).get("total", 0.0) for step in self.steps)

    @property
    def above_chance_from(self) -> int | None:
        """Tokens of the first checkpoint from which on all are above chance; none if the last one
        isn't, or if all are.
        """
        place = len(self.seen)
        while place and self.seen[place - 1].is_above_chance:
            place -= 1
        return self.seen[place].tokens if 0 < place < len(self.seen) else None

    @property
    def last_circuit(self) -> Seen | None:
        """The last checkpoint that has a circuit."""
        found = (one for one in reversed(self.seen) if one.number("circuit/edges") is not None)
        return next(found, None)


def roles_shown(facts: Facts, task: str, scalars: Collection[str]) -> list[str]:
    """The first roles that serve the task, or of all if none does, that have a curve among the
    names of scalars.
    """
    serving = facts.task(task).roles or tuple(facts.roles)
    drawn = [role for role in serving if facts.role(role).quantity.key in scalars]
    return drawn[:ROLES_SHOWN]


def print_cell(cell: Cell, console: Console, then: str | None = None) -> None:
    """Print how a cell ended.

    Args:
        cell: the cell.
        console: where.
        then: the command to go on with, if there is one.
    """
    end = CellEnd(cell)
    if end.seen:
        console.print(_table(end))
        for line in _remarks(end):
            say(console, line)
    say(console, f"{_checkpoints(end)} in {format_duration(end.seconds)}: {cell.folder}")
    if then:
        say(console, f"next: {then}")


def one_line(cell: Cell) -> str:
    """How a cell ended, in a line: for a sweep, whose end has a table."""
    end = CellEnd(cell)
    name = f"{end.model} × {end.task}"
    if not end.seen:
        return f"{name}: {_checkpoints(end)}"
    last = end.seen[-1]
    chance = "above chance" if last.is_above_chance else "not above chance"
    return (
        f"{name}: behaviour {format_number(last.number('behaviour/value'))}, {chance}, circuit "
        f"{circuit_words(last)}; {_checkpoints(end)} in {format_duration(end.seconds)}"
    )


def circuit_words(seen: Seen) -> str:
    """`37 edges (7.2 %)`, or why there is none."""
    edges, share = seen.number("circuit/edges"), seen.number("circuit/edges_share")
    if edges is None:
        status = str(seen.scalars.get("circuit/status", MISSING))
        return "none" if status == NOT_ABOVE_CHANCE else status
    return f"{edges:.0f} edges" + ("" if share is None else f" ({share:.1%})")


def _table(end: CellEnd) -> Table:
    """The first and the last checkpoint beside each other."""
    first, last = end.seen[0], end.seen[-1]
    facts, seed = end.facts, end.cell.header["seed"]
    task = facts.task(end.task)
    metric = f" ({task.metric_words})" if task.metric_words else ""
    title = f"{end.model} · {task.words}{metric} · seed {seed}"
    table = Table(title=escape(title), **STYLE)
    shown = [first, last] if last.step != first.step else [last]
    table.add_column("", no_wrap=True)
    for head in ("first checkpoint", "last checkpoint")[-len(shown) :]:
        table.add_column(head, justify="right")

    def add(name: str, *values: str, ends: bool = False) -> None:
        table.add_row(escape(name), *map(escape, values), end_section=ends)

    add("tokens", *(format_tokens(one.tokens) for one in shown))
    add("behaviour", *(_estimate(one, "behaviour/value", "behaviour/") for one in shown))
    effect = ("behaviour/effect", "behaviour/effect_")
    add("effect of the deciding word", *(_estimate(one, *effect) for one in shown))
    add("both above chance", *map(_chance, shown))
    add("accuracy", *(_value(one, "behaviour/accuracy") for one in shown))
    add("circuit", *map(circuit_words, shown))
    if end.last_circuit is not None:
        for name in ("recovery", "faithfulness"):
            add(name, *(_value(one, f"circuit/{name}") for one in shown))
    roles = roles_shown(facts, end.task, [name for one in shown for name in one.scalars])
    if roles:
        table.add_section()
        table.add_row("strongest heads")
        for role in roles:
            add(f"  {facts.words(role)}", *(_strongest(one, role) for one in shown))
    return table


def _remarks(end: CellEnd) -> list[str]:
    """What else there is to know of the numbers, a line each."""
    header = end.cell.header
    lines = []
    if (since := end.above_chance_from) is not None:
        lines.append(f"above chance from {format_tokens(since)} tokens on")
    flagged = sum(one.scalars.get("circuit/out_of_range") is True for one in end.seen)
    if flagged:
        lines.append(f"at {flagged} of {len(end.seen)} checkpoints {OUT_OF_RANGE}")
    begins = []
    if "bos" in header:
        bos = header["bos"]
        begins.append(
            f"every prompt begins with {bos}" if bos else "no token is put before the prompts"
        )
    usable = [
        f"{count} {words.replace('_', ' ')}" for words, count in header.get("lexicon", {}).items()
    ]
    if usable:
        begins.append(f"with this tokenizer: {', '.join(usable)}")
    if begins:
        lines.append("; ".join(begins))
    taken = [str(one.scalars[PREFIX_REMOVED]) for one in end.every if PREFIX_REMOVED in one.scalars]
    if taken:
        prefixes = ", ".join(sorted(set(taken)))
        names = counted(len(taken), "checkpoint's weights", "checkpoints' weights")
        lines.append(f"taken off the names of {names}: {prefixes}")
    skipped = [f"{e['revision']} ({e['reason']})" for e in end.cell.skipped().values()]
    if skipped:
        more = len(skipped) - REASONS_SHOWN
        lines.append(
            f"skipped: {'; '.join(skipped[:REASONS_SHOWN])}" + (f" and {more} more" * (more > 0))
        )
    return lines


def _checkpoints(end: CellEnd) -> str:
    skipped = len(end.cell.skipped())
    return f"{len(end.steps)} checkpoints" + (f", {skipped} skipped" if skipped else "")


def _value(seen: Seen, name: str) -> str:
    return format_number(seen.number(name)) or MISSING


def _estimate(seen: Seen, name: str, ends: str) -> str:
    """A number with its 95 % interval."""
    if seen.number(name) is None:
        return MISSING
    low, high = (_value(seen, f"{ends}{end}") for end in ("low", "high"))
    return _value(seen, name) + ("" if MISSING in (low, high) else f" [{low}, {high}]")


def _chance(seen: Seen) -> str:
    if seen.is_above_chance:
        return "yes"
    why: Any = seen.scalars.get("behaviour/not_above_chance")
    return f"no ({why})" if why else "no"


def _strongest(seen: Seen, role: str) -> str:
    head = seen.scalars.get(f"roles/{role}/head")
    return f"{_value(seen, f'roles/{role}/max')} {head or ''}".rstrip()
