"""Fixtures of the summary's tests: sweeps of made-up cells."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from support.sweeps import write_sweep


@pytest.fixture(scope="session")
def sweep_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two models, four tasks; one cell is unfinished."""
    return write_sweep(tmp_path_factory.mktemp("multirun") / "demo", unfinished=("nano-400k", "agreement"))


@pytest.fixture(scope="session")
def make_sweep() -> Callable[..., Path]:
    """The function that writes other sweeps."""
    return write_sweep
