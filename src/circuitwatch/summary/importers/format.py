"""What a format is, and what all formats share.

Each module of `formats`, and `harness` and `tidy` beside it, holds one `Format`: by what a file of
it is recognised, and how files of it become curves. A file is recognised by what is in it.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from circuitwatch.errors import UserError
from circuitwatch.summary.curves import Curves, named
from circuitwatch.summary.importers.checks import complete
from circuitwatch.summary.importers.entries import seeds_of_names, to_numbers, with_shots
from circuitwatch.summary.importers.rates import TokensPerStep
from circuitwatch.summary.importers.registry import Registry
from circuitwatch.summary.importers.stages import with_stages
from circuitwatch.summary.importers.tables import columns_of, is_table
from circuitwatch.units import counted

RUN = "run"
"""The task of what is logged of a run as a whole, such as its loss."""
CONSTANTS = ("model", "task", "quantity", "params", "seed")
"""Our columns that may be given as a constant, `columns=model:"mine"`."""
QUOTES = "\"'"


@dataclass(frozen=True)
class Asked:
    """What the user says beside the sources.

    columns: our column → the file's, or a constant in quotes. join_stages: later stages of training
    go on from the one before.
    """

    registry: Registry
    columns: Mapping[str, str] = field(default_factory=dict)
    tokens_per_step: TokensPerStep = field(default_factory=TokensPerStep)
    join_stages: bool = False

    @property
    def constants(self) -> dict[str, str]:
        """Our column → what all rows have, of those that were given in quotes."""
        found = {ours: constant(theirs) for ours, theirs in self.columns.items()}
        return {ours: text for ours, text in found.items() if text is not None}


class File:
    """A file, opened once for all formats that look at it."""

    def __init__(self, path: Path) -> None:
        self.path = path

    @cached_property
    def json(self) -> Any:
        """Its content as JSON; none if it is none."""
        try:
            return json.loads(self.path.read_text(encoding="utf-8"))
        except (ValueError, OSError, RecursionError):
            return None

    def close(self) -> None:
        """Forget its content, which may be large, where there are hundreds of files."""
        vars(self).pop("json", None)

    @cached_property
    def columns(self) -> list[str]:
        """Names of its columns; none if it is no table, or one that can't be read."""
        try:
            return columns_of(self.path) if is_table(self.path) else []
        except UserError:
            return []


@dataclass(frozen=True)
class Format:
    """A way in which results are kept.

    Attributes:
        name: what a program calls it (`kind_of`).
        looks: what is looked for, in a phrase that a message can repeat.
        files: patterns of the names that its files have in a folder; none where only files are
            given.
        recognises: whether a file is one of it, given which columns the user named.
        read: the curves of files (at least one) below a folder, or of the one file that was given.
        takes_columns: whether `columns=` may name columns of it.
        takes_constants: whether `columns=` may say what all of it has.
    """

    name: str
    looks: str
    files: tuple[str, ...]
    recognises: Callable[[File, Mapping[str, str]], bool]
    read: Callable[[Sequence[File], Path, Asked], Curves]
    takes_columns: bool = False
    takes_constants: bool = True


def constant(theirs: str) -> str | None:
    """The text of a constant in quotes; none for the name of a column."""
    quoted = len(theirs) > 2 and theirs[0] in QUOTES and theirs[-1] == theirs[0]
    return theirs[1:-1].strip() or None if quoted else None


def finish(
    rows: pd.DataFrame,
    *,
    source: str,
    asked: Asked,
    notes: Sequence[str] = (),
    from_path: Sequence[str] = (),
) -> Curves:
    """Curves of rows as `checks.complete` wants them, with the constants that the user gave.

    Args:
        rows: one row a value; `shots`, examples in the prompt, become part of the task's name;
            where there is no `seed`, names of models may say it.
        source: what notes and the table call the source.
        asked: what the user says.
        notes: what was left out so far, without the source's name.
        from_path: columns that only the file's name or place tells, which a constant replaces; what
            the file itself says goes before a constant.
    """
    lines = [f"{source}: {note}" for note in notes]
    for ours, text in asked.constants.items():
        if ours in rows and ours not in from_path:
            lines.append(
                f"{source}: says {ours} itself, so columns={ours}:{asked.columns[ours]} is not used"
            )
        elif ours in rows and rows[ours].nunique() > 1:
            raise UserError(
                f"columns={ours}:{asked.columns[ours]}: {source} has several "
                f"({named(rows[ours].astype('str'))}), which one name would make one; give its "
                f"parts by themselves"
            )
        else:
            rows = rows.assign(**{ours: as_constant(ours, text)})
    if "seed" not in rows and "model" in rows:
        models, seeds, said = seeds_of_names(rows["model"], asked.registry)
        rows = rows.assign(model=models, seed=seeds)
        lines += [f"{source}: {text}" for text in said]
    if "shots" in rows:
        rows = rows.assign(task=with_shots(rows["task"], rows["shots"]))
    if "stage" in rows:
        blank = {name: np.nan for name in ("step", "tokens") if name not in rows}
        staged = rows.assign(file=source, **blank)
        rows = with_stages(staged, asked.registry, join=asked.join_stages).drop(columns="file")
    curves = complete(
        rows, source=source, registry=asked.registry, tokens_per_step=asked.tokens_per_step
    )
    return Curves(curves.table, lines + curves.notes)


def as_constant(ours: str, text: str) -> str | float | int:
    """A constant as its column holds it. Raises UserError if it can't be one."""
    if ours not in CONSTANTS:
        raise UserError(
            f'columns={ours}:"{text}": only {", ".join(CONSTANTS)} can be given as a constant'
        )
    if ours not in ("params", "seed"):
        return text
    number = to_numbers(pd.Series([text]))[0].iloc[0]
    if pd.isna(number) or (ours == "seed" and number % 1):
        right = "a whole number" if ours == "seed" else "a number such as 160M"
        raise UserError(f'columns={ours}:"{text}": give {right}')
    return int(number) if ours == "seed" else float(number)


def place_of(path: Path) -> str:
    """The name of the folder that a file is in."""
    return path.resolve().parent.name


def number_of(value: Any) -> float | None:
    """A number of JSON as a float; none for what is none."""
    if isinstance(value, bool) or not isinstance(value, int | float):
        return None
    try:
        return float(value)
    except OverflowError:  # integers of JSON may have any length
        return float("inf")


def left_out(files: Mapping[str, Sequence[str]]) -> list[str]:
    """One line for each reason for which files were left out: reason → names of the files."""
    return [
        f"{counted(len(names), 'file')} left out ({named(names)}): {why}"
        for why, names in files.items()
    ]
