"""What of a record depends on the records before it: overlaps with the circuit before, and their
running mean. Made anew from the records alone, without any weights.

A checkpoint may be recorded after later ones: it came late, its weights have changed, or it was
another process' part. Afterwards the records are linked as if they had been made in order, to the
last bit.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

from circuitwatch.circuits.graph import Graph
from circuitwatch.circuits.overlap import Circuit
from circuitwatch.record_files import DUPLICATE_OF, CheckpointRecord
from circuitwatch.records import Cell
from circuitwatch.scalars import overlap_scalars, resampled_of

OVERLAP = "overlap/"


def relink(cell: Cell) -> list[int]:
    """Link a cell's records in order of their steps, and write those that change.

    Returns the steps of these. Raises UserError for a record that is damaged.
    """
    return [record.step for record, has_changed in linked_records(cell) if has_changed]


def linked_records(cell: Cell) -> Iterator[tuple[CheckpointRecord, bool]]:
    """A cell's records in order of their steps, each read once, linked, and written if that changes
    it; and whether it did. Raises UserError for a record that is damaged.
    """
    model = cell.header["model"]
    graph = Graph(model["n_layers"], model["n_heads"], model["parallel"])
    previous: CheckpointRecord | None = None
    for step in cell.steps_done():
        record = cell.read(step)
        linked = as_linked(record, previous, graph)
        has_changed = linked.scalars != record.scalars
        if has_changed:
            cell.write(linked, cell.seconds(step) or None)
        previous = linked if is_compared_with(linked) else previous
        yield linked, has_changed


def as_linked(
    record: CheckpointRecord, previous: CheckpointRecord | None, graph: Graph
) -> CheckpointRecord:
    """A record with the overlaps that it has with a record before it; None: there is none."""
    scalars = {k: v for k, v in record.scalars.items() if not k.startswith(OVERLAP)}
    if record.mask is not None and record.scores is not None:
        circuit = Circuit(record.mask, record.scores)
        scalars |= overlap_scalars(graph, circuit, resampled_of(graph, record), previous)
    return replace(record, scalars=scalars)


def is_compared_with(record: CheckpointRecord) -> bool:
    """Whether the next circuit's overlap is with this one: it has a circuit, and weights of its
    own.
    """
    return record.mask is not None and DUPLICATE_OF not in record.scalars
