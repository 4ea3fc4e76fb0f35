"""Error and cost of the rules of integrated gradients: `auto` against the published rule with 5 and
with 30 steps.

    PYTHONPATH=tests .venv/bin/python -m benchmarks.integration                  nano, a 160m shape
    with random weights, the real model if it is there PYTHONPATH=tests .venv/bin/python -m
    benchmarks.integration nano 160m        only these

The error is Σ|difference from 81 midpoint nodes| ÷ Σ|score|. One thread, process time, all rules of
a subject side by side in one run; the cost holds the scores alone, not what the prompts share, and
is given beside that of `right` with 5 steps. `multirun/bench/integration.json` has the numbers.
"""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from rich.console import Console
from rich.table import Table

from benchmarks.measuring import one_thread, seconds, tune_allocator
from benchmarks.opponents import SMALL, Duel, metric
from circuitwatch.behaviour import TaskMetric
from circuitwatch.checkpoints.loading import load_model
from circuitwatch.checkpoints.tokenizers import load_tokenizer
from circuitwatch.circuits.attribution import Scored, weighted_edge_scores
from circuitwatch.circuits.prompts import Metric, Prepared
from circuitwatch.nano.check import TASKS
from circuitwatch.nano.training import ensure_trained
from circuitwatch.tasks import build_prompts

CACHE = Path(os.environ.get("CIRCUITWATCH_CACHE", "~/.cache/circuitwatch")).expanduser()
REAL = CACHE / "real" / "SmolLM2-135M-Instruct" / "step1"
"""Where `make e2e` keeps the real model."""
SUBJECTS = ("nano", "160m", "real")
RULES: dict[str, dict[str, Any]] = {
    "right 5": {"steps": 5, "quadrature": "right"},
    "right 30": {"steps": 30, "quadrature": "right"},
    "auto": {},
}


def subjects(chosen: list[str]) -> Iterator[tuple[str, Prepared, Metric]]:
    """What is scored: a name, prompts made ready for a model, and the metric."""
    if "nano" in chosen:
        suite = ensure_trained("nano-200k", seed=0, cache=CACHE)
        last = max(suite.glob("step*"), key=lambda folder: int(folder.name.removeprefix("step")))
        for task in TASKS:
            yield f"nano-200k {task}", *_of_task(last, task, 32)
    if "160m" in chosen:
        for task in ("ioi", "greater_than"):
            yield f"pythia-160m shape {task}", Duel("pythia-160m", SMALL, task).prepare(), metric
    if "real" in chosen and REAL.is_dir():
        yield "SmolLM2-135M ioi", *_of_task(REAL, "ioi", 8)


def _of_task(folder: Path, task: str, n_prompts: int) -> tuple[Prepared, Metric]:
    prompts = build_prompts(task, load_tokenizer(folder), n_prompts=n_prompts, seed=0)
    return Prepared(load_model(folder), prompts), TaskMetric(prompts)


def measure(name: str, prepared: Prepared, of: Metric) -> list[dict[str, Any]]:
    """A row for each rule."""
    equal = np.ones((1, prepared.n_prompts))

    def score(**how: Any) -> Scored:
        return weighted_edge_scores(prepared, of, equal, **how)

    def error(scores: npt.NDArray[np.float32]) -> float:
        return float(np.abs(scores.astype(float) - truth).sum() / np.abs(truth).sum())

    truth = score(steps=81).scores.astype(float)
    rows: list[dict[str, Any]] = []
    for rule, how in RULES.items():
        scored = score(**how)
        rows.append(
            {
                "subject": name,
                "rule": rule,
                "steps": scored.steps,
                "error": error(scored.scores),
                "estimate": scored.error,
                "seconds": seconds(lambda how=how: score(**how), 1),
            }
        )
    for row in rows:
        row["cost"] = row["seconds"] / rows[0]["seconds"]
    return rows


def main(chosen: list[str]) -> None:
    one_thread()
    tune_allocator()
    console, rows = Console(width=120), []
    for subject in subjects(chosen or list(SUBJECTS)):
        rows += measure(*subject)
        console.print(f"{subject[0]}: done", style="dim")
    table = Table(
        title="integrated gradients: error against 81 midpoint nodes, and cost (process time "
        "÷ right 5)"
    )
    for column in ("subject", "rule", "steps", "error", "estimated", "seconds", "cost"):
        table.add_column(column, justify="left" if column in ("subject", "rule") else "right")
    for row in rows:
        estimate = "" if row["estimate"] is None else f"{row['estimate']:.4f}"
        numbers = f"{row['error']:.4f}", estimate, f"{row['seconds']:.2f}", f"{row['cost']:.2f}"
        table.add_row(row["subject"], row["rule"], str(row["steps"]), *numbers)
    console.print(table)
    path = Path("multirun/bench/integration.json")
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(rows, indent=1) + "\n", encoding="utf-8")
    console.print(str(path))


if __name__ == "__main__":
    main(sys.argv[1:])
