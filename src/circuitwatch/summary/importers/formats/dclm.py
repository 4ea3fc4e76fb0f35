"""Evaluations of DataComp-LM (`eval_openlm_ckpt.py`): `{"model": "open_lm_1b", "eval_metrics":
{"icl": {"arc_easy": 0.64, …}, "perplexity": 2.9}, "model_uuid": …, …}`, a file a checkpoint.

Recognised by `eval_metrics`. `model` is the architecture only, so the name is that of the training
whose file is beside it (`{"uuid": …, "name": …, "hyperparameters": {"params": …, "tokens": …}}`,
found by `model_uuid`), else what the file is called between `evaluation_` and the suite of tasks
(`_heavy`, `_medium`, …). Tokens are those that the file says (`tokens`), else those of that
training, else `tokens=` in the file's name; a `step` is used too. What DCLM calls `perplexity` is
the mean loss. Centred and aggregated scores beside `eval_metrics` are left to who wants them.

Trainings of other lengths are other models there, each of one point: only files that say `tokens`
or `step` of one training make up a curve.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from circuitwatch.errors import UserError
from circuitwatch.summary.curves import Curves
from circuitwatch.summary.importers.entries import step_and_tokens
from circuitwatch.summary.importers.format import (
    RUN,
    Asked,
    File,
    Format,
    finish,
    left_out,
    number_of,
)
from circuitwatch.summary.importers.names import STEP

METRICS, ICL, TRAINING = "eval_metrics", "icl", "hyperparameters"
ACCURACY = "acc"
AROUND = re.compile(r"^evaluation_|_(heavy|medium|light|special|low_variance|mmlu_and_lowvar).*$")
IN_NAME = re.compile(r"tokens=(\d+)")


def _is_evaluation(content: Any) -> bool:
    return isinstance(content, dict) and isinstance(content.get(METRICS), dict)


def _read(files: Sequence[File], root: Path, asked: Asked) -> Curves:
    source = root.name or str(root)
    trainings = {
        str(file.json["uuid"]): file.json
        for file in files
        if isinstance(file.json, dict) and isinstance(file.json.get(TRAINING), dict)
        and "uuid" in file.json and not _is_evaluation(file.json)
    }  # fmt: skip
    rows: list[dict[str, Any]] = []
    bad: dict[str, list[str]] = {}
    for file in files:
        if not _is_evaluation(file.json):
            if not (isinstance(file.json, dict) and TRAINING in file.json):
                bad.setdefault("no evaluation of DCLM", []).append(file.path.name)
            continue
        found = list(_values(file.json[METRICS]))
        if not found:
            bad.setdefault(f"no number in its {METRICS}", []).append(file.path.name)
        about = _about(file, trainings.get(str(file.json.get("model_uuid")), {}))
        rows += [about | row for row in found]
    notes = left_out(bad)
    if not rows:
        raise UserError(f"{root}: no evaluation in it: {'; '.join(notes)}")
    return finish(
        pd.DataFrame(rows), source=source, asked=asked, notes=notes, from_path=("model", "task")
    )


def _about(file: File, training: Mapping[str, Any]) -> dict[str, Any]:
    """Model, size and checkpoint of an evaluation."""
    settings = training.get(TRAINING, {})
    stem = file.path.stem
    tokens = [number_of(file.json.get("tokens")), number_of(settings.get("tokens"))]
    tokens += [float(match[1]) for match in [IN_NAME.search(stem)] if match]
    step = number_of(file.json.get("step"))
    if step is None:
        step = step_and_tokens(stem)[0]
    numbers = {
        "params": number_of(settings.get("params")),
        "step": step,
        "tokens": next((count for count in tokens if count is not None), None),
    }
    name = str(training.get("name") or STEP.sub("", AROUND.sub("", stem)).strip("-_") or stem)
    return {"model": name} | {
        key: np.nan if number is None else number for key, number in numbers.items()
    }


def _values(metrics: Mapping[str, Any]) -> Iterator[dict[str, Any]]:
    """Task, quantity and value: accuracies of tasks, and losses."""
    for key, given in metrics.items():
        for task, inner in given.items() if isinstance(given, Mapping) else ((RUN, given),):
            value = number_of(inner)
            if value is not None:
                quantity = ACCURACY if key == ICL else key
                yield {"task": str(task), "quantity": quantity, "value": value}


FORMAT = Format(
    "dclm",
    f"evaluations of DataComp-LM (`{METRICS}`)",
    ("*.json",),
    lambda file, given: _is_evaluation(file.json),
    _read,
)
