"""What is to be imposed on one model: its cells' circuits, the checkpoints chosen, the rows of
each, and a hash of all that decides them.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from omegaconf import OmegaConf
from omegaconf.errors import OmegaConfBaseException

from circuitwatch.checkpoints.schedule import Checkpoint
from circuitwatch.config import Config, validate
from circuitwatch.errors import UserError
from circuitwatch.record_files import DUPLICATE_OF, WEIGHTS_SHA256, Scalar
from circuitwatch.records import Cell
from circuitwatch.transfer_files import file_of

Mask = npt.NDArray[np.bool_]


@dataclass(frozen=True)
class Recorded:
    """What the record of a checkpoint says, less its arrays."""

    checkpoint: Checkpoint
    scalars: dict[str, Scalar]
    has_circuit: bool


@dataclass(frozen=True)
class FoundCircuit:
    """A circuit [sender, receiver], where it was found, and a hash of both."""

    mask: Mask
    checkpoint: Checkpoint
    sha256: str

    @classmethod
    def of(cls, mask: Mask, checkpoint: Checkpoint) -> FoundCircuit:
        """A circuit with its hash."""
        identity = f"{mask.shape} {checkpoint.step} {checkpoint.tokens}"
        return cls(
            mask,
            checkpoint,
            hashlib.sha256(identity.encode() + np.packbits(mask).tobytes()).hexdigest(),
        )


@dataclass(frozen=True)
class PlannedCell:
    """A cell as far as it is.

    recorded: step → its record. circuits: chosen step → the circuit found there.
    """

    config: Config
    recorded: dict[int, Recorded]
    circuits: dict[int, FoundCircuit]

    def is_above_chance(self, step: int) -> bool:
        """Whether there is behaviour at a step; not where there is no record."""
        record = self.recorded.get(step)
        return record is not None and bool(record.scalars.get("behaviour/above_chance"))


@dataclass(frozen=True)
class PlannedRow:
    """A task's prompts, and the circuit that is imposed, with the task that it was found for."""

    task: str
    circuit_task: str
    circuit: FoundCircuit


@dataclass(frozen=True)
class ModelPlan:
    """The cells of one model and seed, by task, and the checkpoints chosen of those at which any of
    them has a circuit.
    """

    folder: Path
    title: str
    cells: dict[str, PlannedCell]
    checkpoints: list[Checkpoint]

    @property
    def config(self) -> Config:
        """Any cell's configuration, for what is common to all."""
        return next(iter(self.cells.values())).config

    def path(self, checkpoint: Checkpoint) -> Path:
        """The file of a model checkpoint."""
        return file_of(self.folder, checkpoint.step)

    def rows(self, step: int) -> list[PlannedRow]:
        """The rows of a model checkpoint, task by task; a task's own circuits by step, so that
        neighbours in the list are alike.
        """
        rows = []
        for task, cell in self.cells.items():
            if cell.is_above_chance(step):
                rows += [PlannedRow(task, task, circuit) for circuit in cell.circuits.values()]
                others = [
                    (other, of.circuits.get(step))
                    for other, of in self.cells.items()
                    if other != task
                ]
                rows += [PlannedRow(task, other, circuit) for other, circuit in others if circuit]
        return rows

    def weights(self, step: int) -> set[str]:
        """SHA-256 of the weights at a step as the cells' records have it: one, unless they were
        made from different ones.
        """
        records = (cell.recorded.get(step) for cell in self.cells.values())
        return {
            str(record.scalars[WEIGHTS_SHA256])
            for record in records
            if record and WEIGHTS_SHA256 in record.scalars
        }

    def made_from(self, checkpoint: Checkpoint) -> str:
        """Hash of all that decides a file: which rows, their circuits, the prompts, the weights."""
        rows = self.rows(checkpoint.step)
        causes = {
            "model": [checkpoint.step, checkpoint.tokens],
            "rows": [[row.task, row.circuit_task, row.circuit.sha256] for row in rows],
            "prompts": {row.task: asdict(self.cells[row.task].config.task) for row in rows},
            "seed": self.config.seed,
            "dtype": self.config.dtype,
            "weights": sorted(self.weights(checkpoint.step)),
        }
        return hashlib.sha256(json.dumps(causes, sort_keys=True).encode()).hexdigest()


def plan_model(cells: Sequence[Cell], at_most: int) -> ModelPlan:
    """The cells of one model and seed, whose settings must agree, with at most so many checkpoints
    chosen. Raises UserError where they don't.
    """
    records: dict[str, dict[int, Recorded]] = {}
    for cell in cells:
        _require_same(cells[0], cell)
        records[cell.header["task"]] = {
            r.step: Recorded(
                Checkpoint(r.step, r.tokens, r.revision), r.scalars, r.mask is not None
            )
            for r in cell.records()
        }
    every = [record for of_cell in records.values() for record in of_cell.values()]
    copies = {r.checkpoint.step for r in every if DUPLICATE_OF in r.scalars}
    with_circuit = {
        r.checkpoint.step: r.checkpoint
        for r in every
        if r.has_circuit and r.checkpoint.step not in copies
    }
    chosen = [with_circuit[step] for step in evenly(sorted(with_circuit), at_most)]
    planned = {}
    for cell in cells:
        of_cell = records[cell.header["task"]]
        masks = {
            c.step: cell.read(c.step).mask
            for c in chosen
            if c.step in of_cell and of_cell[c.step].has_circuit
        }
        circuits = {
            step: FoundCircuit.of(mask, with_circuit[step])
            for step, mask in masks.items()
            if mask is not None
        }
        planned[cell.header["task"]] = PlannedCell(_config(cell), of_cell, circuits)
    model, seed = cells[0].header["model"]["name"], cells[0].header["seed"]
    folder = cells[0].folder.parents[1] / "transfer" / f"seed{seed}"
    return ModelPlan(folder, f"{model} seed {seed}", planned, chosen)


def evenly(steps: Sequence[int], at_most: int) -> list[int]:
    """At most so many of some steps, evenly over their list, the first and the last among them."""
    places = np.linspace(0, len(steps) - 1, min(at_most, len(steps))).round().astype(int)
    return [steps[place] for place in np.unique(places)]


def _require_same(first: Cell, cell: Cell) -> None:
    """Raise UserError unless two cells of a model and seed are about the same weights, and prompts
    of the same kind.
    """
    for part in ("model", "task"):
        if part not in cell.header["config"]:
            raise UserError(f"{cell.folder / 'cell.json'}: damaged: no config.{part}")
    before, now = (_shared(c.header["config"]) for c in (first, cell))
    for key in sorted(before.keys() | now.keys()):
        if before.get(key) != now.get(key):
            raise UserError(
                f"{first.folder} was made with {key}={before.get(key)} and {cell.folder} "
                f"with {now.get(key)}, so their circuits can't be "
                "imposed on each other's model and prompts; give them sweeps of their own"
            )


def _shared(config: dict[str, Any]) -> dict[str, Any]:
    shared = {f"model.{key}": value for key, value in config["model"].items()} | {
        "dtype": config.get("dtype")
    }
    return shared | {"task.prepend_bos": config["task"].get("prepend_bos")}


def _config(cell: Cell) -> Config:
    """The configuration that a cell was made with.

    Raises UserError if this version has other options.
    """
    try:
        return validate(OmegaConf.merge(OmegaConf.structured(Config), cell.header["config"]))
    except OmegaConfBaseException as error:
        raise UserError(
            f"{cell.folder}: made with options that this version does not have "
            f"({str(error).splitlines()[0]})"
        ) from error
