"""The curves of a summary, each made and fitted once, whatever asks for it: its emergence, what
came first, whether it stays.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal

import numpy as np
import pandas as pd

from circuitwatch.directions import said_direction
from circuitwatch.summary.curves import CurveKey, Curves
from circuitwatch.summary.statistics.curve import Curve
from circuitwatch.summary.statistics.emergence import emergence_samples
from circuitwatch.summary.statistics.emergence_points import EmergencePoints
from circuitwatch.summary.statistics.lags import Lag, lag_between
from circuitwatch.summary.statistics.logistic import log_tokens
from circuitwatch.summary.statistics.metrics import MetricComparison, compare_metrics
from circuitwatch.summary.statistics.rise_test import rise_beyond_chance
from circuitwatch.summary.statistics.status import Emergence

LONGEST = 256
"""Checkpoints of a curve that are looked at; of longer ones, this many are taken, evenly in log
tokens. The time of a fit grows with their square.
"""


class Fits:
    """The curves of some sources as the statistics take them.

    Args:
        curves: from any sources, put together.
        thresholds: `quantity` or `task/quantity` → the level whose crossing is asked for; others
            are asked for as their quantity says (`catalogue.Quantity.rise`).
        n_bootstrap: bootstrap samples a curve, over prompts where the curves have them, else with
            their standard errors, else over residuals.
    """

    def __init__(
        self,
        curves: Curves,
        thresholds: Mapping[str, float] | None = None,
        *,
        n_bootstrap: int = 200,
    ) -> None:
        self.curves = curves
        self.thresholds = dict(thresholds or {})
        self.n_bootstrap = n_bootstrap
        self._asked: dict[CurveKey, Curve] = {}
        self._samples: dict[tuple[Curve, int, int | None], tuple[Emergence, EmergencePoints]] = {}

    def is_asked(self, key: CurveKey) -> bool:
        """Whether the rise of a curve is looked for."""
        return (
            self._threshold(key) is not None
            or self.curves.facts_of(key).quantity(key[2]).rise is not None
        )

    def curve(self, key: CurveKey) -> Curve:
        """One curve and how its emergence is asked for; of a long curve `LONGEST` checkpoints."""
        if key not in self._asked:
            self._asked[key] = self._made(key)
        return self._asked[key]

    def emergence(self, key: CurveKey) -> Emergence:
        """Emergence of a curve, also where it has too few checkpoints to say anything."""
        curve = self.curve(key)
        tokens, values = np.asarray(curve.tokens), np.asarray(curve.values)
        if values.size < 2 or not (tokens > 0).any():
            ends = (float(tokens[0]), float(tokens[-1]), float(values[-1]))
            note = f"too few checkpoints (n={values.size})"
            rule: Literal["half rise", "threshold"] = (
                "half rise" if curve.threshold is None else "threshold"
            )
            return Emergence(
                "ambiguous", rule, values.size, *ends, reason="too few checkpoints", note=note
            )
        return self._sampled(curve, 0, None)[0]

    def doubt(self, key: CurveKey) -> str:
        """What to say of a curve that never rose because it falls; empty for others, and where it
        is known how its quantity goes.
        """
        curve, facts = self.curve(key), self.curves.facts_of(key)
        known = key[2] in facts.quantities or said_direction(key[2], facts.directions) is not None
        if known or curve.falls or self.emergence(key).status != "never":
            return ""
        tokens, values = np.asarray(curve.tokens, float), np.asarray(curve.values, float)
        if values.size < 2 or rise_beyond_chance(log_tokens(tokens), -values) <= 1:
            return ""
        return f"it falls: direction={key[2]}:falls asks when"

    def lag(self, first: CurveKey, second: CurveKey) -> Lag:
        """Lag from the first curve's emergence to the second's."""
        return lag_between(self.curve(first), self.curve(second), samples=self._sampled)

    def metrics(self, continuous: CurveKey, thresholded: CurveKey) -> MetricComparison:
        """A continuous metric and a thresholded one of the same task."""
        return compare_metrics(
            self.curve(continuous), self.curve(thresholded), n_bootstrap=self.n_bootstrap
        )

    def _sampled(
        self, curve: Curve, seed: int, noise_seed: int | None
    ) -> tuple[Emergence, EmergencePoints]:
        asked = (curve, seed, noise_seed)
        if asked not in self._samples:
            self._samples[asked] = emergence_samples(
                curve, n_bootstrap=self.n_bootstrap, seed=seed, noise_seed=noise_seed
            )
        return self._samples[asked]

    def _threshold(self, key: CurveKey) -> float | None:
        _, task, quantity, _ = key
        return self.thresholds.get(f"{task}/{quantity}", self.thresholds.get(quantity))

    def _made(self, key: CurveKey) -> Curve:
        rows = self.curves.rows(key)
        if len(rows) > LONGEST:
            rows = rows.iloc[evenly(rows["tokens"].to_numpy())]
        quantity, level = self.curves.facts_of(key).of_task(key[2], key[1]), self._threshold(key)
        if level is None and not isinstance(quantity.rise, str):
            level = quantity.rise
        return Curve(
            rows["tokens"].to_numpy(),
            rows["value"].to_numpy(),
            threshold=level,
            chance=quantity.chance,
            per_prompt=self._prompts(key, rows["tokens"]),
            stderr=rows["stderr"].to_numpy() if rows["stderr"].notna().all() else None,
            not_above_chance=self.curves.chance_of(key, rows["tokens"]),
            falls=quantity.falls,
        )

    def _prompts(self, key: CurveKey, tokens: pd.Series) -> pd.DataFrame | None:
        """Values per prompt of a curve, if every one of its checkpoints has them."""
        wide = self.curves.prompts.get(key)
        if wide is None:
            return None
        wide = wide.reindex(tokens.to_numpy())
        return None if wide.isna().to_numpy().any() else wide


def evenly(tokens: np.ndarray) -> np.ndarray:
    """Indices of at most `LONGEST` token counts, ascending and with the first and the last, that
    lie evenly in log tokens.
    """
    x = log_tokens(tokens)
    nearest = np.searchsorted(x, np.linspace(x[0], x[-1], LONGEST))
    return np.unique(np.r_[0, nearest, x.size - 1].clip(0, x.size - 1))
