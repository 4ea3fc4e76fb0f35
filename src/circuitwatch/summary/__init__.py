"""From a sweep's records to its summary: tables, figures and one report. Reads records, and imports no torch, so that it starts quickly.

Written to <sweep>/summary, where they have rows: emergence.csv, scaling.csv, cells.csv, seeds.csv (`summary.tables` names the columns); roles.csv,
turnover.csv, handovers.csv (`holders`); algorithm.csv (`algorithm`); transfer.csv, specificity.csv (`transfer`). As PNG, SVG and PDF: behaviour, circuits,
roles, timeline, algorithm, transfer. report.html.
"""

from __future__ import annotations

import shutil
from dataclasses import dataclass
from pathlib import Path

import pandas as pd
import rich.box
from matplotlib.figure import Figure
from rich.table import Table

from circuitwatch.errors import UserError
from circuitwatch.progress import wide_console
from circuitwatch.records import find_cells
from circuitwatch.summary.figures import behaviour_figure, circuits_figure, format_tokens, save_figures
from circuitwatch.summary.head_tables import HeadTables, head_tables
from circuitwatch.summary.heads_figures import roles_figure, timeline_figure
from circuitwatch.summary.report import write_report
from circuitwatch.summary.stability_figures import algorithm_figure, transfer_figure
from circuitwatch.summary.tables import (
    NO_TASK,
    CellData,
    cells_table,
    emergence_table,
    in_order,
    read_cell,
    scaling_table,
    seeds_table,
)

__all__ = ["SummaryResult", "print_summary", "summarize"]


@dataclass(frozen=True)
class SummaryResult:
    """Where the summary is, and its tables as `summary.tables` makes them."""

    folder: Path
    emergence: pd.DataFrame
    scaling: pd.DataFrame
    cells: pd.DataFrame
    heads: HeadTables


def summarize(sweep: Path) -> SummaryResult:
    """Summarise the cells of a sweep's folder, finished or not, into its `summary` folder, which is replaced as a whole.

    Raises UserError if there is no cell, or none with a record.
    """
    cells = in_order([cell for cell in map(read_cell, find_cells(sweep)) if len(cell.curves)])
    if not cells:
        raise UserError(f"{sweep}: no cell with a record; run circuitwatch sweep={sweep.name} first")
    emergence, ends = emergence_table(cells), cells_table(cells)
    heads = head_tables(sweep, cells, emergence)
    scaling, seeds = scaling_table(emergence, cells), seeds_table(emergence, heads.spreads())
    folder, building = sweep / "summary", sweep / "summary.partial"
    shutil.rmtree(building, ignore_errors=True)
    building.mkdir()
    tables = {"emergence": emergence, "scaling": scaling, "cells": ends, "seeds": seeds, **heads.files()}
    for name, table in tables.items():
        if len(table):
            table.to_csv(building / f"{name}.csv", index=False)
    drawn = draw_figures(cells, emergence, heads)
    save_figures(drawn, building)
    pictures = {name: building / name for name in drawn}
    write_report(building / "report.html", sweep.name, cells, emergence, scaling, ends, seeds, heads, pictures)
    shutil.rmtree(folder, ignore_errors=True)
    building.rename(folder)
    return SummaryResult(folder, emergence, scaling, ends, heads)


def draw_figures(cells: list[CellData], emergence: pd.DataFrame, heads: HeadTables) -> dict[str, Figure]:
    """The figures that there is something for, by name; cells in order."""
    drawn = {"behaviour": behaviour_figure(cells)}
    if heads.histories:
        drawn["roles"] = roles_figure(cells)
        drawn["timeline"] = timeline_figure(heads.histories, cells, emergence)
    if any(len(cell.curve("circuit/edges")) for cell in cells):
        drawn["circuits"] = circuits_figure(cells)
    if len(heads.algorithm):
        drawn["algorithm"] = algorithm_figure(cells, emergence)
    if len(heads.transfer):
        drawn["transfer"] = transfer_figure(heads.transfer, heads.specificity, cells)
    return drawn


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
