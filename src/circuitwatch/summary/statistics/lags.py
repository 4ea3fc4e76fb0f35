"""What comes first: the lag between two curves' emergence, its interval and a verdict; and over
sizes, how many of them say so.

The lag is log(tokens of the second) − log(tokens of the first): positive where the first came
before. Its interval comes from bootstrap samples of both curves: with the same prompts in each
sample where both curves are of the same prompts (a paired bootstrap; Efron and Tibshirani 1993,
chapter 8), else independent ones. A rise that is hidden between two checkpoints is an interval in
each sample, so the lag is one too. The model-free answer stands beside it: where the checkpoints
around the two crossings overlap, the order within them was not seen, and the verdict is that
checkpoints are too sparse to tell, whatever a fitted curve says.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
import pandas as pd
from scipy.stats import binomtest

from circuitwatch.summary.statistics.curve import Curve
from circuitwatch.summary.statistics.emergence import emergence_samples
from circuitwatch.summary.statistics.emergence_points import COVERAGE, EmergencePoints
from circuitwatch.summary.statistics.status import Emergence, Status

Verdict = Literal["before", "after", "inconclusive"]
SAID: dict[Status, str] = {
    "emerged": "emerged",
    "already": "was there at its first checkpoint",
    "never": "had not emerged by its last checkpoint",
    "transient": "rose and fell again",
    "ambiguous": "has no clear emergence point",
}
"""What a curve did, where two can't be compared."""
TOO_CLOSE = "too close to tell: the interval of their ratio includes 1"
TOO_SPARSE = "checkpoints are too sparse to tell: both emerged between the same ones"


@dataclass(frozen=True)
class Lag:
    """Which of two curves emerged first.

    Attributes:
        verdict: `before`: the first curve emerged before the second; `after`; `inconclusive` (the
            note says why).
        lag: log(tokens of the second / tokens of the first), in natural logs: 0.69 is twice as many
            tokens; missing where one has no emergence point.
        low, high: 95 % interval; an end is missing where the data don't bound it.
        same_checkpoints: whether the pairs of checkpoints around the two crossings overlap; missing
            where one has no crossing.
        paired: whether the two curves were resampled over the same prompts.
        first, second: the two emergences.
        note: why there is no verdict, or what a bound rests on.
    """

    verdict: Verdict
    lag: float | None
    low: float | None
    high: float | None
    same_checkpoints: bool | None
    paired: bool
    first: Emergence
    second: Emergence
    note: str = ""


@dataclass(frozen=True)
class Agreement:
    """What the sizes say together.

    Attributes:
        before, after, untold: number of sizes with each verdict.
        p: two-sided exact sign test of the estimated lags' signs (Dixon and Mood 1946), over the
            sizes with a lag other than 0 and with crossings between different checkpoints; missing
            without one.
        n: sizes in that test.
        smallest_p: the smallest p that n sizes can give: with fewer than six, no agreement is
            significant at 0.05.
        text: the result in words.
    """

    before: int
    after: int
    untold: int
    p: float | None
    n: int
    smallest_p: float | None
    text: str


Samples = Callable[[Curve, int, int], tuple[Emergence, EmergencePoints]]
"""Emergence and bootstrap samples of a curve, from its seed and its noise seed."""


def lag_between(
    first: Curve,
    second: Curve,
    *,
    n_bootstrap: int = 200,
    seed: int = 0,
    samples: Samples | None = None,
) -> Lag:
    """Lag from the first curve's emergence to the second's; see `Lag`.

    Args:
        first: a curve.
        second: another; they count as of the same prompts where both have values per prompt under
            the same column names.
        n_bootstrap: bootstrap samples of each.
        seed: of the bootstrap.
        samples: gives the samples of a curve where they are kept for several lags.
    """

    def sampled(curve: Curve, seed: int, noise_seed: int) -> tuple[Emergence, EmergencePoints]:
        if samples is not None:
            return samples(curve, seed, noise_seed)
        return emergence_samples(curve, n_bootstrap=n_bootstrap, seed=seed, noise_seed=noise_seed)

    paired = _same_prompts(first.per_prompt, second.per_prompt)
    # Prompts are drawn first from each curve's own generator, so that equal seeds and numbers of
    # prompts are equal draws.
    a, points_a = sampled(first, seed, 2 * seed + 1)
    b, points_b = sampled(second, seed if paired else seed + 7919, 2 * seed + 2)
    lag_of_bounds = _without_both(a, b, paired)
    if lag_of_bounds is not None:
        return lag_of_bounds
    assert a.tokens and b.tokens and a.crossing_low is not None and b.crossing_low is not None
    assert a.crossing_high is not None and b.crossing_high is not None
    lag = float(np.log(b.tokens / a.tokens))
    overlap = a.crossing_low < b.crossing_high and b.crossing_low < a.crossing_high
    low, high = _difference(a, b, points_a, points_b)
    low, high = min(low, lag), max(high, lag)
    verdict: Verdict = "before" if low > 0 else "after" if high < 0 else "inconclusive"
    note = "" if verdict != "inconclusive" else TOO_CLOSE
    if overlap:
        verdict, note = (
            "inconclusive",
            TOO_SPARSE,
        )
    return Lag(verdict, lag, _finite(low), _finite(high), overlap, paired, a, b, note)


def agreement(
    lags: Sequence[Lag], names: tuple[str, str] = ("the first", "the second")
) -> Agreement:
    """Whether one thing comes before another at every size; see `Agreement`."""
    counts = {v: sum(lag.verdict == v for lag in lags) for v in ("before", "after", "inconclusive")}
    signs = [np.sign(lag.lag) for lag in lags if lag.lag and not lag.same_checkpoints]
    n, positive = len(signs), int(sum(sign > 0 for sign in signs))
    p = float(binomtest(positive, n, 0.5).pvalue) if n else None
    text = (
        f"{names[0]} before {names[1]} at {counts['before']} of {len(lags)} sizes, after "
        f"at {counts['after']}"
    )
    text += f", inconclusive at {counts['inconclusive']}" if counts["inconclusive"] else ""
    text += f"; sign test p = {p:.3g}, {n} sizes" if p is not None else "; no size for a sign test"
    return Agreement(
        counts["before"],
        counts["after"],
        counts["inconclusive"],
        p,
        n,
        min(1.0, 2 * 0.5**n) if n else None,
        text,
    )


def _without_both(a: Emergence, b: Emergence, paired: bool) -> Lag | None:
    """The answer where one curve has no emergence point; none where both have."""
    if a.status == "emerged" and b.status == "emerged":
        return None
    verdict: Verdict = "inconclusive"
    note, low, high = f"the first {SAID[a.status]}, the second {SAID[b.status]}", None, None
    if (
        a.status == "emerged"
        and b.status == "never"
        and a.high is not None
        and a.high < b.last_tokens
    ):
        verdict, low, note = (
            "before",
            float(np.log(b.last_tokens / a.high)),
            "the second had not emerged by its last checkpoint",
        )
    elif (
        b.status == "emerged"
        and a.status == "never"
        and b.high is not None
        and b.high < a.last_tokens
    ):
        verdict, high, note = (
            "after",
            float(np.log(b.high / a.last_tokens)),
            "the first had not emerged by its last checkpoint",
        )
    elif a.status == "already" and b.status == "emerged" and b.low and b.low > a.first_tokens:
        verdict, note = "before", "the first was there at its first checkpoint"
        low = float(np.log(b.low / a.first_tokens)) if a.first_tokens > 0 else None
    elif b.status == "already" and a.status == "emerged" and a.low and a.low > b.first_tokens:
        verdict, note = "after", "the second was there at its first checkpoint"
        high = float(np.log(b.first_tokens / a.low)) if b.first_tokens > 0 else None
    return Lag(verdict, None, low, high, None, paired, a, b, note)


def _difference(
    a: Emergence, b: Emergence, points_a: EmergencePoints, points_b: EmergencePoints
) -> tuple[float, float]:
    """95 % interval of the lag: the samples', or from the intervals of the two emergence points
    where one is a gap between checkpoints.
    """
    if "checkpoints" not in (a.interval, b.interval) and points_a.left.size:
        n = points_a.left.size
        tail = max(int((n + 1) * (1 - COVERAGE) / 2 + 1e-9) - 1, 0)
        with np.errstate(invalid="ignore"):
            left, right = points_b.left - points_a.right, points_b.right - points_a.left
        left, right = (
            np.where(np.isnan(left), -np.inf, left),
            np.where(np.isnan(right), np.inf, right),
        )
        return float(np.sort(left)[tail]), float(np.sort(right)[-tail - 1])
    # The ends of two 95 % intervals against each other: wider than needed, but they may be
    # brackets, which have no distribution.
    low = -np.inf if a.high is None or not b.low else np.log(b.low / a.high)
    high = np.inf if b.high is None or not a.low else np.log(b.high / a.low)
    return float(low), float(high)


def _same_prompts(a: pd.DataFrame | None, b: pd.DataFrame | None) -> bool:
    return a is not None and b is not None and a.shape[1] > 1 and list(a.columns) == list(b.columns)


def _finite(value: float) -> float | None:
    return value if np.isfinite(value) else None
