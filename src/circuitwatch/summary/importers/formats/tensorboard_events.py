"""Event files of TensorBoard, `events.out.tfevents.<time>.<host>…`, as TensorBoard's, PyTorch's and
tensorboardX's writers leave them in the folder of a run.

Recognised by the name and the length of the first record. They are read by the package
`tensorboard`, which comes without TensorFlow and is imported only here. Every folder with event
files below the one that is given is a run, called by its path below it, and becomes a model; every
scalar's tag is a quantity. Where a run was resumed the value that was written last counts for a
step. A file that a killed run left with half a record is read up to there, with a note.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator, Mapping, Sequence
from importlib import import_module
from pathlib import Path
from typing import Any

import pandas as pd

from circuitwatch.errors import UserError
from circuitwatch.summary.curves import Curves, named
from circuitwatch.summary.importers.format import RUN, Asked, File, Format, finish, place_of
from circuitwatch.units import counted

PATTERN = "events.out.tfevents.*"
FRAME = 16
"""Bytes of a record beside its content: its length (8), and two checks of 4."""
MOST = 2**40
"""No record is longer."""


def _is_events(file: File, given: Mapping[str, str]) -> bool:
    return "tfevents" in file.path.name and next(_records(file.path), None) is not None


def _read(files: Sequence[File], root: Path, asked: Asked) -> Curves:
    values: dict[tuple[str, str, float], float] = {}
    cut, empty = [], []
    for file in sorted(files, key=lambda file: file.path):
        scalars = list(_scalars(file.path))
        run = _run_of(file.path, root)
        values |= {(run, tag, step): value for tag, step, value in scalars}
        if sum(_records(file.path)) != file.path.stat().st_size:
            cut.append(file.path.name)
        if not scalars:
            empty.append(file.path.name)
    notes = []
    if cut:
        those = counted(len(cut), "file ends", "files end")
        notes.append(f"{those} within a record ({named(cut)}): read up to there")
    if empty:
        notes.append(
            f"{counted(len(empty), 'file holds', 'files hold')} no scalar ({named(empty)})"
        )
    if not values:
        raise UserError(f"{root}: no scalar in it: {'; '.join(notes)}")
    rows = pd.DataFrame(list(values), columns=["model", "quantity", "step"])
    return finish(
        rows.assign(value=list(values.values()), task=RUN),
        source=root.name or str(root),
        asked=asked,
        notes=notes,
        from_path=("model", "task"),
    )


def _scalars(path: Path) -> Iterator[tuple[str, float, float]]:
    """Tag, step and value of every scalar, in the order in which they were written."""
    try:
        loader = import_module("tensorboard.backend.event_processing.event_file_loader")
        to_array = import_module("tensorboard.util.tensor_util").make_ndarray
    except ImportError as error:
        raise UserError(
            f"{path}: event files are read by the package tensorboard, which is not here: "
            f"pip install tensorboard"
        ) from error
    for event in loader.EventFileLoader(str(path)).Load():
        for value in event.summary.value:
            if value.metadata.plugin_data.plugin_name == "scalars":
                yield value.tag, float(event.step), _number(to_array(value.tensor))


def _number(array: Any) -> float:
    return float(array.reshape(-1)[0])


def _records(path: Path) -> Iterator[int]:
    """Lengths of a file's whole records, their frames included."""
    size, place = path.stat().st_size, 0
    with path.open("rb") as file:
        while place + FRAME <= size:
            file.seek(place)
            length = struct.unpack("<Q", file.read(8))[0] + FRAME
            if length > MOST or place + length > size:
                return
            yield length
            place += length


def _run_of(path: Path, root: Path) -> str:
    """A run's path below the folder that was given, without that of the folder itself."""
    folder = path.parent
    inner = folder.relative_to(root).as_posix() if root.is_dir() else "."
    return place_of(path) if inner == "." else inner


FORMAT = Format(
    "tensorboard-events",
    f"event files of TensorBoard ({PATTERN})",
    (PATTERN,),
    _is_events,
    _read,
)
