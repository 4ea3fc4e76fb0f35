"""Result files of lm-evaluation-harness: a folder a model, a JSON file a checkpoint.

Both ways in which its versions write are read. Earlier ones: `{"results": {task: {"acc": …,
"acc_stderr": …}}, "config": …}`, in files named by hand, such as `160m_step1000.json`. Later ones:
`{"results": {task: {"acc,none": …, "acc_stderr,none": …}}, …}`, in `results_<time>.json` below a
folder named after the model. The checkpoint is told by the revision in `config.model_args`, else by
the name of the file, its folder or the weights.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from circuitwatch.errors import UserError
from circuitwatch.summary.curves import Curves, empty_table, named
from circuitwatch.summary.importers.checks import complete
from circuitwatch.summary.importers.format import Format
from circuitwatch.summary.importers.rates import TokensOfStep
from circuitwatch.summary.importers.registry import STEP, Registry

NO_FILTER = "none"
"""What the harness calls the answer as it is, without any filter."""
KEY = ["model", "step", "task", "quantity"]


def is_result(content: Any) -> bool:
    """Whether some JSON is a result of the harness: metrics by task."""
    results = content.get("results") if isinstance(content, dict) else None
    return (
        isinstance(results, dict)
        and bool(results)
        and all(isinstance(metrics, dict) for metrics in results.values())
    )


def find_results(folder: Path) -> list[Path]:
    """The JSON files below a folder, or the file itself."""
    return (
        [folder]
        if folder.is_file()
        else sorted(path for path in folder.rglob("*.json") if path.is_file())
    )


def read_harness(
    folder: Path, *, registry: Registry, tokens_per_step: TokensOfStep = None
) -> Curves:
    """Curves of all results below a folder (or of one file); the quantity is the metric's name,
    with its filter unless that is `none`.

    Tasks with examples in the prompt are called `<task> 5-shot`. Where a checkpoint was evaluated
    again the file that comes last by name counts.

    Raises:
        UserError: none of the files is a result of the harness.
    """
    source = folder.name or str(folder)
    rows: list[dict[str, Any]] = []
    notes: dict[str, list[str]] = {}
    for path in find_results(folder):
        try:
            content = json.loads(path.read_text(encoding="utf-8"))
        except (ValueError, OSError, RecursionError):
            notes.setdefault("can't be read as JSON", []).append(path.name)
            continue
        if not is_result(content):
            notes.setdefault("no result of lm-evaluation-harness", []).append(path.name)
            continue
        checkpoint = _checkpoint(path, folder, content, registry)
        if isinstance(checkpoint, str):
            notes.setdefault(checkpoint, []).append(path.name)
            continue
        rows += [checkpoint | row for row in _metrics(content)]
    lines = [
        f"{source}: {len(files)} files left out ({named(files)}): {why}"
        for why, files in notes.items()
    ]
    if not rows:
        if lines:
            return Curves(empty_table(), lines)
        raise UserError(f"{folder}: no result of lm-evaluation-harness below it")
    table = pd.DataFrame(rows)
    table = table.sort_values([*KEY, "file"], ignore_index=True)
    again = table.duplicated(KEY, keep="last")
    if again.any():
        count = table.loc[again, ["model", "step"]].drop_duplicates().shape[0]
        lines.append(
            f"{source}: {count} checkpoints were evaluated more than once: the file that is "
            f"last by name counts"
        )
        table = table[~again]
    curves = complete(
        table.drop(columns="file"),
        source=source,
        registry=registry,
        tokens_per_step=tokens_per_step,
    )
    return Curves(curves.table, lines + curves.notes)


def _checkpoint(
    path: Path, root: Path, content: dict[str, Any], registry: Registry
) -> dict[str, Any] | str:
    """Model, step, tokens and file of a result, or why it can't be used."""
    config = content.get("config") or {}
    if not isinstance(config, dict):
        return "its `config` is no group of settings"
    arguments = _arguments(config.get("model_args"))
    weights = str(arguments.get("pretrained") or content.get("model_name") or "")
    revision = str(arguments.get("revision") or config.get("model_revision") or "")
    inner = path.relative_to(root).parent.parts if path != root else ()
    folders = [*reversed(inner), root.name if path != root else path.parent.name]
    model = next(
        (name for given in [*folders, weights] if given and (name := registry.name_of(given))), None
    )
    if model is None:
        # The folder of a model is the outermost one; a lone folder of results may be called
        # anything.
        model = inner[0] if inner else (_last_part(weights) or folders[-1])
    step, tokens = registry.checkpoint(model, revision) if revision else (None, None)
    for text in (path.stem, weights, *folders):
        match = STEP.search(text)
        if match and step is None:
            step = float(match[1])
        elif match and text == path.stem and float(match[1]) != step:
            return f"the file's name says another step than its revision {revision}"
    if step is None:
        return "no step in its revision, its name or its folder's"
    return {
        "model": model,
        "step": step,
        "tokens": np.nan if tokens is None else tokens,
        "file": str(path),
    }


def _last_part(weights: str) -> str:
    """The name of some weights: of a path its end, of a model on the hub all of it, as another
    organisation's has the same end.
    """
    parts = weights.rstrip("/").split("/")
    return weights if len(parts) == 2 and parts[0] not in ("", ".", "~") else parts[-1]


def _arguments(given: Any) -> dict[str, str]:
    """`a=b,c=d` as a dictionary; later versions write the dictionary itself."""
    if isinstance(given, dict):
        return {str(key): str(value) for key, value in given.items() if value is not None}
    pairs = (part.partition("=") for part in str(given or "").split(","))
    return {key.strip(): value.strip() for key, _, value in pairs if value}


def _metrics(content: dict[str, Any]) -> Iterator[dict[str, Any]]:
    """Task, quantity, value and stderr of every metric of a result."""
    shots, default = content.get("n-shot") or {}, (content.get("config") or {}).get("num_fewshot")
    for task, metrics in content["results"].items():
        number = shots.get(task, default) if isinstance(shots, dict) else default
        name = f"{task} {number}-shot" if isinstance(number, int) and number > 0 else task
        later = any("," in key for key in metrics)
        for key, value in metrics.items():
            metric, _, filtered = key.partition(",")
            if (
                metric.endswith("_stderr")
                or isinstance(value, bool)
                or not isinstance(value, int | float)
            ):
                continue
            if later and not filtered:  # a count of samples, not a metric
                continue
            error = metrics.get(f"{metric}_stderr" + (f",{filtered}" if filtered else ""))
            yield {
                "task": name,
                "quantity": metric if filtered in ("", NO_FILTER) else key,
                "value": _as_float(value),
                "stderr": _as_float(error) if isinstance(error, int | float) else np.nan,
            }


def _as_float(number: float) -> float:
    """A number of JSON, where integers may have any length."""
    try:
        return float(number)
    except OverflowError:
        return float("inf")


FORMAT = Format(
    "harness",
    "results of lm-evaluation-harness (`results`: metrics by task)",
    ("*.json",),
    lambda file, given: is_result(file.json),
    lambda files, root, asked: read_harness(
        root, registry=asked.registry, tokens_per_step=asked.tokens_per_step
    ),
    takes_constants=False,
)
