"""Fixtures of the summary's tests: sweeps of made-up cells."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from circuitwatch.summary import SummaryResult, summarize
from support.sweeps import write_sweep


@pytest.fixture(scope="session")
def sweep_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two models, four tasks; one cell is unfinished; with transfer files."""
    folder = tmp_path_factory.mktemp("multirun") / "demo"
    return write_sweep(folder, unfinished=("nano-400k", "agreement"), transfer=True)


@pytest.fixture(scope="session")
def result(sweep_folder: Path) -> SummaryResult:
    """Its summary, with all that a person would get but the number of bootstrap samples."""
    return summarize(sweep_folder, n_bootstrap=60)


@pytest.fixture(scope="session")
def make_sweep() -> Callable[..., Path]:
    """The function that writes other sweeps."""
    return write_sweep
