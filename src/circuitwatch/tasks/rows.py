"""A user's file of prompts, read into rows: CSV, TSV, JSON lines or Parquet, in one of three
layouts, told by their columns. A CSV may have semicolons or tabs for commas.

    ours      clean, corrupted, answer, and wrong, each answer one or several (a JSON list, or with
              | between them); position_<name>: a word as it stands in clean, "John#2" for its
              second occurrence; group
    EAP-IG    clean, corrupted, correct_idx, incorrect_idx: ids of tokens, one or a JSON list (Hanna
              et al., arXiv 2403.17806)
    MIB       prompt, choices and answerKey (or label), and one or several fields whose names end in
              counterfactual, each with a prompt, choices and answerKey (or label) of its own
              (Mueller et al., arXiv 2504.13151)

What is wrong with a file is said with the number of the row, counted from 1 without the heading.
"""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from circuitwatch.errors import UserError

OURS = ("clean", "corrupted", "answer")
EAP_IG = ("clean", "corrupted", "correct_idx")
POSITION = "position_"
COUNTERFACTUAL = "counterfactual"
USUAL_COUNTERFACTUALS = (
    "s2_io_flip_counterfactual",
    "symbol_counterfactual",
    "random_counterfactual",
)
"""Those that MIB's own code takes for IOI, multiple choice and arithmetic."""
LAYOUTS = (
    "clean, corrupted, answer (and wrong); or EAP-IG's clean, corrupted, correct_idx, "
    "incorrect_idx; or MIB's prompt, choices, answerKey and a …_counterfactual"
)
Answer = str | int


@dataclass(frozen=True)
class Row:
    """A pair of prompts as a file gives it; right, wrong: answers, as text or as ids of tokens;
    corrupted is empty where a MIB record has no such counterfactual.
    """

    number: int
    clean: str
    corrupted: str
    right: tuple[Answer, ...]
    wrong: tuple[Answer, ...]
    positions: Mapping[str, str] = field(default_factory=dict)
    group: str = ""


@dataclass(frozen=True)
class Rows:
    """A file's rows, which of its columns were not used, and the columns that it could have had
    and has not.
    """

    rows: list[Row]
    unused: tuple[str, ...]
    missing: tuple[str, ...] = ()


def read_rows(content: bytes, path: Path, *, counterfactual: str | None = None) -> Rows:
    """The rows of a file with this content; path: for its kind, and for messages; counterfactual:
    which of a MIB record's is the corrupted prompt, where it has several.

    Raises UserError where the file is damaged, is of another layout, or a row lacks something.
    """
    records = _records(content, path)
    if not records:
        raise UserError(f"{path}: holds no rows")
    missing: tuple[str, ...] = ()
    columns = list(dict.fromkeys(column for record in records for column in record))
    if set(OURS) <= set(columns):
        _refuse(counterfactual, path)
        missing = () if "wrong" in columns else ("wrong",)
        used = [*OURS, "wrong", "group", *(c for c in columns if c.startswith(POSITION))]
        rows = [_ours(Source(path, n, record)) for n, record in enumerate(records, 1)]
    elif set(EAP_IG) <= set(columns):
        _refuse(counterfactual, path)
        if "incorrect_idx" not in columns:
            raise UserError(
                f"{path}: has correct_idx and no incorrect_idx, as EAP-IG's file of greater-than, "
                f"where these are years and no ids of tokens; take task=greater_than for that"
            )
        used = [*EAP_IG, "incorrect_idx", "group"]
        rows = [_eap_ig(Source(path, n, record)) for n, record in enumerate(records, 1)]
    elif "prompt" in columns and any(column.endswith(COUNTERFACTUAL) for column in columns):
        chosen = _counterfactual(columns, path, counterfactual)
        return Rows([_mib(Source(path, n, r), chosen) for n, r in enumerate(records, 1)], ())
    else:
        raise UserError(f"{path}: has the columns {', '.join(columns)}; needed are {LAYOUTS}")
    unused = tuple(column for column in columns if column and column not in used)
    return Rows(rows, unused, missing)


@dataclass(frozen=True)
class Source:
    """One record of a file, and where it is."""

    path: Path
    number: int
    record: Mapping[str, Any]

    def wrong(self, what: str) -> UserError:
        """The error that something is wrong with this row."""
        return UserError(f"{self.path}: row {self.number}: {what}")

    def text(self, column: str) -> str:
        """A field that must hold text."""
        value = self.record.get(column)
        if not isinstance(value, str) or not value:
            raise self.wrong(f"{column} is {'empty' if value in (None, '') else 'not text'}")
        return value

    def answers(self, column: str) -> tuple[str, ...]:
        """A field that holds one or several answers, or nothing."""
        value = self.record.get(column)
        if isinstance(value, str) and value.lstrip().startswith("["):
            value = self.json(column)
        elif isinstance(value, str):
            value = value.split("|") if value else []
        items = value if isinstance(value, list) else [] if value is None else [value]
        for item in items:
            if isinstance(item, bool) or not isinstance(item, str | int) or item == "":
                raise self.wrong(f"{column}={self.record[column]!r} is no answer, nor several")
        return tuple(str(item) for item in items)

    def ids(self, column: str) -> tuple[int, ...]:
        """A field that holds one or several ids of tokens, or nothing."""
        value = self.record.get(column)
        if isinstance(value, str):
            value = self.json(column) if value else []
        items = value if isinstance(value, list) else [] if value is None else [value]
        for item in items:
            if isinstance(item, bool) or not isinstance(item, int):
                raise self.wrong(f"{column}={self.record[column]!r} is no token's id, nor several")
        return tuple(items)

    def inside(self, column: str) -> Source:
        """A field that is a record itself, in CSV as JSON."""
        value = self.record.get(column)
        if isinstance(value, str):
            value = self.json(column)
        if not isinstance(value, dict):
            raise self.wrong(f"{column} is no record with a prompt and its answer")
        return Source(self.path, self.number, value)

    def json(self, column: str) -> Any:
        """A field of text, read as JSON."""
        try:
            return json.loads(self.record[column])
        except ValueError as error:
            raise self.wrong(f"{column}={self.record[column]!r} can't be read as JSON") from error

    def group(self) -> str:
        """Its group, empty where it has none."""
        value = self.record.get("group")
        return "" if value is None else str(value)


def _ours(source: Source) -> Row:
    if not (right := source.answers("answer")):
        raise source.wrong("answer is empty")
    positions = {
        column.removeprefix(POSITION): source.text(column)
        for column in source.record
        if column.startswith(POSITION)
    }
    wrong = source.answers("wrong")
    return Row(
        number=source.number,
        clean=source.text("clean"),
        corrupted=source.text("corrupted"),
        right=right,
        wrong=wrong,
        positions=positions,
        group=source.group(),
    )


def _eap_ig(source: Source) -> Row:
    if not (right := source.ids("correct_idx")):
        raise source.wrong("correct_idx is empty")
    wrong = source.ids("incorrect_idx")
    clean, corrupted = source.text("clean"), source.text("corrupted")
    return Row(source.number, clean, corrupted, right, wrong, group=source.group())


def _mib(source: Source, counterfactual: str) -> Row:
    """Wrong is what would be right after the counterfactual. Where nothing would, or a name that
    is none of the prompt's own (three new ones), the prompt's other choices are wrong.

    A record without the counterfactual becomes a row without a corrupted prompt.
    """
    right, choices = _mib_answer(source), _mib_choices(source)
    names = isinstance(_structure(source, "choices"), list)
    clean, corrupted = source.text("prompt"), ""
    wrong: tuple[str, ...] = ()
    if source.record.get(counterfactual):
        other = source.inside(counterfactual)
        if other.record.get("prompt"):
            corrupted, after = other.text("prompt"), _mib_answer(other)
            foreign = names and after not in choices
            wrong = () if after == right or foreign else (after,)
    wrong = wrong or tuple(choice for choice in choices if choice != right)
    return Row(source.number, clean, corrupted, (right,), wrong, group=source.group())


def _mib_answer(source: Source) -> str:
    choices, key = _mib_choices(source), source.record.get("answerKey")
    if choices and isinstance(key, str) and key in choices:
        return key
    if choices and str(key).isdecimal() and int(str(key)) < len(choices):
        return choices[int(str(key))]
    if source.record.get("label") is None:
        raise source.wrong(f"answerKey={key} names none of {len(choices)} choices, and no label")
    return str(source.record["label"])


def _mib_choices(source: Source) -> list[str]:
    """What the answer can be: names, or of a multiple choice the letters."""
    value = _structure(source, "choices")
    if isinstance(value, Mapping):
        value = value.get("label")
    return [str(choice) for choice in value] if isinstance(value, list) else []


def _structure(source: Source, column: str) -> Any:
    """A field that is a list or a record, in CSV as JSON; None where it is empty."""
    value = source.record.get(column)
    return source.json(column) if isinstance(value, str) and value else value or None


def _counterfactual(columns: Sequence[str], path: Path, chosen: str | None) -> str:
    there = [column for column in columns if column.endswith(COUNTERFACTUAL)]
    if chosen is not None:
        for name in (chosen, f"{chosen}_{COUNTERFACTUAL}"):
            if name in there:
                return name
        raise UserError(
            f"task.counterfactual={chosen}: {path} has none of that name; there are "
            f"{', '.join(there)}"
        )
    usual = [name for name in USUAL_COUNTERFACTUALS if name in there]
    if not usual and len(there) > 1:
        raise UserError(f"{path}: say which with task.counterfactual=, one of {', '.join(there)}")
    return (usual or there)[0]


def _refuse(counterfactual: str | None, path: Path) -> None:
    if counterfactual is not None:
        raise UserError(
            f"task.counterfactual={counterfactual}: {path} has no counterfactuals, its corrupted "
            f"prompts are in the column corrupted"
        )


def _records(content: bytes, path: Path) -> list[dict[str, Any]]:
    suffix = path.suffix.lower()
    if suffix == ".parquet":
        return _of_parquet(content, path)
    try:
        text = content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise UserError(f"{path}: is not UTF-8 (byte {error.start})") from error
    if suffix in (".csv", ".tsv"):
        return _of_csv(text, path, delimiter=_delimiter(text) if suffix == ".csv" else "\t")
    if suffix in (".jsonl", ".ndjson"):
        return _of_json_lines(text, path)
    raise UserError(f"{path}: a file of prompts ends in .csv, .tsv, .jsonl or .parquet")


def _delimiter(text: str) -> str:
    """What stands between the fields of a .csv: a comma, or where the heading has none a semicolon
    or a tab, as spreadsheets write it where the comma is for decimals. No layout has one column.
    """
    heading = text.partition("\n")[0]
    return next((mark for mark in ",;\t" if mark in heading), ",")


def _of_csv(text: str, path: Path, *, delimiter: str) -> list[dict[str, Any]]:
    try:
        heading, *rows = csv.reader(io.StringIO(text, newline=""), delimiter=delimiter, strict=True)
    except csv.Error as error:
        raise UserError(f"{path}: can't be read as {path.suffix[1:].upper()} ({error})") from error
    except ValueError:
        raise UserError(f"{path}: is empty") from None
    rows = [row for row in rows if row]
    if twice := [name for name in heading if name and heading.count(name) > 1]:
        raise UserError(f"{path}: has two columns {twice[0]}")
    for number, row in enumerate(rows, 1):
        if len(row) != len(heading):
            raise UserError(
                f"{path}: row {number} has {len(row)} fields, the heading has {len(heading)}"
            )
    return [dict(zip(heading, row, strict=True)) for row in rows]


def _of_json_lines(text: str, path: Path) -> list[dict[str, Any]]:
    records = []
    for number, line in enumerate((line for line in text.split("\n") if line.strip()), 1):
        try:
            record = json.loads(line)
        except (ValueError, RecursionError) as error:
            raise UserError(f"{path}: row {number}: can't be read as JSON ({error})") from error
        if not isinstance(record, dict):
            raise UserError(f"{path}: row {number}: is no JSON object")
        records.append(record)
    return records


def _of_parquet(content: bytes, path: Path) -> list[dict[str, Any]]:
    import pyarrow
    import pyarrow.parquet

    try:
        return list(pyarrow.parquet.read_table(io.BytesIO(content)).to_pylist())
    except (pyarrow.ArrowException, OSError) as error:
        reason = " ".join(str(error).split())
        raise UserError(f"{path}: can't be read as Parquet ({reason})") from error
