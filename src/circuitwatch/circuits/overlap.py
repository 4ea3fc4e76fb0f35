"""How much two circuits share: Jaccard indices of their nodes and edges, and of their edges
weighted by score; and what these would be by chance.

The weighted one is Σ min(|s|) / Σ max(|s|) over the union of the two circuits' edges, an edge
outside a circuit counting 0 there. Two empty circuits share nothing that could be measured: the
answer is None.

By chance is what two circuits of these sizes would share if their edges (or nodes) lay anywhere in
the graph, independently of each other.

Two circuits of one model, found from different samples of the prompts, differ too. So two
checkpoints are compared through circuits of samples A and B of the prompts, the same at both: what
A's circuit of the one shares with B's of the other, beside what A's and B's share at each of them
(the noise ceiling). A model that has not changed gives the same number for both. Circuits found
from the *same* prompts share more than that: nothing of their overlap is lost to the sample, and it
can't be compared with such a ceiling.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import combinations, permutations
from typing import NamedTuple

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


def circuit_of(
    graph: Graph, edges: npt.NDArray[np.integer], scores: npt.NDArray[np.float32]
) -> Circuit:
    """A circuit from the places of its edges in the flattened mask [edge] and their scores [edge];
    0 outside it.
    """
    mask, own = np.zeros(graph.edges.size, dtype=bool), np.zeros(graph.edges.size, dtype=np.float32)
    mask[edges], own[edges] = True, scores
    return Circuit(mask.reshape(graph.edges.shape), own.reshape(graph.edges.shape))


class Resampled(NamedTuple):
    """What circuits of other prompts share: across two checkpoints, within each of them (the
    ceiling), and by chance.
    """

    observed: float
    ceiling: float
    chance: float


def overlaps(graph: Graph, a: Circuit, b: Circuit) -> dict[str, float]:
    """The three indices of two circuits, by the names of MEASURES; those that do not exist are left
    out.
    """
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
        "node_jaccard": jaccard_by_chance(
            nodes_a, nodes_b, n_nodes, common=min(first, nodes_a, nodes_b)
        ),
        "edge_jaccard": jaccard_by_chance(int(a.mask.sum()), int(b.mask.sum()), graph.n_edges),
        "weighted_edge_jaccard": weighted_jaccard_by_chance(
            strengths[0], strengths[1], graph.n_edges
        ),
    }
    return {name: value for name, value in found.items() if value is not None}


def mean_overlaps(graph: Graph, circuits: Sequence[Circuit | None]) -> dict[str, float]:
    """The mean of each index over all pairs of the circuits that are there; nothing for fewer than
    two of these.
    """
    pairs = [overlaps(graph, a, b) for a, b in combinations(filter(None, circuits), 2)]
    known = {name: [pair[name] for pair in pairs if name in pair] for name in MEASURES}
    return {name: float(np.mean(values)) for name, values in known.items() if values}


def resampled_overlaps(
    graph: Graph, one: Sequence[Circuit | None], other: Sequence[Circuit | None]
) -> dict[str, Resampled]:
    """Two checkpoints compared through the circuits of the same resamples of the prompts: A, B, …
    in this order.

    observed: mean of J(A₁, B₂) and J(B₁, A₂), with more resamples over all ordered pairs of
    different ones. ceiling: mean of J(A₁, B₁) and J(A₂, B₂). chance: of the pairs observed, by
    their sizes. A measure is given only where all these circuits are there and have it, so that the
    three are means over the same circuits.
    """
    if len(one) != len(other):
        raise ValueError(f"{len(one)} and {len(other)} resamples can't be compared")
    first, second = (
        [circuit for circuit in circuits if circuit is not None] for circuits in (one, other)
    )
    if len(one) < 2 or len(first) < len(one) or len(second) < len(other):
        return {}
    across = [(first[i], second[j]) for i, j in permutations(range(len(one)), 2)]
    within = [pair for circuits in (first, second) for pair in combinations(circuits, 2)]
    observed, ceiling = ([overlaps(graph, a, b) for a, b in pairs] for pairs in (across, within))
    chance = [overlaps_by_chance(graph, a, b) for a, b in across]
    found = {}
    for name in MEASURES:
        if all(name in pair for pair in (*observed, *ceiling, *chance)):
            means = (
                float(np.mean([pair[name] for pair in pairs]))
                for pairs in (observed, ceiling, chance)
            )
            found[name] = Resampled(*means)
    return found


def resampled_scalars(found: dict[str, Resampled], suffix: str = "") -> dict[str, float]:
    """As records and tables call them: `overlap/<measure><suffix>_resampled`, with `_ceiling` and
    `_chance` after it.
    """
    scalars: dict[str, float] = {}
    for name, (observed, ceiling, chance) in found.items():
        plain = f"overlap/{name}{suffix}_resampled"
        scalars |= {plain: observed, f"{plain}_ceiling": ceiling, f"{plain}_chance": chance}
    return scalars


def jaccard(a: Mask, b: Mask) -> float | None:
    """|A ∩ B| / |A ∪ B| of two boolean arrays of one shape; None if both are empty."""
    return jaccard_of_sizes(int((a & b).sum()), int(a.sum()), int(b.sum()))


def jaccard_of_sizes(shared: int, a: int, b: int) -> float | None:
    """|A ∩ B| / |A ∪ B| from the sizes of A ∩ B, A and B; None if both are empty."""
    union = a + b - shared
    return shared / union if union else None


def node_jaccard(graph: Graph, a: Mask, b: Mask) -> float | None:
    """Jaccard index of the nodes that two circuits [sender, receiver] touch; `logits`, which every
    circuit has, is not counted.
    """
    return jaccard(graph.nodes_in(a)[:-1], graph.nodes_in(b)[:-1])


def weighted_edge_jaccard(
    a: Mask, scores_a: npt.NDArray[np.float32], b: Mask, scores_b: npt.NDArray[np.float32]
) -> float | None:
    """Σ min(|s_A|, |s_B|) / Σ max(|s_A|, |s_B|) over the edges of A ∪ B; None if the scores there
    are all 0.
    """
    either = (
        a | b
    )  # [sender, receiver]; few of all edges, on which alone there is anything to add up
    weight_a = np.abs(scores_a[either], dtype=np.float64) * a[either]  # [edge]
    weight_b = np.abs(scores_b[either], dtype=np.float64) * b[either]
    total = float(np.maximum(weight_a, weight_b).sum())
    return float(np.minimum(weight_a, weight_b).sum()) / total if total else None


def jaccard_by_chance(a: int, b: int, n: int, *, common: int = 0) -> float | None:
    """Expected Jaccard index of random sets of a and b out of n things, of which `common` are in
    both for sure; None if both are empty.

    Exact: the number shared is hypergeometric.
    """
    if not max(a, b):
        return None
    shared = np.arange(common, min(a, b) + 1)
    weights = hypergeom.pmf(shared - common, n - common, a - common, b - common)
    return float((weights * shared / (a + b - shared)).sum())


def weighted_jaccard_by_chance(
    a: npt.NDArray[np.float64], b: npt.NDArray[np.float64], n: int
) -> float | None:
    """Σ min / Σ max of two lists of weights [edge] put on edges out of n at random, the expectation
    of one sum over that of the other; None if all are 0.

    Two given edges meet with probability 1/n, so E Σ min = Σ_ij min(a_i, b_j) / n; and Σ max = Σ a
    + Σ b − Σ min.
    """
    total = float(a.sum() + b.sum())
    if not total:
        return None
    ordered = np.sort(b)
    below = np.concatenate([[0.0], np.cumsum(ordered)])
    place = np.searchsorted(ordered, a)
    least = float((below[place] + a * (b.size - place)).sum()) / n
    return least / (total - least)
