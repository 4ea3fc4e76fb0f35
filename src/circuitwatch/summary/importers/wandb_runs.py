"""Runs of a Weights & Biases project, through its public API: what `tracking` logged, or any run
that logs `tokens` or steps.

A run's configuration says what it is: `model` (a name, or a group with `name`), `task`, `seed`, and
`model_facts.params_total` or `params`. Its history gives the values: every number beside `tokens`,
or beside `step` where the tokens of a step are known. Runs that were logged offline are not on the
server; summarise their cells instead, or sync them first.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from circuitwatch.errors import UserError
from circuitwatch.facts import Facts, thresholds_of
from circuitwatch.record_files import circuit_found
from circuitwatch.summary.cells import NO_TASK
from circuitwatch.summary.curves import NORMAL_95, BehaviourKey, Curves, empty_table, named
from circuitwatch.summary.importers.cells import what_is_not_above
from circuitwatch.summary.importers.checks import complete
from circuitwatch.summary.importers.rates import TokensOfStep
from circuitwatch.summary.importers.registry import Registry
from circuitwatch.tracking.account import connect, reason_of
from circuitwatch.tracking.identity import is_summary
from circuitwatch.tracking.names import FOUND, MADE_HERE, STATUS, recorded_name
from circuitwatch.units import counted

AXES = ("tokens", "step")


@dataclass(frozen=True)
class Runs:
    """The runs of a project (`source`), and what each says of itself, as `cell.json` has it: task,
    configuration, and the facts that our own runs log.
    """

    source: str
    runs: Sequence[Any]
    headers: Sequence[Mapping[str, Any]]


def find_runs(project: str, api: Callable[[], Any] = connect) -> Runs:
    """A project's runs, without their histories.

    project: `entity/project`, or `entity/project/group` for the runs of one group (a sweep of
    ours); api makes the API object. Raises UserError if there is no account, no connection, no such
    project, or no run in it.
    """
    entity, _, rest = project.partition("/")
    name, _, group = rest.partition("/")
    if not entity or not name:
        raise UserError(
            f"wandb:{project}: give wandb:<entity>/<project>, or wandb:<entity>/<project>/<group>"
        )
    source, client = f"wandb:{project}", api()
    try:
        found = client.runs(
            f"{entity}/{name}", filters={"group": group} if group else None, lazy=False
        )
        runs = [run for run in found if not is_summary(run.config or {})]
    except Exception as error:
        raise UserError(f"{source}: can't be read ({reason_of(error)})") from error
    if not runs:
        raise UserError(f"{source}: no run there" + (f" of group {group}" if group else ""))
    return Runs(source, runs, [_header(run) for run in runs])


def read_runs(found: Runs, *, registry: Registry, tokens_per_step: TokensOfStep = None) -> Curves:
    """Curves of a project's runs.

    Args:
        found: see `find_runs`; the task of a run is the one that its header has.
        registry: sizes and tokens per step of known models.
        tokens_per_step: for runs that log steps and no tokens.
    """
    source = found.source
    found, notes = _once_each(found)
    rows: list[dict[str, Any]] = []
    not_above: dict[BehaviourKey, dict[float, str]] = {}
    said: list[tuple[BehaviourKey, Mapping[str, Any]]] = []
    empty, failed = [], {}
    for run, header in zip(found.runs, found.headers, strict=True):
        try:
            history = [as_recorded(row, header) for row in run.scan_history()]
            of_run = rows_of_run(run, history, header)
        except Exception as error:
            failed[str(run.name)] = reason_of(error)
            continue
        rows += of_run
        if not of_run:
            empty.append(str(run.name))
            continue
        model = str(of_run[0]["model"])
        of = registry.name_of(model) or model, str(header["task"]), int(of_run[0]["seed"])
        if _is_ours(header):
            said.append((of, header))
        if chance := chance_of_run(history):
            not_above.setdefault(of, {}).update(chance)
    notes += [
        f"{source}: run {run}: history can't be read ({why}): left out"
        for run, why in failed.items()
    ]
    if empty:
        notes.append(
            f"{source}: {counted(len(empty), 'run', 'runs')} ({named(empty)}) with no "
            f"number beside tokens or step: left out"
        )
    if not rows:
        return Curves(empty_table(), notes)
    table = pd.DataFrame(rows)
    of_model = table["task"] == NO_TASK
    table = table[
        ~(of_model & table.duplicated(["model", "seed", "task", "quantity", "tokens", "step"]))
    ]
    curves = complete(
        table.reset_index(drop=True),
        source=source,
        registry=registry,
        tokens_per_step=tokens_per_step,
    )
    return Curves(
        curves.table,
        notes + curves.notes,
        not_above_chance=not_above,
        cell_facts=(Facts.of_headers(found.headers) if any(map(_is_ours, found.headers)) else None),
        said=said,
    )


def _once_each(found: Runs) -> tuple[Runs, list[str]]:
    """Of several runs of ours of one cell, as after a change of names, the one made last; and a
    note on the others.
    """
    last: dict[tuple[Any, ...], int] = {}
    left: dict[int, str] = {}
    for place, (run, header) in enumerate(zip(found.runs, found.headers, strict=True)):
        config = header["config"]
        if not _is_ours(header) or not isinstance(config.get("sweep"), str):
            continue
        about = about_run(run)
        cell = (config["sweep"], about["model"], about["task"], about["seed"])
        if cell in last:
            one, other = sorted((last[cell], place), key=lambda k: _made_at(found.runs[k]))
            left[one], last[cell] = str(found.runs[one].name), other
        else:
            last[cell] = place
    if not left:
        return found, []
    kept = [k for k in range(len(found.runs)) if k not in left]
    note = (
        f"{found.source}: {counted(len(left), 'run')} of cells that have a later one "
        f"({named(list(left.values()))}): left out"
    )
    runs = Runs(found.source, [found.runs[k] for k in kept], [found.headers[k] for k in kept])
    return runs, [note]


def _made_at(run: Any) -> str:
    """When a run was made, as the server says it; nothing where it doesn't."""
    return str(getattr(run, "created_at", "") or "")


def as_recorded(row: Mapping[str, Any], header: Mapping[str, Any]) -> dict[str, Any]:
    """A row of a run's history by the names that our records have, without what W&B has beside
    them; rows of other people's runs as they are.
    """
    metric = header["config"].get("metric") if _is_ours(header) else None
    if not isinstance(metric, str):
        return dict(row)
    return {
        recorded_name(name, metric): value
        for name, value in row.items()
        if not MADE_HERE.fullmatch(name)
    }


def rows_of_run(
    run: Any, history: Iterable[dict[str, Any]], header: Mapping[str, Any] | None = None
) -> list[dict[str, Any]]:
    """One row a number of a run's history; rows of the history that have neither tokens nor step
    give none.

    A checkpoint that was logged twice, by a run that was resumed, has the values that were logged
    last. header: what the run says of itself, where it is not taken from its configuration.
    """
    header = header or _header(run)
    about = about_run(run) | {"task": str(header["task"])}
    facts = Facts.of_headers([header])
    last: dict[tuple[str, float | None, float | None], dict[str, Any]] = {}
    for logged in history:
        numbers = {
            key: float(v)
            for key, v in logged.items()
            if isinstance(v, int | float) and not isinstance(v, bool)
        }
        if isinstance(status := logged.get(STATUS), str):
            numbers.pop(FOUND, None)
            if (found := circuit_found(status)) is not None:
                numbers[FOUND] = found
        tokens, step = (numbers.get(axis) for axis in AXES)
        if tokens is None and step is None:
            continue
        intervals = facts.intervals(numbers)
        ends = {end for pair in intervals.values() for end in pair}
        for name, value in numbers.items():
            if name in AXES or name.startswith("_") or name in ends:
                continue
            low, high = (numbers.get(end, np.nan) for end in intervals.get(name, ("", "")))
            task = NO_TASK if facts.quantity(name).of == "model" else about["task"]
            last[name, tokens, step] = about | {
                "task": task,
                "quantity": name,
                "value": value,
                "stderr": (high - low) / (2 * NORMAL_95),
                "tokens": np.nan if tokens is None else tokens,
                "step": np.nan if step is None else step,
            }
    return list(last.values())


def about_run(run: Any) -> dict[str, Any]:
    """Model, task, seed and params of a run, as its configuration says."""
    config = dict(run.config or {})
    return {
        "model": _name(config.get("model")) or str(run.name),
        "task": _name(config.get("task")) or "run",
        "seed": int(seed) if isinstance(seed := config.get("seed"), int | float) else 0,
        "params": _params(config),
    }


def _header(run: Any) -> dict[str, Any]:
    """What a run says of itself, as `cell.json` has it: task, configuration, and the facts that
    our own runs log.
    """
    config = dict(run.config or {})
    facts = config.get("facts")
    ours = isinstance(facts, dict) and all(isinstance(part, dict) for part in facts.values())
    task = about_run(run)["task"]
    return {"task": task, "config": config, "facts": facts if ours else {}}


def _is_ours(header: Mapping[str, Any]) -> bool:
    """Whether a run says how its curves are read: by facts, or, logged before there were any, by
    the thresholds in its configuration.
    """
    return bool(header["facts"]) or bool(thresholds_of([header]))


def chance_of_run(history: Iterable[dict[str, Any]]) -> dict[float, str]:
    """What of the behaviour is not above chance, by tokens, where the history says it
    (`importers.cells.what_is_not_above`); the last word on a count holds.
    """
    found = {}
    for logged in history:
        why, tokens = what_is_not_above(logged), logged.get("tokens")
        if why is not None and isinstance(tokens, int | float):
            found[float(tokens)] = why
    return found


def _name(given: Any) -> str:
    """A name that stands by itself or in a group of options."""
    return str(given.get("name") or "") if isinstance(given, dict) else str(given or "")


def _params(config: dict[str, Any]) -> float:
    """Parameters as the configuration says, by the names that are in use; NaN if it doesn't."""
    groups = [config.get("model_facts"), config.get("model"), config]
    for group in groups:
        for key in ("params_total", "params", "n_params"):
            if isinstance(group, dict) and isinstance(value := group.get(key), int | float):
                return float(value)
    return np.nan
