"""When an ability or a role appears: the token count at which its curve rises, with an interval and a status.

Two answers stand beside each other. The fitted one: a robust logistic curve in log tokens (`logistic`), with a bootstrap interval (`resampling`).
The model-free one: the first crossing that holds (`crossings`), between the two checkpoints around it. A curve for which a constant or
a straight line does about as well (AICc; Hurvich and Tsai 1989) has not emerged at any one moment, and nothing is said about token counts
outside of the checkpoints seen.

What an interval is about: the trend of the curve for the population that the prompts were drawn from, through noise of two kinds at once: the
choice of prompts, which shifts the whole curve, and fluctuations of single checkpoints. Where there are only values, it is about these very
prompts. Neither covers what another training seed would give: that is the spread over seeds in the summary.
`tests/benchmarks/simulated.py` measures how often the intervals cover a known truth.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Literal

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike, NDArray

from circuitwatch.summary.crossings import (
    CLEAR,
    TAIL,
    Array,
    held_crossing,
    interpolate,
    longest_run,
    noise,
    rise_and_fall,
)
from circuitwatch.summary.logistic import (
    MIN_POINTS,
    RISE,
    LogisticFit,
    crossing,
    curve,
    fit_logistic,
    log_tokens,
    pinned,
    refit,
)
from circuitwatch.summary.resampling import checkpoint_noise, prompt_shifts

Status = Literal["emerged", "already", "never", "transient", "ambiguous"]

AICC_MARGIN = 6.0
"""A rise must beat the constant and the straight line by more than this: models within 4 to 7 of the best have some support left (Burnham and
Anderson 2002), and wandering curves without a rise gain a few points by chance."""
EQUAL = 2.0
"""A straight line must beat the constant by more than this to be called growth."""
MIN_SUPPORT = 0.8
"""Share of bootstrap samples in which the crossing must hold for the status to be clear."""
COVERAGE = 0.95


@dataclass(frozen=True)
class Emergence:
    """What is known about the moment a curve rose. Token counts are missing (none) where the status doesn't give one.

    Attributes:
        status: `emerged`; `already` (above at the first checkpoint); `never` (not by the last one: censored there); `transient`
            (rose and fell); `ambiguous` (the note says why).
        rule: `half rise` or `threshold`.
        level: the value that is crossed: the threshold, or half-way between the fitted levels.
        tokens: best estimate of the moment: where the fitted curve passes the level, or the observed crossing where the fit can't tell (see `interval`).
        low, high: 95 % interval of `tokens`; `high` is missing if it lies beyond the last checkpoint.
        crossing: model-free estimate: linear interpolation in log tokens between the two checkpoints around the crossing.
        crossing_low, crossing_high: those two checkpoints.
        fitted: where the fitted curve crosses the level, if it does among the checkpoints.
        lower, upper: the fitted levels before and after the rise.
        width, risen: the fitted width of the rise, in natural-log tokens, and the token count at which 90 % of it is done (it may lie beyond the
            last checkpoint).
        interval: what `low` and `high` rest on: `fit`, the bootstrap of the fitted curve; `checkpoints`, the checkpoints around the crossing, where the rise
            is hidden between two of them or the curve's shape doesn't suit the data; `both` covers the two, where the observed
            crossing lies outside of the fit's interval. `fit` covers the truth 95 times in 100 for a curve of this shape; the other two more often.
        final: the value at the last checkpoint.
        support: share of bootstrap samples in which a crossing holds.
        n, first_tokens, last_tokens: number of checkpoints, and the tokens of the first and the last.
        aicc_*: Akaike's criterion (small-sample) of the three models; smaller is better.
        note: what a reader should know, in words.
    """

    status: Status
    rule: Literal["half rise", "threshold"]
    n: int
    first_tokens: float
    last_tokens: float
    final: float
    level: float | None = None
    tokens: float | None = None
    low: float | None = None
    high: float | None = None
    crossing: float | None = None
    crossing_low: float | None = None
    crossing_high: float | None = None
    fitted: float | None = None
    lower: float | None = None
    upper: float | None = None
    width: float | None = None
    risen: float | None = None
    interval: Literal["fit", "checkpoints", "both"] | None = None
    support: float | None = None
    aicc_logistic: float | None = None
    aicc_constant: float | None = None
    aicc_linear: float | None = None
    note: str = ""


@dataclass(frozen=True)
class Moments:
    """Bootstrap samples of a curve.

    Attributes:
        curves: curves about the values seen [sample, checkpoint].
        levels: the level asked for in each [sample].
        upper: upper level of the refitted curves [sample].
        width: their width in natural-log tokens [sample].
        left, right: where the refitted curve passes the level, as an interval of log tokens [sample]: a point, or the gap between checkpoints that hides
            the rise; infinite where it doesn't pass, or where a level of the half-rise isn't known.
    """

    curves: Array
    levels: Array
    upper: Array
    width: Array
    left: Array
    right: Array


NO_SAMPLES = Moments(np.empty((0, 0)), *(np.empty(0) for _ in range(5)))


def fit_emergence(
    tokens: ArrayLike,
    values: ArrayLike,
    *,
    threshold: float | None = None,
    floor: float | None = None,
    per_prompt: pd.DataFrame | None = None,
    stderr: ArrayLike | None = None,
    n_bootstrap: int = 200,
    seed: int = 0,
) -> Emergence:
    """Say when a curve rose through `threshold`, or, without one, through half of its own rise.

    Args:
        tokens: [checkpoint] training tokens, rising strictly; the untrained model has 0.
        values: [checkpoint] the curve.
        threshold: an absolute level; none for the half-rise.
        floor: for the half-rise: the level that the risen curve must clear to count as more than chance.
        per_prompt: one row a checkpoint (same order), one column a prompt; its row means are the curve.
        stderr: [checkpoint] standard errors of the values over prompts, for curves of which no more is known; not used beside `per_prompt`.
        n_bootstrap: bootstrap samples for the interval; 0 for none.
        seed: of the bootstrap.

    Returns:
        status, estimates and intervals; see `Emergence`.

    Raises:
        ValueError: lengths differ, tokens don't rise, fewer than two checkpoints, or a value is missing or not finite.
    """
    return emergence_samples(
        tokens,
        values,
        threshold=threshold,
        floor=floor,
        per_prompt=per_prompt,
        stderr=stderr,
        n_bootstrap=n_bootstrap,
        seed=seed,
    )[0]


def emergence_samples(
    tokens: ArrayLike,
    values: ArrayLike,
    *,
    threshold: float | None = None,
    floor: float | None = None,
    per_prompt: pd.DataFrame | None = None,
    stderr: ArrayLike | None = None,
    n_bootstrap: int = 200,
    seed: int = 0,
    noise_seed: int | None = None,
) -> tuple[Emergence, Moments]:
    """As `fit_emergence`, with the bootstrap samples, for comparisons of two curves.

    Equal `seed` and number of prompts are equal draws of prompts; `noise_seed` is that of the fluctuations between checkpoints.
    """
    t, y = np.asarray(tokens, dtype=float), np.asarray(values, dtype=float)
    prompts = None if per_prompt is None else per_prompt.to_numpy(dtype=float)
    _check(t, y, prompts)
    x = log_tokens(t)
    rule: Literal["half rise", "threshold"] = "half rise" if threshold is None else "threshold"
    blank = Emergence("never", rule, int(y.size), float(t[0]), float(t[-1]), float(y[-1]), level=threshold)
    if prompts is not None and prompts.shape[1] < 2:
        prompts = None
    errors = None if stderr is None else np.asarray(stderr, dtype=float)
    if prompts is not None:
        errors = prompts.std(axis=1, ddof=1) / np.sqrt(prompts.shape[1])
    sigma = noise(y, errors)
    if y.size < MIN_POINTS:
        if threshold is None:
            few = replace(blank, status="ambiguous", note=f"too few checkpoints for a fit (n={y.size})")
            return few, NO_SAMPLES
        known = _read_crossing(blank, t, x, y, threshold, sigma)
        if known.status != "emerged":
            return known, NO_SAMPLES
        return replace(
            known,
            tokens=known.crossing,
            low=known.crossing_low,
            high=known.crossing_high,
            interval="checkpoints",
            note=f"too few checkpoints for a fit (n={y.size})",
        ), NO_SAMPLES
    fit = fit_logistic(x, y)
    level = (fit.lower + fit.upper) / 2 if threshold is None else threshold
    if threshold is None and _plainer_model(fit):
        n_bootstrap = 0
    around = _moments(x, y, fit, threshold, prompts, errors, n_bootstrap, seed, noise_seed)
    held = held_crossing(around.curves, around.levels)
    support = float((held < y.size).mean()) if n_bootstrap else None
    blank = replace(
        blank,
        level=level,
        lower=fit.lower,
        upper=fit.upper,
        support=support,
        aicc_logistic=_finite(fit.aicc_logistic),
        aicc_constant=_finite(fit.aicc_constant),
        aicc_linear=_finite(fit.aicc_linear),
    )
    if threshold is None:
        known = _read_half_rise(blank, t, x, y, fit, around.upper, floor, sigma)
    else:
        known = _read_crossing(blank, t, x, y, threshold, sigma)
        plainer = _plainer_model(fit)
        if known.status == "emerged" and plainer:
            known = replace(known, status="ambiguous", note=f"crosses, but a {plainer} fits as well as a rise (AICc)")
    if known.status in ("emerged", "already") and support is not None and support < MIN_SUPPORT:
        known = replace(
            known, status="ambiguous", note=f"the crossing holds in only {support:.0%} of bootstrap samples"
        )
    if known.status != "emerged":
        return known, around
    return _with_estimate(known, t, x, y, fit, around, held, sigma), around


def _moments(
    x: Array,
    y: Array,
    fit: LogisticFit,
    threshold: float | None,
    prompts: Array | None,
    stderr: Array | None,
    n: int,
    seed: int,
    noise_seed: int | None,
) -> Moments:
    rng = np.random.default_rng(seed)
    shifts = np.zeros((n, y.size)) if prompts is None else prompt_shifts(prompts, n, rng)
    rng = np.random.default_rng([seed, 1] if noise_seed is None else noise_seed)
    noise = checkpoint_noise(x, y, fit, n, rng, prompts=prompts, stderr=None if prompts is not None else stderr)
    samples = curve(fit.parameters, x) + shifts + noise
    refitted = refit(x, samples, fit)
    levels = refitted[:, :2].mean(axis=1) if threshold is None else np.full(n, threshold)
    left = right = crossing(refitted, levels)
    middle = np.array([fit.middle])
    if np.diff(np.stack(_resolved(fit.parameters[None], middle, x)), axis=0).any():
        left, right = _resolved(refitted, left, x)
    if threshold is None:
        below, above = pinned(refitted, x, samples)
        left, right = np.where(below, -np.inf, left), np.where(above, np.inf, right)
    return Moments(y + shifts + noise, levels, refitted[:, 1], np.exp(refitted[:, 3]), left, right)


def _read_crossing(blank: Emergence, t: Array, x: Array, y: Array, level: float, sigma: float) -> Emergence:
    """Status and crossing of an absolute level, without a model."""
    index = int(held_crossing(y, level))
    if index == 0:
        return replace(blank, status="already", note="at or above the threshold at the first checkpoint")
    if index < y.size:
        return _with_crossing(replace(blank, status="emerged"), t, x, y, level, index)
    above = y >= level
    ends_above = bool(np.median(y[-TAIL:]) >= level)
    start, length = longest_run(above)
    if ends_above:
        return replace(blank, status="ambiguous", note="above the threshold at the end, but not steadily")
    if bool(above[-1]):
        known = replace(blank, status="ambiguous", note="above the threshold at the last checkpoint only")
        return _with_crossing(known, t, x, y, level, y.size - 1)
    if length >= 2:
        fall = float(np.median(y[start : start + length]) - np.median(y[-TAIL:]))
        if fall <= CLEAR * sigma:
            return replace(blank, status="ambiguous", note="hovers about the threshold")
        known = replace(blank, status="transient", note=f"above the threshold at {length} checkpoints, then below")
        return _with_crossing(known, t, x, y, level, start) if start else known
    return replace(blank, note=f"highest value {y.max():.3g}" + (" (a single checkpoint)" if length else ""))


def _read_half_rise(
    blank: Emergence, t: Array, x: Array, y: Array, fit: LogisticFit, uppers: Array, floor: float | None, sigma: float
) -> Emergence:
    """Status and crossing of half the curve's own rise."""
    fallen = rise_and_fall(y, sigma)
    if fallen is not None:
        peak, half = fallen
        known = replace(blank, status="transient", level=half, note=f"highest at {t[peak]:.3g} tokens, then fell")
        up = np.flatnonzero(y[: peak + 1] < half)
        return _with_crossing(known, t, x, y, half, int(up[-1]) + 1) if up.size and up[-1] < peak else known
    plainer = _plainer_model(fit)
    if plainer == "straight line" and fit.slope > 0:
        return replace(blank, status="ambiguous", note="a straight line in log tokens fits as well: no one moment")
    if plainer or fit.upper <= fit.lower:
        start = float(np.median(y[:TAIL]))
        if floor is not None and start - floor > CLEAR * sigma and fit.slope >= 0:
            return replace(blank, status="already", note="above chance at the first checkpoint, and no rise since")
        return replace(blank, note="no rise: a constant fits as well" if plainer == "constant" else "no rise")
    reached = float(np.quantile(uppers, (1 - COVERAGE) / 2)) if uppers.size else fit.upper
    if floor is not None and reached <= floor:
        return replace(blank, note="what it rises to is not above chance")
    assert blank.level is not None
    index = int(held_crossing(y, blank.level))
    if index == 0:
        return replace(blank, status="already", note="past half of its rise at the first checkpoint")
    if index == y.size:
        return replace(blank, status="ambiguous", note="rises, but no crossing of the half-way level holds")
    known = _with_crossing(replace(blank, status="emerged"), t, x, y, blank.level, index)
    if curve(fit.parameters, x[-1:])[0] < fit.lower + 0.9 * (fit.upper - fit.lower):
        known = replace(known, note="still rising at the last checkpoint: half of the rise so far")
    return known


def _with_crossing(known: Emergence, t: Array, x: Array, y: Array, level: float, index: int) -> Emergence:
    return replace(
        known,
        crossing=float(np.exp(interpolate(x, y, level, index))),
        crossing_low=float(t[index - 1]),
        crossing_high=float(t[index]),
    )


def _with_estimate(
    known: Emergence,
    t: Array,
    x: Array,
    y: Array,
    fit: LogisticFit,
    around: Moments,
    held: NDArray[np.intp],
    sigma: float,
) -> Emergence:
    """Add the estimate and its interval to a curve that has emerged.

    The estimate is where the fitted curve passes the level, and the interval the bootstrap's, unless the curve misses the values around the observed
    crossing by more than noise (its shape doesn't suit the data) or the rise is hidden between two checkpoints; then the estimate
    is the observed crossing, and the interval covers both checkpoints around it too.
    """
    assert known.crossing is not None and known.level is not None
    index = int(np.flatnonzero(t == known.crossing_high)[0])
    fitted = float(crossing(fit.parameters, known.level))
    misses = not x[0] <= fitted <= x[-1] or _misses(x, y, fit, fitted, sigma)
    hidden = float(np.diff(np.concatenate(_resolved(fit.parameters[None], np.array([fitted]), x)))[0]) > 0
    low, high = _interval(around.left, around.right)
    if misses:
        low, high = _interval(x[np.maximum(held - 1, 0)], np.append(x, np.inf)[held])
    seen = float(np.log(known.crossing))
    kind: Literal["fit", "checkpoints", "both"] = "checkpoints" if misses or hidden else "fit"
    observed = (seen, seen) if known.rule == "threshold" else (x[index - 1], x[index])
    if kind == "fit" and around.left.size and (observed[1] < low or observed[0] > high):
        kind = "both"
    if kind != "fit":
        low, high = min(low, x[index - 1]), max(high, x[index])
    estimate = seen if kind == "checkpoints" or (kind == "both" and known.rule == "threshold") else fitted
    low, high = min(low, estimate), max(high, estimate)
    notes = [
        known.note,
        "the fitted curve misses the values around the crossing" if misses else "",
        "the fitted and the observed crossing differ by more than the fit's error" if kind == "both" else "",
    ]
    return replace(
        known,
        tokens=float(np.exp(estimate)),
        note="; ".join(filter(None, notes)),
        width=fit.width,
        risen=float(np.exp(min(fit.middle + RISE * fit.width, 700.0))),
        fitted=float(np.exp(fitted)) if x[0] <= fitted <= x[-1] else None,
        interval=kind,
        low=float(t[0]) if low <= x[0] else float(np.exp(low)),
        high=None if high > x[-1] + 1e-9 else float(np.exp(high)),
    )


def _misses(x: Array, y: Array, fit: LogisticFit, at: float, sigma: float) -> bool:
    """Whether the curve is further from the values around log tokens `at` than noise allows: two of the four nearest checkpoints, so not an odd one."""
    index = int(np.searchsorted(x, at))
    near = slice(max(index - 2, 0), index + 2)
    return float(np.sort(np.abs(curve(fit.parameters, x[near]) - y[near]))[-2]) > CLEAR * max(sigma, fit.scale)


def _interval(left: Array, right: Array) -> tuple[float, float]:
    """Central interval of samples that are intervals [sample] themselves; empty (inf, -inf) without samples."""
    if not left.size:
        return np.inf, -np.inf
    tail = max(int((left.size + 1) * (1 - COVERAGE) / 2 + 1e-9) - 1, 0)
    return float(np.sort(left)[tail]), float(np.sort(right)[-tail - 1])


def _resolved(parameters: Array, x50: Array, x: Array) -> tuple[Array, Array]:
    """Each fit's crossing [fit] as an interval of log tokens: a point, or the gap between checkpoints that hides the rise."""
    half = RISE * np.exp(parameters[:, 3, None])
    seen = (np.abs(x - parameters[:, 2, None]) <= half).sum(axis=1)
    gap = np.clip(np.searchsorted(x, x50, side="right") - 1, 0, x.size - 2)
    hidden = (seen < 2) & np.isfinite(x50)
    return np.where(hidden, x[gap], x50), np.where(hidden, x[gap + 1], x50)


def _plainer_model(fit: LogisticFit) -> str | None:
    """The name of the simpler model that fits as well as the logistic curve, if one does."""
    if min(fit.aicc_constant, fit.aicc_linear) > fit.aicc_logistic + AICC_MARGIN:
        return None
    return "constant" if fit.aicc_constant <= fit.aicc_linear + EQUAL else "straight line"


def _check(t: Array, y: Array, prompts: Array | None) -> None:
    if t.ndim != 1 or t.shape != y.shape or y.size < 2:
        raise ValueError(
            f"tokens and values must be two curves of equal length (at least 2), not {t.shape} and {y.shape}"
        )
    if not (np.isfinite(t).all() and np.isfinite(y).all()) or (np.diff(t) <= 0).any() or t[0] < 0:
        raise ValueError("tokens must rise strictly from 0 or more, and every value must be finite")
    if prompts is not None and (prompts.shape[0] != y.size or not np.isfinite(prompts).all()):
        raise ValueError("values per prompt must be finite, with one row a checkpoint")


def _finite(value: float) -> float | None:
    return value if np.isfinite(value) else None
