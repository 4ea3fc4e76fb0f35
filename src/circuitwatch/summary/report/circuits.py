"""Circuits at every checkpoint, small enough to lie in the report's page.

Circuits are the edges that enter or leave from one checkpoint to the next, as differences of their
places, deflated; of a large circuit only the strongest edges are kept, and all nodes. Where nodes
are, and in which order, is `charts.layout`'s. `js/circuits.js` is the other half: it reads exactly
this.
"""

from __future__ import annotations

import base64
import zlib
from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from circuitwatch.circuits.graph import Graph
from circuitwatch.summary.cells import CellData, without_duplicates
from circuitwatch.summary.charts.layout import (
    LANES,
    RADIUS,
    SPREAD,
    STRAIGHT,
    Layout,
    graph_of,
)
from circuitwatch.summary.lines import DOUBTS

EDGES = (300, 150, 75, 40, 20)
"""How many of a circuit's edges are kept: the first that fits."""


def circuits_blob(
    cells: Sequence[CellData], models: Sequence[str], room: int
) -> tuple[list[dict[str, Any]], str, list[str]]:
    """Circuits of all cells at every checkpoint, in at most `room` characters where that can be
    done.

    Returns (a line a cell: m, t, s, its graph as `name_of` has it, tokens, steps, edges
    [checkpoint]; base64 of the deflated stream; notes). For each cell and checkpoint the stream
    has: how many nodes changed, the differences of their places; how many of the kept edges
    changed, and the differences of theirs.
    """
    there = [cell for cell in cells if cell.circuits and graph_of(cell) is not None]
    if not there:
        return [], "", []
    blob = ""
    lines: list[dict[str, Any]] = []
    notes: list[str] = []
    fits = float(EDGES[0])
    for most, every in [(most, 1) for most in EDGES] + [
        (EDGES[-1], 2),
        (EDGES[-1], 4),
        (EDGES[-1], 16),
    ]:
        if every == 1 and most > fits and most != EDGES[-1]:
            continue  # the last try says that this would not fit either
        packer = zlib.compressobj(9, zlib.DEFLATED, -15)
        packed, lines, thinned = [], [], 0
        for cell in there:
            line, content, cut = _packed(cell, models, most, every)
            packed.append(packer.compress(content))
            lines.append(line)
            thinned += cut
        blob = base64.b64encode(b"".join([*packed, packer.flush()])).decode()
        notes = (
            [f"circuit graphs draw the {most} strongest edges of {thinned} larger circuits"]
            if thinned
            else []
        )
        notes += [f"circuit graphs show every {every}th checkpoint"] if every > 1 else []
        if len(blob) <= room:
            break
        fits = (
            most * max(room, 1) / len(blob) * 1.5
        )  # half as much again: what is left out deflates better than what is kept
    return lines, blob, notes


def name_of(graph: Graph) -> str:
    """What the page calls a graph."""
    blocks = "parallel" if graph.parallel else "sequential"
    return f"{graph.n_layers}x{graph.n_heads} {blocks}"


def layouts(cells: Sequence[CellData]) -> dict[str, Any]:
    """Where the nodes of the cells' graphs are, by the graph's name, and `draw`, what edges are
    drawn by.
    """
    graphs = {name_of(graph): graph for cell in cells if (graph := graph_of(cell)) is not None}
    found: dict[str, Any] = {}
    for name, graph in graphs.items():
        layout = Layout.of(graph)
        found[name] = {
            "nodes": graph.nodes,
            "labels": layout.labels,
            "x": layout.x.tolist(),
            "y": [int(row) for row in layout.y],
            "square": [int(square) for square in layout.square],
            "target": layout.target.tolist(),
            "kind": "".join(map(str, layout.kind.tolist())),
            "columns": layout.columns,
            "layers": graph.n_layers,
            "each": 1 if graph.parallel else 2,
        }
    draw = {"lanes": LANES, "spread": SPREAD, "radius": RADIUS, "straight": STRAIGHT}
    return {"draw": draw, "of": found}


def _packed(
    cell: CellData, models: Sequence[str], most: int, every: int
) -> tuple[dict[str, Any], bytes, int]:
    """One cell's line and stream, and how many of its circuits have more edges than are kept."""
    graph = graph_of(cell)
    assert graph is not None
    layout = Layout.of(graph)
    known = without_duplicates(cell.curves)
    known = known.iloc[::every] if every > 1 else known
    edges_before: NDArray[np.intp] = np.empty(0, dtype=np.intp)
    nodes_before = edges_before
    content, counts, cut = [], [], 0
    for step in known["step"]:
        edges = cell.circuits.get(int(step), edges_before[:0])
        counts.append(int(edges.size))
        nodes = layout.nodes(edges)
        if edges.size > most:
            cut += 1
            strength = cell.strengths.get(int(step))
            picked = (
                np.arange(most) if strength is None else np.argsort(-strength, kind="stable")[:most]
            )
            edges = np.sort(edges[picked])
        for now, before in ((nodes, nodes_before), (edges, edges_before)):
            changed = np.setxor1d(now, before, assume_unique=True)
            content.append(varints(np.concatenate([[changed.size], np.diff(changed, prepend=0)])))
        edges_before, nodes_before = edges, nodes
    line = {
        "m": list(models).index(cell.model),
        "t": cell.task,
        "s": cell.seed,
        "graph": name_of(graph),
        "tokens": [int(t) for t in known["tokens"]],
        "steps": [int(s) for s in known["step"]],
        "edges": counts,
        "most": most,
        "status": _codes(known),
        "whole": cell.header["graph"].get("n_edges") or graph.n_edges,
    }
    return line, b"".join(content), cut


def _codes(known: pd.DataFrame) -> list[Any]:
    """Why a checkpoint has no circuit, or what is doubtful about the one it has: [the words, one
    number a checkpoint into them].
    """
    said = (
        known["circuit/status"]
        if "circuit/status" in known
        else pd.Series("not recorded", index=known.index)
    )
    said = said.fillna("not recorded")
    for name, doubtful, words in DOUBTS:
        if name in known:
            said = said.where(known[name] != doubtful, said + f"; {words}")
    codes, names = pd.factorize(said)
    return [list(names), [int(code) for code in codes]]


def varints(values: NDArray[Any]) -> bytes:
    """Numbers from 0 up as bytes of seven bits, the lowest first; the eighth says that more follow
    (LEB128).
    """
    left = np.asarray(values, dtype=np.uint64)
    parts = np.zeros((left.size, 5), dtype=np.uint8)
    lengths = np.ones(left.size, dtype=int)
    for place in range(5):
        parts[:, place] = left & np.uint64(127)
        left = left >> np.uint64(7)
        more = left > 0
        lengths[more] = place + 2
        parts[more, place] |= 128
    return parts[np.arange(5) < lengths[:, None]].tobytes()
