"""Two ways of making a task's prompts, or two metrics of it, are two tasks in a summary: their
values have nothing in common that could be pooled.

A variant (`facts.TaskFacts.variant`) is always part of the task's name, `greater_than (tens)`; a
metric is where cells of a task differ in it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from circuitwatch.facts import Facts, TaskFacts


def told_apart(
    headers: Sequence[Mapping[str, Any]],
) -> tuple[list[Mapping[str, Any]], list[str]]:
    """What cells say of themselves (`cell.json`), those of a variant or of another metric under a
    task name of their own; and notes on tasks of which there are several.

    What they say of the task, and of roles that can be confirmed in it, is under the new name too.
    """
    tasks = [Facts.of_headers([header]).task(str(header["task"])) for header in headers]
    metrics: dict[str, set[str]] = {}
    for task in tasks:
        metrics.setdefault(_with(task.name, task.variant), set()).add(task.metric)
    names: dict[str, dict[str, None]] = {}
    found = []
    for header, task in zip(headers, tasks, strict=True):
        several = len(metrics[_with(task.name, task.variant)]) > 1
        name = _with(task.name, task.variant, task.metric_words if several else "")
        names.setdefault(task.name, {})[name] = None
        found.append(header if name == task.name else _renamed(header, task, name))
    notes = [
        f"{task}: cells differ in how its prompts are made or in its metric, so they are "
        f"{len(several)} tasks here: {', '.join(sorted(several))}"
        for task, several in names.items()
        if len(several) > 1
    ]
    return found, notes


def _with(name: str, *parts: str) -> str:
    said = ", ".join(filter(None, parts))
    return f"{name} ({said})" if said else name


def _renamed(header: Mapping[str, Any], task: TaskFacts, name: str) -> dict[str, Any]:
    facts = Facts.of_headers([header]).of_cell(task.name)
    (said,) = facts["tasks"].values()
    words = name.replace(task.name, task.words, 1)
    roles = {
        role: {**item, "confirmed_on": _also(item.get("confirmed_on", {}), task.name, name)}
        for role, item in facts["roles"].items()
    }
    tasks = {name: {**said, "name": name, "words": words}}
    return {**header, "task": name, "facts": {**facts, "tasks": tasks, "roles": roles}}


def _also(confirmed_on: Mapping[str, str], task: str, name: str) -> dict[str, str]:
    """Where a role can be confirmed, with the new name of a task beside the old one."""
    more = {name: confirmed_on[task]} if task in confirmed_on else {}
    return {**confirmed_on, **more}
