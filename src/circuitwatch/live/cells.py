"""The cells of a training that is watched live, one a task: opened or gone on with, and written as
the training comes by.

A training that was stopped may be taken up again at an earlier step than was recorded last. Its
records are then of two trainings, the one that was left and the one that goes on, which differ
unless everything was the same. Weights tell: where a step that has a record comes by again with the
same weights, nothing is measured. At the first measurement for which there is no such record, all
that is later than the last step known to be the same is set aside (see `Cell.set_aside`), and so a
cell's records are of one training, the one that went on.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

from circuitwatch.checkpoints.schedule import Checkpoint
from circuitwatch.errors import UserError
from circuitwatch.linking import is_compared_with
from circuitwatch.record_files import WEIGHTS_SHA256, CheckpointRecord
from circuitwatch.records import Cell


class LiveCell:
    """A cell whose schedule grows.

    Args:
        folder: the cell's.
        header: as `monitor.header` makes it; what the cell's own schedule has is added to its.

    Raises:
        UserError: the folder holds a cell of another configuration, or can't be written.
    """

    def __init__(self, folder: Path, header: Mapping[str, Any]) -> None:
        known: dict[int, dict[str, Any]] = {}
        if (folder / "cell.json").is_file():
            old = Cell.open(folder)
            known = {entry["step"]: entry for entry in old.header["schedule"]}
            for step in old.steps_done():
                if step not in known:  # the process was killed right after it was written
                    known[step] = old.entry_of(step)
        schedule = [known[step] for step in sorted(known)]
        self.cell = Cell.create(folder, {**header, "schedule": schedule})
        self.cell.reopen()
        self.agreed = -1
        """Up to this step records are of the training that is watched, as far as is known."""
        self._read()

    def _read(self) -> None:
        self.hashes: dict[int, str] = {}
        """Step → hash of the weights of its record."""
        self.previous: CheckpointRecord | None = None
        """The last record with a circuit."""
        self.skipped: dict[int, str] = {}
        """Step → hash of the weights that this process could not use."""
        for record in self.cell.records():
            self._remember(record)

    def agrees(self, step: int, sha256: str) -> bool:
        """Whether a step is recorded, or was skipped, with these weights, so that nothing need be
        measured.
        """
        if sha256 not in (self.hashes.get(step), self.skipped.get(step)):
            return False
        self.agreed = max(self.agreed, step)
        return True

    def is_known(self, step: int) -> bool:
        """Whether a step is recorded, and known to be of this training."""
        return step in self.hashes and step <= self.agreed

    def write(self, record: CheckpointRecord) -> None:
        """Write a record, and take its checkpoint into the schedule."""
        self.cell.write(record)
        self._schedule(_entry(record))
        self._remember(record)
        self.agreed = record.step

    def skip(self, checkpoint: Checkpoint, sha256: str, reason: str) -> None:
        """Record why a checkpoint with weights of this hash has no record."""
        entry = asdict(checkpoint)
        self.cell.skip(**entry, reason=reason, again=False)
        self.skipped[checkpoint.step] = sha256
        self._schedule(entry)
        self.agreed = checkpoint.step

    def set_aside_what_was_left(self) -> list[int]:
        """Set aside records that are later than the training is known to be the same as recorded;
        returns their steps.
        """
        scheduled = [entry["step"] for entry in self.cell.header["schedule"]]
        if max(scheduled, default=-1) <= self.agreed:
            return []
        steps = self.cell.set_aside(self.agreed)
        self._read()
        return steps

    def duplicate_of(self, sha256: str) -> str | None:
        """The revision of the first record with these weights, None if none has them."""
        same = [step for step, known in self.hashes.items() if known == sha256]
        return f"step{min(same)}" if same else None

    def _schedule(self, entry: dict[str, Any]) -> None:
        others = [e for e in self.cell.header["schedule"] if e["step"] != entry["step"]]
        self.cell.grow(sorted([*others, entry], key=lambda e: int(e["step"])))

    def _remember(self, record: CheckpointRecord) -> None:
        self.hashes[record.step] = str(record.scalars.get(WEIGHTS_SHA256))
        if is_compared_with(record):
            self.previous = record


def _entry(record: CheckpointRecord) -> dict[str, Any]:
    return {"step": record.step, "tokens": record.tokens, "revision": record.revision}


def begin_at(cells: Mapping[str, LiveCell], step: int, sha256: str) -> None:
    """A training begins, or goes on, at a step. Raises UserError if that step is recorded with
    other weights: then it is another training, and nothing of it belongs here.
    """
    for live in cells.values():
        live.agreed = step
        if live.hashes.get(step, sha256) != sha256:
            raise UserError(
                f"{live.cell.folder}: step {step} is recorded there with other weights, so that is "
                f"another training; choose another sweep= or model_name=, or delete that folder"
            )
