"""One self-contained report.html: tables and interactive figures that open without a network."""

from __future__ import annotations

import html
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import pandas as pd
import plotly.graph_objects as go
from plotly.offline import get_plotlyjs
from plotly.subplots import make_subplots

from circuitwatch.records import DUPLICATE_OF
from circuitwatch.summary.figures import (
    OVERLAPS,
    colours,
    format_tokens,
    label,
    metric_name,
    shown_tokens,
    tasks_in_order,
)
from circuitwatch.summary.head_tables import HeadTables
from circuitwatch.summary.report_heads import FOUND, head_sections
from circuitwatch.summary.tables import (
    NO_TASK,
    CellData,
    in_order,
    is_duplicate,
    models_in_order,
    without_duplicates,
)

STYLE = """
:root { color-scheme: light; }
body { font: 15px/1.5 system-ui, sans-serif; color: #222; background: #fff; margin: 2rem auto; max-width: 1200px; padding: 0 1.5rem; }
h1 { font-size: 1.7rem; margin-bottom: .2rem; } h2 { font-size: 1.2rem; margin-top: 2.4rem; border-bottom: 1px solid #ddd; padding-bottom: .2rem; }
p, li { max-width: 75ch; } .quiet { color: #666; font-size: .85rem; }
.scroll { overflow-x: auto; } table { border-collapse: collapse; font-size: .85rem; font-variant-numeric: tabular-nums; }
th { text-align: left; cursor: pointer; border-bottom: 2px solid #888; position: sticky; top: 0; background: #fff; }
th, td { padding: .25rem .7rem .25rem 0; white-space: nowrap; } td { border-bottom: 1px solid #eee; } td.number { text-align: right; }
td.note { white-space: normal; min-width: 18rem; color: #666; font-size: .8rem; line-height: 1.25; }
.picture { overflow-x: auto; } .picture svg, .picture img { max-width: 100%; height: auto; }
.emerged { color: #00694e; font-weight: 600; } .never, .transient { color: #a33b00; } .ambiguous, .already { color: #666; }
"""
SORT = """
document.querySelectorAll("th").forEach(head => head.addEventListener("click", () => {
  const body = head.closest("table").tBodies[0], place = [...head.parentNode.children].indexOf(head);
  const up = head.dataset.up = head.dataset.up === "1" ? "" : "1";
  const key = row => { const cell = row.children[place]; return cell.dataset.value ?? cell.textContent; };
  const order = (a, b) => (key(a) === "" ) - (key(b) === "") || (isNaN(key(a)) || isNaN(key(b)) ? key(a).localeCompare(key(b)) : key(a) - key(b));
  [...body.rows].sort((a, b) => (up ? 1 : -1) * order(a, b)).forEach(row => body.append(row));
}));
"""
READING = """
<p>Each row of the first table is one curve over training tokens. <b>tokens</b> is where it has half risen, or passes its threshold, by a logistic fit in log
tokens, with its 95 % bootstrap interval. <b>seen between</b> are the two checkpoints around the first crossing that holds: no fit can be sharper than
these. <b>status</b>: <i>emerged</i>; <i>already</i> above at the first checkpoint; <i>never</i> by the last one, which is a limit and not a late date;
<i>transient</i>, it rose and fell; <i>ambiguous</i>, a plainer curve does as well, for the reason given. In figures, bands are 95 % intervals over prompts; a
cross marks a checkpoint whose weights are those of another, which counts for nothing else here.</p>
"""


def write_report(
    path: Path,
    sweep: str,
    cells: Sequence[CellData],
    emergence: pd.DataFrame,
    scaling: pd.DataFrame,
    ends: pd.DataFrame,
    seeds: pd.DataFrame,
    heads: HeadTables,
    pictures: Mapping[str, Path],
) -> None:
    """Write the report of a sweep; tables as made by `summary.tables` and `summary.head_tables`, pictures as `report_heads.head_sections` wants them."""
    cells = in_order(list(cells))
    unfinished = [f"{cell.model} × {cell.task}" for cell in cells if not cell.finished]
    versions = sorted({str(cell.header.get("code_version")) for cell in cells})
    about_heads = head_sections(emergence, heads, pictures, table_html)
    sections = [
        *[section for section in about_heads if section[0] == FOUND],
        ("When it emerges", READING + emergence_html(emergence)),
        ("Behaviour over tokens", figure_html(behaviour_figure(cells))),
        *[section for section in about_heads if section[0] != FOUND],
        ("Circuits over tokens", figure_html(circuits_figure(cells))),
        ("How the cells ended", table_html(ends, ENDS)),
        ("Across model sizes", scaling_html(scaling)),
        *([("Across seeds", table_html(seeds, dict.fromkeys(seeds, None)))] if len(seeds) else []),
        ("Configuration", configuration_html(cells)),
    ]
    about = f"{len(cells)} cells, {len(models_in_order(cells))} models, circuitwatch {', '.join(versions)}"
    if unfinished:
        about += f"; not finished: {', '.join(unfinished)}"
    body = "".join(f"<h2>{html.escape(title)}</h2>{content}" for title, content in sections)
    page = (
        f'<!doctype html><html lang="en"><head><meta charset="utf-8"><meta name="viewport" content="width=device-width">'
        f"<title>{html.escape(sweep)} · circuitwatch</title><style>{STYLE}</style><script>{get_plotlyjs()}</script></head><body>"
        f'<h1>Sweep {html.escape(sweep)}</h1><p class="quiet">{html.escape(about)}</p>{body}<script>{SORT}</script></body></html>'
    )
    path.write_text(page, encoding="utf-8")


ENDS: dict[str, str | None] = {
    "model": None, "task": None, "seed": None, "behaviour": "behaviour at the end", "accuracy": None, "circuit_status": "circuit",
    "circuit_edges": "edges", "n_edges": "of", "circuit_edges_share": "share", "faithfulness": None,
    "mean_edges_share": "mean share", "mean_node_jaccard": "mean node Jaccard", "mean_edge_jaccard": "mean edge Jaccard",
}  # fmt: skip
SCALING: dict[str, str | None] = {
    "task": None, "quantity": None, "of": None, "status": None, "n_sizes": "sizes", "slope": "slope (log–log)", "slope_low": "low",
    "slope_high": "high", "spearman": None, "spearman_p": "p", "pearson": None, "pearson_p": "p", "knee_status": "knee",
}  # fmt: skip


def emergence_html(emergence: pd.DataFrame) -> str:
    """The emergence table, behaviours first."""
    shown = emergence.assign(
        quantity=emergence["quantity"]
        .str.removeprefix("behaviour/")
        .str.removeprefix("roles/")
        .str.removesuffix("/max"),
        interval=[
            _interval(low, high) for low, high in zip(emergence["tokens_low"], emergence["tokens_high"], strict=True)
        ],
        seen=[
            _interval(low, high)
            for low, high in zip(emergence["crossing_low"], emergence["crossing_high"], strict=True)
        ],
    ).sort_values("task", key=lambda tasks: tasks == NO_TASK, kind="stable")
    columns = dict.fromkeys(["model", "task", "seed", "quantity", "status", "tokens"], None) | {
        "interval": "95 % interval", "seen": "seen between", "final": "at the end", "head": None, "note": None,
    }  # fmt: skip
    return table_html(shown, columns)


def scaling_html(scaling: pd.DataFrame) -> str:
    """The scaling table, without the rows that have too few sizes to say anything; how many those are."""
    silent = scaling["status"].str.startswith("too few")
    note = (
        f"<p>{int(silent.sum())} of {len(scaling)} quantities have too few sizes for a trend; scaling.csv lists them.</p>"
        if silent.any()
        else ""
    )
    return note + (table_html(scaling[~silent], SCALING) if (~silent).any() else "")


def table_html(table: pd.DataFrame, columns: dict[str, str | None]) -> str:
    """A sortable table of some columns, with the names they are to have."""
    there = [column for column in columns if column in table]
    head = "".join(f"<th>{html.escape(columns[column] or column.replace('_', ' '))}</th>" for column in there)
    rows = "".join(
        "<tr>" + "".join(_cell(column, row[column]) for column in there) + "</tr>" for _, row in table.iterrows()
    )
    return f'<div class="scroll"><table><thead><tr>{head}</tr></thead><tbody>{rows}</tbody></table></div>'


def figure_html(figure: go.Figure) -> str:
    """A figure as a fragment that uses the page's one copy of plotly.js."""
    return str(
        figure.to_html(full_html=False, include_plotlyjs=False, config={"displaylogo": False, "responsive": True})
    )


def behaviour_figure(cells: Sequence[CellData]) -> go.Figure:
    """One panel a task, one line a cell, with its interval."""
    tasks = tasks_in_order(cells)
    figure, place = _grid([task.replace("_", " ") for task in tasks], 2)
    shade, named = colours(models_in_order(list(cells))), set[str]()
    for cell in (cell for cell in cells if len(cell.curves)):
        row, column = place(tasks.index(cell.task))
        everywhere, table, name = (
            shown_tokens(cell.curves["tokens"]),
            without_duplicates(cell.curves),
            label(cell, cells),
        )
        x = everywhere[table.index]
        band = {"mode": "lines", "line": {"width": 0}, "hoverinfo": "skip", "showlegend": False, "legendgroup": name}
        figure.add_scatter(x=x, y=table["behaviour/high"], **band, row=row, col=column)
        figure.add_scatter(
            x=x,
            y=table["behaviour/low"],
            fill="tonexty",
            fillcolor=_faint(shade[cell.model]),
            **band,
            row=row,
            col=column,
        )
        figure.add_scatter(
            x=x, y=table["behaviour/value"], name=name, legendgroup=name, showlegend=name not in named, mode="lines+markers",
            line={"color": shade[cell.model]}, marker={"size": 4}, customdata=table[["tokens", "step", "behaviour/accuracy"]], row=row, col=column,
            hovertemplate="%{y:.3f} at %{customdata[0]:,} tokens (step %{customdata[1]}), accuracy %{customdata[2]:.2f}",
        )  # fmt: skip
        named.add(name)
        _cross_out(figure, cell.curves.assign(x=everywhere), "behaviour/value", shade[cell.model], row=row, col=column)
        figure.update_yaxes(title_text=metric_name(cell.task), row=row, col=column)
    return figure


def circuits_figure(cells: Sequence[CellData]) -> go.Figure:
    """A row of panels a task: share of all edges in the circuit, and overlap of its edges and nodes with the circuit before."""
    tasks = tasks_in_order(cells)
    names = {"circuit/edges_share": "share of all edges"} | {
        key: f"Jaccard, {OVERLAPS[key]}" for key in list(OVERLAPS)[:2]
    }
    figure, place = _grid([f"{task.replace('_', ' ')}: {words}" for task in tasks for words in names.values()], 3)
    shade, named = colours(models_in_order(list(cells))), set[str]()
    for cell in cells:
        for offset, name in enumerate(names):
            if name not in cell.curves:
                continue
            row, column = place(3 * tasks.index(cell.task) + offset)
            every = cell.curves.assign(x=shown_tokens(cell.curves["tokens"])).dropna(subset=[name])
            known = without_duplicates(every)
            shown = label(cell, cells)
            figure.add_scatter(
                x=known["x"], y=known[name], name=shown, legendgroup=shown, showlegend=shown not in named, mode="lines+markers",
                line={"color": shade[cell.model]}, marker={"size": 4}, customdata=known[["tokens", "circuit/edges", "circuit/faithfulness"]],
                hovertemplate="%{y:.3f} at %{customdata[0]:,} tokens: %{customdata[1]} edges, faithfulness %{customdata[2]:.2f}",
                row=row, col=column,
            )  # fmt: skip
            named.add(shown)
            _cross_out(figure, every, name, shade[cell.model], row=row, col=column)
            figure.update_yaxes(rangemode="tozero", row=row, col=column)
    return figure


def configuration_html(cells: Sequence[CellData]) -> str:
    """What the cells were made with, where all agree, and their folders."""
    settings: dict[str, set[str]] = {}
    for cell in cells:
        for part in ("circuit", "heads", "schedule"):
            for key, value in cell.header.get("config", {}).get(part, {}).items():
                settings.setdefault(f"{part}.{key}", set()).add(str(value))
    lines = "".join(
        f"<li>{html.escape(key)} = {html.escape(' | '.join(sorted(values)))}</li>" for key, values in settings.items()
    )
    return f"<ul class='quiet'>{lines}</ul><p class='quiet'>Folder of each cell: &lt;sweep&gt;/&lt;model&gt;/&lt;task&gt;/seed&lt;k&gt;</p>"


def _grid(titles: Sequence[str], columns: int) -> tuple[go.Figure, Callable[[int], tuple[int, int]]]:
    """Panels with a logarithmic token axis, and where the i-th of them is."""
    columns = max(1, min(columns, len(titles)))
    rows = max(1, -(-len(titles) // columns))
    figure = make_subplots(
        rows, columns, subplot_titles=titles, vertical_spacing=0.36 / (rows + 1), horizontal_spacing=0.09
    )
    figure.update_xaxes(
        type="log", title_text="training tokens (0 at the left end)", title_font_size=11, exponentformat="SI"
    )
    figure.update_layout(
        height=90 + 290 * rows, template="plotly_white", margin={"l": 60, "r": 20, "t": 80, "b": 50}, hovermode="closest",
        legend={"orientation": "h", "yanchor": "bottom", "y": 1.0 + 40 / (290 * rows), "x": 0}, font={"size": 12},
    )  # fmt: skip
    figure.update_annotations(font_size=13)
    return figure, lambda index: (index // columns + 1, index % columns + 1)


def _cross_out(figure: go.Figure, table: pd.DataFrame, name: str, colour: str, **place: int) -> None:
    """Crosses where checkpoints have the weights of another; table: tokens, x, the curve `name` and what each is a copy of."""
    wrong = table[is_duplicate(table)]
    if len(wrong):
        figure.add_scatter(
            x=wrong["x"], y=wrong[name], mode="markers", showlegend=False, marker={"symbol": "x", "size": 9, "color": colour},
            customdata=wrong[["tokens", DUPLICATE_OF]], hovertemplate="%{customdata[0]:,} tokens: same weights as %{customdata[1]}<extra></extra>",
            **place,
        )  # fmt: skip


def _faint(colour: str) -> str:
    red, green, blue = (int(colour[i : i + 2], 16) for i in (1, 3, 5))
    return f"rgba({red},{green},{blue},0.18)"


def _interval(low: Any, high: Any) -> str:
    ends = format_tokens(low), format_tokens(high)
    return f"{ends[0]} – {ends[1]}" if all(ends) else ""


def _cell(column: str, value: Any) -> str:
    if value is None or (not isinstance(value, str) and pd.isna(value)):
        return '<td data-value=""></td>'
    if isinstance(value, str | bool):
        css = (
            f' class="{html.escape(str(value))}"' if column == "status" else ' class="note"' if column == "note" else ""
        )
        return f"<td{css}>{html.escape(str(value))}</td>"
    if column == "tokens":
        text = format_tokens(value)
    elif column.endswith("share"):
        text = f"{value:.1%}"
    else:
        text = (
            f"{value:.0f}"
            if float(value).is_integer() and abs(value) < 1e6 and "jaccard" not in column
            else f"{value:.3g}"
        )
    return f'<td class="number" data-value="{float(value)}">{text}</td>'
