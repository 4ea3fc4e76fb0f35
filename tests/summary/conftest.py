"""Fixtures of the summary's tests: sweeps of made-up cells."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from circuitwatch.records import find_cells
from circuitwatch.summary import SummaryResult, summarize
from circuitwatch.summary.cells import CellData, in_order
from circuitwatch.summary.importers.cells import read_cell
from support.sweeps import write_sweep


@pytest.fixture(scope="session")
def sweep_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two models, four tasks; one cell is unfinished; with transfer files."""
    folder = tmp_path_factory.mktemp("multirun") / "demo"
    return write_sweep(folder, unfinished=("nano-400k", "agreement"), transfer=True)


@pytest.fixture(scope="session")
def cells(sweep_folder: Path) -> list[CellData]:
    """Its cells."""
    return in_order([read_cell(cell) for cell in find_cells(sweep_folder)])


@pytest.fixture(scope="session")
def result(sweep_folder: Path) -> SummaryResult:
    """Its summary, with fewer bootstrap samples than a person gets, and figures in one format."""
    return summarize(sweep_folder, n_bootstrap=40, formats=("png",))


@pytest.fixture(scope="session")
def make_sweep() -> Callable[..., Path]:
    """The function that writes other sweeps."""
    return write_sweep
