"""When an ability or a role appears: the token count at which its curve rises, with an interval and
a status.

Two answers stand beside each other. The fitted one: a robust logistic curve in log tokens
(`logistic`), with a bootstrap interval (`resampling`). The model-free one: the first crossing that
holds (`crossings`), between the two checkpoints around it. A curve for which a constant or a
straight line does about as well (AICc; Hurvich and Tsai 1989) has no single emergence point, and
nothing is said about token counts outside of the checkpoints seen.

What an interval is about: the trend of the curve for the population that the prompts were drawn
from, through noise of two kinds at once: the choice of prompts, which shifts the whole curve, and
fluctuations of single checkpoints. Where there are only values, it is about these very prompts.
Neither covers what another training seed would give: that is the spread over seeds in the summary.
`tests/benchmarks/simulated.py` measures how often the intervals cover a known truth.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Literal

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike, NDArray

from circuitwatch.summary.statistics.chance import counted, gate, never_above
from circuitwatch.summary.statistics.crossings import (
    CLEAR,
    Array,
    held_crossing,
    noise,
    plainly_crossed,
)
from circuitwatch.summary.statistics.curve import Curve
from circuitwatch.summary.statistics.emergence_points import (
    NO_SAMPLES,
    EmergencePoints,
    central_interval,
    resolved,
    sample_emergence_points,
)
from circuitwatch.summary.statistics.falls import as_fall
from circuitwatch.summary.statistics.logistic import (
    MIN_POINTS,
    RISE,
    LogisticFit,
    crossing,
    curve,
    log_tokens,
)
from circuitwatch.summary.statistics.status import (
    Emergence,
    not_emerged,
    read_crossing,
    read_half_rise,
    simpler_model,
)
from circuitwatch.units import format_tokens

MIN_SUPPORT = 0.8
"""Share of bootstrap samples in which the crossing must hold for the status to be clear."""


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
        threshold: an absolute level; none for the half-rise.
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
        n_bootstrap: bootstrap samples for the interval; 0 for none.
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
    threshold, chance, not_above_chance = asked.threshold, asked.chance, asked.not_above_chance
    t, y = np.asarray(asked.tokens, dtype=float), np.asarray(asked.values, dtype=float)
    prompts = None if asked.per_prompt is None else asked.per_prompt.to_numpy(dtype=float)
    _check(t, y, prompts)
    x = log_tokens(t)
    rule: Literal["half rise", "threshold"] = "half rise" if threshold is None else "threshold"
    blank = Emergence(
        "never", rule, int(y.size), float(t[0]), float(t[-1]), float(y[-1]), level=threshold
    )
    reasons = [""] * y.size if not_above_chance is None else list(not_above_chance)
    if len(reasons) != y.size:
        raise ValueError(
            f"{len(reasons)} checkpoints are said to be above chance or not, of {y.size}"
        )
    counts = np.array([not reason for reason in reasons], dtype=bool)
    if not counts.any():
        return never_above(blank, reasons), NO_SAMPLES
    if prompts is not None and prompts.shape[1] < 2:
        prompts = None
    errors = None if asked.stderr is None else np.asarray(asked.stderr, dtype=float)
    if prompts is not None:
        errors = prompts.std(axis=1, ddof=1) / np.sqrt(prompts.shape[1])
    sigma = noise(y, errors)
    if y.size < MIN_POINTS:
        return _without_fit(blank, t, x, y, sigma, reasons), NO_SAMPLES
    fit = asked.fit
    simpler = simpler_model(fit)
    if threshold is None and simpler:
        n_bootstrap = 0
    samples = sample_emergence_points(
        x, y, fit, threshold, prompts, errors, n_bootstrap, seed, noise_seed
    )
    held = held_crossing(counted(samples.curves, counts), samples.levels)
    support = float((held < y.size).mean()) if n_bootstrap else None
    blank = replace(
        blank,
        level=(fit.lower + fit.upper) / 2 if threshold is None else threshold,
        lower=fit.lower,
        upper=fit.upper,
        bootstrap_support=support,
        aicc_logistic=_finite(fit.aicc_logistic),
        aicc_constant=_finite(fit.aicc_constant),
        aicc_linear=_finite(fit.aicc_linear),
    )
    if threshold is None:
        emergence = read_half_rise(blank, t, x, y, fit, samples.upper, chance, sigma)
    else:
        emergence = read_crossing(blank, t, x, y, threshold, sigma)
        if emergence.status == "emerged" and simpler and not plainly_crossed(y, threshold, sigma):
            note = f"crosses, but a {simpler} fits as well as a rise (AICc)"
            emergence = not_emerged(emergence, "ambiguous", simpler, note)
    emergence, moved = gate(emergence, t, y, reasons)
    if emergence.status in ("emerged", "already") and support is not None and support < MIN_SUPPORT:
        note = f"the crossing holds in only {support:.0%} of bootstrap samples"
        emergence = not_emerged(emergence, "ambiguous", "low bootstrap support", note)
    if emergence.status != "emerged":
        return emergence, samples
    return _with_estimate(emergence, t, x, y, fit, samples, held, sigma, moved), samples


def _without_fit(
    blank: Emergence, t: Array, x: Array, y: Array, sigma: float, reasons: Sequence[str]
) -> Emergence:
    """A curve of too few checkpoints for a fit: the observed crossing of a threshold, if it has
    one; of a half-rise nothing can be said.
    """
    few = f"too few checkpoints for a fit (n={y.size})"
    if blank.rule == "half rise" or blank.level is None:
        return not_emerged(blank, "ambiguous", "too few checkpoints", few)
    emergence, _ = gate(read_crossing(blank, t, x, y, blank.level, sigma), t, y, reasons)
    if emergence.status != "emerged":
        return emergence
    return replace(
        emergence,
        tokens=emergence.crossing,
        low=emergence.crossing_low,
        high=emergence.crossing_high,
        interval="checkpoints",
        note="; ".join(filter(None, [emergence.note, few])),
    )


def _with_estimate(
    emergence: Emergence,
    t: Array,
    x: Array,
    y: Array,
    fit: LogisticFit,
    samples: EmergencePoints,
    held: NDArray[np.intp],
    sigma: float,
    moved: bool,
) -> Emergence:
    """Add the estimate and its interval to a curve that has emerged.

    The estimate is where the fitted curve passes the level, and the interval the bootstrap's,
    unless the curve misses the values around the observed crossing by more than noise (its shape
    doesn't suit the data) or the rise is hidden between two checkpoints; then the estimate is the
    observed crossing, and the interval covers both checkpoints around it too.
    """
    assert emergence.crossing is not None and emergence.level is not None
    index = int(np.flatnonzero(t == emergence.crossing_high)[0])
    fitted = float(crossing(fit.parameters, emergence.level))
    misses = moved or not x[0] <= fitted <= x[-1] or _misses(x, y, fit, fitted, sigma)
    hidden = (
        moved
        or float(np.diff(np.concatenate(resolved(fit.parameters[None], np.array([fitted]), x)))[0])
        > 0
    )
    low, high = central_interval(samples.left, samples.right)
    if misses:
        low, high = central_interval(x[np.maximum(held - 1, 0)], np.append(x, np.inf)[held])
    seen = float(np.log(emergence.crossing))
    kind: Literal["fit", "checkpoints", "both"] = "checkpoints" if misses or hidden else "fit"
    observed = (seen, seen) if emergence.rule == "threshold" else (x[index - 1], x[index])
    if kind == "fit" and samples.left.size and (observed[1] < low or observed[0] > high):
        kind = "both"
    if kind != "fit":
        low, high = min(low, x[index - 1]), max(high, x[index])
    estimate = (
        seen
        if kind == "checkpoints" or (kind == "both" and emergence.rule == "threshold")
        else fitted
    )
    low, high = min(low, estimate), max(high, estimate)
    beside = not x[index - 1] <= estimate <= x[index]
    notes = [
        emergence.note,
        "the fitted curve misses the values around the crossing" if misses and not moved else "",
        "the fitted and the observed crossing differ by more than the fit's error"
        if kind == "both"
        else "",
        f"the values themselves cross at {format_tokens(emergence.crossing)} tokens"
        if beside and kind != "checkpoints"
        else "",
    ]
    return replace(
        emergence,
        tokens=float(np.exp(estimate)),
        note="; ".join(filter(None, notes)),
        width=None if moved else fit.width,
        risen=None if moved else float(np.exp(min(fit.middle + RISE * fit.width, 700.0))),
        fitted=float(np.exp(fitted)) if x[0] <= fitted <= x[-1] and not moved else None,
        interval=kind,
        low=float(t[0]) if low <= x[0] else float(np.exp(low)),
        high=None if high > x[-1] + 1e-9 else float(np.exp(high)),
    )


def _misses(x: Array, y: Array, fit: LogisticFit, at: float, sigma: float) -> bool:
    """Whether the curve is further from the values around log tokens `at` than noise allows: two of
    the four nearest checkpoints, so not an odd one.
    """
    index = int(np.searchsorted(x, at))
    near = slice(max(index - 2, 0), index + 2)
    return float(np.sort(np.abs(curve(fit.parameters, x[near]) - y[near]))[-2]) > CLEAR * max(
        sigma, fit.scale
    )


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
