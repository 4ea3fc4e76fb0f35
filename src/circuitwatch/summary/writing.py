"""A summary: results (`results`) written as tables, figures and one report."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from pathlib import Path

import pandas as pd

from circuitwatch.checkpoints.suites import Suite
from circuitwatch.errors import UserError
from circuitwatch.facts import Facts
from circuitwatch.limits import MOST_RESAMPLES, require_whole
from circuitwatch.locks import hold
from circuitwatch.progress import CellProgress
from circuitwatch.results import Results
from circuitwatch.spreadsheets import write_csv
from circuitwatch.summary.charts.together import charts
from circuitwatch.summary.comparison import ComparisonRows
from circuitwatch.summary.figures.drawing import draw_figures
from circuitwatch.summary.figures.shared import FORMATS, save_figures
from circuitwatch.summary.heads.tables import HeadTables
from circuitwatch.summary.importers import Request, read_sources
from circuitwatch.summary.importers.cells import find_cells_below
from circuitwatch.summary.output import MARK, is_summary, replaced_folder
from circuitwatch.summary.panels import specification
from circuitwatch.summary.report.page import Findings, write_report
from circuitwatch.summary.together import Comparisons


@dataclass(frozen=True)
class SummaryResult:
    """Where the summary is, its tables as data frames, the sizes beside each other, and notes of
    what was left out.
    """

    folder: Path
    emergence: pd.DataFrame
    scaling: pd.DataFrame
    cells: pd.DataFrame
    heads: HeadTables
    comparisons: Comparisons
    notes: list[str] = field(default_factory=list)
    facts: Facts = field(default_factory=Facts)
    comparison: ComparisonRows = field(default_factory=ComparisonRows)


def summarize(
    sweep: Path, *, n_bootstrap: int = 200, formats: Sequence[str] = FORMATS
) -> SummaryResult:
    """Summarise the cells of a sweep's folder, finished or not, into its `summary` folder, which is
    replaced as a whole.

    n_bootstrap: bootstrap samples of each curve. formats: endings of the figures' files. Raises
    UserError if there is no cell, or none with a record.
    """
    require_whole(n_bootstrap, "n_bootstrap", 0, MOST_RESAMPLES)
    found, notes = find_cells_below(sweep)
    if not any(cell.steps_done() for cell in found):
        why = "; ".join(notes) or f"run circuitwatch sweep={sweep.name} first"
        raise UserError(f"{sweep}: no cell with a record; {why}")
    to = sweep / "summary"
    with _alone(to):
        results = Results(read_sources(Request((str(sweep),), to)), n_bootstrap=n_bootstrap)
        return write_summary(results, f"Sweep {sweep.name}", to, formats)


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
    require_whole(n_bootstrap, "n_bootstrap", 0, MOST_RESAMPLES)
    to = request.to
    if to.exists() and not is_summary(to):
        raise UserError(f"to={to}: is there and is no summary; give a new folder")
    with _alone(to):
        results = Results(
            read_sources(request, suites), thresholds=request.thresholds, n_bootstrap=n_bootstrap
        )
        return write_summary(results, to.resolve().name, to, formats)


def _alone(folder: Path) -> AbstractContextManager[None]:
    """No other process writes the summary meanwhile; the lock is beside its folder, which is
    replaced as a whole.
    """
    folder = folder.resolve()
    return hold(folder.with_name(f".{folder.name}.lock"), f"{folder} is being written")


def write_summary(
    results: Results, name: str, folder: Path, formats: Sequence[str] = FORMATS
) -> SummaryResult:
    """Write the tables that have rows, the figures and the report of some results into a folder,
    which is replaced as a whole; name: what the report is called.
    """
    with CellProgress("emergence", 1) as progress:
        results.fit(lambda done, total: progress.at(f"{done} of {total} curves"))
        progress.at("what they say together")
        tables = {name: table.frame() for name, table in results.tables.items() if len(table)}
        compared, notes = results.compared.frames(), results.notes
        emergence, scaling, ends, seeds = (
            tables.get(name, pd.DataFrame()) for name in ("emergence", "scaling", "cells", "seeds")
        )
        progress.at("figures and report")
        with replaced_folder(folder) as building:
            for title, table in tables.items():
                write_csv(table, building / f"{title}.csv")
            spec = specification(results.all_curves, results.cells, results.heads.bands)
            drawn_of = charts(spec, results.cells, emergence, scaling, results.heads)
            drawn = draw_figures(drawn_of, results.cells, notes)
            save_figures(drawn, building, formats)
            (building / "notes.txt").write_text("\n".join([MARK, *notes, ""]), encoding="utf-8")
            found = Findings(
                name,
                drawn_of,
                results.all_curves,
                results.cells,
                emergence,
                scaling,
                ends,
                seeds,
                results.heads,
                compared,
                notes,
                tables,
                results.comparison,
            )
            write_report(building / "report.html", found)
    return SummaryResult(
        folder,
        emergence,
        scaling,
        ends,
        results.heads,
        compared,
        notes,
        results.facts,
        results.comparison,
    )
