"""Tables as they are kept: CSV and TSV (also compressed), Parquet, and JSON lines.

What their columns mean is told elsewhere (`tidy`, and the formats of tables); here are only names
and entries. Only the columns that are used are read.
"""

from __future__ import annotations

import gzip
import zlib
from collections import Counter
from pathlib import Path

import pandas as pd
import pyarrow as pa
import pyarrow.csv
import pyarrow.parquet

from circuitwatch.errors import UserError
from circuitwatch.spreadsheets import texts_as_read
from circuitwatch.summary.curves import named
from circuitwatch.summary.importers import json_lines

SUFFIXES = (".csv", ".tsv", ".csv.gz", ".tsv.gz", ".parquet", *json_lines.SUFFIXES)
UTF_16 = (b"\xff\xfe", b"\xfe\xff")
PARQUET = b"PAR1"
MISSING = ("", "na", "n/a", "nan", "null", "none", "-")
SEPARATORS = ",;\t"
FEWEST_COLUMNS = 3
"""Of a file that only may be a table, as its name doesn't say so."""


def is_table(path: Path) -> bool:
    """Whether a file is a table: its name says so, or its first line looks like it."""
    if path.name.endswith(SUFFIXES) or json_lines.is_json_lines(path):
        return True
    start = _start(path)
    if start.startswith(PARQUET):
        return True
    first = (start.lstrip(b"\r\n").splitlines() or [b""])[0]
    text = first.decode("utf-8", errors="replace")
    return (
        b"\0" not in start
        and text[:1] not in ("{", "[")
        and text.count(separator(path)) >= FEWEST_COLUMNS - 1
    )


def columns_of(path: Path) -> list[str]:
    """Names of a file's columns, without reading the rest.

    Raises UserError if there are none that can be told apart.
    """
    try:
        if _is_parquet(path):
            # An index that pandas stored beside the columns is nobody's column.
            names = [
                name
                for name in pa.parquet.read_schema(path).names
                if not name.startswith("__index_level_")
            ]
        elif json_lines.is_json_lines(path):
            names = json_lines.columns_of(path)
        else:
            if _start(path)[:2] in UTF_16:
                raise UserError(f"{path}: is text in UTF-16; save it as UTF-8")
            with pa.csv.open_csv(path, parse_options=_parsing(path)) as reader:
                names = list(reader.schema.names)
    except (pa.ArrowException, OSError, UnicodeDecodeError) as error:
        raise _unreadable(path, error) from error
    if twice := sorted(name for name, times in Counter(names).items() if times > 1):
        raise UserError(
            f"{path}: more than one column is called {named(twice)}; give each a name of its own"
        )
    return names


def read_columns(path: Path, names: list[str]) -> tuple[pd.DataFrame, list[str]]:
    """Some columns of a table, and notes on rows that can't be read.

    Raises UserError if the table can't be read, or has no rows.
    """
    notes: list[str] = []
    try:
        if _is_parquet(path):
            table = pa.parquet.read_table(path, columns=names)
        elif json_lines.is_json_lines(path):
            frame, notes = json_lines.read(path, names)
            table = None
        else:
            table = _read_csv(path, names)
    except (pa.ArrowException, OSError, UnicodeDecodeError) as error:
        raise _unreadable(path, error) from error
    if table is not None:
        for name in names:
            if pa.types.is_binary(table.schema.field(name).type):
                raise UserError(f"{path}: column {name} is not text in UTF-8")
        frame = pd.DataFrame({name: table[name].to_pandas() for name in names})
        if not _is_parquet(path):
            frame = texts_as_read(frame)
    if frame.empty:
        raise UserError(f"{path}: has no rows")
    return frame, notes


def separator(path: Path) -> str:
    """Which character separates the columns: the name says, or the first line.

    Empty where no character does.
    """
    if _is_parquet(path) or path.name.endswith(json_lines.SUFFIXES):
        return ""
    if ".tsv" in path.suffixes:
        return "\t"
    head = _start(path).lstrip(b"\r\n").splitlines()[:1]
    return max(SEPARATORS, key=(head or [b""])[0].decode("utf-8", errors="replace").count)


def _read_csv(path: Path, names: list[str]) -> pa.Table:
    options = {
        "include_columns": names,
        "null_values": [*MISSING, "NA", "N/A", "NaN", "NULL", "None"],
        "strings_can_be_null": True,
    }
    try:
        return pa.csv.read_csv(
            path, parse_options=_parsing(path), convert_options=pa.csv.ConvertOptions(**options)
        )
    except pa.ArrowInvalid:
        # Types are guessed from the first block: a column that is numbers there may hold 1.2B
        # further down.
        texts = dict.fromkeys(names, pa.string())
        return pa.csv.read_csv(
            path,
            parse_options=_parsing(path),
            convert_options=pa.csv.ConvertOptions(column_types=texts, **options),
        )


def _is_parquet(path: Path) -> bool:
    return path.suffix == ".parquet" or _start(path, len(PARQUET)) == PARQUET


def _parsing(path: Path) -> pa.csv.ParseOptions:
    return pa.csv.ParseOptions(delimiter=separator(path))


def _unreadable(path: Path, error: BaseException) -> UserError:
    return UserError(f"{path}: can't be read as a table ({' '.join(str(error).split())})")


def _start(path: Path, length: int = 100_000) -> bytes:
    """The first bytes of a file's text."""
    try:
        with gzip.open(path) if path.suffix == ".gz" else path.open("rb") as file:
            return file.read(length)
    except (EOFError, zlib.error, gzip.BadGzipFile, OSError):
        return b""  # what is wrong with it is told by who reads it as a table
