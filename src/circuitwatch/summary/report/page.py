"""One self-contained report.html: the answers first, then figures that answer to the pointer and
the keyboard; it asks no network for anything.

The page is written by the templates beside this file (jinja2, which escapes every name); its
figures are drawn in plain SVG by the modules in templates/js, from the data that `data` and
`circuits` put into it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import pandas as pd
from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup

from circuitwatch.facts import Facts
from circuitwatch.spreadsheets import csv_of
from circuitwatch.summary.cells import NO_TASK, CellData, in_order
from circuitwatch.summary.charts.together import Charts
from circuitwatch.summary.comparison import ComparisonRows
from circuitwatch.summary.curves import Curves
from circuitwatch.summary.heads.tables import HeadTables
from circuitwatch.summary.lines import ELSEWHERE
from circuitwatch.summary.panels import TITLES, Specification
from circuitwatch.summary.report import columns
from circuitwatch.summary.report.answers import answers, trend_note
from circuitwatch.summary.report.circuits import circuits_blob, layouts
from circuitwatch.summary.report.comparison_table import comparison_table
from circuitwatch.summary.report.data import as_json, dark_colours, report_data
from circuitwatch.summary.report.findings import circuit_warnings, findings
from circuitwatch.summary.report.script import script
from circuitwatch.summary.report.tables import Table, emergence_tables, scaling_table, table
from circuitwatch.summary.report.terms import Glossary
from circuitwatch.summary.together import Comparisons
from circuitwatch.units import counted, format_tokens

MOST_BYTES = 5_000_000
"""The report's size; circuits are thinned until it is kept."""
ROOM = 200_000
"""Bytes that are kept for what comes with the circuits."""
BEFORE = (
    ("first", "When things emerged"),
    ("circuit", "Circuits"),
    ("comparison", "Sizes compared"),
)
AFTER = (
    ("emergence", "Every curve, and each model"),
    ("stays", "What changes after the rise"),
    ("seeds", "Across training seeds"),
    ("ends", "How each run ended"),
    ("doubts", "What was left out or is doubtful"),
    ("downloads", "Data to download"),
    ("configuration", "How this was made"),
)
"""Sections, each a macro of sections.html with what it is called; those of panels stand between."""
MOST_NAMED = 4
"""Models, and tasks, that the first line names one by one."""
FOLLOWED = {
    "behaviour": (("metrics", "Does the metric jump?"),),
    "roles": (("timeline", "Which heads hold a role, and when"),),
    "algorithm": (("transfer", "Circuits of one checkpoint on another"),),
}
"""What stands after a section of panels."""


@dataclass(frozen=True)
class Findings:
    """All that a report is written from; `name` is the sweep's or the folder's, `notes` what was
    left out or is doubtful.
    """

    name: str
    charts: Charts
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
    comparison: ComparisonRows

    @property
    def spec(self) -> Specification:
        """The panels of curves."""
        return self.charts.spec


def write_report(path: Path, found: Findings) -> None:
    """Write the report, in at most MOST_BYTES where thinning the circuits can keep that."""
    cells, spec = in_order(list(found.cells)), found.spec
    data, thinned = report_data(found.charts)
    data["files"] = {name: csv_of(frame) for name, frame in found.tables.items() if len(frame)}
    notes = [*found.notes, *thinned]
    context = _context(found, cells, data)
    data["layouts"] = layouts([cell for cell in cells if cell.circuits])
    room = MOST_BYTES - len(_page(context, data, "", [], notes).encode()) - ROOM
    circuits, blob, said = circuits_blob(cells, spec.lines.models, room)
    page = _page(context, data, blob, circuits, [*notes, *said])
    path.write_text(page, encoding="utf-8")


@cache
def environment() -> Environment:
    """The report's templates; all that is put into them is escaped."""
    return Environment(
        loader=PackageLoader("circuitwatch.summary.report"),
        autoescape=True,
        trim_blocks=True,
        lstrip_blocks=True,
        undefined=StrictUndefined,
    )


def _page(
    context: Mapping[str, Any],
    data: Mapping[str, Any],
    blob: str,
    circuits: Sequence[Mapping[str, Any]],
    notes: Sequence[str],
) -> str:
    templates = environment()
    macros = templates.get_template("sections.html").module
    known = {**context, "circuits": circuits, "notes": notes, "terms": Glossary()}
    sections = []
    for macro, name, title in _order(context["spec"]):
        content = getattr(macros, macro)(known, name)
        if content.strip():
            sections.append({"title": title, "anchor": _anchor(title), "content": content})
    colours = dark_colours(data)
    style, _, _ = templates.loader.get_source(templates, "report.css")  # type: ignore[union-attr]
    return templates.get_template("page.html").render(
        known,
        sections=sections,
        style=Markup(style + _palette(colours)),
        script=Markup(script()),
        blob=blob,
        data=Markup(as_json({**data, "circuits": circuits})),
    )


def _palette(colours: Mapping[str, str]) -> str:
    """Every colour of the figures as a variable of the style sheet, on light and on dark paper."""

    def block(shades: Mapping[str, str]) -> str:
        return (
            ":root{" + "".join(f"--c-{name[1:]}:{shade};" for name, shade in shades.items()) + "}"
        )

    light = block({colour: colour for colour in colours})
    return f"\n{light}\n@media (prefers-color-scheme:dark){{{block(colours)}}}\n"


def _order(spec: Specification) -> list[tuple[str, str, str]]:
    """(macro, name, title) of each section that there may be; sections of panels are all drawn by
    one macro, `panels`.
    """
    found = [(macro, macro, title) for macro, title in BEFORE]
    new = [name for name in spec.sections if name not in TITLES]
    shown = first_panels(spec)
    for name in (
        "behaviour",
        ELSEWHERE,
        "roles",
        "circuits",
        "overlaps",
        "algorithm",
        "text",
        *new,
    ):
        if name in spec.sections and name != shown:
            found.append(("panels", name, spec.sections[name].title))
        found += [(macro, macro, title) for macro, title in FOLLOWED.get(name, ())]
    return found + [(macro, macro, title) for macro, title in AFTER]


def first_panels(spec: Specification) -> str:
    """The section whose panels stand on the first screen."""
    return next((name for name in ("behaviour", ELSEWHERE) if name in spec.sections), "")


def _context(found: Findings, cells: Sequence[CellData], data: Mapping[str, Any]) -> dict[str, Any]:
    """What the templates say, but for the circuits and the notes."""
    spec, heads, compared = found.spec, found.heads, found.comparisons
    facts = spec.facts
    trends, silent = scaling_table(found.scaling, facts)
    unfinished = [
        f"{cell.model} × {facts.task(cell.task).words}" for cell in cells if not cell.finished
    ]
    return {
        "name": found.name,
        "facts": facts,
        "spec": spec,
        "models": data["models"],
        "tasks": data["tasks"],
        "drawn": data,
        "sections_of": {section["id"]: section for section in data["sections"]},
        "first_panels": first_panels(spec),
        "run": _what_was_run(found, facts),
        "made": _how_it_was_made(found, cells),
        "unfinished": unfinished,
        "answers": answers(found.emergence, found.scaling, found.ends, facts),
        "trend_note": trend_note(found.scaling) if len(found.scaling) else None,
        "warnings": [*compared.warnings(), *circuit_warnings(found.ends, facts)],
        "findings": _by_model(found, facts),
        "emergence": emergence_tables(found.emergence, facts),
        "compared": comparison_table(found.comparison, facts),
        "scaling": trends,
        "silent": silent,
        "of_scaling": len(found.scaling),
        "tables": _tables(found, heads, compared, facts),
        "files": ["curves", *data["files"]],
        "settings": _settings(cells),
    }


def _tables(
    found: Findings, heads: HeadTables, compared: Comparisons, facts: Facts
) -> dict[str, Table | None]:
    """The tables that the page shows, by name."""
    shown = {
        "metrics": (compared.metrics, columns.METRICS),
        "lags": (compared.lags, columns.LAGS),
        "agreement": (compared.agreement, columns.AGREEMENT),
        "roles": (heads.roles, columns.ROLES),
        "handovers": (heads.handovers, columns.HANDOVERS),
        "algorithm": (heads.algorithm, columns.ALGORITHM),
        "transfer": (heads.transfers, columns.TRANSFER),
        "specificity": (heads.specificity, columns.SPECIFICITY),
        "stability": (compared.stability, columns.STABILITY),
        "circuits": (compared.circuits, columns.CIRCUITS),
        "changes": (compared.changes, columns.CHANGES),
        "seeds": (found.seeds, dict.fromkeys(found.seeds)),
        "ends": (found.ends, columns.ENDS),
    }
    return {name: table(frame, chosen, facts) for name, (frame, chosen) in shown.items()}


def _what_was_run(found: Findings, facts: Facts) -> str:
    """In one line: models, tasks, checkpoints; many of either by their number and ends."""
    curves, params = found.curves.table, found.spec.lines.params
    models = found.spec.lines.models
    named = [
        f"{model} ({format_tokens(params[model])})" if model in params else model
        for model in models
    ]
    if len(named) > MOST_NAMED:
        named = [f"{named[0]} to {named[-1]}"]
    known = sorted(set(curves["task"]) - {NO_TASK}, key=lambda t: (facts.task(t).place, t))
    tasks = [facts.task(str(task)).words for task in known if len(known) <= MOST_NAMED]
    parts = [f"{counted(len(models), 'model')}: {', '.join(named)}"]
    parts += [": ".join(filter(None, [counted(len(known), "task"), ", ".join(tasks)]))]
    at = curves["tokens"].dropna()
    if len(at):
        ends = f"{format_tokens(at.min()) or '0'} to {format_tokens(at.max())}"
        parts.append(f"{counted(at.nunique(), 'checkpoint')} from {ends} tokens")
    return "; ".join(parts) + "."


def _how_it_was_made(found: Findings, cells: Sequence[CellData]) -> list[str]:
    sources = ", ".join(dict.fromkeys(map(str, found.curves.table["source"])))
    versions = ", ".join(sorted({str(cell.header.get("code_version")) for cell in cells}))
    made = f"{counted(len(cells), 'run')} of circuitwatch {versions}." if cells else ""
    return [f"Read from {sources}.", *([made] if made else [])]


def _by_model(found: Findings, facts: Facts) -> list[dict[str, Any]]:
    """What is found of each model: its sentences, and where there are several seeds those of each;
    nothing without heads.
    """
    if not found.heads.histories and found.heads.algorithm.empty:
        return []
    by_model: dict[str, dict[str, Any]] = {}
    for finding in findings(found.emergence, found.heads, found.comparisons, facts):
        own = by_model.setdefault(finding.model, {"model": finding.model, "said": [], "seeds": []})
        if finding.seed is None or not own["said"]:
            own["said"] = finding.sentences
        else:
            own["seeds"].append({"seed": finding.seed, "said": finding.sentences})
    return list(by_model.values())


def _settings(cells: Sequence[CellData]) -> list[tuple[str, str]]:
    """What the cells were made with, where all agree, and where not, each."""
    settings: dict[str, set[str]] = {}
    for cell in cells:
        for part in ("circuit", "heads", "schedule"):
            for key, value in (cell.header.get("config", {}).get(part) or {}).items():
                settings.setdefault(f"{part}.{key}", set()).add(str(value))
    return [(key, " | ".join(sorted(values))) for key, values in settings.items()]


def _anchor(title: str) -> str:
    return "to-" + "".join(character if character.isalnum() else "-" for character in title.lower())
