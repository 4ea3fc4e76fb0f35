"""What a record says of its circuit's overlap with those before, on random circuits."""

from __future__ import annotations

from itertools import combinations, pairwise

import numpy as np
import pandas as pd
import pytest

from circuitwatch.circuits.graph import Graph
from circuitwatch.circuits.overlap import Circuit, jaccard, overlaps_by_chance
from circuitwatch.examine import overlap_scalars
from circuitwatch.records import CheckpointRecord

GRAPH = Graph(n_layers=2, n_heads=2, parallel=True)


def random_circuits(n: int) -> list[Circuit]:
    rng = np.random.default_rng(0)
    shape = GRAPH.edges.shape
    return [
        Circuit(GRAPH.edges & (rng.random(shape) < 0.5), rng.normal(size=shape).astype(np.float32)) for _ in range(n)
    ]


def record(step: int, circuit: Circuit, scalars: dict[str, float]) -> CheckpointRecord:
    nothing = pd.DataFrame()
    return CheckpointRecord(step, step, "", dict(scalars), nothing, nothing, None, circuit.scores, circuit.mask)


def test_overlaps_follow_the_chain_of_circuits() -> None:
    """The weighted mean starts at the first overlap and halves the weight of all that came before; the floor is of the checkpoint alone."""
    circuits, resampled = random_circuits(4), random_circuits(7)[4:]
    previous, found = None, []
    for step, circuit in enumerate(circuits):
        found.append(overlap_scalars(GRAPH, circuit, resampled, previous))
        previous = record(step, circuit, found[-1])
    floor = np.mean([jaccard(a.mask, b.mask) for a, b in combinations(resampled, 2)])
    assert all(scalars["overlap/edge_jaccard_floor"] == pytest.approx(floor) for scalars in found)
    assert set(found[0]) == {
        f"overlap/{name}_floor" for name in ("node_jaccard", "edge_jaccard", "weighted_edge_jaccard")
    }
    first, second, third = (jaccard(a.mask, b.mask) for a, b in pairwise(circuits))
    assert [scalars["overlap/edge_jaccard"] for scalars in found[1:]] == [first, second, third]
    means = [scalars["overlap/edge_jaccard_mean"] for scalars in found[1:]]
    assert means == pytest.approx([first, (first + second) / 2, first / 4 + second / 4 + third / 2])
    for (a, b), scalars in zip(pairwise(circuits), found[1:], strict=True):
        for name, value in overlaps_by_chance(GRAPH, b, a).items():
            assert scalars[f"overlap/{name}_chance"] == value


def test_without_resamples_and_circuits_before_nothing_is_said() -> None:
    circuit = random_circuits(1)[0]
    assert overlap_scalars(GRAPH, circuit, [], None) == {}
    assert overlap_scalars(GRAPH, circuit, [circuit], None) == {}
