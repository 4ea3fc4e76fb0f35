"""Where a circuit's nodes are, and the way of each edge between them.

Layers go from the input (below) to the logits (above); a layer's heads stand beside each other, its
MLP at the end of the row, or above them where it sees them (sequential blocks). Columns are 1
apart, rows too. An edge never passes through a node: it crosses every row between its ends in a gap
between two columns, so that what it touches is what it connects. Queries, keys and values have
their own place in a gap and at the receiver. `circuits.js` draws edges by the same rule.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache, cached_property

import numpy as np
from numpy.typing import NDArray

from circuitwatch.circuits.graph import LETTERS, Graph, place_of
from circuitwatch.summary.cells import CellData

LANES = (-0.12, 0.0, 0.12, 0.05)
"""Where in a gap, and at its receiver, an edge into queries, keys, values and the rest runs."""
SPREAD = 0.045
"""How far aside of its lane an edge may run, by its sender, so that few lie on each other."""
RADIUS = 0.3
"""Of a node, in columns: LANES and SPREAD leave it free."""
STRAIGHT = 0.28
"""How far an edge runs straight upwards at each end of its way from row to row, in rows: no less
than a node's radius.
"""


def graph_of(cell: CellData) -> Graph | None:
    """The graph that a cell's circuits are part of; none for a hand-made record that doesn't say
    its shape, or another than its masks have.
    """
    model, known = cell.header["model"], cell.header.get("graph", {})
    if not (model.get("n_layers") and model.get("n_heads") and known.get("receivers")):
        return None
    graph = Graph(int(model["n_layers"]), int(model["n_heads"]), bool(model.get("parallel")))
    return graph if len(graph.receivers) == len(known["receivers"]) else None


def is_laid_out(cell: CellData) -> bool:
    """Whether a cell says how its mask's rows and columns are laid out."""
    return graph_of(cell) is not None


@dataclass(frozen=True)
class Layout:
    """A graph's nodes on paper.

    Attributes:
        graph: whose.
        x, y: where each node is [node].
        square: whether it is drawn as a square, an MLP, the input or the logits [node].
        target: the node of each receiver [receiver].
        kind: which input of it that is, a place in INPUTS [receiver].
    """

    graph: Graph
    x: NDArray[np.float64]
    y: NDArray[np.float64]
    square: NDArray[np.bool_]
    target: NDArray[np.intp]
    kind: NDArray[np.intp]

    @classmethod
    @cache  # the page asks for it once a cell, and once more for each try to fit
    def of(cls, graph: Graph) -> Layout:
        """Lay out a graph."""
        heads, rows = graph.n_heads, 1 if graph.parallel else 2
        middle = heads / 2
        x, y, square = [middle], [-1.0], [True]
        for name in graph.nodes[1:-1]:
            place = place_of(name)
            assert place is not None
            mlp = place.head < 0
            x.append(float(heads if mlp else place.head))
            y.append(float(rows * place.layer + (rows - 1 if mlp else 0)))
            square.append(mlp)
        x.append(middle)
        y.append(float(rows * graph.n_layers))
        square.append(True)
        places = [place_of(name) for name in graph.receivers]
        kind = [3 if one is None or one.head < 0 else LETTERS.index(one.letter) for one in places]
        return cls(
            graph,
            np.array(x),
            np.array(y),
            np.array(square),
            np.asarray(graph.node_of_receiver, dtype=np.intp),
            np.array(kind, dtype=np.intp),
        )

    @property
    def columns(self) -> int:
        """How many there are."""
        return self.graph.n_heads + 1

    @cached_property
    def labels(self) -> list[str]:
        """What is written into each node: `h3`, `m0`; nothing for input and logits, which have
        their names beside them.
        """
        return ["" if place_of(name) is None else name.split(".")[-1] for name in self.graph.nodes]

    def ends(self, edges: NDArray[np.intp]) -> tuple[NDArray[np.intp], NDArray[np.intp]]:
        """Sender's and receiver's node of some edges, places in the flattened mask [edge]."""
        senders, receivers = np.divmod(edges, len(self.graph.receivers))
        return senders, self.target[receivers]

    def nodes(self, edges: NDArray[np.intp]) -> NDArray[np.intp]:
        """The nodes of some edges, ascending."""
        return np.unique(np.concatenate(self.ends(edges))).astype(np.intp)

    def kinds(self, edges: NDArray[np.intp]) -> NDArray[np.intp]:
        """Which input each edge enters, a place in INPUTS [edge]."""
        return self.kind[edges % len(self.graph.receivers)]

    def way(self, edge: int) -> NDArray[np.float64]:
        """The points that an edge runs through, upwards [point, (x, y)]: its sender, a gap of each
        row between, its receiver. It leaves each and arrives straight upwards, for STRAIGHT rows.
        """
        (sender,), (target,) = self.ends(np.array([edge]))
        lane = LANES[int(self.kinds(np.array([edge]))[0])]
        low, high = self.y[sender], self.y[target]
        begin, end = self.x[sender], self.x[target] + lane
        aside = ((int(sender) * 7) % 5 - 2) / 2 * SPREAD
        points = [(begin, low)]
        for row in np.arange(np.floor(low) + 1, high):
            straight = begin + (end - begin) * (row - low) / (high - low)
            gap = np.clip(np.floor(straight), -1, self.columns - 1) + 0.5
            points.append((gap + lane + aside, row))
        return np.array([*points, (end, high)])
