"""Circuits on paper: nodes and inputs are those of the graph, and no edge passes a node that it
doesn't connect.
"""

from __future__ import annotations

import json
import shutil
import subprocess
from pathlib import Path

import numpy as np
import pytest
from matplotlib.path import Path as Curve

import circuitwatch
from circuitwatch.circuits.graph import Graph
from circuitwatch.summary.charts.layout import LANES, RADIUS, SPREAD, STRAIGHT, Layout
from circuitwatch.summary.charts.looks import INPUTS
from circuitwatch.summary.figures.circuits import _path

GRAPHS = [Graph(2, 4, True), Graph(3, 5, False), Graph(6, 8, True), Graph(2, 1, False)]
BEND = 12
"""Points that are looked at of each bend."""


def points_of(path: Curve) -> np.ndarray:
    """A path as points close to each other [point, (x, y)]."""
    found = [path.vertices[0]]
    vertices = iter(zip(path.vertices[1:], path.codes[1:], strict=True))
    for vertex, code in vertices:
        begin = found[-1]
        share = np.linspace(0, 1, BEND)[1:, None]
        if code == Curve.LINETO:
            found += list(begin + share * (vertex - begin))
            continue
        middle, end = next(vertices)[0], next(vertices)[0]
        rest = 1 - share
        found += list(
            rest**3 * begin
            + 3 * rest**2 * share * vertex
            + 3 * rest * share**2 * middle
            + share**3 * end
        )
    return np.array(found)


@pytest.mark.parametrize("graph", GRAPHS)
def test_no_edge_passes_a_node(graph: Graph) -> None:
    """Every edge of the graph: along its way no node is nearer than its radius, but its ends."""
    layout = Layout.of(graph)
    edges = np.flatnonzero(graph.edges)
    senders, targets = layout.ends(edges)
    nodes = np.column_stack([layout.x, layout.y])
    size = np.array([RADIUS, STRAIGHT])  # half a node's width and height
    for edge, sender, target in zip(edges, senders, targets, strict=True):
        points = points_of(_path(layout.way(int(edge))))
        assert points[0] == pytest.approx(nodes[sender])
        beside, above = points[-1] - nodes[target]
        assert abs(beside) < RADIUS and above == 0
        assert (np.diff(points[:, 1]) > -1e-9).all()  # upwards all the way
        others = np.delete(nodes, [sender, target], axis=0)
        away = np.abs(points[:, None, :] - others[None]) / size
        assert (away.max(axis=2) > 0.99).all(), (graph, layout.graph.nodes[sender])


@pytest.mark.parametrize("graph", GRAPHS)
def test_nodes_and_inputs_are_those_of_the_graph(graph: Graph) -> None:
    layout = Layout.of(graph)
    for place, name in enumerate(graph.receivers):
        node, _, letter = name.partition("<")
        assert graph.nodes[layout.target[place]] == node
        assert list(INPUTS)[layout.kind[place]][0] == (letter[0] if letter else "M")
    assert len({*zip(layout.x[1:-1], layout.y[1:-1], strict=True)}) == len(graph.nodes) - 2
    above = layout.y[graph.sender_of_mlp(0)] > layout.y[graph.sender_of_head(0, 0)]
    assert above == (not graph.parallel)  # only where the MLP sees its layer's heads


def test_edges_into_other_inputs_do_not_lie_on_each_other() -> None:
    graph = Graph(4, 4, True)
    layout, n = Layout.of(graph), len(graph.receivers)
    receivers = [graph.receivers.index(f"a3.h2<{letter}>") for letter in "qkv"]
    ways = [layout.way(0 * n + receiver) for receiver in receivers]  # from the input
    gaps = np.array([way[1:, 0] for way in ways])
    assert (np.diff(np.sort(gaps, axis=0), axis=0) > 0.05).all()


@pytest.mark.skipif(not shutil.which("node"), reason="node is not installed")
def test_the_page_draws_edges_the_same_way() -> None:
    folder = Path(circuitwatch.__file__).parent / "summary/report/templates/js"
    graph = Graph(3, 5, False)
    layout = Layout.of(graph)
    edges = np.flatnonzero(graph.edges).tolist()
    page = {
        "x": layout.x.tolist(),
        "y": layout.y.tolist(),
        "target": layout.target.tolist(),
        "kind": "".join(map(str, layout.kind)),
        "columns": layout.columns,
    }
    draw = {"lanes": LANES, "spread": SPREAD}
    source = (folder / "circuits.js").read_text(encoding="utf-8")
    way = source[source.index("export function way(") :]
    way = way[: way.index("\n}\n") + 2].removeprefix("export ")
    known = f"{json.dumps(page)}, {json.dumps(draw)}"
    program = f"{way}\nconsole.log(JSON.stringify({edges}.map((edge) => way({known}, edge))))"
    done = subprocess.run(["node", "-e", program], capture_output=True, text=True, check=True)
    for edge, shown in zip(edges, json.loads(done.stdout), strict=True):
        np.testing.assert_allclose(shown, layout.way(edge), atol=1e-9)
