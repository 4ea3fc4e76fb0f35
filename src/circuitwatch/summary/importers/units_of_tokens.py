"""Token counts of a source: from steps where it gives none, converted where they plainly are
something else, and a line where they may not be counts.

Tokens are counts. A source may give them in billions, rounded, or as steps, and a curve over such
numbers looks as good as a right one: so whatever can't be told is said, and what can't be right is
left out.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from circuitwatch.summary.curves import named
from circuitwatch.summary.importers.draft import Draft
from circuitwatch.summary.importers.rates import TokensPerStep
from circuitwatch.summary.importers.registry import Registry

Array = NDArray[np.float64]

TOLERANCE = 0.05
"""Relative difference up to which two token counts or sizes are the same, rounded differently."""
OTHER_UNIT = 100.0
"""Tokens per step that differ from the model's usual by this factor are in another unit; batches
that grow stay far below it.
"""
GAP = 1e4
"""A curve without steps whose token counts jump by this factor, with several checkpoints on either
side, mixes units.
"""
FAR = 1e3
"""Ends of two models, or the last token counts of a curve, that are so far apart may be in
different units.
"""
FEWEST_TOKENS = 1e4
"""A file whose largest token count is smaller hardly gives counts."""
MOST_TOKENS = 1e16
"""More than any model was trained on."""
LARGEST = 1e100
"""Numbers beyond it are no measurements, and powers of them no numbers."""
PREFIXES = {1: "thousands", 2: "millions", 3: "billions", 4: "trillions"}
RIGHT = "tokens are counts, such as 2.1e9 or 2.1B"


def fill_tokens(draft: Draft, registry: Registry, options: TokensPerStep) -> list[str]:
    """Tokens of every row, in tokens, from steps where there are none.

    Returns the models whose tokens are used as they are, with no note.
    """
    rows = draft.rows
    step, tokens = (
        rows["step"].to_numpy(dtype=float, copy=True),
        rows["tokens"].to_numpy(dtype=float, copy=True),
    )
    for numbers in (step, tokens):
        numbers[~(np.abs(numbers) < LARGEST)] = np.nan
    rates = rows["tokens_per_step"].to_numpy(dtype=float)
    unknown, mixed, fewer = (np.zeros(len(rows), dtype=bool) for _ in range(3))
    as_given: list[str] = []
    for name, places in rows.groupby("model", sort=False).indices.items():
        model, s, t, given = str(name), step[places], tokens[places], rates[places]
        median = float(np.nanmedian(given)) if np.isfinite(given).any() else None
        option = options.of(model)
        rate = option or median or registry.tokens_per_step(model)
        both, n_notes = (s > 0) & (t > 0), len(draft.notes)
        usual = float(np.median(t[both] / s[both])) if both.any() else np.nan
        if both.any():
            t = _in_tokens(draft, model, s, t, usual, rate)
        elif (t > 0).any() and rate is not None:
            t = _from_published(draft, model, t, rate, registry.steps(model))
        lost = np.isfinite(tokens[places]) & ~np.isfinite(t)
        fewer[places] = lost
        if (t > 0).any() and len(draft.notes) == n_notes:
            as_given.append(model)
        if both.any():
            timed = (s > 0) & (t > 0)
            ratio = t[timed] / s[timed]
            mixed[places[timed]] = (
                np.abs(np.log(ratio / np.median(ratio))) > np.log(OTHER_UNIT)
                if ratio.size
                else False
            )
            rate = rate or (usual if usual > 1 + TOLERANCE else None)
        absent = np.isnan(t) & np.isfinite(s) & ~lost
        if rate is None:
            # Step 0 is at 0 tokens whatever a step has, but a curve of that checkpoint alone is no
            # use.
            unknown[places] = absent & bool((absent & (s > 0)).any())
            t = np.where(absent & (s == 0), 0.0, t)
        else:
            per_row = np.where(np.isfinite(given), given, rate) if option is None else option
            t = np.where(absent, s * per_row, t)
        tokens[places] = t
    draft.rows = rows.assign(tokens=tokens, step=step, _mixed=mixed, _unknown=unknown, _fewer=fewer)
    draft.drop(draft.rows["_fewer"], "{n} values of {curves} left out: their tokens are no counts")
    draft.drop(
        draft.rows["_unknown"],
        "{n} values of {curves} have a step but no tokens, and how many tokens a step has is "
        "not known: left out; give tokens_per_step=",
    )
    draft.drop(
        draft.rows["_mixed"],
        f"mixed units: {{n}} values of {{curves}} have tokens per step that are "
        f"{OTHER_UNIT:g} times off the model's others: left out",
    )
    draft.rows = draft.rows.drop(columns=["_mixed", "_unknown", "_fewer"])
    return as_given


def leave_out_mixed(draft: Draft) -> None:
    """Curves without steps that go on in another unit; one that may do so at its end is named."""
    rows = draft.rows
    alone = rows["step"].isna().to_numpy() & (rows["tokens"] > 0).to_numpy()
    places = np.flatnonzero(alone)
    if places.size < 3:
        return
    every = draft.curve_ids()
    curve, t = every[places], rows["tokens"].to_numpy(dtype=float)[places]
    order = np.lexsort((t, curve))
    curve, t = curve[order], t[order]
    first = np.r_[True, curve[1:] != curve[:-1]]
    distinct = first | np.r_[True, t[1:] != t[:-1]]
    curve, t = curve[distinct], t[distinct]
    first = np.r_[True, curve[1:] != curve[:-1]]
    start = np.maximum.accumulate(np.where(first, np.arange(t.size), 0))
    length = np.bincount(curve)[curve]
    below = np.arange(t.size) - start
    factor = np.where(first, 1.0, np.r_[1.0, t[1:] / t[:-1]])
    jump = (factor >= GAP) & (below >= 2) & (length - below >= 2)
    bad = np.unique(curve[jump])
    # One checkpoint after the first, or many, is how schedules begin; only a curve's end can't be
    # far from what is before it.
    for place in np.flatnonzero(
        (factor > FAR) & (below >= 2) & (length - below <= 2) & ~np.isin(curve, bad)
    )[:1]:
        ends = np.unique(
            curve[(factor > FAR) & (below >= 2) & (length - below <= 2) & ~np.isin(curve, bad)]
        )
        draft.note(
            f"tokens of {named(draft.names(np.isin(every, ends)))} jump from "
            f"{t[place - 1]:.4g} to {t[place]:.4g} at the end: one unit may not be "
            f"the others' ({RIGHT}); used as they are"
        )
    draft.drop(
        np.isin(every, bad),
        f"mixed units: tokens of {{curves}} jump by a factor above {GAP:g} ({{n}} values): "
        f"left out; with a column `step` they could be told apart",
    )


def doubt_counts(draft: Draft, as_given: Sequence[str]) -> None:
    """Notes on tokens, of the models whose tokens are used as they are, that may be in millions or
    billions, or be steps.
    """
    over = draft.rows[draft.rows["tokens"] > 0]
    ends = over.groupby("model", sort=False)["tokens"].max()
    models = [model for model in as_given if model in ends.index]
    if not models:
        return
    where = (
        f"{RIGHT}; used as they are; if they are in another unit give counts, if they "
        f"are steps columns=step:<the column> and tokens_per_step="
    )
    t = over["tokens"].to_numpy(dtype=float)
    parts = over[(np.abs(t - np.rint(t)) > 1e-6 * t) & over["model"].isin(models).to_numpy()]
    broken = list(parts["model"].unique())
    if broken:
        draft.note(
            f"tokens of {named(broken)} have fractions, such as "
            f"{parts['tokens'].iloc[0]:.6g}, so may be no counts: {where}"
        )
    whole = [model for model in models if model not in broken]
    if whole and ends.max() < FEWEST_TOKENS:
        draft.note(
            f"tokens of {named(whole)} are at most {ends[whole].max():g}, so may be no "
            f"counts: {where}"
        )
    if ends[models].max() > MOST_TOKENS:
        many = [model for model in models if ends[model] > MOST_TOKENS]
        draft.note(
            f"tokens of {named(many)} go up to {ends.max():.4g}, more than any model was "
            f"trained on: {where}"
        )
    low = [str(model) for model in ends.index[ends * FAR <= ends.max()]]
    if low and not {*models}.isdisjoint([*low, str(ends.idxmax())]):
        draft.note(
            f"tokens of {named(low)} end at {ends.min():.4g}, of {ends.idxmax()} at "
            f"{ends.max():.4g}: one of them may be in another unit; {where}"
        )


def _in_tokens(
    draft: Draft, model: str, s: Array, t: Array, usual: float, rate: float | None
) -> Array:
    """A model's tokens beside its steps, converted where they plainly are something else; NaN where
    they can't be counts.
    """
    from_steps = np.where(np.isfinite(s), s * (rate or np.nan), np.nan)
    if rate is not None and (rounded := _rounded(s, t, from_steps)):
        thousands, unit = rounded
        which = f"in {PREFIXES[thousands]}, " if thousands else ""
        draft.note(
            f"tokens of {model} are {which}rounded to {unit:g} tokens: its steps with "
            f"{rate:g} tokens a step are used"
        )
        return np.where(np.isfinite(s), from_steps, t * 1000.0**thousands)
    if rate is not None and abs(usual / rate - 1) <= TOLERANCE:
        return t
    if abs(usual - 1) < 1e-6:
        if rate is None:
            draft.note(
                f"tokens of {model} equal its steps and are used as they are; "
                f"tokens_per_step= would convert them"
            )
            return t
        draft.note(f"tokens of {model} are its steps: converted with {rate:g} tokens a step")
        return from_steps
    if rate is not None and (power := _thousands(rate / usual)):
        draft.note(f"tokens of {model} are in {PREFIXES[power]}: converted")
        return t * 1000.0**power
    if usual < 1:
        few = f"tokens of {model} are {usual:.3g} a step, fewer than one, so no counts"
        if rate is not None:
            draft.note(f"{few}: its steps with {rate:g} tokens a step are used instead")
            return from_steps
        draft.note(f"{few} ({RIGHT}): left out; give counts, or no tokens and tokens_per_step=")
        return np.full_like(t, np.nan)
    if rate is not None:
        draft.note(
            f"steps and tokens of {model} disagree: {usual:.4g} tokens a step there, "
            f"{rate:.4g} expected; its tokens are used"
        )
    return t


def _thousands(factor: float) -> int | None:
    """The power of 1000 that a factor is about, 1 to 4; none if it is about no such power."""
    power = round(np.log10(factor) / 3) if factor > 0 else 0
    return power if power in PREFIXES and abs(factor / 1000.0**power - 1) <= TOLERANCE else None


def _unit(t: Array) -> float:
    """The largest power of ten that all of some token counts are multiples of."""
    for power in range(13, 0, -1):
        parts = t / 10.0**power
        if bool((np.abs(parts - np.rint(parts)) <= 1e-6).all()):
            return 10.0**power
    return 1.0


def _rounded(s: Array, t: Array, expected: Array) -> tuple[int, float] | None:
    """(power of 1000 of the unit, what they are rounded to) of tokens that are the expected ones
    but for rounding, and badly rounded somewhere.
    """
    here = (s > 0) & np.isfinite(t)
    for power in range(5):
        given, right = t[here] * 1000.0**power, expected[here]
        unit = _unit(given)
        if unit > TOLERANCE * given.max() or bool((np.abs(given - right) > unit).any()):
            continue
        return (power, unit) if bool((np.abs(given / right - 1) > TOLERANCE).any()) else None
    return None


def _from_published(draft: Draft, model: str, t: Array, rate: float, steps: list[int]) -> Array:
    """A known model's tokens without steps, converted where they are its published steps, or its
    tokens in thousands and more.

    Numbers below the tokens of one step that are neither are NaN: they are no counts of that model.
    """
    published = np.array([step for step in steps if step > 0], dtype=float)
    seen = np.unique(t[t > 0])
    if not published.size or rate <= 1 + TOLERANCE:
        return t
    if seen.size > 2 and bool(np.isin(seen, published).all()):
        draft.note(f"tokens of {model} are its steps: converted with {rate:g} tokens a step")
        return t * rate
    counts = published * rate
    if seen.max() >= counts.min():
        return t
    for power, name in PREFIXES.items():
        given = seen * 1000.0**power
        unit = _unit(given)
        far = np.abs(given[:, None] - counts[None])
        if unit > TOLERANCE * given.max():
            unit = 0.0
        if bool((far <= np.maximum(TOLERANCE * counts, unit)[None]).any(axis=1).all()):
            exact = bool((far <= TOLERANCE * counts).any(axis=1).all())
            draft.note(
                f"tokens of {model} are in {name}: converted"
                + ("" if exact else f"; rounded to {unit:g} tokens")
            )
            return t * 1000.0**power
    if seen.max() >= rate:
        return t
    draft.note(
        f"tokens of {model} are at most {seen.max():.4g}, but one of its steps has "
        f"{rate:.4g} ({RIGHT}): left out; "
        "if they are steps, give columns=step:<the column>"
    )
    return np.where(np.isfinite(t), np.nan, t)
