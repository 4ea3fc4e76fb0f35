"""One self-contained report.html: the answers first, then figures that answer to the pointer and the keyboard; it asks no network for anything.

The figures are drawn by `report.js` in plain SVG from the data that `report_data` puts into the page. A plotting library would have drawn the panels of
curves, but neither circuits by layer nor heads' timelines, and would alone have been 1 to 5 MB; the script is 30 kB.
"""

from __future__ import annotations

import html
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd

from circuitwatch.summary import report_heads as about
from circuitwatch.summary.curves import Curves
from circuitwatch.summary.emergence_words import emergence_findings
from circuitwatch.summary.figures import format_tokens, in_words, quantity_in_words
from circuitwatch.summary.head_tables import HeadTables
from circuitwatch.summary.report_data import as_json, circuits_blob, report_data
from circuitwatch.summary.report_tables import (
    AGREEMENT,
    CHANGES,
    CIRCUITS,
    ENDS,
    LAGS,
    METRICS,
    STABILITY,
    Columns,
    emergence_html,
    folded,
    scaling_html,
    table_html,
)
from circuitwatch.summary.tables import NO_TASK, CellData, in_order
from circuitwatch.summary.together import Comparisons

MOST_BYTES = 5_000_000
"""The report's size; circuits are thinned until it is kept."""
MOST_ROWS = 400
"""Rows of a table that the page shows; the CSV has all."""
READING = """<b>tokens</b> is where a curve has half risen, or passes its threshold, by a logistic fit in log tokens, with its 95 % bootstrap interval.
<b>seen between</b> are the two checkpoints around the first crossing that holds: no fit can be sharper than these. <b>status</b>: <i>emerged</i>;
<i>already</i> above at the first checkpoint; <i>never</i> by the last one, which is a limit and not a late date; <i>transient</i>, it rose and fell;
<i>ambiguous</i>, a plainer curve does as well, for the reason given."""
READ_SIZES = """A dot is a moment of emergence with its 95 % interval. A hollow triangle is a limit: pointing up, not by the last checkpoint; pointing down,
there at the first. The dashed line is the trend that counts them as such, where there are enough sizes."""
READ_PANELS = """The pointer marks a checkpoint in every figure at once; so does the slider above. Bands are 95 % intervals over prompts; a
checkpoint of 0 tokens is drawn at the left end; × marks a checkpoint whose weights are those of another, which counts for nothing else here."""
READ_CIRCUIT = """Layers from the input (below) to the logits (above); circles are attention heads, squares MLPs; hollow ones are not in the circuit. The
colour of an edge says which input of the receiver it enters."""
READ_STABILITY = """After its rise a curve may stay, drift or fall. <b>spread</b> is the standard deviation about a robust line, <b>drift</b> that line's
slope per tenfold of tokens, <b>largest fall</b> the largest loss from the highest value so far, all as shares of the rise. For circuits,
<b>stability</b> is where the edges shared by neighbouring checkpoints lie between what chance gives (0) and what two circuits of one checkpoint,
found from resampled prompts, share (1): at about 1 the circuit changes no more than its own noise."""


@dataclass(frozen=True)
class Findings:
    """All that a report is written from; `name` is the sweep's or the folder's, `notes` what was left out or is doubtful."""

    name: str
    curves: Curves
    cells: Sequence[CellData]
    emergence: pd.DataFrame
    scaling: pd.DataFrame
    ends: pd.DataFrame
    seeds: pd.DataFrame
    heads: HeadTables
    comparisons: Comparisons
    notes: Sequence[str]
    tables: Mapping[str, pd.DataFrame]


def write_report(path: Path, found: Findings) -> None:
    """Write the report, in at most MOST_BYTES where thinning the circuits can keep that."""
    cells = in_order(list(found.cells))
    data, thinned = report_data(found.curves, cells, found.emergence, found.scaling, found.heads)
    data["files"] = {name: table.to_csv(index=False) for name, table in found.tables.items() if len(table)}
    data["circuits"] = []
    assets = {name: (Path(__file__).parent / f"report.{name}").read_text(encoding="utf-8") for name in ("css", "js")}
    without = len(_page(found, cells, data, "", assets, [*thinned, *found.notes]).encode())
    names = [model["name"] for model in data["models"]]
    data["circuits"], blob, said = circuits_blob(cells, names, MOST_BYTES - without - 200_000)
    page = _page(found, cells, data, blob, assets, [*found.notes, *thinned, *said])
    path.write_text(page, encoding="utf-8")


def _page(
    found: Findings,
    cells: Sequence[CellData],
    data: Mapping[str, Any],
    blob: str,
    assets: Mapping[str, str],
    notes: Sequence[str],
) -> str:
    sections = [(title, content) for title, content in _sections(found, cells, data, notes) if content]
    links = "".join(f'<a href="#{_anchor(title)}">{html.escape(title)}</a>' for title, _ in sections)
    parts = []
    for place, (title, content) in enumerate(sections):
        parts.append(f'<h2 id="{_anchor(title)}">{html.escape(title)}</h2>{content}')
        if place == 1:
            parts.append(_controls(data))
    icon = '<link rel="icon" href="data:,">'  # or browsers ask for /favicon.ico
    return (
        f'<!doctype html><html lang="en"><head><meta charset="utf-8"><meta name="viewport" content="width=device-width,initial-scale=1">{icon}'
        f"<title>{html.escape(found.name)} · circuitwatch</title><style>{assets['css']}</style></head><body>"
        f"<h1>{html.escape(found.name)}</h1><nav>{links}</nav>"
        "<noscript><p>The figures and downloads need JavaScript; the tables and sentences don't.</p></noscript>"
        f'{"".join(parts)}<script type="application/json" id="data">{as_json(data)}</script>'
        f'<script type="application/octet-stream" id="circuit-data">{blob}</script><script>{assets["js"]}</script></body></html>'
    )


def _sections(
    found: Findings, cells: Sequence[CellData], data: Mapping[str, Any], notes: Sequence[str]
) -> list[tuple[str, str]]:
    heads, compared = found.heads, found.comparisons
    choices = {section["id"]: section["choices"] for section in data["sections"]}
    roles = _panels("roles", choices["roles"])
    algorithm = _panels("algorithm", choices["algorithm"])
    return [
        ("What was run", _what_was_run(found, cells)),
        ("Answers", _answers(found)),
        ("Emergence against model size", _sizes(data)),
        ("Behaviour over tokens", _read(READ_PANELS, _panels("behaviour", choices["behaviour"]))),
        ("Curves from elsewhere", _panels("curves", choices["curves"])),
        ("Jumps of the metric", _table(compared.metrics, METRICS)),
        (
            "Head roles over tokens",
            _read(
                about.READ_ROLES,
                roles
                + folded("which came first, role or behaviour", _table(compared.lags, LAGS))
                + folded("over sizes", _table(compared.agreement, AGREEMENT))
                + folded("who holds the roles", _table(heads.roles, about.ROLES)),
            )
            if roles
            else "",
        ),
        ("Which heads, when", _timeline(data, heads)),
        ("Circuits over tokens", _panels("circuits", choices["circuits"])),
        ("The circuit", _circuit(data)),
        (
            "Does the algorithm stay",
            _read(about.READ_ALGORITHM, algorithm + folded("ranges and trends", _table(heads.algorithm, about.ALGORITHM)))
            if algorithm
            else "",
        ),
        ("Circuits of one checkpoint on another", _transfer(data, heads)),
        (
            "What stays",
            _read(
                READ_STABILITY,
                folded("curves after their rise", _table(compared.stability, STABILITY))
                + folded("circuits from one checkpoint to the next", _table(compared.circuits, CIRCUITS))
                + folded("changes of course", _table(compared.changes, CHANGES)),
            )
            if len(compared.stability) or len(compared.circuits)
            else "",
        ),
        ("Across model sizes", scaling_html(found.scaling)),
        ("Across seeds", _table(found.seeds, dict.fromkeys(found.seeds, None))),
        ("How the cells ended", _table(found.ends, ENDS)),
        ("Left out, changed or doubtful", "".join(["<ul>", *(f"<li>{html.escape(note)}</li>" for note in notes), "</ul>"]) if notes else ""),
        ("Data", _downloads(data)),
        ("Configuration", _configuration(cells)),
    ]  # fmt: skip


def _what_was_run(found: Findings, cells: Sequence[CellData]) -> str:
    table = found.curves.table
    sizes = table.groupby("model", sort=False)["params"].first()
    models = ", ".join(f"{m} ({format_tokens(p)})" if pd.notna(p) else str(m) for m, p in sizes.items())
    tasks = ", ".join(in_words(str(task)) for task in sorted(set(table["task"]) - {NO_TASK}))
    checkpoints = table["tokens"].dropna()
    ends = (
        f"{format_tokens(checkpoints.min()) or '0'} to {format_tokens(checkpoints.max())}" if len(checkpoints) else "no"
    )
    sources = ", ".join(dict.fromkeys(map(str, table["source"])))
    versions = sorted({str(cell.header.get("code_version")) for cell in cells})
    lines = [
        f"{len(sizes)} models, by parameters: {models}.",
        f"Tasks: {tasks}.",
        f"Checkpoints: {checkpoints.nunique()} token counts from {ends} tokens.",
        f"Sources: {sources}." + (f" {len(cells)} cells made by circuitwatch {', '.join(versions)}." if cells else ""),
    ]
    unfinished = [f"{cell.model} × {cell.task}" for cell in cells if not cell.finished]
    lines += [f"Not finished: {', '.join(unfinished)}."] if unfinished else []
    return "<ul>" + "".join(f"<li>{html.escape(line)}</li>" for line in lines) + "</ul>"


def _answers(found: Findings) -> str:
    by_task = "".join(
        f"<li><b>{html.escape(task)}.</b> {html.escape(said)}</li>"
        for task, said in emergence_findings(found.emergence, found.scaling)
    )
    warned = "".join(f"<li>{html.escape(line)}</li>" for line in found.comparisons.warnings())
    return (
        (f"<h3>When behaviours emerge</h3><ul>{by_task}</ul>" if by_task else "")
        + (f"<h3>Mind the metric</h3><ul>{warned}</ul>" if warned else "")
        + about.findings_html(found.emergence, found.heads, found.comparisons)
        + f"<h3>Every curve</h3><p class='quiet'>{READING}</p>"
        + emergence_html(found.emergence)
    )


def _controls(data: Mapping[str, Any]) -> str:
    models = "".join(
        f'<label><input type="checkbox" checked data-model="{place}"><span class="swatch" style="background:{model["colour"]}"></span>'
        f"{html.escape(model['name'])}</label>"
        for place, model in enumerate(data["models"])
    )
    tasks = "".join(
        f'<label><input type="checkbox" checked data-task="{html.escape(task["name"])}">{html.escape(task["words"])}</label>'
        for task in data["tasks"]
    )
    moment = '<label for="moment"><b>At</b></label><input type="range" id="moment" min="0" step="1"><output id="moment-said">any checkpoint</output>'
    return (
        f'<div class="controls" role="group" aria-label="what the figures show"><div><b>Sizes</b>{models}</div>'
        f"<div><b>Tasks</b>{tasks}</div><div>{moment}</div></div>"
    )


def _panels(name: str, choices: Sequence[Mapping[str, Any]]) -> str:
    if not any(choice["panels"] for choice in choices):
        return ""
    return _select(f"choose-{name}", "show", [choice["label"] for choice in choices]) + _host(f"panels-{name}")


def _sizes(data: Mapping[str, Any]) -> str:
    quantities = list(dict.fromkeys(row["q"] for row in data["emergence"]))
    if not quantities or sum(model["params"] is not None for model in data["models"]) < 2:
        return ""
    first = sorted(quantities, key=lambda q: q != "behaviour/value")
    labels = [quantity_in_words(q) for q in first]
    return _read(READ_SIZES, _select("choose-sizes", "of", labels, first) + _host("panels-sizes"))


def _timeline(data: Mapping[str, Any], heads: HeadTables) -> str:
    pairs = list(dict.fromkeys((line["m"], line["s"]) for line in data["timeline"]))
    if not pairs:
        return ""
    several = len({seed for _, seed in pairs}) > 1
    labels = [data["models"][m]["name"] + (f" seed {s}" if several else "") for m, s in pairs]
    select = _select("choose-timeline", "model", labels, [f"{m} {s}" for m, s in pairs])
    tables = folded("changes of the strongest head", _table(heads.handovers, about.HANDOVERS))
    return _read(about.READ_TIMELINE, f'{select}<div id="timeline"></div>{tables}')


def _circuit(data: Mapping[str, Any]) -> str:
    cells = data["circuits"]
    if not cells:
        return ""
    several = len({cell["s"] for cell in cells}) > 1
    labels = [
        f"{data['models'][cell['m']]['name']}, {in_words(cell['t'])}" + (f", seed {cell['s']}" if several else "")
        for cell in cells
    ]
    of_ioi = [place for place, cell in enumerate(cells) if cell["t"] == "ioi"]
    first = of_ioi[-1] if of_ioi else len(cells) - 1
    select = _select("choose-circuit", "circuit of", labels, list(map(str, range(len(cells)))), chosen=str(first))
    legend = "".join(
        f'<span><span class="swatch" style="background:{colour}"></span> {words}</span>'
        for colour, words in (("#0072b2", "queries"), ("#d55e00", "keys"), ("#009e73", "values"), ("#777777", "MLPs and logits"))
    )  # fmt: skip
    slider = (
        '<div class="choose"><label for="step-circuit">checkpoint</label><input type="range" id="step-circuit" min="0" step="1" '
        f'max="{len(cells[0]["tokens"]) - 1}" value="{len(cells[0]["tokens"]) - 1}"><output id="at-circuit"></output></div>'
    )
    said = '<div class="readout" id="say-circuit" aria-live="polite"></div>'
    return _read(READ_CIRCUIT, f'{select}{slider}<div class="legend">{legend}</div>{said}<div id="circuit"></div>')


def _transfer(data: Mapping[str, Any], heads: HeadTables) -> str:
    if not data["transfer"]:
        return ""
    tables = _table(heads.transfers, about.TRANSFER) + _table(heads.specificity, about.SPECIFICITY)
    key = "".join(
        f'<span><span class="swatch" style="background:{colour};height:.8rem"></span> {words}</span>'
        for colour, words in (("#b2182b", "−1, worse than corrupted"), ("#eee", "0, corrupted"), ("#2166ac", "1, the whole model"), ("#ccc", "not evaluated"))
    )  # fmt: skip
    return _read(
        about.READ_TRANSFER,
        f'<div class="legend">{key}</div>' + _host("transfer") + folded("means and medians", tables),
    )


def _downloads(data: Mapping[str, Any]) -> str:
    names = ["curves", *data["files"]]
    links = "".join(
        f'<li><a href="#" data-file="{html.escape(name)}" download="{html.escape(name)}.csv">{html.escape(name)}.csv</a></li>'
        for name in names
    )
    return f"<p>From this page, without a network:</p><ul>{links}</ul>"


def _configuration(cells: Sequence[CellData]) -> str:
    """What the cells were made with, where all agree, and where not, each."""
    settings: dict[str, set[str]] = {}
    for cell in cells:
        for part in ("circuit", "heads", "schedule"):
            for key, value in (cell.header.get("config", {}).get(part) or {}).items():
                settings.setdefault(f"{part}.{key}", set()).add(str(value))
    lines = "".join(
        f"<li>{html.escape(key)} = {html.escape(' | '.join(sorted(values)))}</li>" for key, values in settings.items()
    )
    return f"<ul class='quiet'>{lines}</ul>" if lines else ""


def _read(reading: str, content: str) -> str:
    return f"<p class='quiet'>{reading}</p>{content}" if content else ""


def _host(name: str) -> str:
    return f'<div class="panels" id="{name}"></div>'


def _select(
    name: str, label: str, labels: Sequence[str], values: Sequence[str] | None = None, *, chosen: str = ""
) -> str:
    """A native choice; without values of its own, which the script reads, none where there is but one thing to choose."""
    if values is None and len(labels) < 2:
        return ""
    options = "".join(
        f'<option value="{html.escape(value)}"{" selected" if value == chosen else ""}>{html.escape(text)}</option>'
        for text, value in zip(labels, values or labels, strict=True)
    )
    return f'<div class="choose"><label for="{name}">{label}</label><select id="{name}">{options}</select></div>'


def _table(table: pd.DataFrame, columns: Columns) -> str:
    if table.empty:
        return ""
    more = (
        f"<p class='quiet'>The first {MOST_ROWS} of {len(table)} rows; the CSV has all.</p>"
        if len(table) > MOST_ROWS
        else ""
    )
    return more + table_html(table.head(MOST_ROWS), columns)


def _anchor(title: str) -> str:
    return "to-" + "".join(character if character.isalnum() else "-" for character in title.lower())
