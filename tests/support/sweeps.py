"""A sweep as circuitwatch would write it, with made-up but realistic curves whose moments of
emergence, and whose turnover, are known.

The circuit of pronouns in nano-400k is out of range at step 300, and its scores have not converged
from step 900 on. At HANDOVER tokens the induction head a1.h0 hands over to a1.h2; the
duplicate-token head a0.h0 is born with a0.h3, is lost and regained, and never does anything on the
task; all else stays. Negative name movers hurt; induction heads do nothing on greater-than. Of the
algorithm's shares B and C stay, and D falls, at every cut-off.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from circuitwatch import transfer_files
from circuitwatch.circuits.graph import Graph
from circuitwatch.circuits.overlap import (
    Circuit,
    circuit_of,
    mean_overlaps,
    resampled_overlaps,
    resampled_scalars,
)
from circuitwatch.heads.checks import REPEATED, confirmed_on
from circuitwatch.record_files import CheckpointRecord, Edges
from circuitwatch.records import Cell

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
ROLES = {
    "induction": 4.3e5,
    "previous_token": 3.8e5,
    "duplicate_token": 4.8e5,
    "successor": 3.0e5,
    "name_mover": 5.2e5,
    "negative_name_mover": 5.6e5,
    "copy_suppression": 6.0e5,
    "s_inhibition": 5.1e5,
    "year_attention": 3.9e5,
    "year_push": 3.6e5,
}
THRESHOLDS = {
    "induction": 0.5,
    "previous_token": 0.5,
    "duplicate_token": 0.5,
    "successor": 0.5,
    "name_mover": 0.75,
    "negative_name_mover": 0.75,
    "copy_suppression": 0.5,
    "s_inhibition": 0.5,
    "year_attention": 0.25,
    "year_push": 0.75,
}
HOLDERS = {
    "induction": ("a1.h0", "a1.h2"),
    "previous_token": ("a0.h1",),
    "duplicate_token": ("a0.h3", "a0.h0"),
    "successor": ("a0.h2",),
    "name_mover": ("a1.h1", "a1.h3"),
    "negative_name_mover": ("a1.h2",),
    "copy_suppression": ("a1.h3",),
    "s_inhibition": ("a1.h0",),
    "year_attention": ("a0.h2", "a1.h1"),
    "year_push": ("m1",),
}
"""Who ever holds a role, whoever is the first to."""
ONLY_IN = {"s_inhibition": "ioi", "year_attention": "greater_than", "year_push": "greater_than"}
HANDOVER = 7.25e5
KEPT = 0.9
"""Share of a circuit's edges that the circuit of a resample of the prompts keeps: the same edges at
every checkpoint.
"""
N_PROMPTS = 48
GRAPH = Graph(n_layers=2, n_heads=4, parallel=True)
N_EDGES, N_LAYERS, N_HEADS = GRAPH.n_edges, GRAPH.n_layers, GRAPH.n_heads


def moment(task_or_role: str, model: str) -> float:
    """Tokens at which something rises in the made-up models: larger ones are quicker; the smallest
    never learns IOI.
    """
    middle = RISES[task_or_role][1] if task_or_role in RISES else ROLES[task_or_role]
    return middle * (SIZES[model] / 400e3) ** -0.25


def _rise(tokens: float, middle: float, width: float) -> float:
    return float(1 / (1 + np.exp(-(np.log(max(tokens, 300.0)) - np.log(middle)) / width)))


def _record(model: str, task: str, step: int, seed: int, taste: bool = False) -> CheckpointRecord:
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
    values = (
        height * share * ease
        + dip
        + wobble
        + rng.normal(0, 0.05 * scale, N_PROMPTS) * (0.05 + share)
    )
    if scale == 1.0:
        values = np.clip(values, -0.99, 0.99)
    correct = values > 0
    picks = rng.integers(0, N_PROMPTS, (200, N_PROMPTS))
    low, high = (float(v) for v in np.quantile(values[picks].mean(axis=1), [0.025, 0.975]))
    # Whoever knows the deciding word answers otherwise without it; whoever has but a taste, the
    # same, give or take noise.
    noise = np.random.default_rng([step, seed, 5]).normal(0, 0.1 * scale, N_PROMPTS) * (
        0.05 + share
    )
    corrupted = values + noise if taste else -0.8 * values
    effects = values - corrupted
    effect_low, effect_high = (
        float(v) for v in np.quantile(effects[picks].mean(axis=1), [0.025, 0.975])
    )
    failing = " and ".join(
        name for name, end in (("value", low), ("effect", effect_low)) if end <= 0
    )
    scalars: dict[str, float | int | str | bool] = {
        "behaviour/value": float(values.mean()),
        "behaviour/low": low,
        "behaviour/high": high,
        "behaviour/accuracy": float(correct.mean()),
        "behaviour/accuracy_low": float(max(correct.mean() - 0.08, 0)),
        "behaviour/accuracy_high": float(min(correct.mean() + 0.08, 1)),
        "behaviour/log_prob": float(-5 + 4 * share),
        "behaviour/corrupted": float(corrupted.mean()),
        "behaviour/effect": float(effects.mean()),
        "behaviour/effect_low": effect_low,
        "behaviour/effect_high": effect_high,
        "behaviour/above_chance": not failing,
        "weights/sha256": f"{step:064x}",
    }
    if failing:
        scalars["behaviour/not_above_chance"] = failing
    if share > 0.12 and height > 0 and not taste:
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
            "circuit/out_of_range": False,
            "circuit/score_steps": 9,
            "circuit/score_error": 0.02,
            "circuit/score_converged": True,
        }
        if model == "nano-400k" and task == "gendered_pronoun" and step == 300:
            scalars |= {"circuit/faithfulness": 3.5, "circuit/out_of_range": True}
        if model == "nano-400k" and task == "gendered_pronoun" and step >= 900:
            scalars |= {
                "circuit/score_steps": 27,
                "circuit/score_error": 0.05,
                "circuit/score_converged": False,
            }
        if _rise((step - 50) * TOKENS_PER_STEP, middle, width) > 0.12:
            scalars |= {
                "overlap/edge_jaccard": overlap,
                "overlap/node_jaccard": min(overlap + 0.2, 1.0),
                "overlap/weighted_edge_jaccard": overlap,
                "overlap/edge_jaccard_chance": 0.1,
                "overlap/edge_jaccard_mean": overlap,
            }
    else:
        scalars["circuit/status"] = "none: behaviour not above chance"
    has_circuit = scalars["circuit/status"] == "found"
    roles, role_scalars = _roles(model, task, step, seed, has_circuit)
    scalars |= role_scalars
    if not failing:
        scalars |= _algorithm(
            task, tokens, moment(task, model), np.random.default_rng([step, seed, SIZES[model], 7])
        )
    mask = _mask(model, task, tokens, int(scalars["circuit/edges"])) if has_circuit else None
    prompts = pd.DataFrame(
        {
            "prompt": np.arange(N_PROMPTS),
            "value": values,
            "corrupted": corrupted,
            "correct": correct,
            "log_prob": -5 + 4 * share + 0 * values,
        }
    )
    more: dict[str, Any] = {}
    if mask is not None:
        more = {
            "scores": mask.astype(np.float32),
            "mask": mask,
            "resamples": _resamples(mask, model, task),
        }
        scalars |= {
            f"overlap/{name}_ceiling": v
            for name, v in mean_overlaps(GRAPH, _circuits(more["resamples"])).items()
        }
    if has_circuit:
        more["patching"] = pd.DataFrame(
            {
                "sender": ["a0.h1"],
                "receivers": ["name-mover queries"],
                "effect": [-0.3],
                "low": [-0.4],
                "high": [-0.2],
            }
        )
    if bands := _bands(scalars):
        more["bands"] = pd.DataFrame(bands, columns=["measure", "cutoff", "value", "low", "high"])
    return CheckpointRecord(step, tokens, f"step{step}", scalars, prompts, roles, **more)


def _score(role: str, head: str, tokens: int, model: str) -> float:
    """What a head scores for a role, without noise."""
    if head not in HOLDERS[role]:
        return 0.04
    risen = _rise(tokens, moment(role, model), 0.12)
    if role == "induction":
        early = head == "a1.h0"
        over = _rise(tokens, HANDOVER * (1.04 if early else 0.96), 0.015)
        risen *= 1 - 0.9 * over if early else over
    if (role, head) == ("duplicate_token", "a0.h0"):
        risen *= 0.8 if not 7.7e5 < tokens < 8.7e5 else 0.2
    if role == "negative_name_mover" and model == "nano-100k":
        risen *= 0.4  # never holds it
    return 0.04 + 0.9 * risen


def _roles(
    model: str, task: str, step: int, seed: int, has_circuit: bool
) -> tuple[pd.DataFrame, dict[str, float | int | str | bool]]:
    """The roles table and scalars."""
    rng = np.random.default_rng([step, seed, SIZES[model]])  # the same in every task's cell
    rows, scalars = [], {}
    nodes = [(layer, head) for layer in range(N_LAYERS) for head in (-1, *range(N_HEADS))]
    for role in ROLES:
        noise = rng.normal(0, 0.008, len(nodes))
        if ONLY_IN.get(role, task) != task:
            continue
        if role == "copy_suppression":
            scalars[f"roles/{role}/left_out"] = "heads of the first 2 layers hold none"
            continue
        of_role = []
        for (layer, head), wobble in zip(nodes, noise, strict=True):
            if (head < 0) != (role == "year_push"):
                continue
            name = f"m{layer}" if head < 0 else f"a{layer}.h{head}"
            score = float(np.clip(_score(role, name, step * TOKENS_PER_STEP, model) + wobble, 0, 1))
            holds = score >= THRESHOLDS[role]
            on = confirmed_on(role).get(REPEATED if role == "previous_token" else task)
            checked = bool(on) and (holds if role == "previous_token" else has_circuit)
            idle = (role, name) == ("duplicate_token", "a0.h0") or (role, task) == (
                "induction",
                "greater_than",
            )
            effect = (
                ((0.0 if idle else 0.4 if role == "negative_name_mover" else -0.4) * score)
                if checked
                else None
            )
            sign = (
                None if effect is None or abs(effect) < 0.02 else "hurts" if effect > 0 else "helps"
            )
            of_role.append(
                {
                    "role": role,
                    "layer": layer,
                    "head": head,
                    "score": score,
                    "low": max(score - 0.05, 0.0),
                    "high": min(score + 0.05, 1.0),
                    "in_circuit": score > 0.2 if has_circuit else None,
                    "effect": effect,
                    "effect_low": None if effect is None else effect - 0.01,
                    "effect_high": None if effect is None else effect + 0.01,
                    "effect_on": on if checked else None,
                    "confirmed": holds and sign is not None if checked else None,
                    "sign": sign,
                    "name": name,
                }
            )
        best = max(of_role, key=lambda row: row["score"])
        scalars |= {
            f"roles/{role}/max": best["score"],
            f"roles/{role}/head": best["name"],
            f"roles/{role}/total": sum(row["score"] for row in of_role),
        }
        rows += of_role
    numbers = dict.fromkeys(("effect", "effect_low", "effect_high"), "Float64")
    kinds = {
        "in_circuit": "boolean",
        "effect_on": "string",
        "confirmed": "boolean",
        "sign": "string",
    } | numbers
    return pd.DataFrame(rows).drop(columns="name").astype(kinds), scalars


def _algorithm(
    task: str, tokens: int, middle: float, rng: np.random.Generator
) -> dict[str, float | str]:
    """B and C about 0.7 and 0.6, D falling by 0.9 per tenfold of tokens; greater-than's three stay;
    C only once there are name movers.
    """
    falling = 0.9 - 0.9 * np.log10(max(tokens, 3e5) / 3e5)
    levels = {
        "ioi": {"B": 0.7, "C": 0.6, "D": falling, "unexplained": 0.3, "unexplained_sure": 0.25},
        "greater_than": {
            "year_attention": 0.55,
            "year_lens": 0.4,
            "mlp_push": 0.85,
            "unexplained": 0.5,
        },
    }.get(task, {})
    scalars: dict[str, float | str] = {}
    if "unexplained" in levels:
        scalars["algorithm/unexplained_heads"] = "a1.h0 -0.27, a0.h0 +0.21"
    for name, level in levels.items():
        if name == "C" and tokens < middle:
            scalars["algorithm/C_left_out"] = "no name mover in the circuit"
            continue
        value = float(np.clip(level + rng.normal(0, 0.015), 0.06, 0.94))
        scalars |= {
            f"algorithm/{name}": value,
            f"algorithm/{name}_low": value - 0.06,
            f"algorithm/{name}_high": value + 0.06,
        }
    return scalars


def _bands(scalars: dict[str, Any]) -> list[tuple[str, float, float, float, float]]:
    """B, C and D over cut-offs: a little more at low ones, so that every cut-off gives the same
    course.
    """
    rows = []
    for name in ("B", "C", "D"):
        for tenths in range(1, 10):
            if f"algorithm/{name}" in scalars:
                value = scalars[f"algorithm/{name}"] + 0.05 - tenths / 100
                rows.append((name, tenths / 10, value, value - 0.06, value + 0.06))
    return rows


def _mask(model: str, task: str, tokens: int, edges: int) -> np.ndarray:
    """A circuit of so many edges, some of which are replaced while training goes on."""
    rng = np.random.default_rng([SIZES[model], len(task)])
    first, later = rng.uniform(size=(2, N_EDGES))
    share = min(np.log(max(tokens, 3e5) / 3e5), 1.0)
    chosen = np.flatnonzero(GRAPH.edges)[np.argsort((1 - share) * first + share * later)[:edges]]
    mask = np.zeros(GRAPH.edges.shape, dtype=bool)
    mask.flat[chosen] = True
    return mask


def _resamples(mask: np.ndarray, model: str, task: str) -> tuple[Edges, Edges]:
    """Two resamples' circuits: some edges of that of all prompts, with scores about 1."""
    drawn = np.random.default_rng([SIZES[model], len(task), 1]).uniform(size=(4, mask.size))
    both = [np.flatnonzero(mask.ravel() & (kept < KEPT)).astype(np.int32) for kept in drawn[:2]]
    first, second = (
        Edges(edges, (0.5 + s[edges]).astype(np.float32))
        for edges, s in zip(both, drawn[2:], strict=True)
    )
    return first, second


def _circuits(resamples: tuple[Edges | None, ...]) -> list[Circuit | None]:
    return [None if one is None else circuit_of(GRAPH, one.places, one.scores) for one in resamples]


def faithfulness(circuit_tokens: int, model_tokens: int) -> float:
    """Of an earlier circuit on a later model a little less than its own, of a later one on an
    earlier model much less.
    """
    ratio = np.log(model_tokens / circuit_tokens)
    return float(0.85 - 0.2 * ratio if ratio >= 0 else 0.85 + 0.8 * ratio)


def write_transfer(folder: Path, model: str, seed: int, circuits: dict[str, list[int]]) -> None:
    """Transfer files of a model; circuits: task → the steps that have one."""
    target = folder / model / "transfer" / f"seed{seed}"
    target.mkdir(parents=True)
    for model_step in STEPS:
        rows = []
        for task in circuits:
            for circuit_task, steps in circuits.items():
                for circuit_step in steps:
                    if model_step < 150 or (circuit_task != task and circuit_step != model_step):
                        continue
                    own = faithfulness(circuit_step * TOKENS_PER_STEP, model_step * TOKENS_PER_STEP)
                    share = own if task == circuit_task else 0.12
                    rows.append(
                        (
                            task,
                            circuit_task,
                            circuit_step,
                            circuit_step * TOKENS_PER_STEP,
                            model_step,
                            model_step * TOKENS_PER_STEP,
                            60,
                            4 * share,
                            share,
                            share,
                        )
                    )
        columns = (
            "task circuit_task circuit_step circuit_tokens model_step model_tokens "
            "edges value recovery faithfulness"
        )
        transfer_files.write(
            transfer_files.file_of(target, model_step),
            pd.DataFrame(rows, columns=columns.split()),
            made_from="made up",
        )


def write_sweep(
    folder: Path,
    models: tuple[str, ...] = ("nano-100k", "nano-400k"),
    tasks: tuple[str, ...] = TASKS,
    seeds: tuple[int, ...] = (0,),
    unfinished: tuple[str, str] | None = None,
    transfer: bool = False,
    taste: tuple[str, ...] = (),
) -> Path:
    """Write a sweep of made-up cells; `unfinished` = (model, task) stops half-way; `transfer`: with
    circuits of one checkpoint on another.

    taste: tasks whose metric rises on corrupted prompts just as on clean ones.
    """
    circuits: dict[tuple[str, int], dict[str, list[int]]] = {}
    for model in models:
        for task in tasks:
            for seed in seeds:
                header = {
                    "config": {
                        "model": {"name": model},
                        "task": {"name": task, "n_prompts": N_PROMPTS},
                        "circuit": {"method": "eap-ig", "threshold": 0.8},
                        "heads": {"min_effect": 0.02, "thresholds": THRESHOLDS},
                    },
                    "code_version": "0.1.0",
                    "versions": {"torch": "2.13.0"},
                    "model": {
                        "name": model,
                        "params_total": SIZES[model],
                        "params_non_embedding": SIZES[model] // 2,
                        "n_layers": N_LAYERS,
                        "n_heads": N_HEADS,
                        "d_model": 64,
                        "parallel": True,
                        "architecture": "gpt_neox",
                    },
                    "task": task,
                    "seed": seed,
                    "schedule": [
                        {"step": s, "tokens": s * TOKENS_PER_STEP, "revision": f"step{s}"}
                        for s in STEPS
                    ],
                    "graph": {
                        "senders": GRAPH.senders,
                        "receivers": GRAPH.receivers,
                        "n_edges": N_EDGES,
                    },
                }
                cell = Cell.create(folder / model / task / f"seed{seed}", header)
                stop = len(STEPS) // 2 if unfinished == (model, task) else len(STEPS)
                previous = None
                for step in STEPS[:stop]:
                    record = _record(model, task, step, seed, task in taste)
                    if previous is not None and previous.resamples and record.resamples:
                        both = (_circuits(one.resamples) for one in (previous, record))
                        record.scalars.update(resampled_scalars(resampled_overlaps(GRAPH, *both)))
                    previous = record
                    cell.write(record)
                    if record.mask is not None:
                        circuits.setdefault((model, seed), {}).setdefault(task, []).append(step)
                if stop == len(STEPS):
                    cell.mark_done()
    if transfer:
        for (model, seed), steps in circuits.items():
            write_transfer(folder, model, seed, steps)
    return folder
