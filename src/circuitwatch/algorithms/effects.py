"""Effects of path patching with their intervals over prompts.

An effect is (F(patched) − F(clean)) / (F(clean) − F(corrupted)): −1 destroys the behaviour. One
below 0 says that the patched part *helps* the behaviour, one above 0 that it *hurts* it.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import pandas as pd
from scipy.special import stdtrit

from circuitwatch.circuits.patching import Patched
from circuitwatch.heads.intervals import expanded_percentiles

Array = npt.NDArray[np.float64]
Share = tuple[float, float, float]
"""A value and the ends of its interval."""


def jackknife(value: Array, without: Array) -> tuple[Array, Array]:
    """Both ends [...] of the 95 % interval over prompts of a statistic [...], from what it is
    without each prompt [..., prompt].

    Student's t with n − 1 degrees of freedom: v ± t √((n − 1) / n · Σ (v₍ᵢ₎ − v̄)²) (Efron and
    Tibshirani, 1993, chapter 11). In simulations of ratios whose effects are normal, skewed, or of
    few kinds it covers the true ratio in 93 to 96 % of samples of 16 or 64 prompts; percentile
    intervals in 89 to 95 %, expanded ones 92 to 95 %, bootstrap-t 91 to 95 %, BCa (expanded) 92 to
    96 %, Fieller's 91 to 96 %.
    """
    n_prompts = without.shape[-1]
    with np.errstate(invalid="ignore"):
        spread = np.sqrt(
            (n_prompts - 1) * ((without - without.mean(-1, keepdims=True)) ** 2).mean(-1)
        )
    width = stdtrit(n_prompts - 1, 0.975) * spread
    return value - width, value + width


def ratio_interval(above: Array, below: Array) -> tuple[Array, Array]:
    """The jackknife's interval [...] of a ratio of means: above [..., prompt] by below [prompt]."""
    with np.errstate(divide="ignore", invalid="ignore"):
        without = (above.sum(-1, keepdims=True) - above) / (below.sum() - below)
        return jackknife(above.mean(-1) / below.mean(), without)


def mean_with_interval(values: Array, weights: Array) -> Share:
    """The mean of one value a prompt [prompt], and its interval; weights [resample, prompt]."""
    low, high = expanded_percentiles(weights @ values / weights.sum(1), len(values))
    return float(values.mean()), float(low), float(high)


@dataclass(frozen=True)
class Effects:
    """Effects of senders on one kind of receivers.

    receivers: their name in tables; senders: names; each [sender, prompt]: F(patched) − F(clean);
    unit [prompt]: F(clean) − F(corrupted).
    """

    receivers: str
    senders: list[str]
    each: Array
    unit: Array

    @classmethod
    def of(cls, patched: Patched, senders: Sequence[str], receivers: str) -> Effects:
        """From patching each of the senders by itself."""
        each = (patched.values - patched.unpatched).numpy()
        return cls(receivers, list(senders), each, (patched.clean - patched.corrupted).numpy())

    def only(self, senders: Collection[str]) -> Effects:
        """Those of some of the senders."""
        chosen = np.isin(self.senders, list(senders))
        names = [name for name, there in zip(self.senders, chosen, strict=True) if there]
        return Effects(self.receivers, names, self.each[chosen], self.unit)

    @property
    def mean(self) -> Array:
        """The effect of each sender: [sender]."""
        return np.asarray(self.each.mean(1) / self.unit.mean())

    def table(self) -> pd.DataFrame:
        """Columns sender, receivers, effect, low, high."""
        low, high = ratio_interval(self.each, self.unit)
        columns = {
            "sender": self.senders,
            "receivers": self.receivers,
            "effect": self.mean,
            "low": low,
            "high": high,
        }
        return pd.DataFrame(columns)

    def share(self, holders: Collection[str]) -> Share | None:
        """Σ |effect| of the holders by that of all senders, with its interval; None if nothing has
        any effect.

        A bootstrap won't do: resampled noise is larger than noise, so that with many heads that do
        nothing its interval misses the value itself.
        """
        held = np.isin(self.senders, list(holders))

        def of(totals: Array) -> Array:
            """Of effects [sender, ...] in any one unit."""
            sizes = np.abs(totals)
            with np.errstate(invalid="ignore"):
                return np.asarray(sizes[held].sum(0) / sizes.sum(0))

        totals = self.each.sum(1)
        value, without = of(totals), of(totals[:, None] - self.each)
        if not np.isfinite(value) or not np.isfinite(without).all():
            return None
        share, low, high = np.clip(
            [value, *jackknife(value, without)], 0, 1
        )  # no share of sizes lies outside
        return float(share), float(low), float(high)

    def ratios(self, whole: str, *, min_effect: float) -> dict[str, Share] | None:
        """Each sender's effect by that of the sender `whole`, with its interval; it may be below 0
        or above 1.

        None where `whole` takes less than `min_effect` of the behaviour, or its interval reaches 0:
        then there is nothing to be shared.
        """
        at = self.senders.index(whole)
        _, highest = ratio_interval(self.each[at], self.unit)
        if self.mean[at] > -min_effect or not highest < 0:
            return None
        low, high = ratio_interval(self.each, self.each[at])
        shares = zip(
            *(0.0 + x for x in (self.mean / self.mean[at], low, high)), strict=True
        )  # no −0
        return {
            name: (float(share), float(lower), float(upper))
            for name, (share, lower, upper) in zip(self.senders, shares, strict=True)
        }


def sure(low: pd.Series, high: pd.Series) -> pd.Series:
    """Whether intervals exclude 0."""
    return (low > 0) | (high < 0)
