"""Where the nodes and edges of a circuit are: from places in a record's flattened mask to nodes,
and from nodes to a drawing by layer.

The order is that of `circuits.graph`, which is not imported here: senders are the input, then of
each layer its heads and its MLP; receivers are of each layer the queries, keys and values by head
and its MLP, then the logits.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from circuitwatch.summary.cells import CellData


def is_laid_out(cell: CellData) -> bool:
    """Whether a cell says how its mask's rows and columns are laid out; hand-made records may
    not.
    """
    model = cell.header["model"]
    return bool(
        model.get("n_layers")
        and model.get("n_heads")
        and cell.header.get("graph", {}).get("receivers")
    )


def nodes_of(
    edges: NDArray[np.intp], layers: int, heads: int, n_receivers: int
) -> NDArray[np.intp]:
    """Nodes of some edges (places in the flattened mask), as places in the order of the graph's
    nodes: senders, then `logits`; ascending.
    """
    senders, receivers = np.divmod(edges, n_receivers)
    node, _ = receivers_of(receivers, layers, heads, n_receivers)
    return np.unique(np.concatenate([senders, node])).astype(np.intp)


def receivers_of(
    receivers: NDArray[np.intp], layers: int, heads: int, n_receivers: int
) -> tuple[NDArray[np.intp], NDArray[np.intp]]:
    """The node [edge] that receivers' places [edge] belong to, and the input: 0 queries, 1 keys, 2
    values, 3 an MLP's or the logits'.
    """
    layer, inside = np.divmod(receivers, 3 * heads + 1)
    mlp, logits = inside == 3 * heads, receivers == n_receivers - 1
    node = np.where(mlp, 1 + layer * (heads + 1) + heads, 1 + layer * (heads + 1) + inside % heads)
    node = np.where(logits, 1 + layers * (heads + 1), node)
    return node, np.where(mlp | logits, 3, inside // heads)


def places_of(layers: int, heads: int) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Where each node is drawn [node]: heads from the left, then the layer's MLP."""
    inside = np.arange(layers * (heads + 1))
    x = np.concatenate([[heads / 2], inside % (heads + 1), [heads / 2]]).astype(float)
    y = np.concatenate([[-1], inside // (heads + 1), [layers]]).astype(float)
    return x, y
