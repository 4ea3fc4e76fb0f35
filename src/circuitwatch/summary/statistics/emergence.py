"""When an ability or a role appears: the token count at which its curve rises, with an interval and
a status.

The data's own crossing decides. A local regression takes the noise off the curve and makes no claim
about its shape (`smoothing`); where it passes the level, for good, is the estimate, and the
bootstrap gives the interval (`emergence_points`). A logistic curve in log tokens (`logistic`)
stands beside it as a description. Only where it agrees with the smooth curve, and what it leaves
doesn't look like a trend, does it sharpen the estimate. A crossing is `emerged` only if the curve
rises by more than wandering does (`rise_test`). Nothing is said about token counts outside of the
checkpoints seen.

What an interval is about: the trend of the curve for the population that the prompts were drawn
from, through noise of two kinds at once: the choice of prompts, which shifts the whole curve, and
fluctuations of single checkpoints, of which neighbouring ones may be alike. Where there are only
values, it is about these very prompts. Neither covers what another training seed would give: that
is the spread over seeds in the summary. `tests/benchmarks/simulated.py` measures how often the
intervals cover a known truth.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Literal

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike

from circuitwatch.summary.statistics.chance import counted, gate, never_above
from circuitwatch.summary.statistics.crossings import (
    Array,
    held_crossing,
    since,
)
from circuitwatch.summary.statistics.curve import Curve
from circuitwatch.summary.statistics.emergence_points import (
    NO_SAMPLES,
    EmergencePoints,
    Noise,
    central_interval,
    points_of,
    sample_smooth,
)
from circuitwatch.summary.statistics.estimates import Found, alike_about
from circuitwatch.summary.statistics.falls import as_fall
from circuitwatch.summary.statistics.logistic import (
    MIN_POINTS,
    log_tokens,
)
from circuitwatch.summary.statistics.rise_test import STEPS_FROM, rise_beyond_chance
from circuitwatch.summary.statistics.smoothing import (
    Smooth,
    hidden_by_neighbours,
    smooth_curve,
)
from circuitwatch.summary.statistics.status import (
    LAST_ONLY,
    WANDERS,
    Emergence,
    Seen,
    describe,
    not_emerged,
    read_half_rise,
    read_threshold,
)

MIN_SUPPORT = 0.8
"""Share of bootstrap samples in which the crossing must hold for the status to be clear."""
FEWEST = STEPS_FROM[0]
"""Checkpoints from which on a rise can be told from wandering."""
DIP = 0.1
"""A curve dips before its rise if it falls by more than this share of it."""


def fit_emergence(
    tokens: ArrayLike,
    values: ArrayLike,
    *,
    threshold: float | None = None,
    chance: float | None = None,
    per_prompt: pd.DataFrame | None = None,
    stderr: ArrayLike | None = None,
    not_above_chance: Sequence[str] | None = None,
    falls: bool = False,
    n_bootstrap: int = 200,
    seed: int = 0,
) -> Emergence:
    """Say when a curve rose through `threshold`, or, without one, through half of its own rise.

    Args:
        tokens: [checkpoint] training tokens, rising strictly; the untrained model has 0.
        values: [checkpoint] the curve.
        threshold: an absolute level; none for the half-rise, from the first to the last checkpoint.
        chance: for the half-rise: the level that the risen curve must clear to count as more than
            chance.
        per_prompt: one row a checkpoint (same order), one column a prompt; its row means are the
            curve.
        stderr: [checkpoint] standard errors of the values over prompts, for curves of which no more
            is known; not used beside `per_prompt`.
        not_above_chance: [checkpoint] for a behaviour: what of it is not above chance there, empty
            where all is; see `chance`.
        falls: whether the curve falls as a model learns: then "rise" and "above" here are "fall"
            and "below".
        n_bootstrap: bootstrap samples for the interval; with 0 it is the checkpoints around the
            crossing, and nothing is known of how well that holds.
        seed: of the bootstrap.

    Returns:
        status, estimates and intervals; see `Emergence`.

    Raises:
        ValueError: lengths differ, tokens don't rise, fewer than two checkpoints, or a value is
            missing or not finite.
    """
    curve = Curve(tokens, values, threshold, chance, per_prompt, stderr, not_above_chance, falls)
    return emergence_samples(curve, n_bootstrap=n_bootstrap, seed=seed)[0]


def emergence_samples(
    asked: Curve, *, n_bootstrap: int = 200, seed: int = 0, noise_seed: int | None = None
) -> tuple[Emergence, EmergencePoints]:
    """As `fit_emergence`, with the bootstrap samples (of the negated curve where it falls), for
    comparisons of two curves.

    Equal `seed` and number of prompts are equal draws of prompts; `noise_seed` is that of the
    fluctuations between checkpoints.
    """
    if asked.falls:
        rise, samples = emergence_samples(
            asked.as_rise(), n_bootstrap=n_bootstrap, seed=seed, noise_seed=noise_seed
        )
        return as_fall(rise), samples
    t, y = np.asarray(asked.tokens, dtype=float), np.asarray(asked.values, dtype=float)
    prompts = None if asked.per_prompt is None else asked.per_prompt.to_numpy(dtype=float)
    _check(t, y, prompts)
    threshold = asked.threshold
    rule: Literal["half rise", "threshold"] = "half rise" if threshold is None else "threshold"
    blank = Emergence(
        "never", rule, int(y.size), float(t[0]), float(t[-1]), float(y[-1]), level=threshold
    )
    reasons = [""] * y.size if asked.not_above_chance is None else list(asked.not_above_chance)
    if len(reasons) != y.size:
        raise ValueError(
            f"{len(reasons)} checkpoints are said to be above chance or not, of {y.size}"
        )
    counts = np.array([not reason for reason in reasons], dtype=bool)
    if not counts.any():
        return never_above(blank, reasons), NO_SAMPLES
    x = log_tokens(t)
    if y.size < FEWEST:
        return _too_few(blank, Seen(t, x, y, y, np.empty((0, 0)), 0.0), reasons), NO_SAMPLES
    if prompts is not None and prompts.shape[1] < 2:
        prompts = None
    stderr = None if asked.stderr is None else np.asarray(asked.stderr, dtype=float)
    smooth = smooth_curve(x, y)
    left = alike_about(asked.fit, x, y, smooth) if y.size >= MIN_POINTS else None
    # Each takes for noise what it doesn't follow, a trend that the logistic misses among it, so the
    # smaller of the two is nearer to the noise's own.
    smooth = smooth if left is None else replace(smooth, alike=min(smooth.alike, left))
    noise = Noise(prompts, stderr, n_bootstrap, seed, noise_seed)
    curves = sample_smooth(x, smooth, noise)
    alike = hidden_by_neighbours(smooth.alike)
    seen = Seen(t, x, y, smooth.values, curves, float(smooth.noise.max()), alike)
    blank = _with_levels(_described(blank, asked), seen, smooth)
    low = _place_of(seen.smooth, blank.lower)
    assert blank.level is not None
    levels = (
        (curves[:, low] + curves[:, -1]) / 2
        if threshold is None
        else np.full(n_bootstrap, threshold)
    )
    start = low if threshold is None else 0
    samples = points_of(
        *(x, since(counted(curves, counts), start), levels),
        curves[:, low] if threshold is None else None,
    )
    if threshold is None:
        emergence = read_half_rise(blank, seen, asked.chance)
    else:
        emergence = read_threshold(blank, seen, threshold)
    emergence, moved = gate(emergence, t, seen.smooth, reasons)
    emergence = _checked(emergence, seen, samples, moved)
    if emergence.status != "emerged":
        return emergence, samples
    if moved or LAST_ONLY in emergence.note:
        return _between_checkpoints(emergence, seen, samples, moved), samples
    found = Found(asked, seen, smooth, samples, noise, start, left)
    return found.with_estimate(emergence)


def _described(blank: Emergence, asked: Curve) -> Emergence:
    """With what the three models say, where there are checkpoints enough to fit them."""
    if blank.n < MIN_POINTS:
        return blank
    fit = asked.fit
    return replace(
        blank,
        shape=describe(fit),
        aicc_logistic=_finite(fit.aicc_logistic),
        aicc_constant=_finite(fit.aicc_constant),
        aicc_linear=_finite(fit.aicc_linear),
    )


def _with_levels(blank: Emergence, seen: Seen, smooth: Smooth) -> Emergence:
    """With the levels before and after the rise: those of the smooth curve at the first and the
    last checkpoint, or before its crossing at the lowest one where it clearly dips.
    """
    values = seen.smooth
    low = 0
    middle = float(values[0] + values[-1]) / 2 if blank.level is None else blank.level
    index = int(held_crossing(values, middle))
    if 0 < index < values.size:
        lowest = int(np.argmin(values[:index]))
        dips = values[0] - values[lowest] > DIP * (values[-1] - values[lowest])
        low = lowest if dips and seen.clear(0, lowest) else 0
    lower, upper = float(values[low]), float(values[-1])
    return replace(
        blank,
        level=(lower + upper) / 2 if blank.level is None else blank.level,
        lower=lower,
        upper=upper,
        autocorrelation=smooth.alike,
        beyond_chance=rise_beyond_chance(seen.x, seen.y),
    )


def _checked(emergence: Emergence, seen: Seen, samples: EmergencePoints, moved: bool) -> Emergence:
    """`ambiguous` where what was found is no more than what wandering gives, or doesn't hold in the
    bootstrap. A point that `moved` to where a behaviour is above chance need not be one of a rise.
    """
    if emergence.status == "emerged" and not moved and (emergence.beyond_chance or 0.0) <= 1:
        return not_emerged(emergence, "ambiguous", "no more than wandering", WANDERS)
    holds = emergence.status == "emerged" or (emergence.status, emergence.rule) == (
        "already",
        "threshold",
    )
    if not samples.left.size or moved or not holds:
        return emergence
    support = float((samples.right < np.inf).mean())
    emergence = replace(emergence, bootstrap_support=support)
    if support < MIN_SUPPORT and LAST_ONLY not in emergence.note:
        note = f"the crossing holds in only {support:.0%} of bootstrap samples"
        return not_emerged(emergence, "ambiguous", "low bootstrap support", note)
    return emergence


def _too_few(blank: Emergence, seen: Seen, reasons: Sequence[str]) -> Emergence:
    """A curve of too few checkpoints to tell a rise from wandering: the observed crossing of a
    threshold, if it has one; of a half-rise nothing can be said.
    """
    few = f"too few checkpoints to tell a rise from wandering (n={seen.y.size})"
    if blank.rule == "half rise" or blank.level is None:
        return not_emerged(blank, "ambiguous", "too few checkpoints", few)
    read = read_threshold(blank, seen, blank.level)
    emergence, _ = gate(read, seen.t, seen.y, reasons)
    if emergence.status != "emerged":
        return emergence
    return not_emerged(emergence, "ambiguous", "too few checkpoints", few)


def _between_checkpoints(
    emergence: Emergence, seen: Seen, samples: EmergencePoints, moved: bool
) -> Emergence:
    """The estimate of a curve whose crossing is known as the gap between two checkpoints, because
    the last one alone is above, or because it counts only from a checkpoint on.
    """
    assert emergence.crossing is not None
    low, high = emergence.crossing_low, emergence.crossing_high
    assert low is not None and high is not None
    if moved and samples.left.size:
        left, right = central_interval(samples.left, samples.right)
        low = min(low, max(float(np.exp(left)), float(seen.t[0])))
        high = max(high, float(np.exp(right)))
    return replace(
        emergence,
        tokens=emergence.crossing,
        low=low,
        high=high if high <= seen.t[-1] else None,
        interval="checkpoints",
    )


def _place_of(values: Array, value: float | None) -> int:
    return int(np.flatnonzero(values == value)[0])


def _check(t: Array, y: Array, prompts: Array | None) -> None:
    if t.ndim != 1 or t.shape != y.shape or y.size < 2:
        raise ValueError(
            f"tokens and values must be two curves of equal length (at least 2), not "
            f"{t.shape} and {y.shape}"
        )
    if not (np.isfinite(t).all() and np.isfinite(y).all()) or (np.diff(t) <= 0).any() or t[0] < 0:
        raise ValueError("tokens must rise strictly from 0 or more, and every value must be finite")
    if prompts is not None and (prompts.shape[0] != y.size or not np.isfinite(prompts).all()):
        raise ValueError("values per prompt must be finite, with one row a checkpoint")


def _finite(value: float) -> float | None:
    return value if np.isfinite(value) else None
