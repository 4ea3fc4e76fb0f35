"""A tidy table, CSV, Parquet or JSON lines, with one row a value: `model, params, step|tokens,
task, quantity, value[, stderr, seed]`.

Columns are found by these names or by the aliases that `ALIASES` lists, whatever their case, or as
a mapping says; what all rows share may be given as a constant, `model:"mine"`. Numbers may be
written as people write them, 1.2B tokens or 160M parameters. Only the columns that are used are
read.
"""

from __future__ import annotations

import difflib
from collections.abc import Mapping, Sequence
from pathlib import Path

import pandas as pd

from circuitwatch.errors import UserError
from circuitwatch.summary.curves import Curves
from circuitwatch.summary.importers.entries import named_steps, to_numbers, to_seeds, to_shots
from circuitwatch.summary.importers.format import (
    CONSTANTS,
    Asked,
    Format,
    as_constant,
    constant,
    finish,
)
from circuitwatch.summary.importers.tables import (
    SUFFIXES,
    columns_of,
    is_table,
    read_columns,
    separator,
)

ALIASES: dict[str, tuple[str, ...]] = {
    "model": ("model", "model_name"),
    "params": ("params", "params_total", "n_params", "num_params", "parameters"),
    "step": (
        *("step", "steps", "training_step", "train_step", "global_step", "checkpoint_step"),
        *("checkpoint", "ckpt", "revision"),
    ),
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
STEP_OR_TOKENS = "step or tokens"
NEEDED = ("model", "task", "quantity", "value")
NUMBERS = ("params", "step", "tokens", "tokens_per_step", "value", "stderr")
SHARED = ("model", "task", "quantity")
"""Names, of which two or three may be in one column."""
SHOWN = 60
"""Characters of a header that a message repeats."""
FEW = 6
"""Columns that a message names."""


def read_tidy(path: Path, asked: Asked) -> Curves:
    """Curves of a tidy table.

    Args:
        path: a file that `tables` can read.
        asked: what the user says beside it.

    Raises:
        UserError: the file can't be read, or lacks a column; it says which, and what there is.
    """
    names = columns_of(path)
    used = find_columns(path, names, asked.columns)
    table, notes = read_columns(path, list(dict.fromkeys(used.values())))
    if ignored := [name for name in names if name not in used.values()]:
        notes.append(f"columns not used: {few(ignored)}")
    rows, odd = read_entries(
        pd.DataFrame({ours: table[theirs] for ours, theirs in used.items()}),
        decimal_comma=separator(path) == ";",
    )
    return finish(rows, source=path.name, asked=asked, notes=[*notes, *odd])


def read_entries(
    rows: pd.DataFrame, *, decimal_comma: bool = False
) -> tuple[pd.DataFrame, list[str]]:
    """Our columns with their entries as numbers where they are, seeds and shots among them; rows of
    which these can't be told are left out. And notes.
    """
    notes: list[str] = []
    if "step" in rows:
        steps, also, odd = named_steps(rows["step"])
        rows = rows.assign(step=steps)
        notes += [f"step: {text}" for text in odd]
        if "tokens" not in rows and also["tokens"].notna().any():
            rows = rows.assign(tokens=also["tokens"])
        if also["stage"].notna().any():
            rows = rows.assign(stage=also["stage"], ingredient=also["ingredient"])
    for name in [name for name in NUMBERS if name in rows]:
        numbers, odd = to_numbers(rows[name], decimal_comma=decimal_comma)
        rows = rows.assign(**{name: numbers})
        notes += [f"{name}: {text}" for text in odd]
    for name, read in (("seed", to_seeds), ("shots", to_shots)):
        if name in rows:
            entries, bad, odd = read(rows[name])
            notes += [f"{name}: {text}" for text in odd]
            rows = rows.assign(**{name: entries})[~bad].reset_index(drop=True)
    return rows, notes


def find_columns(path: Path, names: list[str], given: Mapping[str, str]) -> dict[str, str]:
    """Our columns → the file's.

    Raises UserError naming what is missing and how to say what it is called.
    """
    used = claimed(names, given)
    constants = [ours for ours, theirs in given.items() if constant(theirs) is not None]
    missing = [name for name in NEEDED if name not in used and name not in constants]
    if "step" not in used and "tokens" not in used:
        missing.append(STEP_OR_TOKENS)
    if missing and len(names) == 1:
        raise UserError(
            f"{path}: its first line is one column, {names[0][:SHOWN]!r}, so no column "
            f"{', '.join(missing)}; columns are separated by comma, semicolon or tab"
        )
    if missing:
        raise UserError(
            f"{path}: no column {', '.join(missing)}; it has {few(names, missing)}; "
            f"{_remedy(path, missing, names, used)}"
        )
    return used


def claimed(names: Sequence[str], given: Mapping[str, str]) -> dict[str, str]:
    """Our columns → those of a file's that have a name we know or that the user gave.

    Raises UserError for a name of ours that there isn't, and for a column given for two of ours
    that can't be the same.
    """
    check_columns(given)
    # One mapping serves all tables of a command, so what a table doesn't have is not asked of it.
    given = {ours: theirs for ours, theirs in given.items() if theirs in names}
    free = {name.strip().lower(): name for name in reversed(names) if name not in given.values()}
    by_alias = {
        ours: next((free[alias] for alias in aliases if alias in free), None)
        for ours, aliases in ALIASES.items()
    }
    return {ours: theirs for ours, theirs in by_alias.items() if theirs is not None} | dict(given)


def check_columns(given: Mapping[str, str]) -> None:
    """Raise UserError for what `columns=` can't mean, whatever the table."""
    for ours, theirs in given.items():
        if ours not in ALIASES:
            near = difflib.get_close_matches(ours, ALIASES, n=1)
            raise UserError(
                f"columns={ours}:{theirs}: there is no column {ours} to give"
                + (f" (did you mean {near[0]}?)" if near else "")
                + f"; there are {', '.join(ALIASES)}"
            )
        if (text := constant(theirs)) is not None:
            as_constant(ours, text)
            continue
        twins = [name for name, other in given.items() if other == theirs and name != ours]
        if twins and not {ours, *twins} <= set(SHARED):
            both = ",".join(f"{name}:{theirs}" for name in (ours, *twins))
            raise UserError(
                f"columns={both}: one column can't be {ours} and {twins[0]} at once; only "
                f"{', '.join(SHARED)} may share one"
            )


def few(names: Sequence[str], near: Sequence[str] = ()) -> str:
    """Some names of columns, the nearest to what is looked for first, and how many more there
    are.
    """
    if len(names) <= FEW:
        return ", ".join(names)
    words = [word for ours in near for word in ALIASES.get(ours.split()[0], (ours,))]
    close = [match for word in words for match in nearest(word, names)]
    shown = list(dict.fromkeys([*close, *names]))[:FEW]
    return f"{', '.join(shown)} and {len(names) - len(shown)} more"


def nearest(word: str, names: Sequence[str]) -> list[str]:
    """The names that are most like a word, the closest first; names of groups, `eval/loss`, by
    their last part too.
    """
    short = {name.rpartition("/")[2].lower(): name for name in reversed(names)}
    short |= {name.lower(): name for name in reversed(names)}
    matches = difflib.get_close_matches(word.lower(), short, n=3, cutoff=0.6)
    return list(dict.fromkeys(short[match] for match in matches))


def _remedy(
    path: Path, missing: Sequence[str], names: Sequence[str], used: Mapping[str, str]
) -> str:
    """How to say what a missing column is called, by a column that can be it."""
    free = [name for name in names if name not in used.values()]
    numbers = _numbers(path, free)
    # Without values in one column it may be a wide table, which needs no more than its steps.
    is_wide = "value" in missing and missing[-1] == STEP_OR_TOKENS
    ours = "step" if is_wide else missing[0].split()[0]
    if is_wide:
        counts = [name for name, column in numbers.items() if _can_be_steps(column)]
        free = counts if len(numbers) > 1 else []
    else:
        free = [name for name in free if (name in numbers) == (ours in NUMBERS)]
    close = [match for word in ALIASES[ours] for match in nearest(word, free)]
    if candidates := close or free:
        return f"say which is which, such as columns={ours}:{candidates[0]}"
    if ours in CONSTANTS:
        return f'say what all rows have, such as columns={ours}:"{path.name.partition(".")[0]}"'
    return f"none of them can be the {STEP_OR_TOKENS if is_wide else ours}"


def _numbers(path: Path, names: Sequence[str]) -> dict[str, pd.Series]:
    """The numbers of the columns that hold any."""
    frame = read_columns(path, list(names))[0] if names else pd.DataFrame()
    found = {name: to_numbers(frame[name])[0].dropna() for name in names}
    return {name: column for name, column in found.items() if len(column)}


def _can_be_steps(numbers: pd.Series) -> bool:
    return bool(((numbers >= 0) & (numbers % 1 == 0)).all())


FORMAT = Format(
    "tidy",
    f"a table ({', '.join(SUFFIXES)})",
    (),
    lambda file, given: is_table(file.path),
    lambda files, root, asked: read_tidy(files[0].path, asked),
    takes_columns=True,
)
