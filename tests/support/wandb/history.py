"""A run's lines: how a streamed chunk changes them, and the ways in which its history is read."""

from __future__ import annotations

import json
import math
from typing import Any

from support.wandb.store import StoredRun, now


def take(run: StoredRun, body: dict[str, Any], *, anew: bool) -> dict[str, Any]:
    """Take in what a client streams to a run. The lines of a chunk replace those from its offset
    on; a stream that starts at the first line may start `anew`, so that what was there is gone.
    """
    run.heartbeat = now()
    for name, chunk in (body.get("files") or {}).items():
        content = chunk.get("content") or []
        if name == "wandb-summary.json":
            run.summary_text = content[-1] if content else run.summary_text
        elif name == "wandb-history.jsonl":
            _replace(run.history, chunk.get("offset", 0), content, "{}", anew=anew)
        elif name == "wandb-events.jsonl":
            _replace(run.events, chunk.get("offset", 0), content, "{}", anew=anew)
        elif name == "output.log":
            _replace(run.output, chunk.get("offset", 0), content, "", anew=False)
    if body.get("complete"):
        run.state = "failed" if body.get("exitcode") else "finished"
    elif body.get("preempting"):
        run.state = "preempting"
    elif run.state not in ("finished", "failed"):
        run.state = "running"
    return {"exitcode": None, "limits": {}, "stopped": run.stop}


def _replace(lines: list[str], offset: int, content: list[str], blank: str, *, anew: bool) -> None:
    if offset == 0 and anew and content:
        lines.clear()
    lines.extend([blank] * (offset - len(lines)))
    lines[offset : offset + len(content)] = content


def between(run: StoredRun, samples: int | None, first: int | None, end: int | None) -> list[str]:
    """The lines whose step is from `first` up to before `end`, in the order of the steps."""
    found = [(row.get("_step", 0), line) for row, line in zip(run.rows(), run.history, strict=True)]
    kept = [
        line
        for step, line in sorted(found, key=lambda pair: pair[0])
        if (first is None or step >= first) and (end is None or step < end)
    ]
    if first is None and end is None:
        return thinned(kept, samples)
    return kept[:samples]


def thinned(items: list[Any], number: int | None) -> list[Any]:
    """No more than so many of some items, evenly chosen, the first and the last among them."""
    if number is None or len(items) <= number:
        return items
    last = len(items) - 1
    return [items[round(at * last / max(number - 1, 1))] for at in range(number)]


def sampled(run: StoredRun, spec: dict[str, Any]) -> list[dict[str, Any]]:
    """The rows that have all keys of a spec, only these keys, no more than its `samples`; from its
    `minStep` to its `maxStep`, which here is the last.
    """
    keys = spec.get("keys") or []
    first, last = spec.get("minStep"), spec.get("maxStep")
    rows = [
        {key: row[key] for key in keys} if keys else row
        for row in run.rows()
        if all(key in row for key in keys)
        and (first is None or row.get("_step", 0) >= first)
        and (last is None or row.get("_step", 0) <= last)
    ]
    return thinned(rows, spec.get("samples"))


def keys(run: StoredRun) -> dict[str, Any]:
    """What is known of the history's keys: the kinds of their values and whether they only grow."""
    told: dict[str, Any] = {}
    last_step = -1
    for row in run.rows():
        last_step = max(last_step, row.get("_step", -1))
        for key, value in row.items():
            one = told.setdefault(
                key, {"typeCounts": [], "monotonic": True, "previousValue": -1.7e308}
            )
            counts = one["typeCounts"]
            kind = _kind(value)
            for count in counts:
                if count["type"] == kind:
                    count["count"] += 1
                    break
            else:
                counts.append({"type": kind, "count": 1})
            if kind == "number" and math.isfinite(value):
                one["monotonic"] &= value >= one["previousValue"]
                one["previousValue"] = value
    return {"lastStep": last_step, "sets": [], "keys": told}


def tail(lines: list[str]) -> str:
    """The last line as the client of a resumed run gets it: JSON of a list of JSON."""
    return json.dumps(lines[-1:])


def _kind(value: Any) -> str:
    match value:
        case dict():
            return str(value.get("_type", "map"))
        case list():
            return "array"
        case bool() | str() | None:
            return "string"
    return "number"
