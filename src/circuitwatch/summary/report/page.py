"""One self-contained report.html: the answers first, then figures that answer to the pointer and
the keyboard; it asks no network for anything.

The page is written by the templates beside this file (jinja2, which escapes every name), its
figures are drawn by `report.js` in plain SVG from the data that `data` and `circuits` put into it.
A plotting library would have drawn the panels of curves, but neither circuits by layer nor heads'
timelines, and would alone have been 1 to 5 MB; the script is 30 kB.
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
from circuitwatch.summary.curves import Curves
from circuitwatch.summary.heads.tables import HeadTables
from circuitwatch.summary.lines import ELSEWHERE
from circuitwatch.summary.panels import METRIC, TITLES, Specification
from circuitwatch.summary.report import columns
from circuitwatch.summary.report.answers import answers
from circuitwatch.summary.report.circuits import circuits_blob
from circuitwatch.summary.report.data import as_json, report_data
from circuitwatch.summary.report.findings import circuit_warnings, findings
from circuitwatch.summary.report.tables import Table, emergence_tables, scaling_table, table
from circuitwatch.summary.report.terms import Glossary
from circuitwatch.summary.together import Comparisons
from circuitwatch.units import format_tokens

MOST_BYTES = 5_000_000
"""The report's size; circuits are thinned until it is kept."""
ASSETS = ("report.css", "report.js")
BEFORE = (
    ("run", "What was run"),
    ("answers", "Answers"),
    ("sizes", "Emergence against model size"),
)
AFTER = (
    ("stays", "What stays"),
    ("scaling", "Across model sizes"),
    ("seeds", "Across seeds"),
    ("ends", "How the cells ended"),
    ("doubts", "Left out, changed or doubtful"),
    ("downloads", "Data"),
    ("configuration", "Configuration"),
)
"""Sections, each a macro of sections.html with what it is called; those of panels stand between."""
FOLLOWED = {
    "behaviour": (("metrics", "Jumps of the metric"),),
    "roles": (("timeline", "Which heads, when"),),
    "overlaps": (("circuit", "The circuit"),),
    "algorithm": (("transfer", "Circuits of one checkpoint on another"),),
}
"""What stands after a section of panels."""


@dataclass(frozen=True)
class Findings:
    """All that a report is written from; `name` is the sweep's or the folder's, `notes` what was
    left out or is doubtful.
    """

    name: str
    spec: Specification
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
    cells, spec = in_order(list(found.cells)), found.spec
    data, thinned = report_data(spec, found.emergence, found.scaling, found.heads)
    data["files"] = {name: csv_of(frame) for name, frame in found.tables.items() if len(frame)}
    notes = [*found.notes, *thinned]
    context = _context(found, cells, data)
    room = MOST_BYTES - len(_page(context, data, "", [], notes).encode()) - 200_000
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
    known["first_circuit"] = _first_circuit(circuits, context["facts"])
    sections = []
    for macro, name, title in _order(context["spec"]):
        content = getattr(macros, macro)(known, name)
        if content.strip():
            sections.append({"title": title, "anchor": _anchor(title), "content": content})
    assets = {name: templates.loader.get_source(templates, name)[0] for name in ASSETS}  # type: ignore[union-attr]
    return templates.get_template("page.html").render(
        known,
        sections=sections,
        style=Markup(assets["report.css"]),
        script=Markup(assets["report.js"]),
        blob=blob,
        data=Markup(as_json({**data, "circuits": circuits})),
    )


def _first_circuit(circuits: Sequence[Mapping[str, Any]], facts: Facts) -> int:
    """Which circuit is shown first: the largest model's, of the first of the tasks."""
    places = range(len(circuits))
    by_size = {k: (circuits[k]["m"], -facts.task(circuits[k]["t"]).place) for k in places}
    return max(places, key=by_size.__getitem__, default=0)


def _order(spec: Specification) -> list[tuple[str, str, str]]:
    """(macro, name, title) of each section that there may be; sections of panels are all drawn by
    one macro, `panels`.
    """
    found = [(macro, macro, title) for macro, title in BEFORE]
    new = [name for name in spec.sections if name not in TITLES]
    first = ("behaviour", "text", *new, ELSEWHERE)
    rest = [name for name in ("roles", "circuits", "overlaps", "algorithm") if name not in first]
    for name in (*first, *rest):
        if name in spec.sections:
            found.append(("panels", name, spec.sections[name].title))
        found += [(macro, macro, title) for macro, title in FOLLOWED.get(name, ())]
    return found + [(macro, macro, title) for macro, title in AFTER]


def _context(found: Findings, cells: Sequence[CellData], data: Mapping[str, Any]) -> dict[str, Any]:
    """What the templates say, but for the circuits and the notes."""
    spec, heads, compared = found.spec, found.heads, found.comparisons
    facts = spec.facts
    trends, silent = scaling_table(found.scaling, facts)
    return {
        "name": found.name,
        "facts": facts,
        "spec": spec,
        "models": data["models"],
        "tasks": data["tasks"],
        "run": _what_was_run(found, cells, facts),
        "behaviours": [
            (answer.words, " ".join((answer.sentence, *answer.details)))
            for answer in answers(found.emergence, found.scaling, found.ends, facts)
        ],
        "warnings": {
            "Mind the metric": compared.warnings(),
            "Mind the circuits": circuit_warnings(found.ends, facts),
        },
        "findings": _by_model(found, facts),
        "emergence": emergence_tables(found.emergence, facts),
        "quantities": _quantities(data),
        "sized": sum(model["params"] is not None for model in data["models"]),
        "timelines": _timelines(data),
        "transferred": bool(data["transfer"]),
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


def _what_was_run(found: Findings, cells: Sequence[CellData], facts: Facts) -> list[str]:
    curves, params = found.curves.table, found.spec.lines.params
    models = ", ".join(
        f"{model} ({format_tokens(params[model])})" if model in params else model
        for model in found.spec.lines.models
    )
    known = sorted(set(curves["task"]) - {NO_TASK}, key=lambda t: (facts.task(t).place, t))
    tasks = ", ".join(facts.task(str(task)).words for task in known)
    checkpoints = curves["tokens"].dropna()
    ends = (
        f"{format_tokens(checkpoints.min()) or '0'} to {format_tokens(checkpoints.max())}"
        if len(checkpoints)
        else "no"
    )
    sources = ", ".join(dict.fromkeys(map(str, curves["source"])))
    versions = sorted({str(cell.header.get("code_version")) for cell in cells})
    lines = [
        f"{len(found.spec.lines.models)} models, by parameters: {models}.",
        f"Tasks: {tasks}.",
        f"Checkpoints: {checkpoints.nunique()} token counts from {ends} tokens.",
        f"Sources: {sources}."
        + (f" {len(cells)} cells made by circuitwatch {', '.join(versions)}." if cells else ""),
    ]
    unfinished = [
        f"{cell.model} × {facts.task(cell.task).words}" for cell in cells if not cell.finished
    ]
    return lines + ([f"Not finished: {', '.join(unfinished)}."] if unfinished else [])


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


def _quantities(data: Mapping[str, Any]) -> list[tuple[str, str]]:
    """(words, key) of what can be shown against model size, behaviours first."""
    known = dict.fromkeys(row["q"] for row in data["emergence"])
    first = sorted(known, key=lambda quantity: quantity != METRIC)
    return [(data["quantities"][quantity], quantity) for quantity in first]


def _timelines(data: Mapping[str, Any]) -> list[tuple[str, str]]:
    """(words, "model seed" as the script has them) of the timelines."""
    pairs = list(dict.fromkeys((line["m"], line["s"]) for line in data["timeline"]))
    several = len({seed for _, seed in pairs}) > 1
    return [
        (data["models"][m]["name"] + (f" seed {s}" if several else ""), f"{m} {s}")
        for m, s in pairs
    ]


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
