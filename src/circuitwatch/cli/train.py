"""`circuitwatch train`: train a nano suite into the cache without watching it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from circuitwatch.cli.command import Command
from circuitwatch.cli.stopping import STOPPING
from circuitwatch.errors import UserError

if TYPE_CHECKING:
    from circuitwatch.config import Config


def train(arguments: list[str]) -> None:
    """Train the model that the configuration names, and print its folder."""
    from circuitwatch.cli.composing import with_hydra

    with_hydra([*arguments, "hydra.run.dir=."], _train_one)


def _train_one(config: Config) -> None:
    if config.model.source != "nano":
        raise UserError(f"model={config.model.name}: only nano models are trained here")
    from circuitwatch.monitor import trained_suite

    STOPPING.begin()
    print(trained_suite(config))


COMMAND = Command(
    train,
    {"train model=<nano model>": "train a nano suite into the cache without watching it"},
)
