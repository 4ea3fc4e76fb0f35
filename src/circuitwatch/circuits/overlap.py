"""How much two circuits share: Jaccard indices of their nodes and edges, and of their edges weighted by score.

The weighted one is Σ min(|s|) / Σ max(|s|) over the union of the two circuits' edges, an edge outside a circuit counting 0 there.
Two empty circuits share nothing that could be measured: the answer is None.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from circuitwatch.circuits.graph import Graph

Mask = npt.NDArray[np.bool_]


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
