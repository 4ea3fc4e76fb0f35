"""Two ways of making a task's prompts, or two metrics of it, are two tasks in a summary: their
values have nothing in common that could be pooled.

A variant (`facts.TaskFacts.variant`) is always part of the task's name, `greater_than (tens)`; a
metric, and a user's own file of prompts, are where cells of a task differ in them. All sources of a
summary are looked at together.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from typing import Any

from circuitwatch.facts import Facts, TaskFacts
from circuitwatch.summary.cells import RECORDED_TASK


def told_apart(
    headers: Sequence[Mapping[str, Any]],
) -> tuple[list[Mapping[str, Any]], list[str]]:
    """What cells and logged runs say of themselves (`cell.json`), those of a variant, of another
    metric or of another file of prompts under a task name of their own; and notes on tasks of which
    there are several.

    What they say of the task, and of roles that can be confirmed in it, is under the new name too;
    the name in the files is kept beside it (`cells.RECORDED_TASK`).
    """
    tasks = [Facts.of_headers([header]).task(str(header["task"])) for header in headers]
    metrics = [task.metric_words or task.metric for task in tasks]
    files = [_file_of(header) for header in headers]
    usual = [_with(task.name, task.variant) for task in tasks]
    shown: list[str] = []
    names: dict[str, dict[str, None]] = {}
    of_metric, of_file = _differing(usual, metrics), _differing(usual, files)
    for task, metric, file in zip(tasks, of_metric, of_file, strict=True):
        shown.append(_with(task.name, task.variant, metric, file))
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


def _file_of(header: Mapping[str, Any]) -> str:
    """The beginning of the SHA-256 of a user's file of prompts; empty for tasks that need none."""
    task = (header.get("config") or {}).get("task")
    found = task.get("sha256") if isinstance(task, Mapping) else None
    return f"file {str(found)[:8]}" if found else ""


def _differing(tasks: Sequence[str], said: Sequence[str]) -> list[str]:
    """What is said of each task where several different things are said of it, else nothing;
    saying nothing is no difference.
    """
    known: dict[str, set[str]] = {}
    for task, what in zip(tasks, said, strict=True):
        known.setdefault(task, set()).update({what} - {""})
    return [what if len(known[task]) > 1 else "" for task, what in zip(tasks, said, strict=True)]


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
