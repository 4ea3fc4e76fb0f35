"""The circuit engine against the way published libraries work, side by side in one process.

    make bench                                       all of it, some 20 minutes; tables, and
    multirun/bench/results.json make bench BENCH="pythia-70m ioi unshared"       only these shapes
    and tasks

One thread and process time, since machines are shared: what counts is the ratio. `forward` is one
plain forward pass of the same model over the same prompts with logits everywhere. 16 prompts in one
batch, 5 steps. Both sides have the tuned allocator.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import numpy as np
from rich.console import Console
from rich.table import Table

from benchmarks.measuring import one_thread, peak_mb, product_share, seconds, tune_allocator
from benchmarks.opponents import BATCH, REAL, SHAPES, SMALL, STEPS, Duel, metric
from circuitwatch.circuits.attribution import edge_scores
from circuitwatch.circuits.memory import plan
from circuitwatch.circuits.search import greedy_order

TASKS = ("ioi", "greater_than", "unshared")
EDGES = (100, 500, 2000)
SEARCHES = {"pythia-70m": "ioi"}
"""Whole searches take the opponent minutes, so only these are run."""


def measure(shape: str, vocabulary: int, task: str) -> list[dict[str, Any]]:
    """Rows of results.json for one model and task."""
    duel = Duel(shape, vocabulary, task)
    forward = seconds(duel.forward, 5)
    name = f"{shape} {vocabulary // 1000}k"

    def row(
        what: str,
        ours: float,
        other: float,
        ours_mb: float | None = None,
        other_mb: float | None = None,
    ) -> None:
        rows.append(
            {
                "name": what,
                "shape": name,
                "task": task,
                "ratio": other / ours,
                "ours_s": ours,
                "other_s": other,
                "forward_s": forward,
                "ours_mb": ours_mb,
                "other_mb": other_mb,
            }
        )

    rows: list[dict[str, Any]] = []
    ours_mb, other_mb = peak_mb(duel.score), peak_mb(duel.score_theirs)
    row("scoring", seconds(duel.score), seconds(duel.score_theirs, 1), ours_mb, other_mb)
    rows[-1] |= {
        "products_share": product_share(duel.score),
        "estimate_mb": plan(duel.model, duel.prompts, steps=STEPS, batch_size=BATCH).estimate / 1e6,
    }
    for n in EDGES:
        mask = duel.circuit(n)
        ours = seconds(lambda m=mask: duel.evaluator(m))
        row(f"evaluation of {n} edges", ours, seconds(lambda m=mask: duel.evaluate_theirs(m), 1))
    if SEARCHES.get(shape) == task and vocabulary == SMALL:
        found = duel.search()
        sizes = found.curve.edges_before_pruning.tolist()
        row(
            f"search, {len(sizes)} sizes",
            seconds(duel.search, 2),
            seconds(lambda: duel.search_theirs(sizes), 1),
        )
    return rows


def breakdown(shape: str, task: str) -> dict[str, float]:
    """Seconds of our own stages for one checkpoint: what the prompts share, a forward pass,
    scoring, the order, evaluation of 500 edges.
    """
    duel = Duel(shape, SMALL, task)
    prepared, scores = duel.prepare(), duel.score()
    one = seconds(lambda: edge_scores(prepared, metric, steps=1, quadrature="right"))
    five = seconds(lambda: edge_scores(prepared, metric, steps=5, quadrature="right"))
    forward = seconds(prepared.end_logits)
    step = (five - one) / 4
    return {
        "prefix and corrupted run": seconds(duel.prepare),
        "forward, 5 steps": 5 * forward,
        "backward and gathering, 5 steps": 5 * (step - forward),
        "senders and contraction": max(0.0, one - step),
        "greedy order": seconds(lambda: greedy_order(duel.graph, scores)),
        "evaluation of 500 edges": seconds(lambda: duel.evaluator(duel.circuit(500))),
    }


def growth() -> dict[str, float]:
    """Exponents of our time and memory: in prompts (70m shape), and in edges (14m to 410m, other
    things grow too: the width).
    """
    duels = [Duel("pythia-70m", SMALL, "unshared", n) for n in (16, 32, 64)]
    times, peaks = [seconds(d.score) for d in duels], [peak_mb(d.score) for d in duels]
    prompts = np.log([d.n_prompts for d in duels])
    shapes = [
        Duel(shape, SMALL, "unshared") for shape in ("pythia-70m", "pythia-160m", "pythia-410m")
    ]
    edges = np.log([d.graph.n_edges for d in shapes])
    shape_times, shape_peaks = (
        [seconds(d.score, 1) for d in shapes],
        [peak_mb(d.score) for d in shapes],
    )

    def exponent(x: Any, y: list[float]) -> float:
        return float(np.polyfit(x, np.log(y), 1)[0])

    return {
        "time in prompts": exponent(prompts, times),
        "memory in prompts": exponent(prompts, peaks),
        "time in edges": exponent(edges, shape_times),
        "memory in edges": exponent(edges, shape_peaks),
    }


def main(chosen: list[str]) -> None:
    one_thread()
    tune_allocator()
    shapes = [s for s in SHAPES if s in chosen] or ["pythia-70m", "pythia-160m"]
    tasks = [t for t in TASKS if t in chosen] or TASKS
    console, rows = Console(width=170), []
    table = Table(
        title=f"circuit engine against the published way, {BATCH} prompts, {STEPS} steps, "
        f"one thread, process time"
    )
    for column in (
        "what",
        "shape",
        "prompts",
        "theirs ÷ ours",
        "ours ÷ forward",
        "theirs ÷ forward",
        "MB ours",
        "MB theirs",
        "estimate",
        "in products",
    ):
        table.add_column(
            column, justify="left" if column in ("what", "shape", "prompts") else "right"
        )
    for shape in shapes:
        for vocabulary in (SMALL, REAL):
            for task in tasks:
                rows += measure(shape, vocabulary, task)
                console.print(f"{shape}, {vocabulary} tokens, {task}: done", style="dim")
    for r in rows:
        ours, other, forward = r["ours_s"], r["other_s"], r["forward_s"]
        memory = [
            f"{r[key]:.0f}" if r.get(key) else "" for key in ("ours_mb", "other_mb", "estimate_mb")
        ]
        share = f"{r['products_share']:.0%}" if "products_share" in r else ""
        table.add_row(
            r["name"],
            r["shape"],
            r["task"],
            *(f"{x:.2f}" for x in (r["ratio"], ours / forward, other / forward)),
            *memory,
            share,
        )
    console.print(table)
    stages = Table(title="where our time goes, seconds of process time", show_lines=False)
    parts = {(shape, task): breakdown(shape, task) for shape in shapes for task in tasks}
    stages.add_column("stage")
    for shape, task in parts:
        stages.add_column(f"{shape} {task}", justify="right")
    for stage in next(iter(parts.values())):
        stages.add_row(stage, *(f"{part[stage]:.3f}" for part in parts.values()))
    console.print(stages)
    for what, exponent in growth().items() if not chosen else ():
        console.print(f"growth of {what}: exponent {exponent:.2f}")
        rows.append({"name": f"growth of {what}", "exponent": exponent})
    path = Path("multirun/bench/results.json")
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(rows, indent=1) + "\n", encoding="utf-8")
    console.print(str(path))


if __name__ == "__main__":
    main(sys.argv[1:])
