"""Overlap of circuits on sets that can be counted by hand, and what it is by chance against random
draws.
"""

from __future__ import annotations

import numpy as np
import pytest

from circuitwatch.circuits.graph import Graph
from circuitwatch.circuits.overlap import (
    Circuit,
    jaccard,
    jaccard_by_chance,
    mean_overlaps,
    node_jaccard,
    overlaps,
    overlaps_by_chance,
    weighted_edge_jaccard,
    weighted_jaccard_by_chance,
)

GRAPH = Graph(n_layers=2, n_heads=2, parallel=True)
DRAWS = 20_000


def test_overlaps() -> None:
    a, b = np.zeros_like(GRAPH.edges), np.zeros_like(GRAPH.edges)
    assert jaccard(a, b) is None and node_jaccard(GRAPH, a, b) is None
    for mask, receivers in ((a, ["m0", "m1"]), (b, ["m1", "a1.h0<q>"])):
        for receiver in receivers:
            mask[0, GRAPH.receivers.index(receiver)] = True
    assert jaccard(a, b) == pytest.approx(1 / 3)
    assert node_jaccard(GRAPH, a, b) == pytest.approx(
        2 / 4
    )  # {input, m0, m1} and {input, m1, a1.h0}
    scores_a, scores_b = np.full(a.shape, 2.0, np.float32), np.full(a.shape, -1.0, np.float32)
    assert weighted_edge_jaccard(a, scores_a, b, scores_b) == pytest.approx(1 / (2 + 2 + 1))
    assert weighted_edge_jaccard(a, scores_a * 0, b, scores_b * 0) is None


def test_by_chance_is_the_mean_over_random_sets() -> None:
    """20,000 draws: the mean of a Jaccard index is known to 0.002 (its spread below 0.15), so 0.006
    is three of its errors.
    """
    rng = np.random.default_rng(0)
    for a, b, n, common in ((3, 5, 12, 0), (10, 10, 19, 1), (30, 7, 400, 0), (1, 1, 5, 1)):
        drawn = []
        for _ in range(DRAWS):
            first, second = (rng.permutation(n - common)[: size - common] for size in (a, b))
            shared = common + np.intersect1d(first, second).size
            drawn.append(shared / (a + b - shared))
        assert jaccard_by_chance(a, b, n, common=common) == pytest.approx(np.mean(drawn), abs=0.006)
    assert jaccard_by_chance(0, 0, 9) is None and jaccard_by_chance(0, 3, 9) == 0.0
    assert jaccard_by_chance(9, 9, 9) == pytest.approx(1.0)


def test_weighted_by_chance_is_the_ratio_of_mean_sums() -> None:
    """Weights of a and b are laid on random edges; the two sums are averaged over 20,000 draws
    (error of the ratio below 0.002).
    """
    rng = np.random.default_rng(1)
    a, b, n = rng.exponential(size=6), rng.exponential(size=9), 20
    least = most = 0.0
    for _ in range(DRAWS):
        first, second = np.zeros(n), np.zeros(n)
        first[rng.permutation(n)[: a.size]], second[rng.permutation(n)[: b.size]] = a, b
        least, most = (
            least + np.minimum(first, second).sum(),
            most + np.maximum(first, second).sum(),
        )
    assert weighted_jaccard_by_chance(a, b, n) == pytest.approx(least / most, abs=0.006)
    assert weighted_jaccard_by_chance(np.zeros(3), np.zeros(2), 9) is None


def test_every_index_of_two_circuits_and_by_chance() -> None:
    """Two copies of the whole graph share everything, also by chance; a circuit of one edge has
    next to nothing of another by chance.
    """
    whole = Circuit(GRAPH.edges, GRAPH.edges.astype(np.float32))
    assert overlaps(GRAPH, whole, whole) == dict.fromkeys(
        ("node_jaccard", "edge_jaccard", "weighted_edge_jaccard"), 1.0
    )
    assert overlaps_by_chance(GRAPH, whole, whole) == pytest.approx(overlaps(GRAPH, whole, whole))
    direct = np.zeros_like(GRAPH.edges)
    direct[0, -1] = True
    one = Circuit(direct, direct.astype(np.float32))
    assert overlaps_by_chance(GRAPH, one, one) == pytest.approx(
        {
            "node_jaccard": 1.0,
            "edge_jaccard": 1 / GRAPH.n_edges,
            "weighted_edge_jaccard": 1 / (2 * GRAPH.n_edges - 1),
        }
    )
    empty = Circuit(np.zeros_like(direct), np.zeros(direct.shape, np.float32))
    assert overlaps(GRAPH, empty, empty) == {} == overlaps_by_chance(GRAPH, empty, empty)
    pairs = [
        overlaps(GRAPH, a, b)["edge_jaccard"]
        for a, b in ((whole, whole), (whole, one), (whole, one))
    ]
    assert mean_overlaps(GRAPH, [whole, whole, one])["edge_jaccard"] == pytest.approx(
        np.mean(pairs)
    )
    assert mean_overlaps(GRAPH, [whole]) == {}
