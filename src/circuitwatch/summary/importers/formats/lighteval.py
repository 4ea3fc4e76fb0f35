"""Results of lighteval: `results/<model>/results_<time>.json` with
`{"config_general": {"model_name": …}, "results": {"leaderboard|arc:challenge|25": {"acc": …,
"acc_stderr": …}, "all": …}}`.

Recognised by `config_general` beside `results`. A task's key holds its suite, its name and the
number of examples in the prompt; later versions leave the suite out, some add a 0 at the end. `all`
is a mean over what was run and no task. Model and revision are `model_name` and `model_revision`,
also within `model_config`; the checkpoint is told by the revision, else by the model's name or
path, else by the names of the file and its folders. Where `max_samples` limited an evaluation, a
full one of the same checkpoint goes before it.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from circuitwatch.errors import UserError
from circuitwatch.summary.curves import Curves, named
from circuitwatch.summary.importers.entries import step_and_tokens
from circuitwatch.summary.importers.format import Asked, File, Format, finish, left_out, number_of
from circuitwatch.summary.importers.identity import once

GENERAL, RESULTS, MEAN = "config_general", "results", "all"
STDERR = "_stderr"
KEY = ["model", "step", "tokens", "task", "quantity"]


def _is_lighteval(content: Any) -> bool:
    return (
        isinstance(content, dict) and GENERAL in content and isinstance(content.get(RESULTS), dict)
    )


def _read(files: Sequence[File], root: Path, asked: Asked) -> Curves:
    source = root.name or str(root)
    rows: list[dict[str, Any]] = []
    bad: dict[str, list[str]] = {}
    for file in files:
        about = _about(file, root, asked) if _is_lighteval(file.json) else "no result of lighteval"
        if isinstance(about, str):
            bad.setdefault(about, []).append(file.path.name)
        else:
            rows += [about | row for row in _metrics(file.json[RESULTS])]
        file.close()
    notes = left_out(bad)
    if not rows:
        raise UserError(f"{root}: no result in it: {'; '.join(notes) or 'no metric of any task'}")
    table = pd.DataFrame(rows)
    replaced = table["limited"] & _is_full(table)
    if replaced.any():
        short = named(Path(file).name for file in table.loc[replaced, "file"])
        notes.append(f"a full evaluation goes before one with max_samples: {short} left out")
    table = table[~replaced]
    table = once(table, KEY)
    if table["limited"].any():
        models = ", ".join(table.loc[table["limited"], "model"].unique()[:3])
        notes.append(f"some results of {models} are of max_samples samples only")
    return finish(
        table.drop(columns=["limited", "file"]).reset_index(drop=True),
        source=source,
        asked=asked,
        notes=notes,
    )


def _is_full(table: pd.DataFrame) -> pd.Series:
    """Which rows are of a value that a full evaluation has, too."""
    return ~table.groupby(KEY, dropna=False, sort=False)["limited"].transform("all").astype(bool)


def _about(file: File, root: Path, asked: Asked) -> dict[str, Any] | str:
    """Model and checkpoint of a result, or why it can't be used."""
    general = file.json[GENERAL]
    if not isinstance(general, Mapping):
        return f"its {GENERAL} is no group of settings"
    inner = general.get("model_config")
    settings: list[Mapping[str, Any]] = [general, inner if isinstance(inner, Mapping) else {}]
    name = _first(settings, "model_name", "pretrained")
    if not name:
        return f"no model_name in its {GENERAL}"
    revision = _first(settings, "model_revision", "revision")
    model = asked.registry.name_of(name)
    step, tokens = asked.registry.checkpoint(model or name, revision) if revision else (None, None)
    folders = file.path.relative_to(root).parent.parts if file.path != root else ()
    for text in (name, file.path.stem, *reversed(folders)):
        if step is None and tokens is None:
            step, tokens = step_and_tokens(text)
    if step is None and tokens is None:
        return "no step in its revision, its model's name, its own name or its folder's"
    return {
        "model": model or _without_step(name),
        "step": np.nan if step is None else step,
        "tokens": np.nan if tokens is None else tokens,
        "limited": general.get("max_samples") is not None,
        "file": str(file.path),
    }


def _without_step(name: str) -> str:
    """A model's name or path without the part that says the step."""
    parts = [part for part in name.rstrip("/").split("/") if step_and_tokens(part) == (None, None)]
    return "/".join(parts) if len(parts) <= 2 else parts[-1]


def _first(groups: Sequence[Mapping[str, Any]], *keys: str) -> str:
    found = [str(group[key]) for key in keys for group in groups if group.get(key)]
    return found[0] if found else ""


def _metrics(results: Mapping[str, Any]) -> Iterator[dict[str, Any]]:
    """Task, quantity, value and stderr of every metric."""
    for key, metrics in results.items():
        if key == MEAN or not isinstance(metrics, Mapping):
            continue
        for metric, given in metrics.items():
            value = number_of(given)
            if value is None or metric.endswith(STDERR):
                continue
            error = number_of(metrics.get(f"{metric}{STDERR}"))
            yield {
                "task": task_of(key),
                "quantity": metric,
                "value": value,
                "stderr": np.nan if error is None else error,
            }


def task_of(key: str) -> str:
    """The task of a key `suite|task|shots[|0]` or `task|shots`, with its number of examples."""
    parts = key.split("|")
    numbers = [part for part in parts if part.isdigit()]
    names = [part for part in parts if not part.isdigit()]
    name = names[-1] if names else key
    return f"{name} {numbers[0]}-shot" if numbers and int(numbers[0]) > 0 else name


FORMAT = Format(
    "lighteval",
    f"results of lighteval (`{GENERAL}` beside `{RESULTS}`)",
    ("*.json",),
    lambda file, given: _is_lighteval(file.json),
    _read,
)
