"""From what a source says to `Curves`: sizes and tokens filled in from what is known, units
checked, and what can't be used left out with a note.

Nothing is repaired in silence, and one bad curve costs no other: each check returns the rows it
leaves out and one line that says so. All checks work on whole columns, so that a million rows take
a second or two.
"""

from __future__ import annotations

import numpy as np
import pandas as pd

from circuitwatch.summary.curves import COLUMNS, Curves, curve_names, empty_table, look_up, named
from circuitwatch.summary.importers.draft import Draft
from circuitwatch.summary.importers.rates import TokensOfStep, as_rates
from circuitwatch.summary.importers.registry import Registry
from circuitwatch.summary.importers.units_of_tokens import (
    LARGEST,
    TOLERANCE,
    doubt_counts,
    fill_tokens,
    leave_out_mixed,
)
from circuitwatch.units import counted

FEWEST_PARAMS = 1000.0
"""A smaller number of parameters is not a count, but millions or billions."""


def complete(
    rows: pd.DataFrame,
    *,
    source: str,
    registry: Registry,
    tokens_per_step: TokensOfStep = None,
) -> Curves:
    """Curves from rows with the columns model, task, quantity, value, and any of step, tokens,
    params, stderr, seed, tokens_per_step.

    Args:
        rows: one row a value; numbers are float64, missing ones NaN.
        source: what notes and the table's `source` call it.
        registry: sizes and tokens per step of known models.
        tokens_per_step: goes before what the rows or the registry say.

    Returns:
        the curves, not yet put together with others (`curves.combine`), so that a checkpoint may
        appear twice.
    """
    draft = Draft(rows.copy(), source)
    for name in ("step", "tokens", "params", "stderr", "tokens_per_step"):
        if name not in draft.rows:
            draft.rows[name] = np.nan
    if "seed" not in draft.rows:
        draft.rows["seed"] = 0
    lacking = draft.rows[["model", "task", "quantity"]].isna().any(axis=1)
    if lacking.any():
        draft.note(f"{counted(int(lacking.sum()), 'row')} without model, task or quantity left out")
        draft.rows = draft.rows[~lacking].reset_index(drop=True)
    draft.rows = draft.rows.assign(
        **{name: draft.rows[name].astype("str") for name in ("model", "task", "quantity")}
    )
    if draft.rows.empty:
        return Curves(empty_table(), draft.notes)
    _name_models(draft, registry)
    _fill_params(draft, registry)
    as_given = fill_tokens(draft, registry, as_rates(tokens_per_step, registry))
    for check in (_leave_out_values, _leave_out_untimed, leave_out_mixed, _leave_out_disorder):
        if len(draft.rows):
            check(draft)
    doubt_counts(draft, as_given)
    table = draft.rows.assign(source=source)
    table["source"] = table["source"].astype("str")
    return Curves(
        table[list(COLUMNS)].astype({"seed": "int64", "step": float, "tokens": float}), draft.notes
    )


def _name_models(draft: Draft, registry: Registry) -> None:
    """Models under the registry's name where it knows them, so that sources agree."""
    names = {name: registry.name_of(name) or name for name in draft.rows["model"].unique()}
    changed = [f"{given} is {name}" for given, name in names.items() if given != name]
    if changed:
        draft.note(f"models under the registry's names: {named(changed)}")
        draft.rows["model"] = draft.rows["model"].map(names).astype("str")


def _fill_params(draft: Draft, registry: Registry) -> None:
    """One size a model: the source's, unless it has none or the registry says something else."""
    given = draft.rows["params"]
    if (odd := (given <= 0) | (given.abs() >= LARGEST)).any():
        numbers, models = given[odd].unique(), named(draft.rows.loc[odd, "model"])
        draft.note(
            f"params of {models} is {named(f'{number:g}' for number in numbers)}, not a "
            f"number of parameters such as 160M: taken as missing"
        )
        draft.rows["params"] = given.mask(odd)
    sizes: dict[str, float] = {}
    for model, given in draft.rows.groupby("model", sort=False)["params"]:
        model, counts = str(model), given.dropna().unique()
        size = float(np.median(counts)) if len(counts) else np.nan
        registered = registry.params(model)
        if registered is not None and len(counts) and abs(size / registered - 1) > TOLERANCE:
            draft.note(
                f"{model} has {size:.4g} parameters there, {registered:.4g} in the registry: the "
                f"registry's are used"
            )
            size = registered
        elif registered is None and size < FEWEST_PARAMS:
            draft.note(
                f"params of {model} is {size:g}, not a number of parameters such as 160M: left out"
            )
            size = np.nan
        elif len(counts) > 1:
            draft.note(
                f"{model} has {len(counts)} different numbers of parameters: their median "
                f"{size:.4g} is used"
            )
        sizes[model] = registered if registered is not None and np.isnan(size) else size
    draft.rows["params"] = look_up(draft.rows["model"], sizes)


def _leave_out_values(draft: Draft) -> None:
    """Values that are missing or infinite, or too large to be calculated with; and standard errors
    that are none.
    """
    value, stderr = (
        draft.rows["value"].to_numpy(dtype=float),
        draft.rows["stderr"].to_numpy(dtype=float),
    )
    if (wrong := (stderr < 0) | (stderr >= LARGEST)).any():
        draft.note(
            f"stderr of {named(draft.names(wrong))} is negative or infinite "
            f"({int(wrong.sum())} times, such as {stderr[wrong][0]:g}): taken as missing"
        )
        draft.rows = draft.rows.assign(stderr=np.where(wrong, np.nan, stderr))
    draft.drop(
        np.isfinite(value) & (np.abs(value) > LARGEST),
        f"{{n}} values of {{curves}} are beyond ±{LARGEST:g}: left out",
    )
    bad = ~np.isfinite(draft.rows["value"].to_numpy(dtype=float))
    if not bad.any():
        return
    curve = draft.curve_ids()
    usable = np.bincount(curve, weights=~bad) > 0
    draft.drop(bad & usable[curve], "{n} values of {curves} are missing or infinite: left out")
    bad = ~np.isfinite(draft.rows["value"].to_numpy(dtype=float))
    draft.drop(bad, "every value of {curves} is missing or infinite: left out")


def _leave_out_untimed(draft: Draft) -> None:
    """Rows of no checkpoint, unless a curve is just one number, which is then a value of the
    model.
    """
    t = draft.rows["tokens"].to_numpy(dtype=float)
    draft.drop(t < 0, "{n} values of {curves} have negative tokens: left out")
    untimed = draft.rows["tokens"].isna().to_numpy()
    if untimed.any():
        curve = draft.curve_ids()
        single = np.bincount(curve) == 1
        draft.drop(
            untimed & ~single[curve],
            "{n} values of {curves} have neither step nor tokens: left out",
        )
        whole = int(draft.rows["tokens"].isna().sum())
        if whole:
            draft.note(
                f"{whole} values have neither step nor tokens: each is taken as one of its "
                f"model as a whole"
            )


def _leave_out_disorder(draft: Draft) -> None:
    """Curves whose tokens fall while their steps rise; those that are merely not in order are
    sorted, and it is said.
    """
    rows = draft.rows
    curve, t = draft.curve_ids(), rows["tokens"].to_numpy(dtype=float)
    s = rows["step"].to_numpy(dtype=float)
    timed = np.isfinite(s) & np.isfinite(t)
    order = np.lexsort((t, s, curve))
    order = order[timed[order]]
    same = curve[order][1:] == curve[order][:-1]
    ds, dt = np.diff(s[order]), np.diff(t[order])
    wrong = same & (((ds > 0) & (dt <= 0)) | ((ds == 0) & (dt != 0)))
    bad = np.isin(curve, np.unique(curve[order][1:][wrong]))
    draft.drop(bad, "tokens of {curves} do not rise with their steps ({n} values): left out")
    rows = draft.rows
    if rows.empty:
        return
    curve, t = draft.curve_ids(), rows["tokens"].to_numpy(dtype=float)
    order = np.argsort(curve, kind="stable")
    same = curve[order][1:] == curve[order][:-1]
    falls = same & (np.diff(t[order]) < 0)
    if falls.any():
        which = np.unique(curve[order][1:][falls])
        names = curve_names(rows[np.isin(curve, which)])
        draft.note(
            f"tokens of {counted(len(names), 'curve')} ({named(names)}) are not in ascending "
            f"order: sorted"
        )
