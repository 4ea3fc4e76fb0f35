"""From records and from others' results to a summary: tables, figures and one report. Imports no
torch, so that it starts quickly.

One path serves every source: curves are read (`importers`), their emergence and what goes with size
are looked for (`curve_tables`), and what curves say together (`together`); cells among the sources
add circuits, heads, the algorithm and transfer.

Written to <sweep>/summary, or to the folder asked for, where they have rows: emergence.csv,
scaling.csv, cells.csv, seeds.csv, overlap.csv, roles.csv, turnover.csv, handovers.csv,
algorithm.csv, algorithm_bands.csv, transfer.csv, specificity.csv, lags.csv, agreement.csv,
changes.csv, stability.csv, circuit_stability.csv, metrics.csv; notes.txt; the figures that
`drawing` names as PNG, SVG and PDF; report.html.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

import pandas as pd
import rich.box
from rich.markup import escape
from rich.table import Table

from circuitwatch.checkpoints.suites import Suite
from circuitwatch.errors import UserError
from circuitwatch.facts import Facts
from circuitwatch.progress import CellProgress, wide_console
from circuitwatch.summary.curve_tables import emergence_rows, scaling_rows
from circuitwatch.summary.curves import combine
from circuitwatch.summary.figures.drawing import draw_figures
from circuitwatch.summary.figures.shared import FORMATS, save_figures
from circuitwatch.summary.heads.tables import HeadTables, head_tables
from circuitwatch.summary.importers import Request, Sources, read_sources
from circuitwatch.summary.importers.cells import find_cells_below, read_cells
from circuitwatch.summary.output import MARK, is_summary, replaced_folder
from circuitwatch.summary.overlaps import overlap_table, with_final, with_final_overlaps
from circuitwatch.summary.panels import specification
from circuitwatch.summary.report.findings import circuit_warnings
from circuitwatch.summary.report.page import Findings, write_report
from circuitwatch.summary.seeds import seeds_table
from circuitwatch.summary.statistics.comparisons import with_adjusted
from circuitwatch.summary.tables import (
    NO_TASK,
    CellData,
    behaviours_first,
    cells_table,
    in_order,
    read_cell,
    with_cells,
)
from circuitwatch.summary.together import Comparisons, compare
from circuitwatch.units import format_interval, format_tokens

__all__ = ["SummaryResult", "print_summary", "summarize", "summarize_sources"]

MOST_PRINTED = 60
"""Rows of behaviours, and of head roles, that are printed."""


@dataclass(frozen=True)
class SummaryResult:
    """Where the summary is, its tables as `curve_tables`, `tables`, `heads` and `together` make
    them, and notes of what was left out.
    """

    folder: Path
    emergence: pd.DataFrame
    scaling: pd.DataFrame
    cells: pd.DataFrame
    heads: HeadTables
    comparisons: Comparisons
    notes: list[str] = field(default_factory=list)
    facts: Facts = field(default_factory=Facts)


def summarize(
    sweep: Path, *, n_bootstrap: int = 200, formats: Sequence[str] = FORMATS
) -> SummaryResult:
    """Summarise the cells of a sweep's folder, finished or not, into its `summary` folder, which is
    replaced as a whole.

    n_bootstrap: bootstrap samples of each curve. formats: endings of the figures' files. Raises
    UserError if there is no cell, or none with a record.
    """
    found, notes = find_cells_below(sweep)
    cells = [cell for cell in found if cell.steps_done()]
    if not cells:
        why = "; ".join(notes) or f"run circuitwatch sweep={sweep.name} first"
        raise UserError(f"{sweep}: no cell with a record; {why}")
    notes += [f"{cell.folder}: no record yet" for cell in found if cell not in cells]
    curves = read_cells(cells, prompts=True)
    curves = replace(curves, notes=[*notes, *curves.notes])
    if curves.table.empty:
        raise UserError(f"{sweep}: no record can be used: {'; '.join(curves.notes)}")
    sources = Sources(combine([curves]), tuple(cells))
    return _summarize(sources, f"Sweep {sweep.name}", sweep / "summary", {}, n_bootstrap, formats)


def summarize_sources(
    request: Request,
    suites: Sequence[Suite],
    *,
    n_bootstrap: int = 200,
    formats: Sequence[str] = FORMATS,
) -> SummaryResult:
    """Summarise any mix of sources into a folder; see `importers`.

    Raises UserError if no source gives a value, or the folder is there and no summary.
    """
    to = request.to
    if to.exists() and not is_summary(to):
        raise UserError(f"to={to}: is there and is no summary; give a new folder")
    sources = read_sources(request, suites, prompts=True)
    return _summarize(sources, to.resolve().name, to, request.thresholds, n_bootstrap, formats)


def _summarize(
    sources: Sources,
    name: str,
    folder: Path,
    thresholds: Mapping[str, float],
    n_bootstrap: int,
    formats: Sequence[str],
) -> SummaryResult:
    cells, notes = _read(sources)
    cells = [with_final(cell) for cell in cells]
    curves = with_final_overlaps(sources.curves, cells)
    with CellProgress("emergence", 1) as progress:
        emergence, odd = emergence_rows(
            curves,
            thresholds,
            n_bootstrap=n_bootstrap,
            progress=lambda done, total: progress.at(f"{done} of {total} curves"),
        )
        emergence, notes = (
            behaviours_first(emergence),
            list(dict.fromkeys([*curves.notes, *notes, *odd])),
        )
        progress.at("what they say together")
        scaling = scaling_rows(curves, emergence)
        scaling = with_adjusted(scaling) if len(scaling) else scaling
        emergence = with_cells(emergence, cells)
        compared = compare(curves, emergence, cells, thresholds, n_bootstrap=n_bootstrap)
        ends = cells_table(cells)
        heads = head_tables(cells, emergence, notes)
        seeds = seeds_table(emergence, heads.spreads()) if len(emergence) else pd.DataFrame()
        progress.at("figures and report")
        tables = {
            "emergence": emergence,
            "scaling": scaling,
            "cells": ends,
            "seeds": seeds,
            "overlap": overlap_table(cells),
            **heads.files(),
            **compared.files(),
        }
        tables = {name: table for name, table in tables.items() if len(table)}
        with replaced_folder(folder) as building:
            for title, table in tables.items():
                table.to_csv(building / f"{title}.csv", index=False)
            spec = specification(curves, cells, heads.bands)
            drawn = draw_figures(spec, cells, emergence, scaling, heads, notes)
            save_figures(drawn, building, formats)
            (building / "notes.txt").write_text("\n".join([MARK, *notes, ""]), encoding="utf-8")
            found = Findings(
                name,
                spec,
                curves,
                cells,
                emergence,
                scaling,
                ends,
                seeds,
                heads,
                compared,
                notes,
                tables,
            )
            write_report(building / "report.html", found)
    return SummaryResult(folder, emergence, scaling, ends, heads, compared, notes, curves.facts)


def _read(sources: Sources) -> tuple[list[CellData], list[str]]:
    """The cells of the sources, each (model, task, seed) once, and notes on those that came twice
    and on records that are damaged.
    """
    notes: list[str] = []
    cells = in_order(
        [cell for cell in (read_cell(cell, notes) for cell in sources.cells) if len(cell.curves)]
    )
    once: dict[tuple[str, str, int], CellData] = {}
    twice = []
    for cell in cells:
        if once.setdefault((cell.model, cell.task, cell.seed), cell) is not cell:
            twice.append(f"{cell.model} {cell.task} seed{cell.seed}")
    notes += (
        [f"several cells of {', '.join(twice)}: circuits and heads are of the first"]
        if twice
        else []
    )
    return list(once.values()), notes


def print_summary(result: SummaryResult) -> None:
    """Print when things emerged, what was left out, and where the report is."""
    console = wide_console()
    table = Table(
        title="emergence", title_justify="left", box=rich.box.SIMPLE_HEAD, padding=(0, 1, 0, 0)
    )
    emergence = result.emergence
    several = len(emergence) > 0 and emergence["seed"].nunique() > 1
    for name in (
        "model",
        *(["seed"] if several else []),
        "task",
        "quantity",
        "status",
        "tokens",
        "95 % interval",
        "seen between",
        "at the end",
    ):
        wraps = name in ("task", "quantity")
        table.add_column(
            name, justify="right" if name in ("tokens", "at the end") else "left", no_wrap=not wraps
        )
    roles = emergence["task"] == NO_TASK if len(emergence) else pd.Series(dtype=bool)
    for part in (emergence[~roles], emergence[roles]) if len(emergence) else ():
        for _, row in part.head(MOST_PRINTED).iterrows():
            quantity = result.facts.words(str(row["quantity"]))
            interval, seen = (
                format_interval(row[f"{name}_low"], row[f"{name}_high"])
                for name in ("tokens", "crossing")
            )
            table.add_row(
                escape(row["model"]),
                *([str(row["seed"])] if several else []),
                escape(row["task"]),
                escape(quantity),
                row["status"],
                format_tokens(row["tokens"]),
                interval,
                seen,
                f"{row['final']:.2f}",
            )
        table.add_section()
    console.print(table)
    hidden = sum(max(int(count) - MOST_PRINTED, 0) for count in (roles.sum(), (~roles).sum()))
    if hidden:
        console.print(
            f"{hidden} more curves in {result.folder / 'emergence.csv'}",
            highlight=False,
            markup=False,
            soft_wrap=True,
        )
    unfinished = result.cells[~result.cells["finished"]] if len(result.cells) else result.cells
    if len(unfinished):
        named = ", ".join(unfinished["model"] + " × " + unfinished["task"])
        console.print(f"not finished: {named}", highlight=False, markup=False)
    for note in result.notes:
        console.print(f"note: {note}", highlight=False, markup=False, soft_wrap=True)
    for warning in [*result.comparisons.warnings(), *circuit_warnings(result.cells, result.facts)]:
        console.print(f"warning: {warning}", highlight=False, markup=False, soft_wrap=True)
    console.print(
        f"report: {result.folder / 'report.html'}", highlight=False, markup=False, soft_wrap=True
    )
