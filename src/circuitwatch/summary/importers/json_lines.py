"""JSON lines, as training loops and evaluation scripts log: an object a line, `{"step": 100,
"train": {"loss": 3.2}}`, whose groups within groups become columns such as `train/loss`.

Recognised by a first line that is an object by itself, with another line behind it, or by the
suffix. A line that is no object, such as the last one of a run that was killed, is left out with a
note. What a list holds is no column.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pandas as pd

from circuitwatch.errors import UserError
from circuitwatch.summary.curves import named
from circuitwatch.units import counted

SUFFIXES = (".jsonl", ".ndjson")
LONGEST_LINE = 1_000_000
"""Characters of a first line that are looked at."""


def is_json_lines(path: Path) -> bool:
    """Whether a file is JSON lines."""
    if path.name.endswith(SUFFIXES):
        return True
    try:
        with path.open(encoding="utf-8") as file:
            first = next((line for line in iter(lambda: file.readline(LONGEST_LINE), "")
                          if line.strip()), "")  # fmt: skip
            if not first.lstrip().startswith("{") or not isinstance(json.loads(first), dict):
                return False
            return any(line.strip() for line in file)
    except (ValueError, OSError, RecursionError):
        return False


def columns_of(path: Path) -> list[str]:
    """Names of all columns, in order of appearance."""
    return list(dict.fromkeys(name for _, row in _rows(path) if row is not None for name in row))


def read(path: Path, names: list[str]) -> tuple[pd.DataFrame, list[str]]:
    """Some columns, missing where a line doesn't have them; and notes on lines that are no object.

    Raises UserError if no line is one.
    """
    rows: list[dict[str, Any]] = []
    bad: list[str] = []
    for number, row in _rows(path):
        if row is None:
            bad.append(f"line {number}")
        else:
            rows.append(row)
    if not rows:
        raise UserError(f'{path}: no line of it is a JSON object such as {{"step": 100, …}}')
    notes = (
        [f"{counted(len(bad), 'line is', 'lines are')} no JSON object ({named(bad)}): left out"]
        if bad
        else []
    )
    frame = pd.DataFrame({name: pd.Series([row.get(name) for row in rows]) for name in names})
    return frame, notes


def flattened(group: dict[str, Any], prefix: str = "") -> dict[str, Any]:
    """Entries of groups within groups, under the names of all groups with `/` between them."""
    flat: dict[str, Any] = {}
    for key, value in group.items():
        if isinstance(value, dict):
            flat |= flattened(value, f"{prefix}{key}/")
        elif not isinstance(value, list):
            flat[f"{prefix}{key}"] = value
    return flat


def _rows(path: Path) -> Iterator[tuple[int, dict[str, Any] | None]]:
    """(number of the line, its flat object, or none if it is no object) of all lines that hold
    anything.
    """
    try:
        with path.open(encoding="utf-8") as file:
            for number, line in enumerate(file, start=1):
                if line.strip():
                    yield number, _object(line)
    except UnicodeDecodeError as error:
        raise UserError(f"{path}: is not text in UTF-8") from error


def _object(line: str) -> dict[str, Any] | None:
    try:
        found = json.loads(line)
    except (ValueError, RecursionError):
        return None
    return flattened(found) if isinstance(found, dict) else None
