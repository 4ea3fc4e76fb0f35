"""A sweep as circuitwatch would write it, with made-up but realistic curves whose moments of emergence are known."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd

from circuitwatch.records import Cell, CheckpointRecord

SIZES = {"nano-100k": 98_432, "nano-400k": 431_904, "nano-1m": 1_012_224, "nano-3m": 2_984_448}
TASKS = ("ioi", "greater_than", "gendered_pronoun", "agreement")
STEPS = [0, 1, 2, 4, 8, 16, 32, 64, 128, 150, *range(200, 1050, 50)]
TOKENS_PER_STEP = 1008
RISES = {
    "ioi": (9.0, 5.0e5, 0.15),
    "greater_than": (0.7, 4.2e5, 0.5),
    "gendered_pronoun": (5.0, 3.3e5, 0.2),
    "agreement": (0.85, 4.0e5, 0.2),
}
ROLES = {"induction": 4.3e5, "previous_token": 3.8e5, "duplicate_token": 4.8e5, "successor": 3.0e5, "name_mover": 5.2e5}
N_PROMPTS, N_EDGES = 48, 640


def moment(task_or_role: str, model: str) -> float:
    """Tokens at which something rises in the made-up models: larger ones are quicker; the smallest never learns IOI."""
    middle = RISES[task_or_role][1] if task_or_role in RISES else ROLES[task_or_role]
    return middle * (SIZES[model] / 400e3) ** -0.25


def _rise(tokens: float, middle: float, width: float) -> float:
    return float(1 / (1 + np.exp(-(np.log(max(tokens, 300.0)) - np.log(middle)) / width)))


def _record(model: str, task: str, step: int, seed: int) -> CheckpointRecord:
    rng = np.random.default_rng([step, seed, SIZES[model], len(task)])
    prompt_rng = np.random.default_rng([seed, len(task)])
    tokens = step * TOKENS_PER_STEP
    height, _, width = RISES[task]
    middle = moment(task, model)
    if model == "nano-100k" and task == "ioi":
        height = 0.0
    share = _rise(tokens, middle, width)
    dip = -0.08 * height * np.exp(-(((np.log(max(tokens, 300)) - np.log(middle * 0.6)) / 0.3) ** 2))
    ease = prompt_rng.normal(1.0, 0.25, N_PROMPTS)
    scale = 9.0 if task in ("ioi", "gendered_pronoun") else 1.0
    wobble = rng.normal(0, 0.02) * height * share
    values = height * share * ease + dip + wobble + rng.normal(0, 0.05 * scale, N_PROMPTS) * (0.05 + share)
    if scale == 1.0:
        values = np.clip(values, -0.99, 0.99)
    correct = values > 0
    means = rng.choice(values, (200, N_PROMPTS)).mean(axis=1)
    low, high = (float(v) for v in np.quantile(means, [0.025, 0.975]))
    scalars: dict[str, float | int | str | bool] = {
        "behaviour/value": float(values.mean()),
        "behaviour/low": low,
        "behaviour/high": high,
        "behaviour/accuracy": float(correct.mean()),
        "behaviour/accuracy_low": float(max(correct.mean() - 0.08, 0)),
        "behaviour/accuracy_high": float(min(correct.mean() + 0.08, 1)),
        "behaviour/log_prob": float(-5 + 4 * share),
        "behaviour/above_chance": low > 0,
        "weights/sha256": f"{step:064x}",
    }
    if share > 0.12 and height > 0:
        edges = int(N_EDGES * (0.06 + 0.3 * np.exp(-4 * (share - 0.12))) * rng.uniform(0.85, 1.15))
        overlap = 0.35 + 0.45 * share + rng.normal(0, 0.03)
        scalars |= {
            "circuit/status": "found",
            "circuit/edges": edges,
            "circuit/edges_share": edges / N_EDGES,
            "circuit/nodes": 4 + edges // 8,
            "circuit/nodes_share": (4 + edges // 8) / 24,
            "circuit/recovery": 0.83,
            "circuit/faithfulness": 0.81,
        }
        if _rise((step - 50) * TOKENS_PER_STEP, middle, width) > 0.12:
            scalars |= {
                "overlap/edge_jaccard": overlap,
                "overlap/node_jaccard": min(overlap + 0.2, 1.0),
                "overlap/weighted_edge_jaccard": overlap,
            }
    else:
        scalars["circuit/status"] = "none: behaviour not above chance"
    role_rng = np.random.default_rng([step, seed, SIZES[model]])
    heads = []
    for role in ROLES:
        top = float(np.clip(0.04 + 0.9 * _rise(tokens, moment(role, model), 0.12) + role_rng.normal(0, 0.01), 0, 1))
        scalars |= {f"roles/{role}/max": top, f"roles/{role}/head": "a1.h0"}
        heads += [
            {"role": role, "layer": 1, "head": 0, "score": top},
            {"role": role, "layer": 0, "head": 1, "score": top / 3},
        ]
    prompts = pd.DataFrame(
        {"prompt": np.arange(N_PROMPTS), "value": values, "correct": correct, "log_prob": -5 + 4 * share + 0 * values}
    )
    return CheckpointRecord(step, tokens, f"step{step}", scalars, prompts, pd.DataFrame(heads))


def write_sweep(
    folder: Path,
    models: tuple[str, ...] = ("nano-100k", "nano-400k"),
    tasks: tuple[str, ...] = TASKS,
    seeds: tuple[int, ...] = (0,),
    unfinished: tuple[str, str] | None = None,
) -> Path:
    """Write a sweep of made-up cells; `unfinished` = (model, task) stops half-way."""
    for model in models:
        for task in tasks:
            for seed in seeds:
                header = {
                    "config": {
                        "model": {"name": model},
                        "task": {"name": task, "n_prompts": N_PROMPTS},
                        "circuit": {"method": "eap-ig", "threshold": 0.8},
                    },
                    "code_version": "0.1.0",
                    "versions": {"torch": "2.13.0"},
                    "model": {
                        "name": model,
                        "params_total": SIZES[model],
                        "params_non_embedding": SIZES[model] // 2,
                        "n_layers": 2,
                        "n_heads": 2,
                        "d_model": 64,
                        "architecture": "gpt_neox",
                    },
                    "task": task,
                    "seed": seed,
                    "schedule": [{"step": s, "tokens": s * TOKENS_PER_STEP, "revision": f"step{s}"} for s in STEPS],
                    "graph": {"senders": [], "receivers": [], "n_edges": N_EDGES},
                }
                cell = Cell.create(folder / model / task / f"seed{seed}", header)
                stop = len(STEPS) // 2 if unfinished == (model, task) else len(STEPS)
                for step in STEPS[:stop]:
                    cell.write(_record(model, task, step, seed))
                if stop == len(STEPS):
                    cell.mark_done()
    return folder
