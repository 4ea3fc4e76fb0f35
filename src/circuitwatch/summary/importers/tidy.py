"""A tidy table, CSV or Parquet, with one row a value: `model, params, step|tokens, task, quantity,
value[, stderr, seed]`.

Columns are found by these names or by the aliases that `ALIASES` lists, whatever their case, or as
a mapping says. Numbers may be written as people write them, 1.2B tokens or 160M parameters. Only
the columns that are used are read.
"""

from __future__ import annotations

import gzip
import re
import zlib
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.csv
import pyarrow.parquet
from numpy.typing import NDArray

from circuitwatch.checkpoints.schedule import MULTIPLES
from circuitwatch.errors import UserError
from circuitwatch.summary.curves import Curves, named
from circuitwatch.summary.importers.checks import complete
from circuitwatch.summary.importers.registry import Registry

ALIASES: dict[str, tuple[str, ...]] = {
    "model": ("model", "model_name"),
    "params": ("params", "params_total", "n_params", "num_params", "parameters"),
    "step": ("step", "steps", "training_step", "train_step", "global_step", "checkpoint_step"),
    "tokens": ("tokens", "n_tokens", "training_tokens", "train_tokens", "tokens_seen"),
    "tokens_per_step": ("tokens_per_step",),
    "task": ("task", "benchmark"),
    "quantity": ("quantity", "metric", "measure"),
    "value": ("value", "score"),
    "stderr": ("stderr", "value_stderr", "std_err", "standard_error", "se"),
    "seed": ("seed",),
    "shots": ("shots", "num_fewshot", "n_shot", "fewshot"),
}
"""Our columns, and what they may be called; the first that is there counts."""
NEEDED = ("model", "task", "quantity", "value")
NUMBERS = ("params", "step", "tokens", "tokens_per_step", "value", "stderr")
SUFFIXES = (".csv", ".tsv", ".csv.gz", ".tsv.gz", ".parquet")
NUMBER = re.compile(
    r"([-+]?(?:\d[\d_]*\.?\d*|\.\d+)(?:e[-+]?\d+)?)\s*([kKMBGT]?)\s*(?:tokens?|params?|parameters|steps?)?$",
    re.IGNORECASE,
)
GROUPED = re.compile(r"[-+]?[1-9]\d{0,2}(,\d{3})+(\.\d+)?")
COUNTS = ("params", "step", "tokens", "tokens_per_step")
SHOTS = re.compile(r"^(\d+)\s*[- ]?\s*shots?$", re.IGNORECASE)
MOST_SHOTS = 1e6
"""No prompt has more examples."""
INT64 = 2.0**63
UTF_16 = (b"\xff\xfe", b"\xfe\xff")
SHOWN = 60
"""Characters of a header that a message repeats."""
MISSING = ("", "na", "n/a", "nan", "null", "none", "-")


def read_tidy(
    path: Path,
    *,
    registry: Registry,
    columns: Mapping[str, str] | None = None,
    tokens_per_step: float | None = None,
) -> Curves:
    """Curves of a tidy table.

    Args:
        path: a file that ends in one of `SUFFIXES`.
        registry: sizes and tokens per step of known models.
        columns: our name → the file's, for columns that are called something else.
        tokens_per_step: turns steps into tokens, for all models of the file.

    Raises:
        UserError: the file can't be read, or lacks a column; it says which, and what there is.
    """
    names = columns_of(path)
    used = find_columns(path, names, columns or {})
    table = _read(path, list(used.values()))
    for ours, theirs in used.items():
        if pa.types.is_binary(table.schema.field(theirs).type):
            raise UserError(f"{path}: column {theirs} ({ours}) is not text in UTF-8")
    rows = pd.DataFrame({ours: table[theirs].to_pandas() for ours, theirs in used.items()})
    notes = []
    decimal_comma = _separator(path) == ";"
    ignored = [name for name in names if name not in used.values()]
    if ignored:
        notes.append(f"{path.name}: columns not used: {', '.join(ignored)}")
    if rows.empty:
        raise UserError(f"{path}: has no rows")
    for name in set(NUMBERS) & set(rows):
        rows[name], odd = to_numbers(rows[name], decimal_comma=decimal_comma)
        notes += [f"{path.name}: {name}: {text}" for text in odd]
    for name, read in (("seed", _seeds), ("shots", _shots)):
        if name in rows:
            rows[name], bad, odd = read(rows[name])
            notes += [f"{path.name}: {name}: {text}" for text in odd]
            rows = rows[~bad].reset_index(drop=True)
    if "shots" in rows:
        rows["task"] = with_shots(rows["task"], rows["shots"])
    curves = complete(rows, source=path.name, registry=registry, tokens_per_step=tokens_per_step)
    return Curves(curves.table, notes + curves.notes)


def find_columns(path: Path, names: list[str], given: Mapping[str, str]) -> dict[str, str]:
    """Our columns → the file's.

    Raises UserError naming what is missing and how to say what it is called.
    """
    for ours, theirs in given.items():
        if ours not in ALIASES:
            raise UserError(
                f"columns={ours}:{theirs}: there is no column {ours} to give; there are "
                f"{', '.join(ALIASES)}"
            )
    # One mapping serves all tables of a command, so what a table doesn't have is not asked of it.
    given = {ours: theirs for ours, theirs in given.items() if theirs in names}
    free = {name.strip().lower(): name for name in reversed(names) if name not in given.values()}
    by_alias = {
        ours: next((free[alias] for alias in aliases if alias in free), None)
        for ours, aliases in ALIASES.items()
    }
    used = {ours: theirs for ours, theirs in by_alias.items() if theirs is not None} | dict(given)
    missing = [name for name in NEEDED if name not in used]
    if "step" not in used and "tokens" not in used:
        missing.append("step or tokens")
    if missing and len(names) == 1:
        raise UserError(
            f"{path}: its first line is one column, {names[0][:SHOWN]!r}, so no column "
            f"{', '.join(missing)}; columns are separated by comma, semicolon or tab"
        )
    if missing:
        raise UserError(
            f"{path}: no column {', '.join(missing)}; it has {', '.join(names)}; say which "
            f"is which, such as columns={missing[0].split()[0]}:{names[-1]}"
        )
    return used


def to_numbers(column: pd.Series, *, decimal_comma: bool = False) -> tuple[pd.Series, list[str]]:
    """Numbers of a column, such as 1.2B or 2e9tokens among them, as float64; and notes: what is no
    number, and where only some have a unit.

    With `decimal_comma`, 91,022 is a bit more than 91: files with semicolons between their columns
    come from where it is written so.
    """
    if pd.api.types.is_numeric_dtype(column) or pd.api.types.is_bool_dtype(column):
        return column.astype("float64"), []
    codes, texts = pd.factorize(column.astype("str"))
    values, units, wrong = (
        np.full(len(texts) + 1, np.nan),
        np.zeros(len(texts) + 1, bool),
        np.zeros(len(texts) + 1, bool),
    )
    for place, text in enumerate(texts):
        text = str(text)
        values[place], units[place], wrong[place] = _number(
            text.replace(",", ".") if decimal_comma and text.count(",") == 1 else text
        )
    notes = []
    if (
        decimal_comma
        and column.name in COUNTS
        and any(GROUPED.fullmatch(str(text).strip()) for text in texts)
    ):
        notes.append("a comma is read as the decimal sign, as semicolons separate the columns")
    if wrong.any():
        shown = named(repr(str(text)) for text in np.asarray(texts, dtype=object)[wrong[:-1]])
        notes.append(
            f"{int(wrong[codes].sum())} entries are no numbers ({shown}): taken as missing"
        )
    plain = ~units[codes] & np.isfinite(values[codes]) & (values[codes] != 0)
    if units.any() and plain.any():
        notes.append(
            f"{int(units[codes].sum())} entries have a unit such as "
            f"{str(texts[int(units.argmax())])!r}, {int(plain.sum())} have none and are "
            f"taken as they are"
        )
    return pd.Series(values[codes], index=column.index), notes


def with_shots(task: pd.Series, shots: pd.Series) -> pd.Series:
    """Names of tasks with the number of examples in the prompt behind them, where there are any."""
    if not (shots > 0).any():
        return task
    names = task.astype("str")
    for number in shots[shots > 0].unique():
        names = names.mask(shots == number, names + f" {number}-shot")
    return names


def _number(text: str) -> tuple[float, bool, bool]:
    """(value, whether it has a unit, whether it is no number) of one entry."""
    text = text.strip()
    if text.lower() in MISSING:
        return np.nan, False, False
    if match := NUMBER.fullmatch(text):
        prefix = {"K": "k", "G": "B"}.get(match[2].upper(), match[2].upper())
        return float(match[1].replace("_", "")) * MULTIPLES[prefix], bool(prefix), False
    try:
        # A comma is taken for thousands only where it can be nothing else: 0,5 may be a half.
        return float(text.replace(",", "") if GROUPED.fullmatch(text) else text), False, False
    except ValueError:
        return np.nan, False, True


def _seeds(column: pd.Series) -> tuple[pd.Series, NDArray[np.bool_], list[str]]:
    """Seeds as integers; which rows have none that can be one; and notes.

    Where all are names, these are numbered in the order of the alphabet.
    """
    if pd.api.types.is_signed_integer_dtype(column) and not column.isna().any():
        return column.astype("int64"), np.zeros(len(column), dtype=bool), []
    numbers, _ = to_numbers(column)
    given = column.notna()
    if given.any() and not pd.api.types.is_numeric_dtype(column) and numbers[given].isna().all():
        codes, names = pd.factorize(column.astype("str"), sort=True)
        shown = named(f"{name} is {code}" for code, name in enumerate(names))
        return (
            pd.Series(codes, index=column.index),
            np.zeros(len(column), dtype=bool),
            [f"names are numbered: {shown}"],
        )
    whole = (numbers % 1 == 0) & (numbers.abs() < INT64)
    bad = (given & ~whole).to_numpy()
    notes = _left_out(column, bad, "whole numbers such as 0")
    if given.any() and not given.all():
        notes.append(f"{int((~given).sum())} rows have none: taken as 0")
    return numbers.where(whole, 0).astype("int64"), bad, notes


def _shots(column: pd.Series) -> tuple[pd.Series, NDArray[np.bool_], list[str]]:
    """Numbers of examples in the prompt, also written as 5-shot, missing ones as 0; which rows have
    none that can be one; and notes.
    """
    codes, entries = pd.factorize(column)
    texts = pd.Series([str(entry).strip() for entry in entries], dtype="str")
    parsed, _ = to_numbers(texts.str.replace(SHOTS, r"\1", regex=True))
    numbers = pd.Series(np.append(parsed, np.nan)[codes], index=column.index)
    empty = np.append(texts.str.lower().isin(MISSING).astype(bool), True)[codes]
    whole = (numbers % 1 == 0) & (numbers >= 0) & (numbers < MOST_SHOTS)
    bad = (~empty & ~whole).to_numpy()
    return (
        numbers.where(whole, 0).astype("int64"),
        bad,
        _left_out(column, bad, "whole numbers such as 5 or 5-shot"),
    )


def _left_out(column: pd.Series, bad: NDArray[np.bool_], right: str) -> list[str]:
    """The line on rows whose entry can't be used, and so can't be told from those of another
    curve.
    """
    shown = named(repr(entry) for entry in column[bad].astype("str"))
    return [f"{int(bad.sum())} rows with {shown} left out: not {right}"] if bad.any() else []


def columns_of(path: Path) -> list[str]:
    """Names of a file's columns, without reading the rest.

    Raises UserError if there are none that can be told apart.
    """
    try:
        if path.suffix == ".parquet":
            # An index that pandas stored beside the columns is nobody's column.
            names = [
                name
                for name in pa.parquet.read_schema(path).names
                if not name.startswith("__index_level_")
            ]
        else:
            if _start(path)[:2] in UTF_16:
                raise UserError(f"{path}: is text in UTF-16; save it as UTF-8")
            with pa.csv.open_csv(path, parse_options=_parsing(path)) as reader:
                names = list(reader.schema.names)
    except (pa.ArrowException, OSError, UnicodeDecodeError) as error:
        raise UserError(
            f"{path}: can't be read as a table ({' '.join(str(error).split())})"
        ) from error
    if twice := sorted({name for name in names if names.count(name) > 1}):
        raise UserError(
            f"{path}: more than one column is called {named(twice)}; give each a name of its own"
        )
    return names


def _read(path: Path, names: list[str]) -> pa.Table:
    try:
        if path.suffix == ".parquet":
            return pa.parquet.read_table(path, columns=names)
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
    except (pa.ArrowException, OSError, UnicodeDecodeError) as error:
        raise UserError(
            f"{path}: can't be read as a table ({' '.join(str(error).split())})"
        ) from error


def _parsing(path: Path) -> pa.csv.ParseOptions:
    return pa.csv.ParseOptions(delimiter=_separator(path))


def _separator(path: Path) -> str:
    """Which character separates the columns: the name says, or the first line.

    Empty where no character does.
    """
    if path.suffix == ".parquet":
        return ""
    if ".tsv" in path.suffixes:
        return "\t"
    head = _start(path).lstrip(b"\r\n").splitlines()[:1]
    return max(",;\t", key=(head or [b""])[0].decode("utf-8", errors="replace").count)


def _start(path: Path) -> bytes:
    """The first bytes of a file's text."""
    try:
        with gzip.open(path) if path.suffix == ".gz" else path.open("rb") as file:
            return file.read(100_000)
    except (EOFError, zlib.error, gzip.BadGzipFile):
        return b""  # what is wrong with it is told by who reads it as a table
