"""From a sweep's records to its summary: tables, figures and one report. Reads records, and imports no torch, so that it starts quickly.

Written to <sweep>/summary: emergence.csv, scaling.csv, cells.csv and, where there are several seeds, seeds.csv, with the columns that
`summary.tables` names; behaviour.png, roles.png, circuits.png; report.html.
"""

from __future__ import annotations

import shutil
from dataclasses import dataclass
from pathlib import Path

import pandas as pd
import rich.box
from rich.table import Table

from circuitwatch.errors import UserError
from circuitwatch.progress import wide_console
from circuitwatch.records import find_cells
from circuitwatch.summary.figures import draw_figures
from circuitwatch.summary.report import format_tokens, write_report
from circuitwatch.summary.tables import NO_TASK, cells_table, emergence_table, read_cell, scaling_table, seeds_table

__all__ = ["SummaryResult", "print_summary", "summarize"]


@dataclass(frozen=True)
class SummaryResult:
    """Where the summary is, and its tables as `summary.tables` makes them."""

    folder: Path
    emergence: pd.DataFrame
    scaling: pd.DataFrame
    cells: pd.DataFrame


def summarize(sweep: Path) -> SummaryResult:
    """Summarise the cells of a sweep's folder, finished or not, into its `summary` folder, which is replaced as a whole.

    Raises UserError if there is no cell, or none with a record.
    """
    cells = [cell for cell in map(read_cell, find_cells(sweep)) if len(cell.curves)]
    if not cells:
        raise UserError(f"{sweep}: no cell with a record; run circuitwatch sweep={sweep.name} first")
    emergence, ends = emergence_table(cells), cells_table(cells)
    scaling, seeds = scaling_table(emergence, cells), seeds_table(emergence)
    folder, building = sweep / "summary", sweep / "summary.partial"
    shutil.rmtree(building, ignore_errors=True)
    building.mkdir()
    for name, table in {"emergence": emergence, "scaling": scaling, "cells": ends, "seeds": seeds}.items():
        if len(table):
            table.to_csv(building / f"{name}.csv", index=False)
    draw_figures(cells, building)
    write_report(building / "report.html", sweep.name, cells, emergence, scaling, ends, seeds)
    shutil.rmtree(folder, ignore_errors=True)
    building.rename(folder)
    return SummaryResult(folder, emergence, scaling, ends)


def print_summary(result: SummaryResult) -> None:
    """Print when things emerged and where the report is."""
    console = wide_console()
    table = Table(title="emergence", title_justify="left", box=rich.box.SIMPLE_HEAD, padding=(0, 1, 0, 0))
    for name in ("model", "task", "quantity", "status", "tokens", "95 % interval", "seen between", "at the end"):
        table.add_column(name, justify="right" if name in ("tokens", "at the end") else "left", no_wrap=True)
    behaviours = result.emergence["task"] != NO_TASK
    for part in (result.emergence[behaviours], result.emergence[~behaviours]):
        for _, row in part.iterrows():
            quantity = row["quantity"].removeprefix("behaviour/").removeprefix("roles/").removesuffix("/max")
            interval, seen = (
                " – ".join(format_tokens(row[f"{name}_{end}"]) for end in ("low", "high")).strip(" –")
                for name in ("tokens", "crossing")
            )
            table.add_row(
                row["model"],
                row["task"],
                quantity,
                row["status"],
                format_tokens(row["tokens"]),
                interval,
                seen,
                f"{row['final']:.2f}",
            )
        table.add_section()
    console.print(table)
    unfinished = result.cells[~result.cells["finished"]]
    if len(unfinished):
        console.print(f"not finished: {', '.join(unfinished['model'] + ' × ' + unfinished['task'])}", highlight=False)
    console.print(f"report: {result.folder / 'report.html'}", highlight=False, soft_wrap=True)
