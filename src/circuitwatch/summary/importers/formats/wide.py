"""Wide tables: a column a task, a metric, a model or a step, beside those that say what a row is
of. They are turned, and one line says which columns became what.

Recognised by their columns: none holds the values (`value`), and either one holds steps or tokens
and others have no name that a tidy table uses, or two or more are called after checkpoints (`1000`,
`step1000`). What the turned columns are follows from what is missing: model, task or quantity. Of
columns that are missing beside that, a constant tells (`columns=model:"mine"`), else the file's
name (model), `run` (task) or `value` (quantity). A column `acc_stderr` holds standard errors of
`acc`.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from circuitwatch.errors import UserError
from circuitwatch.summary.curves import Curves, named
from circuitwatch.summary.importers.entries import step_and_tokens, to_numbers
from circuitwatch.summary.importers.format import RUN, Asked, File, Format, constant, finish
from circuitwatch.summary.importers.registry import Registry
from circuitwatch.summary.importers.tables import read_columns, separator
from circuitwatch.summary.importers.tidy import claimed, few, read_entries

STEPS = (
    "trainer/global_step",
    "train/global_step",
    "train/step",
    "iteration",
    "iterations",
    "iter",
    "_step",
)
"""What steps are called in logs, after the names of tidy tables; `_step` of W&B, which counts calls
of its `log`, comes last.
"""
TOKENS = (
    "throughput/total_tokens",
    "num_input_tokens_seen",
    "train/num_input_tokens_seen",
    "total_tokens",
    "train/total_tokens",
    "num_tokens",
    "train/tokens",
    "consumed_tokens",
)
"""What tokens are called in logs, after the names of tidy tables."""
CLOCKS = re.compile(
    r"(^|/)(_.*|epochs?|lr|learning_rate|lr-.*|total_flos|.*runtime|.*(wall_?time|timestamp)"
    r"|.*_per_sec(ond)?)$|^system/|^throughput/",
    re.IGNORECASE,
)
"""Names of what says when something was measured, or how fast it went, but not what was learnt."""
STDERR = "_stderr"
CHECKPOINT = re.compile(r"[a-z_=-]*\d[\d.]*\s*[kmbgt]?", re.IGNORECASE)
"""What the name of a checkpoint looks like: step1000, 1.5B, iter_0001000, 1000."""
IDENTITY = ("model", "task", "quantity")
UNNAMED = ("", "unnamed: 0", "index")
"""A column that numbers the rows."""
NO_QUANTITY = "value"
SIZE = re.compile(r"\d+(\.\d+)?[MB]", re.IGNORECASE)
"""A size as the name of a model, 160M."""
PLURALS = {
    "model": "models",
    "task": "tasks",
    "quantity": "quantities",
    "step": "steps",
    "tokens": "tokens",
}


@dataclass(frozen=True)
class Layout:
    """What the columns of a wide table are: ours → the file's; those that are turned, and into
    what (`model`, `task`, `quantity` or `step`); and those that are nothing of it.
    """

    used: Mapping[str, str]
    turned: Sequence[str]
    into: str
    ignored: Sequence[str] = ()


def layout_of(
    names: Sequence[str], given: Mapping[str, str], registry: Registry | None = None
) -> Layout | None:
    """The layout of a table with these columns; none if it is not a wide one."""
    used = claimed(names, given)
    lower = {name.strip().lower(): name for name in reversed(names)}
    for ours, aliases in (("step", STEPS), ("tokens", TOKENS)):
        found = [lower[alias] for alias in aliases if alias in lower]
        if found and ours not in used:
            used[ours] = found[0]
    clocks = {*STEPS, *TOKENS, *UNNAMED}
    free = [name for name in names if name not in used.values()]
    ignored = [
        name for name in free if name.strip().lower() in clocks or CLOCKS.search(name.strip())
    ]
    free = [name for name in free if name not in ignored]
    if "value" in used or not free:
        return None
    constants = [ours for ours, theirs in given.items() if constant(theirs) is not None]
    lacks = [ours for ours in IDENTITY if ours not in used and ours not in constants]
    if "step" not in used and "tokens" not in used:
        return _by_checkpoint(used, free, ignored)
    if not lacks:
        return None
    return Layout(used, free, _into(lacks, free, registry), ignored)


def read_wide(path: Path, layout: Layout, asked: Asked, *, notes: Sequence[str] = ()) -> Curves:
    """Curves of a wide table.

    Args:
        path: a file that `tables` can read.
        layout: see `layout_of`.
        asked: what the user says.
        notes: what else is to be said.

    Raises:
        UserError: the file can't be read, or no turned column holds a number.
    """
    columns = [*dict.fromkeys([*layout.used.values(), *layout.turned])]
    table, lines = read_columns(path, columns)
    decimal_comma = separator(path) == ";"
    said = pd.DataFrame(
        {ours: table[theirs] for ours, theirs in layout.used.items()}, index=table.index
    )
    said, odd = read_entries(said.reset_index(names="_row"), decimal_comma=decimal_comma)
    table = table.iloc[said["_row"].to_numpy()]
    values, turned, errors, entries = _matrix(table, layout.turned, decimal_comma)
    if not turned:
        raise UserError(
            f"{path}: no column of {few(layout.turned)} holds a number; "
            f"a wide table has a column a metric, a task, a model or a step"
        )
    rows = _turn(said.drop(columns="_row"), values, errors, turned, layout.into)
    if layout.into == "model" and "params" not in rows and all(map(SIZE.fullmatch, turned)):
        rows["params"], _ = to_numbers(rows["model"])
    from_path = [ours for ours in IDENTITY if ours not in rows]
    defaults = {"model": path.name.partition(".")[0], "task": RUN, "quantity": NO_QUANTITY}
    rows = rows.assign(**{ours: defaults[ours] for ours in from_path})
    told = _told(layout, turned, from_path, defaults, asked)
    return finish(
        rows,
        source=path.name,
        asked=asked,
        notes=[told, *notes, *lines, *odd, *entries],
        from_path=from_path,
    )


def checkpoint_named(name: str) -> tuple[str, float] | None:
    """What the name of a column says of a checkpoint, (`step` or `tokens`, number), if it is the
    name of one and nothing else.
    """
    if not CHECKPOINT.fullmatch(name.strip()):
        return None
    step, tokens = step_and_tokens(name.strip())
    if step is not None:
        return "step", step
    return None if tokens is None else ("tokens", tokens)


def _by_checkpoint(
    used: Mapping[str, str], free: Sequence[str], ignored: Sequence[str]
) -> Layout | None:
    """The layout of a table whose columns are steps, or tokens; none if it isn't one."""
    found = {name: said[0] for name in free if (said := checkpoint_named(name))}
    into = next(iter(found.values()), "")
    turned = [name for name, axis in found.items() if axis == into]
    rest = [name for name in free if name not in turned]
    return Layout(used, turned, into, [*ignored, *rest]) if len(turned) > 1 else None


def _into(lacks: Sequence[str], free: Sequence[str], registry: Registry | None) -> str:
    """What columns become, by what is missing: the metrics of a model, unless the registry knows
    them as models, or they are sizes.
    """
    known = registry is not None and all(map(registry.name_of, free))
    if "model" in lacks and (known or all(map(SIZE.fullmatch, free))):
        return "model"
    return next(ours for ours in ("quantity", "task", "model") if ours in lacks)


def _matrix(
    table: pd.DataFrame, names: Sequence[str], decimal_comma: bool
) -> tuple[NDArray[np.float64], list[str], dict[int, NDArray[np.float64]], list[str]]:
    """Values (rows × columns), names of the columns that hold any, standard errors by place of the
    column, and notes.
    """
    numbers: dict[str, NDArray[np.float64]] = {}
    notes: list[str] = []
    for name in names:
        column, odd = to_numbers(table[name], decimal_comma=decimal_comma)
        numbers[name] = column.to_numpy(dtype=float)
        notes += [f"{name}: {text}" for text in odd]
    empty = [name for name, column in numbers.items() if np.isnan(column).all()]
    if empty:
        # One line says it, whatever they hold.
        notes = [note for note in notes if not note.startswith(tuple(f"{n}: " for n in empty))]
        notes.append(f"columns without any number left out: {few(empty)}")
    pairs = {name: f"{name}{STDERR}" for name in names if f"{name}{STDERR}" in numbers}
    turned = [name for name in names if name not in empty and name not in pairs.values()]
    errors = {place: numbers[pairs[name]] for place, name in enumerate(turned) if name in pairs}
    values = np.column_stack([numbers[name] for name in turned]) if turned else np.empty((0, 0))
    return values, turned, errors, notes


def _turn(
    said: pd.DataFrame,
    values: NDArray[np.float64],
    errors: Mapping[int, NDArray[np.float64]],
    turned: Sequence[str],
    into: str,
) -> pd.DataFrame:
    """A row a value, column by column, without the gaps: logs give each metric at steps of its
    own.
    """
    stderr = np.full_like(values, np.nan)
    for place, column in errors.items():
        stderr[:, place] = column
    there = ~np.isnan(values.T)
    columns, row = np.nonzero(there)
    rows = said.iloc[row].reset_index(drop=True)
    names: list[str] | list[float] = list(turned)
    if into in ("step", "tokens"):
        names = [found[1] for found in map(checkpoint_named, turned) if found]
    held = pd.Series(names).take(columns).reset_index(drop=True)
    return rows.assign(**{into: held, "value": values.T[there], "stderr": stderr.T[there]})


def _told(
    layout: Layout,
    turned: Sequence[str],
    from_path: Sequence[str],
    defaults: Mapping[str, str],
    asked: Asked,
) -> str:
    """The line that says which columns became what."""
    axes = [
        f"{ours} from {layout.used[ours]}" for ours in ("tokens", "step") if ours in layout.used
    ]
    guessed = [ours for ours in from_path if ours not in asked.constants]
    what = f"are {PLURALS[layout.into]}" if len(turned) > 1 else f"is a {layout.into}"
    text = f"a wide table, turned: {named(turned)} {what}"
    if axes:
        text += f", {', '.join(axes)}"
    if guessed:
        shown = ", ".join(f"{ours} is {defaults[ours]}" for ours in guessed)
        text += f'; {shown} (columns={guessed[0]}:"…" would name it)'
    if ignored := [name for name in layout.ignored if name.strip().lower() not in UNNAMED]:
        text += f"; not used: {named(ignored)}"
    return text


def _read(files: Sequence[File], root: Path, asked: Asked) -> Curves:
    layout = layout_of(files[0].columns, asked.columns, asked.registry)
    assert layout is not None  # it was recognised
    return read_wide(files[0].path, layout, asked)


FORMAT = Format(
    "wide",
    "a wide table (a column a metric, task, model or step)",
    (),
    lambda file, given: layout_of(file.columns, given) is not None,
    _read,
    takes_columns=True,
)
