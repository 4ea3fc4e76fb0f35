"""Where cells disagree on what a role, a quantity or a task is: cells of two configurations, or of
two versions of the package that defines it.

How a curve rises, and who holds a role, is read as the curve's own cells say
(`curves.Curves.facts_of`); words, and levels that are drawn, are the first cell's. A note says so.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import fields
from typing import Any

from circuitwatch.facts import FUNCTIONS, Facts, TaskFacts

UNCOMPARED = (*FUNCTIONS, "confirmed_on")
"""What is not compared; confirmed_on has the names of tasks, which a summary changes."""


def disagreements(said: Sequence[tuple[str, Mapping[str, Any]]]) -> list[str]:
    """One note a role, quantity or task on which some cells disagree.

    said: what each cell is called, and what it says of itself (`cell.json`, its task under the name
    that it has in the summary), in the order in which they are believed; those that keep no facts,
    as cells of earlier versions, come after the others.
    """
    seen: dict[tuple[str, str], list[tuple[str, Any]]] = {}
    for about, header in sorted(said, key=lambda one: not one[1].get("facts")):
        for kind, name, item in _facts_of(header):
            seen.setdefault((kind, name), []).append((about, item))
    found = {key: lines for key, items in seen.items() if (lines := _differences(items))}
    curves = {f"roles/{name}/max" for kind, name in found if kind == "role"}
    return [
        f"{kind} {name}: cells disagree ({'; '.join(lines)}): each curve is read as its own cell "
        f"says; words and drawn levels are those of {seen[kind, name][0][0]}"
        for (kind, name), lines in found.items()
        if not (kind == "quantity" and name in curves)  # the role's own curve: said once
    ]


def _facts_of(header: Mapping[str, Any]) -> Iterator[tuple[str, str, Any]]:
    facts = Facts.of_headers([header])
    task = str(header["task"])
    yield "task", task, facts.task(task)
    for name, role in facts.roles.items():
        yield "role", name, role
    for key, quantity in facts.quantities.items():
        yield "quantity", key, quantity


def _differences(items: Sequence[tuple[str, Any]]) -> list[str]:
    """What of one thing several cells say differently, and who first says each."""
    lines = []
    for name in (f.name for f in fields(items[0][1]) if f.name not in UNCOMPARED):
        who: dict[str, str] = {}
        for about, item in items:
            if not (isinstance(item, TaskFacts) and not item.metric):  # it says nothing of its task
                who.setdefault(_plain(getattr(item, name)), about)
        if len(who) > 1:
            values = ", ".join(f"{value} in {about}" for value, about in who.items())
            lines.append(f"{name} {values}")
    return lines


def _plain(value: Any) -> str:
    return f"{value:g}" if isinstance(value, float) else str(value)
