"""Suites whose emergence points are known: curves over checkpoints with the kinds of noise and
gaps that real ones have.

What is true. A curve is the ability of a population of prompts, m(t) = lower + rise · E[s((log t −
log t50 − d) / width)], the mean over the prompts' own delays d, with s the logistic function or one
of the shapes of `SHARES`; the *half-rise* is where m is, for good, half-way between its values at
the first (or, where it dips, the lowest) and the last checkpoint, a *threshold* point where m
passes the level for good. Two kinds of noise lie on it:

- between checkpoints: each checkpoint's ability lies beside m by a random amount, the same for all
  prompts, larger once the ability is there (`between`, as a share of the rise);
- between prompts: only `n_prompts` of the population are asked. Each has its own ease (a factor,
  `ease`) and delay (`delay`), the same at all checkpoints, and its own fresh noise at each
  (`within`).

The truth is about the trend m of the population, so that an interval must make room for both. Where
only values are handed over (`values_only`) nothing can be known about other prompts, and the
prompts' own noise is left out: the truth is about these prompts.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Literal

import numpy as np
import pandas as pd
from scipy.optimize import brentq
from scipy.special import expit

TOKENS_PER_STEP = 2_097_152
SCHEDULES = {
    "pythia": np.array([0, *(2**k for k in range(10)), *range(1000, 144_000, 1000)]),
    # The steps that the paper looks at.
    "paper": np.array(
        [
            1,
            2,
            4,
            8,
            16,
            32,
            64,
            128,
            256,
            512,
            *range(1000, 16_000, 1000),
            *range(20_000, 75_000, 5000),
            *range(80_000, 150_000, 10_000),
        ]
    ),
    "published": np.array(
        [0, *(2**k for k in range(10)), 1000, 3000, *range(13_000, 150_000, 10_000)]
    ),
    "nine": np.array([0, 128, 512, 1000, 2000, 4000, 16_000, 64_000, 143_000]),
    "few": np.array([0, 16, 128, 512, 1000, 2000, 4000, 8000, 16_000, 32_000, 64_000, 143_000]),
}
Shape = Literal[
    "rise",
    "flat",
    "line",
    "transient",
    "wander",
    "creep",
    "two parts",
    "two stages",
    "overshoot",
    "dip",
    "ceiling",
    "gompertz",
]
Shown = Literal["prompts", "values", "stderr"]


@dataclass(frozen=True)
class Setting:
    """How curves are made.

    Attributes:
        schedule: a name of `SCHEDULES`.
        shape: `rise`; `flat` (at `lower`); `line` (in log tokens); `transient` (a rise, then a fall
            of the share `lost` of it); `wander` (no rise, but neighbouring checkpoints are alike:
            autoregressive noise with coefficient 0.5); `creep` (a rise, then slow further growth in
            log tokens); `two parts` (half as a quick rise, half as a straight line in log tokens,
            as most published accuracies); `two stages` (two rises, two log tokens apart);
            `overshoot` (by half, then it settles); `dip` (before the rise); `ceiling` (a rise that
            is cut off); `gompertz` (a quick start, a slow end).
        shown: what is handed over: values per prompt, the values alone, or values with their
            standard errors over prompts.
        lower, rise, width: of the trend; width in natural-log tokens.
        steps: range of steps in which the half-rise is drawn, uniformly in log steps.
        between, within, ease, delay: noise, see the module; the first three as shares of the rise,
            delay in log tokens.
        steady: the noise between checkpoints is as large before the rise as after it.
        alike: autocorrelation of that noise; 1 for a random walk.
        lost: share of the rise that a transient loses.
        n_prompts: prompts asked.
        binary: prompts are right or wrong: 1 with the probability that the trend gives.
        outliers: share of checkpoints that went wrong (ability lost there), among those after the
            half-rise.
        duplicates: share of the earlier checkpoints that serve the last one's weights.
        level: of the threshold, as a share of the rise; none for the half-rise.
    """

    schedule: str = "paper"
    shape: Shape = "rise"
    shown: Shown = "prompts"
    lower: float = 0.0
    rise: float = 1.0
    width: float = 0.5
    steps: tuple[float, float] = (1500.0, 20_000.0)
    between: float = 0.05
    within: float = 0.3
    ease: float = 0.3
    delay: float = 0.0
    steady: bool = False
    alike: float = 0.0
    lost: float = 0.9
    n_prompts: int = 70
    binary: bool = False
    outliers: float = 0.0
    duplicates: float = 0.0
    level: float | None = None


@dataclass(frozen=True)
class Simulated:
    """A curve [checkpoint], what else is known of it, and the truth: tokens of the rise's middle,
    the threshold where there is one, and the tokens of the emergence point asked for.
    """

    tokens: np.ndarray
    values: np.ndarray
    per_prompt: pd.DataFrame | None
    stderr: np.ndarray | None
    half: float
    threshold: float | None
    point: float
    copies: np.ndarray


def population(x: np.ndarray, middle: float, setting: Setting) -> np.ndarray:
    """The trend m at log tokens `x`, with delays averaged by Gauss–Hermite quadrature (41 nodes:
    exact to 1e-6 for delays of up to four widths).
    """
    nodes, weights = np.polynomial.hermite_e.hermegauss(41)
    if not setting.delay:
        nodes, weights = np.zeros(1), np.ones(1)
    late = np.asarray(x)[..., None] - middle - setting.delay * nodes
    share = shares(late, setting) @ weights / weights.sum()
    return np.asarray(setting.lower + setting.rise * share)


def shares(late: np.ndarray, setting: Setting) -> np.ndarray:
    """Share of the rise at log tokens `late` after the middle, of any shape."""
    width = setting.width
    rise = expit(late / width)
    match setting.shape:
        case "rise":
            return np.asarray(rise)
        case "creep":
            return np.asarray(rise * (1 + 0.15 * np.maximum(late, 0)))
        case "transient":
            return np.asarray(rise * (1 - setting.lost * expit((late - 2.0) / width)))
        case "two parts":
            return np.asarray(0.5 * expit(late / 0.25) + 0.5 * np.clip(late / np.log(75), 0, 1))
        case "two stages":
            return np.asarray(0.4 * expit(late / 0.25) + 0.6 * expit((late - 2) / 0.25))
        case "overshoot":
            return np.asarray(rise * (1.5 - 0.5 * expit((late - 1.5) / 0.4)))
        case "dip":
            return np.asarray(rise - 0.4 * np.exp(-(((late + 2) / 0.7) ** 2)))
        case "ceiling":
            return np.asarray(np.minimum(1.3 * rise, 1.0))
        case "gompertz":
            return np.asarray(np.exp(-np.exp(-late / width)))
        case "line":
            return np.asarray((late + 8) / 16)
        case _:
            return np.zeros_like(late)


def half_level(x: np.ndarray, middle: float, setting: Setting) -> float:
    """Half-way between the trend's values before its rise and at the last checkpoint."""
    trend = population(x, middle, setting)
    before = trend[x <= middle] if setting.shape == "dip" else trend[:1]
    return float((before.min() + trend[-1]) / 2)


def passes(level: float, x: np.ndarray, middle: float, setting: Setting) -> float:
    """Log tokens at which the trend passes a level for good, by bisection; infinite where it is
    above from the first checkpoint, or not at the last.
    """
    fine = np.linspace(x[0] - 15, x[-1] + 15, 6000)
    below = np.flatnonzero(population(fine, middle, setting) < level)
    if not below.size or below[-1] == fine.size - 1:
        return float("inf") if below.size else -float("inf")
    ends = fine[below[-1]], fine[below[-1] + 1]
    return float(brentq(lambda v: float(population(np.array(v), middle, setting)) - level, *ends))


def simulate(setting: Setting, seed: int | np.random.SeedSequence) -> Simulated:
    """One curve."""
    rng = np.random.default_rng(seed)
    tokens = SCHEDULES[setting.schedule] * float(TOKENS_PER_STEP)
    n, prompts = tokens.size, setting.n_prompts
    x = np.log(np.maximum(tokens, TOKENS_PER_STEP / 2))
    middle = float(rng.uniform(*np.log(np.array(setting.steps) * TOKENS_PER_STEP)))
    delays = rng.normal(0, 1, prompts) * setting.delay
    ease = 1 + setting.ease * rng.normal(0, 1, prompts)
    share = shares(x[:, None] - middle - delays, setting)
    noise = rng.normal(0, 1, n)
    alike = 0.5 if setting.shape == "wander" else setting.alike
    for k in range(1, n if alike else 0):
        noise[k] = alike * noise[k - 1] + (np.sqrt(1 - alike**2) if alike < 1 else 1) * noise[k]
    trained = (
        expit((x - np.log(1000 * TOKENS_PER_STEP)) / 0.5)
        if setting.shape in ("flat", "wander", "line")
        else share.mean(axis=1)
    )
    between = (
        setting.between * setting.rise * (1.0 if setting.steady else 0.15 + 0.85 * trained) * noise
    )
    lost = (rng.random(n) < setting.outliers) & (x > middle)
    share = np.where(lost[:, None], 0.3 * share, share)
    if setting.binary:
        chance = np.clip(setting.lower + setting.rise * share + between[:, None], 0.0, 1.0)
        per_prompt = (rng.random((n, prompts)) < chance).astype(float)
    else:
        own = setting.within * setting.rise * rng.normal(0, 1, (n, prompts))
        if setting.shown == "values":
            ease, own = np.ones(prompts), np.zeros((n, prompts))
        per_prompt = setting.lower + setting.rise * share * ease + between[:, None] + own
    copies = np.zeros(n, dtype=bool)
    if setting.duplicates:
        copies[1:-1] = rng.random(n - 2) < setting.duplicates
        per_prompt[copies] = per_prompt[-1]
    threshold = None if setting.level is None else setting.lower + setting.level * setting.rise
    level = half_level(x, middle, setting) if threshold is None else threshold
    flat = setting.shape in ("flat", "wander")
    point = middle if flat else passes(level, x, middle, setting)
    errors = per_prompt.std(axis=1, ddof=1) / np.sqrt(prompts)
    return Simulated(
        tokens,
        per_prompt.mean(axis=1),
        pd.DataFrame(per_prompt) if setting.shown == "prompts" else None,
        errors if setting.shown == "stderr" else None,
        float(np.exp(middle)),
        threshold,
        float(np.exp(min(point, 700.0))),
        copies,
    )


def without_copies(curve: Simulated) -> Simulated:
    """The curve without the checkpoints that serve another's weights, as the summary drops them
    once their hashes are known.
    """
    kept = ~curve.copies
    return replace(
        curve,
        tokens=curve.tokens[kept],
        values=curve.values[kept],
        per_prompt=None if curve.per_prompt is None else curve.per_prompt[kept],
        stderr=None if curve.stderr is None else curve.stderr[kept],
        copies=curve.copies[kept],
    )


@dataclass(frozen=True)
class Suite:
    """Emergence points of several sizes, as a trend takes them: [size] parameters, tokens or
    bounds, and kinds.

    And what it doesn't see: the points of all sizes, censored or not, and the true slope.
    """

    params: np.ndarray
    values: np.ndarray
    kinds: list[Literal["observed", "right-censored", "left-censored"]]
    points: np.ndarray
    slope: float


def simulate_suite(
    seed: int,
    *,
    slope: float = -0.5,
    n_sizes: int = 8,
    scatter: float = 0.25,
    last: float | None = None,
    first: float | None = None,
    n_seeds: int = 1,
) -> Suite:
    """Sizes from 7e7 to 1.2e10 parameters whose log points lie about a line through 4e9 tokens at
    their middle.

    Args:
        seed: of the random numbers.
        slope: of log tokens against log parameters.
        n_sizes: sizes, evenly spaced in log parameters.
        scatter: standard deviation of log tokens about the line.
        last: tokens of the last checkpoint: what would come after is right-censored; none
            for no end.
        first: tokens of the first checkpoint: what came before is left-censored.
        n_seeds: training seeds a size, an odd number: the median of all of them stands for the
            size.
    """
    rng = np.random.default_rng(seed)
    params = np.geomspace(7e7, 1.2e10, n_sizes)
    centre = np.log(params) - np.log(params).mean()
    points = np.log(4e9) + slope * centre[:, None] + rng.normal(0, scatter, (n_sizes, n_seeds))
    # The median of several seeds is known unless it is censored itself, however many of the others
    # are.
    values = np.exp(np.median(points, axis=1))
    end, start = np.inf if last is None else last, 0.0 if first is None else first
    kinds: list[Literal["observed", "right-censored", "left-censored"]] = [
        "right-censored" if value > end else "left-censored" if value < start else "observed"
        for value in values
    ]
    return Suite(params, np.clip(values, start, end), kinds, values, slope)
