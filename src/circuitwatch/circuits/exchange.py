"""Circuits as JSON in the graph format of the EAP-IG library (Hanna et al., arXiv 2403.17806),
which the MIB benchmark takes too.

    {"cfg": {"n_layers", "n_heads", "parallel_attn_mlp", "d_model"},
     "nodes": {"a0.h1": {"in_graph": true}, …}, "edges": {"input->a0.h1<q>": {"score": 0.5,
     "in_graph": true}, …}}

Older files give a node as a plain boolean.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from circuitwatch.circuits.graph import Graph
from circuitwatch.errors import UserError

Mask = npt.NDArray[np.bool_]
Scores = npt.NDArray[np.float32]


def to_json(graph: Graph, scores: Scores, mask: Mask | None, *, d_model: int) -> dict[str, Any]:
    """Scores and circuit [sender, receiver] as the library's JSON; without a circuit nothing is in
    the graph.
    """
    inside = np.zeros_like(graph.edges) if mask is None else mask
    nodes = graph.nodes_in(inside)
    return {
        "cfg": {
            "n_layers": graph.n_layers,
            "n_heads": graph.n_heads,
            "parallel_attn_mlp": graph.parallel,
            "d_model": d_model,
        },
        "nodes": {
            name: {"in_graph": bool(there)} for name, there in zip(graph.nodes, nodes, strict=True)
        },
        "edges": {
            f"{graph.senders[s]}->{graph.receivers[r]}": {
                "score": float(scores[s, r]),
                "in_graph": bool(inside[s, r]),
            }
            for s, r in np.argwhere(graph.edges)
        },
    }


def from_json(content: dict[str, Any]) -> tuple[Graph, Scores, Mask]:
    """Graph, scores and circuit [sender, receiver].

    Raises UserError for what is missing or names an edge that the graph lacks.
    """
    try:
        cfg, edges = content["cfg"], content["edges"]
        graph = Graph(int(cfg["n_layers"]), int(cfg["n_heads"]), bool(cfg["parallel_attn_mlp"]))
    except KeyError as error:
        raise UserError(
            f"no {error.args[0]!r} in this circuit; a graph in EAP-IG's JSON has cfg, nodes "
            f"and edges"
        ) from error
    senders = {name: i for i, name in enumerate(graph.senders)}
    receivers = {name: i for i, name in enumerate(graph.receivers)}
    scores, mask = np.zeros(graph.edges.shape, dtype=np.float32), np.zeros_like(graph.edges)
    for name, edge in edges.items():
        sender, _, receiver = name.partition("->")
        s, r = senders.get(sender), receivers.get(receiver)
        if s is None or r is None or not graph.edges[s, r]:
            raise UserError(
                f"edge {name!r} does not exist in a model of {graph.n_layers} layers and "
                f"{graph.n_heads} heads"
            )
        scores[s, r], mask[s, r] = edge.get("score") or 0.0, bool(edge["in_graph"])
    return graph, scores, mask


def read(path: Path) -> tuple[Graph, Scores, Mask]:
    """Read a file. Raises UserError naming the file."""
    try:
        return from_json(json.loads(path.read_text(encoding="utf-8")))
    except (OSError, ValueError, UserError) as error:
        raise UserError(f"{path}: {error}") from error
