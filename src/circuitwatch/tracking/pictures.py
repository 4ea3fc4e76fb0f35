"""What of a checkpoint is looked at rather than read: a heat map of heads, the circuit, its
faithfulness over size, and a table of heads.
"""

from __future__ import annotations

import io
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import LogLocator, NullLocator

from circuitwatch.circuits.graph import Graph
from circuitwatch.facts import Facts
from circuitwatch.record_files import CheckpointRecord
from circuitwatch.summary.figures.circuits import INPUTS, LANE, draw_graph, rows_of
from circuitwatch.summary.figures.shared import COLUMN, TEXT, TITLE
from circuitwatch.tracking.rows import whole_table
from circuitwatch.units import counted, format_tokens

DPI = 150
COLUMNS = ("tokens", "step", "role", "head", "score", "effect", "confirmed")
FEW = 5
"""Heads of each role that the table has at least, the strongest."""
ACROSS = 4
"""Roles beside each other in the heat map."""


def heat_map(record: CheckpointRecord, facts: Facts) -> Figure:
    """The score of every head for every role, a panel a role: layers upwards, heads to the right; a
    cross marks heads above the role's threshold, a ring those of the circuit.

    All panels are one picture in one axis: many axes take seconds to lay out.
    """
    heads = whole_table(record.roles)
    heads = heads[heads["head"] >= 0]
    roles = list(heads["role"].unique())
    n_layers, n_heads = (int(heads[k].max()) + 1 if len(heads) else 1 for k in ("layer", "head"))
    rows, gap = -(-len(roles) // ACROSS) or 1, (max(2, n_layers // 3), max(1, n_heads // 8))
    pitch = n_layers + gap[0], n_heads + gap[1]
    scores = np.full((rows * pitch[0], ACROSS * pitch[1]), np.nan)
    high = max(0.6, min(1.8, 0.13 * pitch[0]))
    figure = Figure(figsize=(2 * COLUMN, rows * high + 0.45))
    axis = figure.add_axes((0.02, 0.02, 0.9, 0.96 - 0.3 / (rows * high + 0.45)))
    marks: dict[str, list[tuple[int, int]]] = {"x": [], "o": []}
    for place, role in enumerate(roles):
        of_role = heads[heads["role"] == role]
        corner = (rows - 1 - place // ACROSS) * pitch[0], (place % ACROSS) * pitch[1]
        up = corner[0] + of_role["layer"].to_numpy(dtype=int)
        right = corner[1] + of_role["head"].to_numpy(dtype=int)
        scores[up, right] = of_role["score"]
        held = (of_role["score"] >= facts.role(role).threshold).to_numpy()
        inside = of_role["in_circuit"].eq(True).fillna(False).to_numpy(dtype=bool)
        marks["x"] += zip(right[held], up[held], strict=True)
        marks["o"] += zip(right[inside], up[inside], strict=True)
        axis.text(
            corner[1] - 0.5, corner[0] + n_layers - 0.3, facts.role(role).words, fontsize=TEXT
        )
    shown = axis.imshow(scores, origin="lower", aspect="auto", vmin=0, vmax=1, cmap="viridis")
    axis.set_ylim(-0.5, scores.shape[0] - 0.5)
    axis.set_axis_off()
    styles: dict[str, dict[str, Any]] = {
        "x": {"c": "white", "s": 30, "linewidths": 0.8},
        "o": {"facecolors": "none", "edgecolors": "red", "s": 12, "linewidths": 0.8},
    }
    for marker, at in marks.items():
        axis.scatter(*np.array(at).reshape(-1, 2).T, marker=marker, **styles[marker])
    bar = figure.colorbar(shown, cax=figure.add_axes((0.94, 0.1, 0.012, 0.7)))
    bar.ax.tick_params(labelsize=TEXT - 1)
    words = "heads by layer (up) and number; × above the threshold, ring: in the circuit"
    _title(figure, f"{_at(record)}: {words}")
    return figure


def circuit_picture(record: CheckpointRecord, graph: Graph) -> Figure | None:
    """The circuit by layer, of a large one its strongest edges; none where there is none."""
    if record.mask is None or record.scores is None:
        return None
    high = rows_of(graph) * LANE + 0.9
    figure = Figure(figsize=(COLUMN, high))
    axis = figure.add_axes((0.1, 0.02, 0.88, 1 - 0.55 / high))
    edges = np.flatnonzero(record.mask)
    strengths = np.abs(record.scores).ravel()[edges]
    drawn = draw_graph(axis, edges, strengths, graph)
    part = f", {drawn} drawn" if drawn < edges.size else ""
    _title(figure, f"{_at(record)}: {counted(edges.size, 'edge')}{part}")
    handles = [Line2D([], [], color=colour, lw=1.2) for colour in INPUTS.values()]
    figure.legend(
        handles,
        list(INPUTS),
        loc="upper left",
        bbox_to_anchor=(0.0, 1 - 0.2 / high),
        ncols=len(INPUTS),
        fontsize=TEXT,
        frameon=False,
        columnspacing=0.9,
    )
    return figure


def faithfulness_picture(record: CheckpointRecord) -> Figure | None:
    """Recovery and faithfulness of the circuits that the search evaluated, over their edges; none
    where none was.
    """
    if record.curve is None or record.curve.empty:
        return None
    curve = record.curve.sort_values("edges")
    figure = Figure(figsize=(COLUMN, 2.2))
    axis = figure.add_axes((0.19, 0.19, 0.78, 0.68))
    for name, colour in (("recovery", "#0072b2"), ("faithfulness", "#d55e00")):
        some = curve[(curve["edges"] > 0) & curve[name].notna()]
        axis.plot(some["edges"], some[name], "o-", ms=3, lw=1, color=colour, label=name)
    if record.mask is not None:
        axis.axvline(int(record.mask.sum()), color="#777777", lw=0.8, ls=":", label="the circuit")
    axis.set_xscale("log")
    axis.xaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
    axis.xaxis.set_major_formatter("{x:g}")
    axis.xaxis.set_minor_locator(NullLocator())
    axis.set_xlabel("edges", fontsize=TEXT)
    axis.set_ylabel("share of the behaviour", fontsize=TEXT)
    axis.tick_params(labelsize=TEXT)
    axis.legend(fontsize=TEXT, frameon=False)
    axis.spines[["top", "right"]].set_visible(False)
    _title(figure, f"{_at(record)}: circuits of each size")
    return figure


def pictures_of(record: CheckpointRecord, facts: Facts, graph: Graph) -> dict[str, bytes]:
    """Every picture that there is of a checkpoint, by name, as PNG."""
    figures = {
        "heads": heat_map(record, facts),
        "circuit": circuit_picture(record, graph),
        "faithfulness": faithfulness_picture(record),
    }
    return {name: as_png(figure) for name, figure in figures.items() if figure is not None}


def heads_table(record: CheckpointRecord, facts: Facts) -> list[list[Any]]:
    """Rows of COLUMNS: of each role the heads above its threshold, and the FEW strongest; what was
    not measured is None.
    """
    rows: list[list[Any]] = []
    for role, table in whole_table(record.roles).groupby("role", sort=False):
        table = table.sort_values("score", ascending=False, kind="stable")
        held = int((table["score"] >= facts.role(str(role)).threshold).sum())
        for _, one in table.head(max(held, FEW)).iterrows():
            head = f"m{one['layer']}" if one["head"] < 0 else f"a{one['layer']}.h{one['head']}"
            effect, confirmed = one["effect"], one["confirmed"]
            rows.append(
                [
                    *(record.tokens, record.step, str(role), head, float(one["score"])),
                    None if pd.isna(effect) else float(effect),
                    None if pd.isna(confirmed) else bool(confirmed),
                ]
            )
    return rows


def as_png(figure: Figure) -> bytes:
    """A figure as a PNG file, which says nothing of when and by what it was made."""
    file = io.BytesIO()
    figure.savefig(file, format="png", dpi=DPI, metadata={"Software": None})
    return file.getvalue()


def _title(figure: Figure, words: str) -> None:
    high = figure.get_figheight()
    figure.text(0.02, 1 - 0.05 / high, words, fontsize=TITLE, va="top")


def _at(record: CheckpointRecord) -> str:
    tokens = format_tokens(record.tokens) or "0"
    return f"{tokens} tokens (step {record.step})"
