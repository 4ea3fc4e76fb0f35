"""All tables about head roles, the algorithm and transfer of a sweep, made once and used by the CSV
files, the figures and the report.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import pandas as pd

from circuitwatch.summary.cells import CellData
from circuitwatch.summary.heads import algorithm, holders, transfer
from circuitwatch.summary.heads.bands import bands_table
from circuitwatch.summary.heads.histories import RoleHistory, role_histories

_NO_TRANSFER = pd.DataFrame(columns=["model", "seed", *transfer.COLUMNS])


@dataclass(frozen=True)
class HeadTables:
    """The tables; any may be empty.

    histories is what turnover, handovers and roles are made from (`holders`); algorithm is
    as `algorithm` makes it, bands its measures at every checkpoint and cut-off (`bands`); transfer
    has every evaluation as read, transfers one line a model, seed and task, specificity one a pair
    of tasks (`transfer`).
    """

    histories: list[RoleHistory]
    turnover: pd.DataFrame
    handovers: pd.DataFrame
    roles: pd.DataFrame
    algorithm: pd.DataFrame
    bands: pd.DataFrame
    transfer: pd.DataFrame
    transfers: pd.DataFrame
    specificity: pd.DataFrame

    def files(self) -> dict[str, pd.DataFrame]:
        """The tables that are written, by their files' names."""
        return {
            "turnover": self.turnover,
            "handovers": self.handovers,
            "roles": self.roles,
            "algorithm": self.algorithm,
            "algorithm_bands": self.bands,
            "transfer": self.transfers,
            "specificity": self.specificity,
        }

    def spreads(self) -> dict[str, tuple[pd.DataFrame, list[str]]]:
        """What `seeds.seeds_table` gives the spread over seeds of."""
        return {
            "roles": (self.roles, holders.SPREAD),
            "algorithm": (self.algorithm, algorithm.SPREAD),
            "transfer": (self.transfers, transfer.TRANSFER_SPREAD),
            "specificity": (self.specificity, transfer.SPECIFICITY_SPREAD),
        }


def head_tables(
    cells: list[CellData], emergence: pd.DataFrame, notes: list[str] | None = None
) -> HeadTables:
    """Make them from cells, the transfer files beside them, and the emergence table; `notes` gets a
    line on each of these files that is damaged.
    """
    histories = role_histories(cells)
    sweeps: dict[Path, list[CellData]] = {}
    for cell in cells:
        sweeps.setdefault(cell.folder.resolve().parents[2], []).append(cell)
    bands = bands_table(cells, histories)
    read = [transfer.read_transfer(sweep, own, notes) for sweep, own in sweeps.items()]
    every = (
        pd.concat([table for table in read if len(table)] or read, ignore_index=True)
        if read
        else _NO_TRANSFER
    )
    return HeadTables(
        histories,
        holders.turnover_table(histories),
        holders.handovers_table(histories),
        holders.roles_table(histories, emergence, cells),
        algorithm.algorithm_table(cells, bands),
        bands,
        every,
        transfer.transfer_table(every, cells),
        transfer.specificity_table(every),
    )
