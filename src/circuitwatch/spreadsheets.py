"""CSV that a spreadsheet shows and does not compute: the one way in which tables are written here.

Names of models, tasks and revisions, and reasons why something was left out, come from elsewhere.
A spreadsheet takes a cell that begins with =, +, -, @, a tab or a return for a formula, which can
send what is in the table to somebody (`=HYPERLINK(…)`). Such a text gets an apostrophe before it,
which spreadsheets take for "this is text" (OWASP, "CSV Injection"); numbers, negative ones too,
stay as they are. `as_read` takes the apostrophe away again. A text that has apostrophes before such
a beginning gets one more, so that what is read is always what was written. The report's script does
the same to the curves that it gives out.
"""

from __future__ import annotations

import csv
import io
import re
from pathlib import Path
from typing import Any

import pandas as pd

BEGINNING = re.compile(r"'*[=+\-@\t\r\n\uff1d\uff0b\uff0d\uff20]")
"""The last four are their full-width forms, which some spreadsheets take for the same."""
PLAIN = re.compile(r"[+-]?(\d+(\.\d*)?|\.\d+)([eE][+-]?\d+)?|[+-]?inf|-")
"""Numbers, and the dash that stands for "no task" in our tables, which no spreadsheet computes."""


def harmless(value: Any) -> Any:
    """A cell as it is written; what is no text is left as it is."""
    if isinstance(value, str) and BEGINNING.match(value) and not PLAIN.fullmatch(value):
        return f"'{value}"
    return value


def as_read(value: Any) -> Any:
    """What a cell was before it was made `harmless`."""
    if isinstance(value, str) and value.startswith("'") and BEGINNING.match(value):
        return value[1:]
    return value


def csv_of(table: pd.DataFrame) -> str:
    """A table as CSV, without its index."""
    written = _with_texts(table, harmless)
    # Python's csv puts no quotes about a lone return, after which another row would begin.
    returns = any("\r" in text for name in _texts(table) for text in map(str, table[name]))
    quoting = csv.QUOTE_NONNUMERIC if returns else csv.QUOTE_MINIMAL
    return written.to_csv(index=False, quoting=quoting)


def write_csv(table: pd.DataFrame, path: Path) -> None:
    """Write a table as CSV."""
    path.write_text(csv_of(table), encoding="utf-8", newline="")


def table_of(text: str) -> pd.DataFrame:
    """A table of the CSV that is written here."""
    return texts_as_read(pd.read_csv(io.StringIO(text)))


def texts_as_read(table: pd.DataFrame) -> pd.DataFrame:
    """A table of a CSV file, its texts as they were before they were made `harmless`."""
    return _with_texts(table, as_read)


def _with_texts(table: pd.DataFrame, change: Any) -> pd.DataFrame:
    """A table with another value for each text; columns without any keep their type."""
    changed = table.copy(deep=False)
    for name in _texts(table):
        column = table[name]
        values = [change(value) for value in column]
        if any(new is not old for new, old in zip(values, column, strict=True)):
            changed[name] = pd.Series(values, index=column.index, dtype=column.dtype)
    return changed


def _texts(table: pd.DataFrame) -> list[Any]:
    """Names of the columns that may hold texts."""
    kinds = pd.api.types
    return [
        name
        for name, kind in table.dtypes.items()
        if kinds.is_object_dtype(kind) or kinds.is_string_dtype(kind)
    ]
