"""One self-contained report.html: the answers first, then figures that answer to the pointer and
the keyboard; it asks no network for anything.

The figures are drawn by `report.js` in plain SVG from the data that `data` and `circuits` put into
the page. A plotting library would have drawn the panels of curves, but neither circuits by layer
nor heads' timelines, and would alone have been 1 to 5 MB; the script is 30 kB.
"""

from __future__ import annotations

import html
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd

from circuitwatch.summary.curves import Curves
from circuitwatch.summary.figures.shared import in_words
from circuitwatch.summary.heads.tables import HeadTables
from circuitwatch.summary.report import heads as about
from circuitwatch.summary.report import parts
from circuitwatch.summary.report.circuits import circuits_blob
from circuitwatch.summary.report.data import as_json, report_data
from circuitwatch.summary.report.emergence_words import emergence_findings
from circuitwatch.summary.report.findings import circuit_warnings
from circuitwatch.summary.report.tables import (
    AGREEMENT,
    CHANGES,
    CIRCUITS,
    ENDS,
    LAGS,
    METRICS,
    STABILITY,
    emergence_html,
    folded,
    scaling_html,
)
from circuitwatch.summary.tables import NO_TASK, CellData, in_order
from circuitwatch.summary.together import Comparisons
from circuitwatch.units import format_tokens

MOST_BYTES = 5_000_000
"""The report's size; circuits are thinned until it is kept."""
READING = """<b>tokens</b> is where a curve has half risen, or passes its threshold, by a logistic
fit in log tokens, with its 95 % bootstrap interval. <b>seen between</b> are the two checkpoints
around the first crossing that holds: no fit can be sharper than these. <b>status</b>:
<i>emerged</i>; <i>already</i> above at the first checkpoint; <i>never</i> by the last one, which is
a limit and not a late date; <i>transient</i>, it rose and fell; <i>ambiguous</i>, a plainer curve
does as well, for the reason given."""
READ_PANELS = """The pointer marks a checkpoint in every figure at once; so does the slider above.
Bands are 95 % intervals over prompts; a checkpoint of 0 tokens is drawn at the left end; × marks a
checkpoint whose weights are those of another, which counts for nothing else here."""
READ_STABILITY = """After its rise a curve may stay, drift or fall. <b>spread</b> is the standard
deviation about a robust line, <b>drift</b> that line's slope per tenfold of tokens, <b>largest
fall</b> the largest loss from the highest value so far, all as shares of the rise. For circuits,
<b>same prompts</b> is the mean overlap (Jaccard) with the checkpoint before, or with the last
circuit. Two circuits of one checkpoint differ too when they are found from different samples of the
prompts, so stability compares like with like: <b>other prompts</b> is what one sample's circuit
shares with another sample's at the other checkpoint, <b>noise ceiling</b> what the two share within
each of these checkpoints. <b>stability</b> is where the first lies between chance (0) and that
ceiling (1): at about 1 the circuit changes no more from one checkpoint to the next than from one
sample of prompts to another. low and high are its 95 % interval over pairs of checkpoints."""


@dataclass(frozen=True)
class Findings:
    """All that a report is written from; `name` is the sweep's or the folder's, `notes` what was
    left out or is doubtful.
    """

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
    data["files"] = {
        name: table.to_csv(index=False) for name, table in found.tables.items() if len(table)
    }
    data["circuits"] = []
    assets = {
        name: (Path(__file__).parent / f"report.{name}").read_text(encoding="utf-8")
        for name in ("css", "js")
    }
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
    sections = [
        (title, content) for title, content in _sections(found, cells, data, notes) if content
    ]
    links = "".join(
        f'<a href="#{_anchor(title)}">{html.escape(title)}</a>' for title, _ in sections
    )
    written = []
    for place, (title, content) in enumerate(sections):
        written.append(f'<h2 id="{_anchor(title)}">{html.escape(title)}</h2>{content}')
        if place == 1:
            written.append(parts.controls(data))
    icon = '<link rel="icon" href="data:,">'  # or browsers ask for /favicon.ico
    return (
        f'<!doctype html><html lang="en"><head><meta charset="utf-8"><meta name="viewport" '
        f'content="width=device-width,initial-scale=1">{icon}'
        f"<title>{html.escape(found.name)} · "
        f"circuitwatch</title><style>{assets['css']}</style></head><body>"
        f"<h1>{html.escape(found.name)}</h1><nav>{links}</nav>"
        "<noscript><p>The figures and downloads need JavaScript; the tables and sentences "
        "don't.</p></noscript>"
        f'{"".join(written)}<script type="application/json" id="data">{as_json(data)}</script>'
        f'<script type="application/octet-stream" '
        f'id="circuit-data">{blob}</script><script>{assets["js"]}</script></body></html>'
    )


def _sections(
    found: Findings, cells: Sequence[CellData], data: Mapping[str, Any], notes: Sequence[str]
) -> list[tuple[str, str]]:
    heads, compared = found.heads, found.comparisons
    choices = {section["id"]: section["choices"] for section in data["sections"]}
    roles = parts.panels("roles", choices["roles"])
    algorithm = parts.panels("algorithm", choices["algorithm"])
    return [
        ("What was run", _what_was_run(found, cells)),
        ("Answers", _answers(found)),
        ("Emergence against model size", parts.sizes(data)),
        (
            "Behaviour over tokens",
            parts.read(READ_PANELS, parts.panels("behaviour", choices["behaviour"])),
        ),
        ("Curves from elsewhere", parts.panels("curves", choices["curves"])),
        ("Jumps of the metric", parts.shortened(compared.metrics, METRICS)),
        (
            "Head roles over tokens",
            parts.read(
                about.READ_ROLES,
                roles
                + folded(
                    "which came first, role or behaviour", parts.shortened(compared.lags, LAGS)
                )
                + folded("over sizes", parts.shortened(compared.agreement, AGREEMENT))
                + folded("who holds the roles", parts.shortened(heads.roles, about.ROLES)),
            )
            if roles
            else "",
        ),
        ("Which heads, when", parts.timeline(data, heads)),
        ("Circuits over tokens", parts.panels("circuits", choices["circuits"])),
        ("The circuit", parts.circuit(data)),
        (
            "Does the algorithm stay",
            parts.read(
                about.READ_ALGORITHM,
                algorithm
                + folded("ranges and trends", parts.shortened(heads.algorithm, about.ALGORITHM)),
            )
            if algorithm
            else "",
        ),
        ("Circuits of one checkpoint on another", parts.transfer(data, heads)),
        (
            "What stays",
            parts.read(
                READ_STABILITY,
                folded("curves after their rise", parts.shortened(compared.stability, STABILITY))
                + folded(
                    "circuits from one checkpoint to the next, and to the last",
                    parts.shortened(compared.circuits, CIRCUITS),
                )
                + folded("changes of course", parts.shortened(compared.changes, CHANGES)),
            )
            if len(compared.stability) or len(compared.circuits)
            else "",
        ),
        ("Across model sizes", scaling_html(found.scaling)),
        ("Across seeds", parts.shortened(found.seeds, dict.fromkeys(found.seeds, None))),
        ("How the cells ended", parts.shortened(found.ends, ENDS)),
        (
            "Left out, changed or doubtful",
            "".join(["<ul>", *(f"<li>{html.escape(note)}</li>" for note in notes), "</ul>"])
            if notes
            else "",
        ),
        ("Data", parts.downloads(data)),
        ("Configuration", parts.configuration(cells)),
    ]


def _what_was_run(found: Findings, cells: Sequence[CellData]) -> str:
    table = found.curves.table
    sizes = table.groupby("model", sort=False)["params"].first()
    models = ", ".join(
        f"{m} ({format_tokens(p)})" if pd.notna(p) else str(m) for m, p in sizes.items()
    )
    tasks = ", ".join(in_words(str(task)) for task in sorted(set(table["task"]) - {NO_TASK}))
    checkpoints = table["tokens"].dropna()
    ends = (
        f"{format_tokens(checkpoints.min()) or '0'} to {format_tokens(checkpoints.max())}"
        if len(checkpoints)
        else "no"
    )
    sources = ", ".join(dict.fromkeys(map(str, table["source"])))
    versions = sorted({str(cell.header.get("code_version")) for cell in cells})
    lines = [
        f"{len(sizes)} models, by parameters: {models}.",
        f"Tasks: {tasks}.",
        f"Checkpoints: {checkpoints.nunique()} token counts from {ends} tokens.",
        f"Sources: {sources}."
        + (f" {len(cells)} cells made by circuitwatch {', '.join(versions)}." if cells else ""),
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
    doubtful = "".join(f"<li>{html.escape(line)}</li>" for line in circuit_warnings(found.ends))
    return (
        (f"<h3>When behaviours emerge</h3><ul>{by_task}</ul>" if by_task else "")
        + (f"<h3>Mind the metric</h3><ul>{warned}</ul>" if warned else "")
        + (f"<h3>Mind the circuits</h3><ul>{doubtful}</ul>" if doubtful else "")
        + about.findings_html(found.emergence, found.heads, found.comparisons)
        + f"<h3>Every curve</h3><p class='quiet'>{READING}</p>"
        + emergence_html(found.emergence)
    )


def _anchor(title: str) -> str:
    return "to-" + "".join(character if character.isalnum() else "-" for character in title.lower())
