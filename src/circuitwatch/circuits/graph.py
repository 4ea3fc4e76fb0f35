"""The computation graph whose edges are scored: its nodes, their names and their order.

Names are those of the EAP-IG library (Hanna et al., arXiv 2403.17806), so that circuits can be
exchanged with it: senders are `input`, `a{layer}.h{head}` and `m{layer}`; receivers
`a{layer}.h{head}<q>`, `<k>`, `<v>`, `m{layer}` and `logits`. Senders are ordered as they are
computed, so the senders that a receiver can see are always the first few: `visible[receiver]` of
them. That one number holds what differs between parallel and sequential blocks.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import cached_property
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

LETTERS = "qkv"
NODE = re.compile(r"(?:a(\d+)\.h(\d+)(?:<([qkv])>)?|m(\d+))")


class Place(NamedTuple):
    """Where in a model a head or an MLP is: its layer, the head (−1 for the layer's MLP), and of a
    head's inputs which: `q`, `k` or `v`, empty where none is meant.
    """

    layer: int
    head: int
    letter: str = ""


def head_name(layer: int, head: int, letter: str = "") -> str:
    """The name of a head, `a1.h0`, of the layer's MLP, `m1` (head −1), or of a head's input,
    `a1.h0<q>`; `place_of` is the way back.
    """
    if head < 0:
        return f"m{layer}"
    return f"a{layer}.h{head}" + (f"<{letter}>" if letter else "")


def place_of(name: str) -> Place | None:
    """Where a node or a receiver is; none for `input`, `logits` and what is no name of either."""
    match = NODE.fullmatch(name)
    if match is None:
        return None
    if match[4] is not None:
        return Place(int(match[4]), -1)
    return Place(int(match[1]), int(match[2]), match[3] or "")


@dataclass(frozen=True)
class Graph:
    """All edges of a model of `n_layers` × `n_heads`; with `parallel` blocks an MLP does not see
    its own layer's heads.
    """

    n_layers: int
    n_heads: int
    parallel: bool

    @cached_property
    def senders(self) -> list[str]:
        """Names of the senders, in the order they are computed."""
        names = ["input"]
        for layer in range(self.n_layers):
            names += [head_name(layer, head) for head in (*range(self.n_heads), -1)]
        return names

    @cached_property
    def receivers(self) -> list[str]:
        """Names of the receivers: a layer's queries, keys, values by head, then its MLP; `logits`
        last.
        """
        names = []
        for layer in range(self.n_layers):
            names += [
                head_name(layer, head, letter) for letter in LETTERS for head in range(self.n_heads)
            ] + [head_name(layer, -1)]
        return [*names, "logits"]

    @cached_property
    def nodes(self) -> list[str]:
        """All nodes: the senders, then `logits`."""
        return [*self.senders, "logits"]

    @cached_property
    def visible(self) -> npt.NDArray[np.int64]:
        """For each receiver, how many of the first senders it can see: [receiver]."""
        counts = []
        for layer in range(self.n_layers):
            before = self.sender_of_head(layer, 0)
            counts += [before] * (3 * self.n_heads) + [
                before if self.parallel else before + self.n_heads
            ]
        return np.array([*counts, len(self.senders)])

    @cached_property
    def edges(self) -> npt.NDArray[np.bool_]:
        """True where an edge exists: [sender, receiver]."""
        return np.arange(len(self.senders))[:, None] < self.visible[None, :]

    @cached_property
    def node_of_receiver(self) -> npt.NDArray[np.int64]:
        """Index into `nodes` of the node that each receiver belongs to: [receiver]."""
        index = {name: i for i, name in enumerate(self.nodes)}
        return np.array([index[name.split("<")[0]] for name in self.receivers])

    @property
    def n_edges(self) -> int:
        """Number of edges."""
        return int(self.edges.sum())

    def sender_of_head(self, layer: int, head: int) -> int:
        """Index of a head among the senders."""
        return 1 + layer * (self.n_heads + 1) + head

    def sender_of_mlp(self, layer: int) -> int:
        """Index of an MLP among the senders."""
        return self.sender_of_head(layer, self.n_heads)

    def receivers_of_layer(self, layer: int) -> slice:
        """The queries, keys and values of one layer among the receivers."""
        first = layer * (3 * self.n_heads + 1)
        return slice(first, first + 3 * self.n_heads)

    def receiver_of_mlp(self, layer: int) -> int:
        """Index of an MLP among the receivers."""
        return self.receivers_of_layer(layer).stop

    def nodes_in(self, mask: npt.NDArray[np.bool_]) -> npt.NDArray[np.bool_]:
        """Nodes that a circuit [sender, receiver] touches, besides `input` and `logits` only if an
        edge does: [node].
        """
        present = np.zeros(len(self.nodes), dtype=bool)
        present[: len(self.senders)] = mask.any(1)
        present[self.node_of_receiver[mask.any(0)]] = True
        return present
