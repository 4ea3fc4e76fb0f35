"""`circuitwatch [watch]`: watch one cell, or with -m a sweep over cells."""

from __future__ import annotations

from typing import TYPE_CHECKING

from circuitwatch.cli.command import Command
from circuitwatch.cli.stopping import STOPPING

if TYPE_CHECKING:
    from circuitwatch.config import Config


def watch(arguments: list[str]) -> None:
    """Watch what the configuration says."""
    from circuitwatch.cli.composing import with_hydra

    with_hydra(arguments, _watch_one, watches=True)


def _watch_one(config: Config) -> None:
    from hydra.core.hydra_config import HydraConfig
    from hydra.types import RunMode

    from circuitwatch.cli.paths import require_paths
    from circuitwatch.config import cell_folder

    require_paths(config)
    from circuitwatch.monitor import watch_cell

    STOPPING.begin()
    in_sweep = HydraConfig.get().mode == RunMode.MULTIRUN
    watch_cell(config, cell_folder(config), in_sweep=in_sweep)


COMMAND = Command(
    watch,
    {
        "[watch] [-m] [key=value ...]": "watch one cell (model × task), or with -m sweep over "
        "lists of values",
    },
)
