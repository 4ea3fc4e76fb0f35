"""Which runs a filter means and in which order they come: W&B's filters are MongoDB's query
language over the fields of a run, its orders a field with a sign.
"""

from __future__ import annotations

import json
import operator
import re
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from support.wandb.graphql import Unknown

if TYPE_CHECKING:
    from support.wandb.store import StoredRun

_MISSING = object()

_COMPARISONS: dict[str, Callable[[Any, Any], bool]] = {
    "$gt": operator.gt,
    "$gte": operator.ge,
    "$lt": operator.lt,
    "$lte": operator.le,
}


def chosen(runs: list[StoredRun], filters: str | None, order: str | None) -> list[StoredRun]:
    """The runs that a filter (JSON) lets through, in an order such as `-created_at`."""
    wanted = json.loads(filters) if filters else {}
    kept = [run for run in runs if matches(run, wanted)]
    by = order or "+created_at"
    return sorted(kept, key=lambda run: _rank(run, by), reverse=by.startswith("-"))


def matches(run: StoredRun, wanted: dict[str, Any]) -> bool:
    """Whether a run is one of those that a filter describes."""
    for key, what in wanted.items():
        match key:
            case "$and":
                holds = all(matches(run, part) for part in what)
            case "$or":
                holds = any(matches(run, part) for part in what)
            case "$nor":
                holds = not any(matches(run, part) for part in what)
            case "$not":
                holds = not matches(run, what)
            case _:
                holds = _holds(_value(run, key), what)
        if not holds:
            return False
    return True


def _holds(value: Any, what: Any) -> bool:
    if not (isinstance(what, dict) and what and all(key.startswith("$") for key in what)):
        return _equal(value, what)
    return all(_test(value, name, than) for name, than in what.items())


def _test(value: Any, name: str, than: Any) -> bool:
    match name:
        case "$eq":
            return _equal(value, than)
        case "$ne":
            return not _equal(value, than)
        case "$in":
            return any(_equal(value, one) for one in than)
        case "$nin":
            return not any(_equal(value, one) for one in than)
        case "$exists":
            return (value is not _MISSING) == bool(than)
        case "$regex":
            return isinstance(value, str) and re.search(than, value) is not None
        case "$not":
            return not _holds(value, than)
    if name not in _COMPARISONS:
        raise Unknown(f"Unknown operator {name} in a filter")
    try:
        return bool(_COMPARISONS[name](value, than))
    except TypeError:
        return False


def _equal(value: Any, other: Any) -> bool:
    if value is _MISSING:
        return other is None
    if isinstance(value, list) and not isinstance(other, list):
        return other in value
    return bool(value == other)


def _value(run: StoredRun, key: str) -> Any:
    """A run's field by the name it has in a filter; dots lead into config and summary."""
    first, _, rest = key.partition(".")
    if first == "config":
        return _inside(run.config, rest)
    if first in ("summary_metrics", "summaryMetrics", "summary"):
        return _inside(run.summary, rest)
    fields = {
        "name": run.id,
        "display_name": run.display_name,
        "displayName": run.display_name,
        "group": run.group,
        "jobType": run.job_type,
        "job_type": run.job_type,
        "state": run.state,
        "tags": run.tags,
        "notes": run.notes,
        "created_at": run.created,
        "createdAt": run.created,
        "heartbeat_at": run.heartbeat,
        "heartbeatAt": run.heartbeat,
        "username": run.entity,
    }
    if key not in fields:
        raise Unknown(f"Unknown field {key} in a filter or an order of runs")
    return _MISSING if fields[key] is None else fields[key]


def _inside(values: dict[str, Any], path: str) -> Any:
    """A value by a path with dots. A key may itself have dots, and a config's values may be asked
    for as `config.key.value`.
    """
    for whole in (path, path.removesuffix(".value")):
        if whole in values:
            return values[whole]
    for dot in re.finditer(r"\.", path):
        inner = values.get(path[: dot.start()])
        if isinstance(inner, dict):
            return _inside(inner, path[dot.end() :])
    return _MISSING


def _rank(run: StoredRun, part: str) -> tuple[bool, Any]:
    """What runs are sorted by: those that lack the field come last, or first if reversed."""
    value = _value(run, part.lstrip("+-"))
    if part.lstrip("+-") in ("created_at", "createdAt"):
        return False, run.number
    if isinstance(value, bool | int | float):
        return False, (0, value, "")
    return value is _MISSING, (1, 0, "" if value is _MISSING else str(value))
