"""Entries of tables as people write them: 1.2B tokens, 160M parameters, 5-shot, seeds that are
names.
"""

from __future__ import annotations

import re

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from circuitwatch.checkpoints.schedule import MULTIPLES
from circuitwatch.summary.curves import named
from circuitwatch.summary.importers.names import read_name
from circuitwatch.summary.importers.registry import Registry
from circuitwatch.summary.importers.tables import MISSING
from circuitwatch.units import counted

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
ALSO = ("tokens", "stage", "ingredient")
"""What the name of a checkpoint may say beside its step."""


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
        those = counted(int(wrong[codes].sum()), "entry is no number", "entries are no numbers")
        notes.append(f"{those} ({shown}): taken as missing")
    plain = ~units[codes] & np.isfinite(values[codes]) & (values[codes] != 0)
    if units.any() and plain.any():
        notes.append(
            f"{counted(int(units[codes].sum()), 'entry has', 'entries have')} a unit such as "
            f"{str(texts[int(units.argmax())])!r}, {int(plain.sum())} have none and are "
            f"taken as they are"
        )
    return pd.Series(values[codes], index=column.index), notes


def step_and_tokens(name: str) -> tuple[float | None, float | None]:
    """Step and tokens that a name of a checkpoint says, such as step1000; none where it doesn't."""
    said = read_name(name)
    return said.step, said.tokens


def seed_of(name: str) -> tuple[str, int | None]:
    """A model's or a run's name without its seed, and that seed, where the name says one, such as
    small-seed1.
    """
    said = read_name(name)
    return (name, None) if said.seed is None or said.is_one else (said.rest, said.seed)


def seeds_of_names(model: pd.Series, registry: Registry) -> tuple[pd.Series, pd.Series, list[str]]:
    """Names of models without their seeds, the seeds (0 where a name has none), and a note where
    there are any. What the registry knows only with its seed, as it is of the data alone, stays.
    """
    codes, names = pd.factorize(model)
    found = [seed_of(str(name)) for name in names]
    for place, (name, (rest, _)) in enumerate(zip(names, found, strict=True)):
        if registry.name_of(str(name)) and not registry.name_of(rest):
            found[place] = (str(name), None)
    said = {name: pair for name, pair in zip(names, found, strict=True) if pair[1] is not None}
    if not said:
        return model, pd.Series(0, index=model.index), []
    shown = named(f"{name} is seed {seed} of {rest}" for name, (rest, seed) in said.items())
    # Rows without a name, of code -1, are left out later.
    seeds = np.array([seed or 0 for _, seed in found] + [0])[codes]
    rests = np.array([rest for rest, _ in found] + [None], dtype=object)[codes]
    return (
        pd.Series(rests, index=model.index),
        pd.Series(seeds, index=model.index),
        [f"names of models say seeds: {shown}"],
    )


def named_steps(column: pd.Series) -> tuple[pd.Series, pd.DataFrame, list[str]]:
    """Steps with numbers in place of names of checkpoints, such as step143000; what else these
    names say, `tokens`, `stage` and `ingredient`, NaN where they don't; and a note where there are
    any.
    """
    codes, texts = pd.factorize(column)
    else_said = np.full((len(texts) + 1, len(ALSO)), np.nan)
    entries, read = [*texts, np.nan], {}
    for place, text in enumerate(map(str, texts)):
        if pd.api.types.is_numeric_dtype(column) or not _number(text)[2]:
            continue
        said = read_name(text)
        if said.is_one:
            entries[place] = np.nan if said.step is None else f"{said.step:.15g}"
            else_said[place] = [np.nan if v is None else v for v in map(vars(said).get, ALSO)]
            read[text] = f"{said.tokens:g} tokens" if said.step is None else f"step {said.step:g}"
    also = pd.DataFrame(else_said[codes], columns=list(ALSO), index=column.index)
    if not read:
        return column, also, []
    first, *rest = read
    note = f"names of checkpoints are read, such as {first} as {read[first]}"
    if rest:
        note += f" and {rest[-1]} as {read[rest[-1]]}"
    numbers = pd.Series(entries, dtype="str").take(codes)
    return pd.Series(numbers.to_numpy(), index=column.index, name=column.name), also, [note]


def with_shots(task: pd.Series, shots: pd.Series) -> pd.Series:
    """Names of tasks with the number of examples in the prompt behind them, where there are any."""
    if not (shots > 0).any():
        return task
    names = task.astype("str")
    for number in shots[shots > 0].unique():
        names = names.mask(shots == number, names + f" {number}-shot")
    return names


def to_seeds(column: pd.Series) -> tuple[pd.Series, NDArray[np.bool_], list[str]]:
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
        notes.append(f"{counted(int((~given).sum()), 'row has', 'rows have')} none: taken as 0")
    return numbers.where(whole, 0).astype("int64"), bad, notes


def to_shots(column: pd.Series) -> tuple[pd.Series, NDArray[np.bool_], list[str]]:
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


def _left_out(column: pd.Series, bad: NDArray[np.bool_], right: str) -> list[str]:
    """The line on rows whose entry can't be used, and so can't be told from those of another
    curve.
    """
    shown = named(repr(entry) for entry in column[bad].astype("str"))
    return (
        [f"{counted(int(bad.sum()), 'row')} with {shown} left out: not {right}"]
        if bad.any()
        else []
    )
