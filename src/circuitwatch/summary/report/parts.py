"""The parts of the report's page that the script fills: controls, panels, the circuit, timelines,
transfer, downloads.
"""

from __future__ import annotations

import html
from collections.abc import Mapping, Sequence
from typing import Any

import pandas as pd

from circuitwatch.summary.figures.shared import in_words, quantity_in_words
from circuitwatch.summary.heads.tables import HeadTables
from circuitwatch.summary.report import heads as about
from circuitwatch.summary.report.tables import Columns, folded, table_html
from circuitwatch.summary.tables import CellData

MOST_ROWS = 400
"""Rows of a table that the page shows; the CSV has all."""
READ_SIZES = """A dot is a moment of emergence with its 95 % interval. A hollow triangle is a limit:
pointing up, not by the last checkpoint; pointing down, there at the first. The dashed line is the
trend that counts them as such, where there are enough sizes."""
READ_CIRCUIT = """Layers from the input (below) to the logits (above); circles are attention heads,
squares MLPs; hollow ones are not in the circuit. The colour of an edge says which input of the
receiver it enters."""


def controls(data: Mapping[str, Any]) -> str:
    """The bar of filters and the slider that stays at the top of the page."""
    models = "".join(
        f'<label><input type="checkbox" checked data-model="{place}"><span class="swatch" '
        f'style="background:{model["colour"]}"></span>'
        f"{html.escape(model['name'])}</label>"
        for place, model in enumerate(data["models"])
    )
    tasks = "".join(
        f'<label><input type="checkbox" checked '
        f'data-task="{html.escape(task["name"])}">{html.escape(task["words"])}</label>'
        for task in data["tasks"]
    )
    moment = (
        '<label for="moment"><b>At</b></label><input type="range" id="moment" min="0" '
        'step="1"><output id="moment-said">any checkpoint</output>'
    )
    return (
        f'<div class="controls" role="group" aria-label="what the figures '
        f'show"><div><b>Sizes</b>{models}</div>'
        f"<div><b>Tasks</b>{tasks}</div><div>{moment}</div></div>"
    )


def panels(name: str, choices: Sequence[Mapping[str, Any]]) -> str:
    """Panels of curves, and what to show in them; nothing where there is no curve."""
    if not any(choice["panels"] for choice in choices):
        return ""
    return select(f"choose-{name}", "show", [choice["label"] for choice in choices]) + host(
        f"panels-{name}"
    )


def sizes(data: Mapping[str, Any]) -> str:
    """Emergence against model size; nothing for fewer than two models of known size."""
    quantities = list(dict.fromkeys(row["q"] for row in data["emergence"]))
    if not quantities or sum(model["params"] is not None for model in data["models"]) < 2:
        return ""
    first = sorted(quantities, key=lambda q: q != "behaviour/value")
    labels = [quantity_in_words(q) for q in first]
    return read(READ_SIZES, select("choose-sizes", "of", labels, first) + host("panels-sizes"))


def timeline(data: Mapping[str, Any], heads: HeadTables) -> str:
    """Which heads hold a role when; nothing without heads."""
    pairs = list(dict.fromkeys((line["m"], line["s"]) for line in data["timeline"]))
    if not pairs:
        return ""
    several = len({seed for _, seed in pairs}) > 1
    labels = [data["models"][m]["name"] + (f" seed {s}" if several else "") for m, s in pairs]
    chosen = select("choose-timeline", "model", labels, [f"{m} {s}" for m, s in pairs])
    tables = folded("changes of the strongest head", shortened(heads.handovers, about.HANDOVERS))
    return read(about.READ_TIMELINE, f'{chosen}<div id="timeline"></div>{tables}')


def circuit(data: Mapping[str, Any]) -> str:
    """The circuit by layer, with a slider over checkpoints; nothing without circuits."""
    cells = data["circuits"]
    if not cells:
        return ""
    several = len({cell["s"] for cell in cells}) > 1
    labels = [
        f"{data['models'][cell['m']]['name']}, {in_words(cell['t'])}"
        + (f", seed {cell['s']}" if several else "")
        for cell in cells
    ]
    of_ioi = [place for place, cell in enumerate(cells) if cell["t"] == "ioi"]
    first = of_ioi[-1] if of_ioi else len(cells) - 1
    chosen = select(
        "choose-circuit", "circuit of", labels, list(map(str, range(len(cells)))), chosen=str(first)
    )
    legend = "".join(
        f'<span><span class="swatch" style="background:{colour}"></span> {words}</span>'
        for colour, words in (
            ("#0072b2", "queries"),
            ("#d55e00", "keys"),
            ("#009e73", "values"),
            ("#777777", "MLPs and logits"),
        )
    )
    slider = (
        '<div class="choose"><label for="step-circuit">checkpoint</label><input type="range" '
        'id="step-circuit" min="0" step="1" '
        f'max="{len(cells[0]["tokens"]) - 1}" value="{len(cells[0]["tokens"]) - 1}"><output '
        f'id="at-circuit"></output></div>'
    )
    said = '<div class="readout" id="say-circuit" aria-live="polite"></div>'
    return read(
        READ_CIRCUIT,
        f'{chosen}{slider}<div class="legend">{legend}</div>{said}<div id="circuit"></div>',
    )


def transfer(data: Mapping[str, Any], heads: HeadTables) -> str:
    """Circuits of one checkpoint on another; nothing where none was imposed."""
    if not data["transfer"]:
        return ""
    tables = shortened(heads.transfers, about.TRANSFER) + shortened(
        heads.specificity, about.SPECIFICITY
    )
    key = "".join(
        f'<span><span class="swatch" style="background:{colour};height:.8rem"></span> '
        f"{words}</span>"
        for colour, words in (
            ("#b2182b", "−1, worse than corrupted"),
            ("#eee", "0, corrupted"),
            ("#2166ac", "1, the whole model"),
            ("#ccc", "not evaluated"),
        )
    )
    return read(
        about.READ_TRANSFER,
        f'<div class="legend">{key}</div>' + host("transfer") + folded("means and medians", tables),
    )


def downloads(data: Mapping[str, Any]) -> str:
    """Links to the tables, which lie in the page."""
    names = ["curves", *data["files"]]
    links = "".join(
        f'<li><a href="#" data-file="{html.escape(name)}" '
        f'download="{html.escape(name)}.csv">{html.escape(name)}.csv</a></li>'
        for name in names
    )
    return f"<p>From this page, without a network:</p><ul>{links}</ul>"


def configuration(cells: Sequence[CellData]) -> str:
    """What the cells were made with, where all agree, and where not, each."""
    settings: dict[str, set[str]] = {}
    for cell in cells:
        for part in ("circuit", "heads", "schedule"):
            for key, value in (cell.header.get("config", {}).get(part) or {}).items():
                settings.setdefault(f"{part}.{key}", set()).add(str(value))
    lines = "".join(
        f"<li>{html.escape(key)} = {html.escape(' | '.join(sorted(values)))}</li>"
        for key, values in settings.items()
    )
    return f"<ul class='quiet'>{lines}</ul>" if lines else ""


def read(reading: str, content: str) -> str:
    """Content below a paragraph on how it is read; nothing without content."""
    return f"<p class='quiet'>{reading}</p>{content}" if content else ""


def host(name: str) -> str:
    """Where the script draws panels."""
    return f'<div class="panels" id="{name}"></div>'


def select(
    name: str,
    label: str,
    labels: Sequence[str],
    values: Sequence[str] | None = None,
    *,
    chosen: str = "",
) -> str:
    """A native choice; without values of its own, which the script reads, none where there is but
    one thing to choose.
    """
    if values is None and len(labels) < 2:
        return ""
    options = "".join(
        f'<option value="{html.escape(value)}"{" selected" if value == chosen else ""}>'
        f"{html.escape(text)}</option>"
        for text, value in zip(labels, values or labels, strict=True)
    )
    return (
        f'<div class="choose"><label for="{name}">{label}</label><select '
        f'id="{name}">{options}</select></div>'
    )


def shortened(table: pd.DataFrame, columns: Columns) -> str:
    """A table of at most MOST_ROWS rows; nothing if it is empty."""
    if table.empty:
        return ""
    more = (
        f"<p class='quiet'>The first {MOST_ROWS} of {len(table)} rows; the CSV has all.</p>"
        if len(table) > MOST_ROWS
        else ""
    )
    return more + table_html(table.head(MOST_ROWS), columns)
