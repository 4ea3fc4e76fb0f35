"""What of a checkpoint is looked at rather than read: a heat map of heads, the circuit, its
faithfulness over size, and a table of heads.
"""

from __future__ import annotations

import io
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.figure import Figure
from matplotlib.ticker import LogLocator, NullLocator

from circuitwatch.facts import Facts
from circuitwatch.records import CheckpointRecord
from circuitwatch.summary.figures.circuits import LANE, draw_graph, name_inputs
from circuitwatch.summary.figures.shared import COLUMN, TEXT, TITLE
from circuitwatch.tracking.rows import whole_table
from circuitwatch.units import format_tokens

DPI = 150
COLUMNS = ("tokens", "step", "role", "head", "score", "effect", "confirmed")
FEW = 5
"""Heads of each role that the table has at least, the strongest."""
ACROSS = 4
"""Roles beside each other in the heat map."""


def heat_map(record: CheckpointRecord, facts: Facts) -> Figure:
    """The score of every head for every role, a panel a role: layers upwards, heads to the right; a
    cross marks heads above the role's threshold, a ring those of the circuit.
    """
    heads = whole_table(record.roles)
    heads = heads[heads["head"] >= 0]
    roles = list(heads["role"].unique())
    rows = -(-len(roles) // ACROSS) or 1
    n_layers, n_heads = (
        int(heads[name].max()) + 1 if len(heads) else 1 for name in ("layer", "head")
    )
    high = max(0.5, min(1.6, 0.16 * n_layers))
    figure = Figure(figsize=(2 * COLUMN, rows * (high + 0.45) + 0.4), layout="constrained")
    axes = np.ravel(figure.subplots(rows, ACROSS, squeeze=False))
    for axis in axes:
        axis.set_axis_off()
    shown = None
    for role, axis in zip(roles, axes, strict=False):
        of_role = heads[heads["role"] == role]
        scores = np.full((n_layers, n_heads), np.nan)
        scores[of_role["layer"], of_role["head"]] = of_role["score"]
        shown = axis.imshow(scores, origin="lower", aspect="auto", vmin=0, vmax=1, cmap="viridis")
        marks = {
            "x": of_role["score"] >= facts.role(role).threshold,
            "o": of_role["in_circuit"] == True,  # noqa: E712
        }
        for marker, which in marks.items():
            axis.scatter(
                of_role.loc[which, "head"],
                of_role.loc[which, "layer"],
                marker=marker,
                s=34 if marker == "x" else 12,
                linewidths=0.7,
                **(
                    {"c": "white"} if marker == "x" else {"facecolors": "none", "edgecolors": "red"}
                ),
            )
        axis.set_axis_on()
        axis.set_title(facts.role(role).words, fontsize=TEXT, loc="left")
        axis.set_xticks(_few(n_heads))
        axis.set_yticks(_few(n_layers))
        axis.tick_params(labelsize=TEXT - 1.5, length=2)
    if shown is not None:
        bar = figure.colorbar(shown, ax=list(axes), fraction=0.02, pad=0.01)
        bar.ax.tick_params(labelsize=TEXT - 1)
    figure.suptitle(
        f"{_at(record)}: scores of heads (layer upwards); × above the threshold, ring: in the "
        f"circuit",
        fontsize=TITLE,
        x=0.01,
        ha="left",
    )
    return figure


def circuit_picture(record: CheckpointRecord, n_layers: int, n_heads: int) -> Figure | None:
    """The circuit by layer, of a large one its strongest edges; none where there is none."""
    if record.mask is None or record.scores is None:
        return None
    figure = Figure(figsize=(COLUMN, (n_layers + 2) * LANE + 0.95), layout="constrained")
    axis = figure.subplots()
    edges = np.flatnonzero(record.mask)
    strengths = np.abs(record.scores).ravel()[edges]
    drawn = draw_graph(axis, edges, strengths, layers=n_layers, heads=n_heads)
    part = f", {drawn} drawn" if drawn < edges.size else ""
    axis.set_title(f"{_at(record)}: {edges.size} edges{part}", fontsize=TITLE, loc="left")
    name_inputs(figure)
    return figure


def faithfulness_picture(record: CheckpointRecord) -> Figure | None:
    """Recovery and faithfulness of the circuits that the search evaluated, over their edges; none
    where none was.
    """
    if record.curve is None or record.curve.empty:
        return None
    curve = record.curve.sort_values("edges")
    figure = Figure(figsize=(COLUMN, 2.2), layout="constrained")
    axis = figure.subplots()
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
    axis.set_title(f"{_at(record)}: circuits of each size", fontsize=TITLE, loc="left")
    axis.tick_params(labelsize=TEXT)
    axis.legend(fontsize=TEXT, frameon=False)
    axis.spines[["top", "right"]].set_visible(False)
    return figure


def pictures_of(
    record: CheckpointRecord, facts: Facts, n_layers: int, n_heads: int
) -> dict[str, bytes]:
    """Every picture that there is of a checkpoint, by name, as PNG."""
    figures = {
        "heads": heat_map(record, facts),
        "circuit": circuit_picture(record, n_layers, n_heads),
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


def _few(n: int) -> range:
    return range(0, n, max(1, -(-n // 5)))


def _at(record: CheckpointRecord) -> str:
    tokens = format_tokens(record.tokens) or "0"
    return f"{tokens} tokens (step {record.step})"
