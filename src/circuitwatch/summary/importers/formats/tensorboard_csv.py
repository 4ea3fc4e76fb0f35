"""Scalars that TensorBoard lets one download as CSV: `Wall time,Step,Value`, a file a curve.

Recognised by these three columns. Run and tag are in the file's name as TensorBoard makes it,
`run-<run>-tag-<tag>.csv`, where it puts `_` for `/` in both; else the file's name is the tag and
its folder the run.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from pathlib import Path

import pandas as pd

from circuitwatch.summary.curves import Curves
from circuitwatch.summary.importers.entries import to_numbers
from circuitwatch.summary.importers.format import RUN, Asked, File, Format, finish, place_of
from circuitwatch.summary.importers.tables import read_columns

COLUMNS = ("Wall time", "Step", "Value")
NAME = re.compile(r"^run-(?P<run>.+?)-tag-(?P<tag>.+)$")


def _is_download(file: File, given: Mapping[str, str]) -> bool:
    return sorted(file.columns) == sorted(COLUMNS)


def _read(files: Sequence[File], root: Path, asked: Asked) -> Curves:
    parts: list[pd.DataFrame] = []
    notes: list[str] = []
    for file in files:
        if not _is_download(file, {}):
            notes.append(f"{file.path.name} left out: no columns {', '.join(COLUMNS)}")
            continue
        match = NAME.match(file.path.stem)
        run, tag = (match["run"], match["tag"]) if match else (place_of(file.path), file.path.stem)
        table, odd = read_columns(file.path, list(COLUMNS[1:]))
        rows = pd.DataFrame({"model": run, "task": RUN, "quantity": tag}, index=table.index)
        for ours, theirs in (("step", "Step"), ("value", "Value")):
            numbers, texts = to_numbers(table[theirs])
            rows = rows.assign(**{ours: numbers})
            odd += [f"{theirs}: {text}" for text in texts]
        notes += [f"{file.path.name}: {text}" for text in odd]
        parts.append(rows)
    return finish(
        pd.concat(parts, ignore_index=True),
        source=root.name,
        asked=asked,
        notes=notes,
        from_path=("model", "task", "quantity"),
    )


FORMAT = Format(
    "tensorboard-csv",
    f"scalars downloaded from TensorBoard ({','.join(COLUMNS)})",
    ("run-*-tag-*.csv",),
    _is_download,
    _read,
)
