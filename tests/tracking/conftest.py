"""A cell whose records are known, and a server that stands for W&B."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from circuitwatch.records import Cell
from support.sweeps import write_sweep
from support.wandb import WandbServer


@pytest.fixture(scope="session")
def source(tmp_path_factory: pytest.TempPathFactory) -> Cell:
    """A finished cell of a made-up sweep, with 27 records."""
    folder = tmp_path_factory.mktemp("made_up") / "demo"
    write_sweep(folder, models=("nano-400k",), tasks=("ioi",))
    return Cell.open(folder / "nano-400k/ioi/seed0")


@pytest.fixture
def server() -> Iterator[WandbServer]:
    """A server that takes any key; nothing may be asked that it does not know."""
    with WandbServer() as running:
        yield running
    assert running.unknown == []
