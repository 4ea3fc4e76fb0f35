"""How much two circuits share: Jaccard indices of their nodes and edges, and of their edges weighted by score; and what these would be by chance.

The weighted one is Σ min(|s|) / Σ max(|s|) over the union of the two circuits' edges, an edge outside a circuit counting 0 there.
Two empty circuits share nothing that could be measured: the answer is None.

By chance is what two circuits of these sizes would share if their edges (or nodes) lay anywhere in the graph, independently of each other.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import combinations

import numpy as np
import numpy.typing as npt
from scipy.stats import hypergeom

from circuitwatch.circuits.graph import Graph

Mask = npt.NDArray[np.bool_]
MEASURES = ("node_jaccard", "edge_jaccard", "weighted_edge_jaccard")


@dataclass(frozen=True)
class Circuit:
    """A circuit's edges and the scores that it was chosen by, both [sender, receiver]."""

    mask: Mask
    scores: npt.NDArray[np.float32]


def overlaps(graph: Graph, a: Circuit, b: Circuit) -> dict[str, float]:
    """The three indices of two circuits, by the names of MEASURES; those that do not exist are left out."""
    found = {
        "node_jaccard": node_jaccard(graph, a.mask, b.mask),
        "edge_jaccard": jaccard(a.mask, b.mask),
        "weighted_edge_jaccard": weighted_edge_jaccard(a.mask, a.scores, b.mask, b.scores),
    }
    return {name: value for name, value in found.items() if value is not None}


def overlaps_by_chance(graph: Graph, a: Circuit, b: Circuit) -> dict[str, float]:
    """What the three indices would be if the two circuits' edges, and nodes, lay anywhere."""
    nodes_a, nodes_b = (int(graph.nodes_in(circuit.mask)[:-1].sum()) for circuit in (a, b))
    n_nodes, first = len(graph.nodes) - 1, 1  # `input` is in every circuit
    strengths = [np.abs(circuit.scores[circuit.mask]).astype(np.float64) for circuit in (a, b)]
    found = {
        "node_jaccard": jaccard_by_chance(nodes_a, nodes_b, n_nodes, common=min(first, nodes_a, nodes_b)),
        "edge_jaccard": jaccard_by_chance(int(a.mask.sum()), int(b.mask.sum()), graph.n_edges),
        "weighted_edge_jaccard": weighted_jaccard_by_chance(strengths[0], strengths[1], graph.n_edges),
    }
    return {name: value for name, value in found.items() if value is not None}


def mean_overlaps(graph: Graph, circuits: Sequence[Circuit]) -> dict[str, float]:
    """The mean of each index over all pairs of some circuits that have it; nothing for fewer than two circuits."""
    pairs = [overlaps(graph, a, b) for a, b in combinations(circuits, 2)]
    known = {name: [pair[name] for pair in pairs if name in pair] for name in MEASURES}
    return {name: float(np.mean(values)) for name, values in known.items() if values}


def jaccard(a: Mask, b: Mask) -> float | None:
    """|A ∩ B| / |A ∪ B| of two boolean arrays of one shape; None if both are empty."""
    union = int((a | b).sum())
    return int((a & b).sum()) / union if union else None


def node_jaccard(graph: Graph, a: Mask, b: Mask) -> float | None:
    """Jaccard index of the nodes that two circuits [sender, receiver] touch; `logits`, which every circuit has, is not counted."""
    return jaccard(graph.nodes_in(a)[:-1], graph.nodes_in(b)[:-1])


def weighted_edge_jaccard(
    a: Mask, scores_a: npt.NDArray[np.float32], b: Mask, scores_b: npt.NDArray[np.float32]
) -> float | None:
    """Σ min(|s_A|, |s_B|) / Σ max(|s_A|, |s_B|) over the edges of A ∪ B; None if the scores there are all 0."""
    weight_a, weight_b = np.abs(scores_a, dtype=np.float64) * a, np.abs(scores_b, dtype=np.float64) * b
    total = float(np.maximum(weight_a, weight_b).sum())
    return float(np.minimum(weight_a, weight_b).sum()) / total if total else None


def jaccard_by_chance(a: int, b: int, n: int, *, common: int = 0) -> float | None:
    """Expected Jaccard index of random sets of a and b out of n things, of which `common` are in both for sure; None if both are empty.

    Exact: the number shared is hypergeometric.
    """
    if not max(a, b):
        return None
    shared = np.arange(common, min(a, b) + 1)
    weights = hypergeom.pmf(shared - common, n - common, a - common, b - common)
    return float((weights * shared / (a + b - shared)).sum())


def weighted_jaccard_by_chance(a: npt.NDArray[np.float64], b: npt.NDArray[np.float64], n: int) -> float | None:
    """Σ min / Σ max of two lists of weights [edge] put on edges out of n at random, the expectation of one sum over that of the other; None if all are 0.

    Two given edges meet with probability 1/n, so E Σ min = Σ_ij min(a_i, b_j) / n; and Σ max = Σ a + Σ b − Σ min.
    """
    total = float(a.sum() + b.sum())
    if not total:
        return None
    ordered = np.sort(b)
    below = np.concatenate([[0.0], np.cumsum(ordered)])
    place = np.searchsorted(ordered, a)
    least = float((below[place] + a * (b.size - place)).sum()) / n
    return least / (total - least)
