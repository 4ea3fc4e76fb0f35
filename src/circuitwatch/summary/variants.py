"""Two ways of making a task's prompts, or two metrics of it, are two tasks in a summary: their
values have nothing in common that could be pooled.

A variant (`facts.TaskFacts.variant`) is always part of the task's name, `greater_than (tens)`; a
metric is where cells of a task differ in it.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from typing import Any

from circuitwatch.facts import Facts, TaskFacts
from circuitwatch.summary.cells import RECORDED_TASK


def told_apart(
    headers: Sequence[Mapping[str, Any]],
) -> tuple[list[Mapping[str, Any]], list[str]]:
    """What cells say of themselves (`cell.json`), those of a variant or of another metric under a
    task name of their own; and notes on tasks of which there are several.

    What they say of the task, and of roles that can be confirmed in it, is under the new name too;
    the name in the files is kept beside it (`cells.RECORDED_TASK`).
    """
    tasks = [Facts.of_headers([header]).task(str(header["task"])) for header in headers]
    metrics: dict[str, set[str]] = {}
    for task in tasks:
        known = metrics.setdefault(_with(task.name, task.variant), set())
        known |= {task.metric} - {""}  # one that isn't known is no other metric
    shown: list[str] = []
    names: dict[str, dict[str, None]] = {}
    for task in tasks:
        several = len(metrics[_with(task.name, task.variant)]) > 1
        shown.append(_with(task.name, task.variant, task.metric_words if several else ""))
        names.setdefault(task.name, {})[shown[-1]] = None
    if all(set(several) == {task} for task, several in names.items()):
        return list(headers), []
    found: list[Mapping[str, Any]] = [
        _renamed(header, task, name, names) if _is_concerned(header, name, names) else header
        for header, task, name in zip(headers, tasks, shown, strict=True)
    ]
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


def _is_concerned(
    header: Mapping[str, Any], name: str, names: Mapping[str, Collection[str]]
) -> bool:
    """Whether a cell gets another name for its task, or says that a role can be confirmed in a task
    that gets one.
    """
    if name != header["task"]:
        return True
    roles = (header.get("facts") or {}).get("roles", {}).values()
    confirming = {task for role in roles for task in role.get("confirmed_on", {})}
    return any(set(several) != {task} for task, several in names.items() if task in confirming)


def _renamed(
    header: Mapping[str, Any],
    task: TaskFacts,
    name: str,
    names: Mapping[str, Collection[str]],
) -> dict[str, Any]:
    """What a cell says, under another name of its task.

    Args:
        header: what it says.
        task: the facts of its task.
        name: the name that the task is to have.
        names: task → all names that it has; a role that can be confirmed in it can be in each.
    """
    facts = Facts.of_headers([header]).of_cell(task.name)
    words = name.replace(task.name, task.words, 1)
    roles = {
        role: {**item, "confirmed_on": _under_all_names(item.get("confirmed_on", {}), names)}
        for role, item in facts["roles"].items()
    }
    tasks = {name: {**facts["tasks"][task.name], "name": name, "words": words}}
    facts = {**facts, "tasks": tasks, "roles": roles}
    return {**header, "task": name, RECORDED_TASK: task.name, "facts": facts}


def _under_all_names(
    confirmed_on: Mapping[str, str], names: Mapping[str, Collection[str]]
) -> dict[str, str]:
    """Where a role can be confirmed, with every name of each task."""
    more = {name: on for task, on in confirmed_on.items() for name in names.get(task, ())}
    return {**confirmed_on, **more}
