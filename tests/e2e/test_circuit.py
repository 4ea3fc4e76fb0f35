"""The circuit of IOI on the real model, and its edge scores against patching edges one at a time:
multirun/e2e/circuit.json has the numbers.
"""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from scipy.stats import spearmanr

from circuitwatch.behaviour import TaskMetric
from circuitwatch.circuits.evaluation import CircuitEvaluator
from circuitwatch.circuits.patching import PathPatcher
from circuitwatch.circuits.prompts import Prepared
from circuitwatch.record_files import CheckpointRecord
from circuitwatch.tasks import PromptSet

pytestmark = pytest.mark.e2e

N_STRONGEST, N_RANDOM = 100, 300
RESULTS = Path(__file__).parents[2] / "multirun" / "e2e" / "circuit.json"


def note(**numbers: object) -> None:
    """Print numbers, and keep them beside those of the other tests."""
    print(numbers)
    RESULTS.parent.mkdir(parents=True, exist_ok=True)
    known = json.loads(RESULTS.read_text(encoding="utf-8")) if RESULTS.exists() else {}
    RESULTS.write_text(
        json.dumps(known | numbers, indent=1, sort_keys=True) + "\n", encoding="utf-8"
    )


def test_the_circuit(
    scored: CheckpointRecord, prepared_ioi: Callable[[int], tuple[Prepared, PromptSet]]
) -> None:
    """It recovers 0.8 of the behaviour, with few of the edges, and what the record says of it is
    what it does.
    """
    assert scored.mask is not None and scored.curve is not None
    scalars = {
        name: value
        for name, value in scored.scalars.items()
        if name.startswith(("circuit", "behaviour/v"))
    }
    curve = scored.curve[["edges_before_pruning", "edges", "recovery", "faithfulness"]].round(4)
    note(circuit=scalars, curve=curve.to_dict("records"))
    assert scalars["circuit/status"] == "found" and scalars["circuit/recovery"] >= 0.8
    assert not scalars["circuit/out_of_range"] and scalars["circuit/edges_share"] < 0.05
    prepared, prompts = prepared_ioi(16)
    evaluator = CircuitEvaluator(prepared, TaskMetric(prompts))
    model = evaluator(evaluator.graph.edges)
    assert model == pytest.approx(scalars["behaviour/value"], abs=1e-3)
    assert evaluator(scored.mask) / model == pytest.approx(scalars["circuit/recovery"], abs=1e-3)
    # A circuit of as many edges drawn at random does not do it.
    chosen = np.random.default_rng(0).permutation(np.argwhere(evaluator.graph.edges))[
        : int(scored.mask.sum())
    ]
    random = np.zeros_like(scored.mask)
    random[tuple(chosen.T)] = True
    assert evaluator(random) / model < 0.1


def test_scores_rank_edges_as_exact_patching_does(
    scored: CheckpointRecord, prepared_ioi: Callable[[int], tuple[Prepared, PromptSet]]
) -> None:
    """The 100 strongest edges and 300 random ones of the rest, seeded.

    One edge is patched by sending its sender's change to its receiver, with all else frozen on the
    way, and computing anew what is behind: the same as evaluating all edges but this one, which is
    checked on a few.
    """
    assert scored.scores is not None
    prepared, prompts = prepared_ioi(16)
    patcher, evaluator = (
        kind(prepared, TaskMetric(prompts)) for kind in (PathPatcher, CircuitEvaluator)
    )
    graph = evaluator.graph
    edges = np.argwhere(graph.edges)
    scores = scored.scores[tuple(edges.T)].astype(float)
    strongest = np.argsort(-np.abs(scores))[:N_STRONGEST]
    others = np.setdiff1d(np.arange(len(edges)), strongest)
    random = np.random.default_rng(0).choice(others, N_RANDOM, replace=False)
    by_receiver: dict[int, list[int]] = defaultdict(list)
    for edge in [*strongest.tolist(), *random.tolist()]:
        by_receiver[int(edges[edge, 1])].append(edge)
    exact = np.full(len(edges), np.nan)
    for receiver, into in by_receiver.items():
        senders = [[graph.senders[edges[edge, 0]]] for edge in into]
        patched = patcher.patch(senders, [graph.receivers[receiver]], mlps="frozen")
        exact[into] = (patched.values - patched.unpatched).mean(1).numpy()

    everything = evaluator(graph.edges)
    for edge in [*strongest[[0, 20, 40, 60, 80]].tolist(), *random[:3].tolist()]:
        without = graph.edges.copy()
        without[tuple(edges[edge])] = False
        assert exact[edge] == pytest.approx(evaluator(without) - everything, abs=1e-4)

    found = {}
    for name, some in (
        ("strongest", strongest),
        ("random", random),
        ("both", np.concatenate([strongest, random])),
    ):
        found[f"spearman_{name}"] = float(spearmanr(scores[some], exact[some]).statistic)
        found[f"spearman_of_sizes_{name}"] = float(
            spearmanr(np.abs(scores[some]), np.abs(exact[some])).statistic
        )
        found[f"error_{name}"] = float(
            np.abs(scores[some] - exact[some]).sum() / np.abs(exact[some]).sum()
        )
    note(
        **found,
        strongest_edges=[
            f"{graph.senders[s]}->{graph.receivers[r]}" for s, r in edges[strongest[:10]]
        ],
    )
    assert found["spearman_strongest"] > 0.9 and found["spearman_of_sizes_both"] > 0.9
    # 0.74; other draws gave 0.78 and 0.85. Of random edges the sign is right in 72 %, in float64 as
    # in float32: it is the method's error.
    assert found["spearman_both"] > 0.65
