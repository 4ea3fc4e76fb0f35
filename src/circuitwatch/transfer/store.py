"""The files of transfer: one a checkpoint of the model, whole or not at all, each with a hash of
what it was made from.
"""

from __future__ import annotations

import os
from collections.abc import Set
from pathlib import Path

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq

from circuitwatch.errors import UserError
from circuitwatch.records import sync
from circuitwatch.transfer_files import read

MADE_FROM = b"circuitwatch.made_from"
"""Key of a file's metadata that holds the hash of what it was made from."""


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
        {**(table.schema.metadata or {}), MADE_FROM: made_from.encode()}
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
