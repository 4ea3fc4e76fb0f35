"""The run of one cell: what is sent of a checkpoint, and of the cell as a whole once it is done.

A run that is on the server already is gone on with where its rows are the first of those that the
records give; else it is overwritten, since rows can't be put between others.
"""

from __future__ import annotations

import io
from collections.abc import Mapping
from typing import Any

import pandas as pd

from circuitwatch.circuits.graph import Graph
from circuitwatch.record_files import CheckpointRecord
from circuitwatch.records import Cell
from circuitwatch.tracking import sessions
from circuitwatch.tracking.account import load_wandb
from circuitwatch.tracking.answers import CONTENT, artifact_of, content_of, emergence_of
from circuitwatch.tracking.identity import identity_of, without_paths
from circuitwatch.tracking.rows import Rows, drawn_steps, record_hash
from circuitwatch.tracking.server import Held, Place
from circuitwatch.tracking.sessions import Session
from circuitwatch.tracking.settings import TrackingConfig


class CellRun:
    """A cell's run while it is open; see `start`."""

    def __init__(self, cell: Cell, session: Session, pictures: int) -> None:
        self.cell, self.session = cell, session
        self._rows = Rows(cell)
        self._pictures, self._planned = pictures, list(cell.header["schedule"])
        self._heads: list[list[Any]] = []

    def log(self, record: CheckpointRecord, seconds: Mapping[str, float]) -> bool:
        """Send a record's row; whether it could be: its place is after that of the last."""
        place = self._rows.places()[record.step]
        if place <= self.session.last:
            return False
        row = self._rows.row(record, seconds)
        if self._is_drawn(record.step):
            row |= self._looked_at(record)
        self.session.log(row, place)
        return True

    def log_all(self) -> None:
        """Send the rows of the records that are on disk and behind the last row sent."""
        for step in self.cell.steps_done():
            record = self.cell.read(step)
            if not self.log(record, self.cell.seconds(step)) and self._is_drawn(step):
                self._note_heads(record)

    def complete(self) -> None:
        """Send what the cell says as a whole. Raises NotUploaded where the records can't be."""
        self.session.run.summary.update(emergence_of(self.cell))
        if not self.session.online:  # a kept artifact would name this machine's folders
            return
        header = {**self.cell.header, "config": without_paths(self.cell.header["config"])}
        artifact = artifact_of(self.cell, self.session.run.id, header)
        self.session.keep(artifact, "the records' artifact")
        self.session.run.summary[CONTENT] = content_of(self.cell)

    def _is_drawn(self, step: int) -> bool:
        """Whether a checkpoint is one of those with pictures: of those that were known at the start
        as many as are wanted, of those that came since each whose number doubles.
        """
        if not self._pictures:
            return False
        if any(entry["step"] == step for entry in self._planned):
            return step in drawn_steps(self._planned, self._pictures)
        return (self._rows.places()[step] + 1).bit_count() == 1

    def _looked_at(self, record: CheckpointRecord) -> dict[str, Any]:
        """Pictures of a checkpoint, and the table of heads up to it."""
        from PIL import Image

        from circuitwatch.tracking.pictures import pictures_of

        wandb, model = load_wandb(), self.cell.header["model"]
        self._note_heads(record)
        graph = Graph(model["n_layers"], model["n_heads"], bool(model.get("parallel")))
        drawn = pictures_of(record, self._rows.facts, graph)
        return {
            **{
                f"pictures/{name}": wandb.Image(Image.open(io.BytesIO(png)))
                for name, png in drawn.items()
            },
            **self._heads_shown(),
        }

    def _heads_shown(self) -> dict[str, Any]:
        """The table of heads; offline as a page, since W&B would write down where on this machine a
        table waits.
        """
        from circuitwatch.tracking.pictures import COLUMNS

        wandb = load_wandb()
        if self.session.online:
            return {"heads": wandb.Table(list(COLUMNS), self._heads, allow_mixed_types=True)}
        table = pd.DataFrame(self._heads, columns=list(COLUMNS))
        return {"heads_page": wandb.Html(table.to_html(index=False, na_rep=""), inject=False)}

    def _note_heads(self, record: CheckpointRecord) -> None:
        from circuitwatch.tracking.pictures import heads_table

        self._heads += heads_table(record, self._rows.facts)


def places_of(cell: Cell) -> list[Place]:
    """The rows that a cell's run has when it is whole, in order."""
    places = Rows(cell).places()
    steps = [step for step in cell.steps_done() if step in places]
    return [(places[step], step, record_hash(cell, step)) for step in steps]


def start(cell: Cell, config: TrackingConfig, *, online: bool, held: Held | None = None) -> CellRun:
    """Start a cell's run, or go on with it.

    Args:
        cell: the cell.
        config: where the run goes.
        online: whether it goes there as it is made.
        held: what the server has of it.

    Raises:
        account.Unreachable: the server does not answer, or refuses the key.
    """
    session = sessions.start(
        identity_of(cell),
        cell.folder,
        online=online,
        project=config.project,
        entity=config.entity,
        after=None if held is None else held.last_of(places_of(cell)),
        there=held.id if held is not None else "",
    )
    return CellRun(cell, session, config.pictures)
