"""Circuits in EAP-IG's JSON: there and back, and files that don't fit."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from circuitwatch.circuits.exchange import from_json, read, to_json
from circuitwatch.circuits.graph import Graph
from circuitwatch.circuits.search import circuit_of_size, greedy_order
from circuitwatch.errors import UserError

GRAPH = Graph(n_layers=2, n_heads=3, parallel=True)


def content() -> dict:
    scores = (np.random.default_rng(0).normal(size=GRAPH.edges.shape) * GRAPH.edges).astype(
        np.float32
    )
    mask = circuit_of_size(GRAPH, greedy_order(GRAPH, scores), 12)
    return to_json(GRAPH, scores, mask, d_model=24)


def test_there_and_back() -> None:
    written = content()
    graph, scores, mask = from_json(json.loads(json.dumps(written)))
    assert graph == GRAPH and to_json(graph, scores, mask, d_model=24) == written
    assert written["edges"]["input->a1.h2<k>"].keys() == {"score", "in_graph"}
    assert {name for name, node in written["nodes"].items() if node["in_graph"]} >= {
        "input",
        "logits",
    }
    assert len(written["edges"]) == GRAPH.n_edges


def test_a_file_written_by_hand(tmp_path: Path) -> None:
    """Nodes as booleans, edges left out, a score of null: what other versions write."""
    path = tmp_path / "circuit.json"
    cfg = {"n_layers": 1, "n_heads": 1, "parallel_attn_mlp": False, "d_model": 8}
    edges = {
        "input->a0.h0<v>": {"score": -0.5, "in_graph": True},
        "a0.h0->m0": {"score": None, "in_graph": False},
    }
    path.write_text(json.dumps({"cfg": cfg, "nodes": {"input": True}, "edges": edges}))
    graph, scores, mask = read(path)
    assert (graph.n_layers, graph.n_heads, graph.parallel) == (1, 1, False)
    assert mask.sum() == 1 and mask[0, graph.receivers.index("a0.h0<v>")]
    assert scores[0, graph.receivers.index("a0.h0<v>")] == -0.5


def test_files_that_do_not_fit(tmp_path: Path) -> None:
    path = tmp_path / "circuit.json"
    with pytest.raises(UserError, match=r"circuit\.json"):
        read(path)
    path.write_text("{}")
    with pytest.raises(UserError, match=r"circuit\.json: no 'cfg'"):
        read(path)
    wrong = content()
    wrong["edges"]["m1->a0.h0<q>"] = {"score": 1.0, "in_graph": True}
    path.write_text(json.dumps(wrong))
    with pytest.raises(UserError, match=r"edge 'm1->a0\.h0<q>' does not exist"):
        read(path)
