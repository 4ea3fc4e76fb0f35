"""Made-up numbers about Pythia's training, in the form in which others published theirs and with
the same traps, so that a normal clone tests what the published ones test.

Every curve is set between two neighbouring checkpoints, so that where it crosses is known: at one
of them it is as far below the level as it is above it at the next, and half-way between them in
log tokens it is there.
"""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pandas as pd

from support.simulated import SCHEDULES, TOKENS_PER_STEP

STEPS = SCHEDULES["paper"]
EVALUATED = np.array([0, *(2**k for k in range(10)), *range(1000, 143_000, 10_000), 143_000])
"""Steps at which the benchmarks were run."""
SIZES = {
    "pythia-70m": 70e6,
    "pythia-160m": 160e6,
    "pythia-410m": 410e6,
    "pythia-1.4b": 1.4e9,
    "pythia-2.8b": 2.8e9,
}
"""By the models' names; the registry has the exact counts."""
IOI = {
    "pythia-160m": (6000, 7000, 2.1),
    "pythia-410m": (4000, 5000, 2.6),
    "pythia-1.4b": (3000, 4000, 3.3),
    "pythia-2.8b": (2000, 3000, 4.4),
}
"""Steps before and after the logit difference passes 1, and what it ends at. That of the largest
rises fast and then slowly; that of pythia-70m rises to 0.8 and falls again.
"""
LAMBADA = {
    "pythia-160m": (21_000, 31_000),
    "pythia-410m": (11_000, 21_000),
    "pythia-1.4b": (1000, 11_000),
}
"""Steps before and after the accuracy passes 0.3, which pythia-70m never does."""
NODES = {
    "ioi": (30, 52, 47, 90, 71),
    "greater_than": (20, 31, 45, 58, 97),
    "agreement": (61, 44, 80, 102, 99),
}
"""Mean circuit nodes by size."""
NODES_QUANTITY = "mean_circuit_nodes_step>=1000"


def crossing(before: int, after: int) -> float:
    """Tokens half-way in log between two steps."""
    return float(np.sqrt(before * after)) * TOKENS_PER_STEP


def through(steps: np.ndarray, knots: dict[float, float], noise: float, seed: int) -> pd.Series:
    """A curve over steps, straight between knots in log steps, with noise at all but the knots."""
    places, values = np.array(list(knots)), np.array(list(knots.values()))
    straight = np.interp(np.log(np.maximum(steps, 0.5)), np.log(places), values)
    noisy = straight + np.random.default_rng(seed).normal(0, noise, steps.size)
    return pd.Series(np.where(np.isin(steps, places), straight, noisy), index=steps)


def ioi(model: str) -> pd.Series:
    """Logit difference by step."""
    if model == "pythia-70m":
        knots = {0.5: 0.0, 1000: 0.05, 4000: 0.8, 6000: 0.8, 30_000: -0.2, 143_000: -0.5}
        return through(STEPS, knots, 0.02, 1)
    before, after, end = IOI[model]
    knots = {0.5: 0.0, 1000: 0.03, before: 0.8, after: 1.2, 1.5 * after: 1.6, 143_000: end}
    return through(STEPS, knots, 0.02, len(model))


def induction() -> pd.Series:
    """A score that jumps between steps 512 and 1000, which are far apart."""
    return through(STEPS, {0.5: 0.01, 512: 0.02, 1000: 0.88, 143_000: 0.95}, 0.004, 3)


def copy_suppression() -> pd.Series:
    """A straight line in log steps through 0.1 half-way between steps 2000 and 3000."""
    middle, slope = np.log(2000 * 3000) / 2, 0.012
    noise = np.random.default_rng(4).normal(0, 0.002, STEPS.size)
    return pd.Series(0.1 + slope * (np.log(STEPS) - middle) + noise, index=STEPS)


def accuracy(model: str, shots: int = 0) -> pd.Series:
    """Of a benchmark, by step."""
    if model == "pythia-70m":
        return through(EVALUATED, {0.5: 0.0, 1000: 0.1, 143_000: 0.24}, 0.004, 5)
    before, after = LAMBADA[model]
    knots = {0.5: 0.0, 500: 0.02, before: 0.28, after: 0.32, 143_000: 0.5}
    return through(EVALUATED, knots, 0.004, 6 + shots) + 0.01 * (shots > 0)


def write_notebook_numbers(path: Path) -> pd.DataFrame:
    """A table as the paper's notebooks printed it: steps and no tokens, values of whole models
    without either, and a model of which nobody knows how many tokens a step has.
    """
    rows = []

    def add(model: str, task: str, quantity: str, curve: pd.Series) -> None:
        for step, value in curve.items():
            rows.append(("made_up.ipynb", model, task, quantity, step, value))

    for model in SIZES:
        add(model, "ioi", "logit_diff", ioi(model))
    for model in ("pythia-70m", "pythia-410m"):
        add(model, "repeated_random", "induction_score_max", induction())
    add("pythia-160m-alldropout", "ioi", "logit_diff", ioi("pythia-160m"))
    for task, nodes in NODES.items():
        for model, value in zip(SIZES, nodes, strict=True):
            rows.append(("made_up.ipynb", model, task, NODES_QUANTITY, None, value))
    columns = ["source_file", "model", "task", "quantity", "step", "value"]
    table = pd.DataFrame(rows, columns=columns).astype({"step": "Int64"})
    table.to_csv(path, index=False)
    return table


def write_benchmarks(path: Path) -> pd.DataFrame:
    """A tidy table of zero- and five-shot results; five-shot at every third step only."""
    rows = []
    for model in ("pythia-70m", *LAMBADA):
        for shots, every in ((0, 1), (5, 3)):
            for step, value in accuracy(model, shots).iloc[::every].items():
                tokens = step * TOKENS_PER_STEP
                for metric, number in (("acc", value), ("ppl", float(np.exp(5 - 4 * value)))):
                    about = (model, shots, step, tokens, "lambada_openai")
                    rows.append((*about, metric, number, 0.006))
    columns = "model shots step tokens task metric value stderr".split()
    table = pd.DataFrame(rows, columns=columns)
    table.to_csv(path, index=False)
    return table


def write_harness(folder: Path) -> int:
    """The zero-shot results as files of lm-evaluation-harness: a folder a model, its name and the
    step in the weights' arguments; returns how many.
    """
    count = 0
    for model in ("pythia-70m", *LAMBADA):
        (folder / model).mkdir(parents=True)
        short = model.removeprefix("pythia-")
        for step, value in accuracy(model).items():
            metrics = {"acc": value, "acc_stderr": 0.006}
            metrics |= {"ppl": float(np.exp(5 - 4 * value)), "ppl_stderr": 0.006}
            weights = f"use_accelerate=True,pretrained=EleutherAI/pythia-v1.1-{short}"
            content = {
                "results": {"lambada_openai": metrics},
                "versions": {"lambada_openai": 0},
                "config": {"model_args": f"{weights},revision=step{step}", "num_fewshot": 0},
            }
            path = folder / model / f"{short}_step{step}.json"
            path.write_text(json.dumps(content), encoding="utf-8")
            count += 1
    return count
