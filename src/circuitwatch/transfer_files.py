"""The files of transfer: one a checkpoint of the model, whole or not at all, each with a hash of
what it was made from, and one of its rows. Imports no torch, for whoever only reads them.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Set
from pathlib import Path

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq

from circuitwatch.errors import UserError
from circuitwatch.json_files import sync
from circuitwatch.soundness import unfit

COLUMNS = {
    "task": "str",
    "circuit_task": "str",
    "circuit_step": "int64",
    "circuit_tokens": "int64",
    "model_step": "int64",
    "model_tokens": "int64",
    "edges": "int64",
    "value": "float64",
    "recovery": "float64",
    "faithfulness": "float64",
}
"""Columns of a file and their types; recovery and faithfulness are missing where they do not exist.
"""
MAY_LACK = ("recovery", "faithfulness")
"""Columns in which a row may have no value."""
KEY = ["task", "circuit_task", "circuit_step", "model_step"]
"""What tells a row from the others of its file."""
MADE_FROM = b"circuitwatch.made_from"
"""Key of a file's metadata that holds the hash of what it was made from."""
ROWS = b"circuitwatch.rows"
"""Key of a file's metadata that holds the hash of its rows; files of before have none."""
HELD = {"str": "text", "int64": "whole", "float64": "number"}
KINDS = {name: HELD[kind] for name, kind in COLUMNS.items()}
"""What each column holds."""


def read(path: Path) -> pd.DataFrame:
    """The rows of one file, with COLUMNS.

    Raises UserError if it can't be read, or holds what no run of transfer writes.
    """
    try:
        # Files of before have no checksums: of these nothing is verified. What pandas notes in a
        # file is under none, and is not needed.
        table = pq.ParquetFile(path, page_checksum_verification=True).read(use_threads=False)
        said = table.schema.metadata or {}
        table = table.replace_schema_metadata(None)
        problem = _problem(table, path)
        if problem is None:
            rows = table.select(list(COLUMNS)).to_pandas().astype(COLUMNS)
            if MADE_FROM in said and said.get(ROWS) in (None, _hash(rows)):
                return rows
            problem = "its rows are not those that were written"
    except (OSError, ValueError, pa.ArrowException) as error:
        problem = f"it can't be read as Parquet ({type(error).__name__})"
    raise UserError(f"{path}: damaged: {problem}; delete it and run circuitwatch transfer again")


def _problem(table: pa.Table, path: Path) -> str | None:
    needed = [name for name in COLUMNS if name not in MAY_LACK]
    lacking = [name for name in MAY_LACK if name not in table.column_names]
    if (problem := unfit(table, KINDS, needed)) is not None:
        return problem.replace("has", "it has", 1)
    if lacking:
        return f"it has no column {lacking[0]}"
    if not table.num_rows:
        return None
    rows = table.select(list(COLUMNS)).to_pandas()
    others = [step for step in rows["model_step"].unique() if path.stem != f"step{step:06}"]
    if others:
        return f"it holds step {others[0]}"
    if rows[KEY].duplicated().any():
        return "it has rows twice"
    whole = [name for name, kind in COLUMNS.items() if kind == "int64"]
    if (rows[whole] < 0).any(axis=None):
        return "it has steps, tokens or edges below 0"
    return None


def file_of(folder: Path, step: int) -> Path:
    """The file of a model checkpoint."""
    return folder / f"step{step:06}.parquet"


def is_made(path: Path, made_from: str) -> bool:
    """Whether a file is there, whole, and made from what has this hash."""
    try:
        metadata = pq.read_schema(path).metadata or {}
        read(path)
    except (OSError, pa.ArrowException, UserError):
        return False
    return bool(metadata.get(MADE_FROM) == made_from.encode())


def remove_others(folder: Path, kept: Set[Path]) -> None:
    """Remove the files that are not kept: of other circuits than the records', or what a killed run
    left behind.
    """
    for path in set(folder.glob("step*.parquet*")) - kept:
        path.unlink()


def write(path: Path, rows: pd.DataFrame, made_from: str) -> None:
    """Write one file, whole or not at all, with the hash of what it was made from."""
    table = pa.Table.from_pandas(rows, preserve_index=False)
    table = table.replace_schema_metadata(
        {**(table.schema.metadata or {}), MADE_FROM: made_from.encode(), ROWS: _hash(rows)}
    )
    partial = path.with_name(path.name + ".partial")
    try:
        pq.write_table(table, partial, write_page_checksum=True)
        sync(partial)
        os.replace(partial, path)
    except OSError:
        partial.unlink(missing_ok=True)
        raise
    sync(path.parent)


def _hash(rows: pd.DataFrame) -> bytes:
    # As text: a number's shortest one is the same in every version, a file's bytes are not.
    values = rows[list(COLUMNS)].astype(COLUMNS).itertuples(index=False, name=None)
    return hashlib.sha256(repr(list(values)).encode()).hexdigest().encode()
