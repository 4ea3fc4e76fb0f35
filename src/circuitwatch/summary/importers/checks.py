"""From what a source says to `Curves`: sizes and tokens filled in from what is known, units checked, and what can't be used left out with a note.

Nothing is repaired in silence, and one bad curve costs no other: each check returns the rows it leaves out and one line that says so.
All checks work on whole columns, so that a million rows take a second or two.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from circuitwatch.summary.curves import COLUMNS, KEYS, Curves, curve_names, empty_table, look_up, named
from circuitwatch.summary.importers.registry import Registry

Array = NDArray[np.float64]

TOLERANCE = 0.05
"""Relative difference up to which two token counts or sizes are the same, rounded differently."""
OTHER_UNIT = 100.0
"""Tokens per step that differ from the model's usual by this factor are in another unit; batches that grow stay far below it."""
GAP = 1e4
"""A curve without steps whose token counts jump by this factor, with several checkpoints on either side, mixes units."""
FEWEST_PARAMS = 1000.0
"""A smaller number of parameters is not a count, but millions or billions."""
PREFIXES = {1: "thousands", 2: "millions", 3: "billions", 4: "trillions"}


@dataclass
class Draft:
    """Rows on their way into `Curves`, and the notes so far; every note begins with the source's name."""

    rows: pd.DataFrame
    source: str
    notes: list[str] = field(default_factory=list)

    def note(self, text: str) -> None:
        """Add a line."""
        self.notes.append(f"{self.source}: {text}")

    def drop(self, which: pd.Series | NDArray[np.bool_], text: str) -> None:
        """Leave rows out; in `text`, {n} is how many they are and {curves} names their curves."""
        mask = np.asarray(which, dtype=bool)
        if mask.any():
            gone = self.rows[mask]
            self.note(text.format(n=int(mask.sum()), curves=named(curve_names(gone))))
            self.rows = self.rows[~mask].reset_index(drop=True)


def complete(rows: pd.DataFrame, *, source: str, registry: Registry, tokens_per_step: float | None = None) -> Curves:
    """Curves from rows with the columns model, task, quantity, value, and any of step, tokens, params, stderr, seed, tokens_per_step.

    Args:
        rows: one row a value; numbers are float64, missing ones NaN.
        source: what notes and the table's `source` call it.
        registry: sizes and tokens per step of known models.
        tokens_per_step: for all models of this source, before what the rows or the registry say.

    Returns:
        the curves, not yet put together with others (`curves.combine`), so that a checkpoint may appear twice.
    """
    draft = Draft(rows.copy(), source)
    for name in ("step", "tokens", "params", "stderr", "tokens_per_step"):
        if name not in draft.rows:
            draft.rows[name] = np.nan
    if "seed" not in draft.rows:
        draft.rows["seed"] = 0
    lacking = draft.rows[["model", "task", "quantity"]].isna().any(axis=1)
    if lacking.any():
        draft.note(f"{int(lacking.sum())} rows without model, task or quantity left out")
        draft.rows = draft.rows[~lacking].reset_index(drop=True)
    draft.rows = draft.rows.assign(**{name: draft.rows[name].astype("str") for name in ("model", "task", "quantity")})
    if draft.rows.empty:
        return Curves(empty_table(), draft.notes)
    _name_models(draft, registry)
    _fill_params(draft, registry)
    _fill_tokens(draft, registry, tokens_per_step)
    for check in (_leave_out_values, _leave_out_untimed, _leave_out_mixed, _leave_out_disorder):
        if len(draft.rows):
            check(draft)
    table = draft.rows.assign(source=source)
    table["source"] = table["source"].astype("str")
    table["stderr"] = table["stderr"].where(np.isfinite(table["stderr"]) & (table["stderr"] >= 0))
    return Curves(table[list(COLUMNS)].astype({"seed": "int64", "step": float, "tokens": float}), draft.notes)


def _name_models(draft: Draft, registry: Registry) -> None:
    """Models under the registry's name where it knows them, so that sources agree."""
    names = {name: registry.name_of(name) or name for name in draft.rows["model"].unique()}
    if any(name != known for name, known in names.items()):
        draft.rows["model"] = draft.rows["model"].map(names).astype("str")


def _fill_params(draft: Draft, registry: Registry) -> None:
    """One size a model: the source's, unless it has none or the registry says something else."""
    sizes: dict[str, float] = {}
    for model, given in draft.rows.groupby("model", sort=False)["params"]:
        model, found = str(model), given.dropna().unique()
        known, size = registry.params(model), float(np.median(found)) if len(found) else np.nan
        if known is not None and len(found) and abs(size / known - 1) > TOLERANCE:
            draft.note(f"{model} has {size:.4g} parameters there, {known:.4g} in the registry: the registry's are used")
            size = known
        elif known is None and size < FEWEST_PARAMS:
            draft.note(f"params of {model} is {size:g}, not a number of parameters such as 160M: left out")
            size = np.nan
        elif len(found) > 1:
            draft.note(f"{model} has {len(found)} different numbers of parameters: their median {size:.4g} is used")
        sizes[model] = known if known is not None and np.isnan(size) else size
    draft.rows["params"] = look_up(draft.rows["model"], sizes)


def _fill_tokens(draft: Draft, registry: Registry, option: float | None) -> None:
    """Tokens of every row, in tokens, from steps where there are none."""
    rows = draft.rows
    step, tokens = rows["step"].to_numpy(dtype=float, copy=True), rows["tokens"].to_numpy(dtype=float, copy=True)
    step[~np.isfinite(step)], tokens[~np.isfinite(tokens)] = np.nan, np.nan
    rates = rows["tokens_per_step"].to_numpy(dtype=float)
    unknown = np.zeros(len(rows), dtype=bool)
    mixed = np.zeros(len(rows), dtype=bool)
    for name, places in rows.groupby("model", sort=False).indices.items():
        model, s, t, own = str(name), step[places], tokens[places], rates[places]
        given = float(np.nanmedian(own)) if np.isfinite(own).any() else None
        rate = option or given or registry.tokens_per_step(model)
        both = (s > 0) & (t > 0)
        if both.any():
            usual = float(np.median(t[both] / s[both]))
            t = _in_tokens(draft, model, s, t, usual, rate)
            ratio = t[both] / s[both]
            mixed[places[both]] = np.abs(np.log(ratio / np.median(ratio))) > np.log(OTHER_UNIT)
            rate = rate or (usual if usual > 1 + TOLERANCE else None)
        elif (t > 0).any() and rate is not None:
            t = _from_published(draft, model, t, rate, registry.steps(model))
        absent = np.isnan(t) & np.isfinite(s)
        if rate is None:
            # Step 0 is at 0 tokens whatever a step has, but a curve of that checkpoint alone is no use.
            unknown[places] = absent & bool((absent & (s > 0)).any())
            t = np.where(absent & (s == 0), 0.0, t)
        else:
            per_row = np.where(np.isfinite(own), own, rate) if option is None else option
            t = np.where(absent, s * per_row, t)
        tokens[places] = t
    draft.rows = rows.assign(tokens=tokens, step=step, _mixed=mixed, _unknown=unknown)
    draft.drop(
        unknown,
        "{n} values of {curves} have a step but no tokens, and how many tokens a step has is not known: left out; give tokens_per_step=",
    )
    draft.drop(
        draft.rows["_mixed"],
        f"mixed units: {{n}} values of {{curves}} have tokens per step that are {OTHER_UNIT:g} times off the model's others: left out",
    )
    draft.rows = draft.rows.drop(columns=["_mixed", "_unknown"])


def _in_tokens(draft: Draft, model: str, s: Array, t: Array, usual: float, rate: float | None) -> Array:
    """A model's tokens beside its steps, converted where they plainly are something else."""
    if rate is not None and abs(usual / rate - 1) <= TOLERANCE:
        return t
    if abs(usual - 1) < 1e-6:
        if rate is None:
            draft.note(
                f"tokens of {model} equal its steps and are used as they are; tokens_per_step= would convert them"
            )
            return t
        draft.note(f"tokens of {model} are its steps: converted with {rate:g} tokens a step")
        return np.where(np.isfinite(s), s * rate, np.nan)
    if rate is not None and (power := _thousands(rate / usual)):
        draft.note(f"tokens of {model} are in {PREFIXES[power]}: converted")
        return t * 1000.0**power
    if rate is not None:
        draft.note(
            f"steps and tokens of {model} disagree: {usual:.4g} tokens a step there, {rate:.4g} expected; its tokens are used"
        )
    return t


def _thousands(factor: float) -> int | None:
    """The power of 1000 that a factor is about, 1 to 4; none if it is about no such power."""
    power = round(np.log10(factor) / 3) if factor > 0 else 0
    return power if power in PREFIXES and abs(factor / 1000.0**power - 1) <= TOLERANCE else None


def _from_published(draft: Draft, model: str, t: Array, rate: float, steps: list[int]) -> Array:
    """A known model's tokens without steps, converted where they are its published steps, or its tokens in thousands and more."""
    published = np.array([step for step in steps if step > 0], dtype=float)
    seen = np.unique(t[t > 0])
    if not published.size or rate <= 1 + TOLERANCE:
        return t
    if seen.size > 2 and bool(np.isin(seen, published).all()):
        draft.note(f"tokens of {model} are its steps: converted with {rate:g} tokens a step")
        return t * rate
    counts = published * rate
    for power, name in PREFIXES.items():
        far = np.abs(seen[:, None] * 1000.0**power / counts[None] - 1).min(axis=1)
        if bool((far <= TOLERANCE).all()) and seen.max() < counts.min():
            draft.note(f"tokens of {model} are in {name}: converted")
            return t * 1000.0**power
    return t


def _curve_ids(rows: pd.DataFrame) -> NDArray[np.intp]:
    """An integer per row that tells its curve, in order of appearance."""
    codes = np.zeros(len(rows), dtype=np.int64)
    for name in KEYS:
        part, names = pd.factorize(rows[name])
        codes = pd.factorize(codes * max(len(names), 1) + part)[0].astype(np.int64)
    return codes


def _leave_out_values(draft: Draft) -> None:
    """Values that are missing or infinite."""
    bad = ~np.isfinite(draft.rows["value"].to_numpy(dtype=float))
    if not bad.any():
        return
    curve = _curve_ids(draft.rows)
    usable = np.bincount(curve, weights=~bad) > 0
    draft.drop(bad & usable[curve], "{n} values of {curves} are missing or infinite: left out")
    bad = ~np.isfinite(draft.rows["value"].to_numpy(dtype=float))
    draft.drop(bad, "every value of {curves} is missing or infinite: left out")


def _leave_out_untimed(draft: Draft) -> None:
    """Rows of no checkpoint, unless a curve is just one number, which is then a value of the model."""
    t = draft.rows["tokens"].to_numpy(dtype=float)
    draft.drop(t < 0, "{n} values of {curves} have negative tokens: left out")
    untimed = draft.rows["tokens"].isna().to_numpy()
    if untimed.any():
        curve = _curve_ids(draft.rows)
        single = np.bincount(curve) == 1
        draft.drop(untimed & ~single[curve], "{n} values of {curves} have neither step nor tokens: left out")
        whole = int(draft.rows["tokens"].isna().sum())
        if whole:
            draft.note(f"{whole} values have neither step nor tokens: each is taken as one of its model as a whole")


def _leave_out_mixed(draft: Draft) -> None:
    """Curves without steps that go on in another unit."""
    rows = draft.rows
    alone = rows["step"].isna().to_numpy() & (rows["tokens"] > 0).to_numpy()
    places = np.flatnonzero(alone)
    if places.size < 4:
        return
    curve, t = _curve_ids(rows)[places], rows["tokens"].to_numpy(dtype=float)[places]
    order = np.lexsort((t, curve))
    curve, t = curve[order], t[order]
    first = np.r_[True, curve[1:] != curve[:-1]]
    distinct = first | np.r_[True, t[1:] != t[:-1]]
    curve, t = curve[distinct], t[distinct]
    first = np.r_[True, curve[1:] != curve[:-1]]
    start = np.maximum.accumulate(np.where(first, np.arange(t.size), 0))
    length = np.bincount(curve)[curve]
    below = np.arange(t.size) - start
    jump = ~first & np.r_[False, t[1:] / t[:-1] >= GAP] & (below >= 2) & (length - below >= 2)
    bad = np.isin(_curve_ids(rows), np.unique(curve[jump]))
    draft.drop(
        bad,
        f"mixed units: tokens of {{curves}} jump by a factor above {GAP:g} ({{n}} values): left out; with a column `step` they could be told apart",
    )


def _leave_out_disorder(draft: Draft) -> None:
    """Curves whose tokens fall while their steps rise; those that are merely not in order are sorted, and it is said."""
    rows = draft.rows
    curve, t = _curve_ids(rows), rows["tokens"].to_numpy(dtype=float)
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
    curve, t = _curve_ids(rows), rows["tokens"].to_numpy(dtype=float)
    order = np.argsort(curve, kind="stable")
    same = curve[order][1:] == curve[order][:-1]
    falls = same & (np.diff(t[order]) < 0)
    if falls.any():
        which = np.unique(curve[order][1:][falls])
        names = curve_names(rows[np.isin(curve, which)])
        draft.note(f"tokens of {len(names)} curves ({named(names)}) are not in ascending order: sorted")
