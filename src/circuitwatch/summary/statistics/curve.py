"""A curve, and how its emergence is asked for: what `emergence`, `lags` and `metrics` work on.

A quantity that falls as a model learns, such as a loss, has emerged when it has fallen. The same
methods find that on the negated curve (`as_rise`), and `falls` gives the answer back in the
quantity's own sign.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike

from circuitwatch.summary.statistics.logistic import LogisticFit, fit_logistic, log_tokens


@dataclass(frozen=True, eq=False)
class Curve:
    """A curve and how its emergence is asked for.

    Attributes:
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
        falls: whether it falls as a model learns.
    """

    tokens: ArrayLike
    values: ArrayLike
    threshold: float | None = None
    chance: float | None = None
    per_prompt: pd.DataFrame | None = None
    stderr: ArrayLike | None = None
    not_above_chance: Sequence[str] | None = None
    falls: bool = False
    _fitted: dict[str, LogisticFit] = field(default_factory=dict, repr=False)

    @property
    def fit(self) -> LogisticFit:
        """The logistic curve fitted to it as a rise, made once also for its copies."""
        if "fit" not in self._fitted:
            rise = self.as_rise()
            x = log_tokens(np.asarray(rise.tokens, dtype=float))
            self._fitted["fit"] = fit_logistic(x, np.asarray(rise.values, dtype=float))
        return self._fitted["fit"]

    def half_rise(self) -> Curve:
        """The same curve, of which half of its own rise (or fall) is asked for."""
        return self if self.threshold is None else replace(self, threshold=None)

    def as_rise(self) -> Curve:
        """The negated curve of a quantity that falls; any other as it is."""
        if not self.falls:
            return self
        return replace(
            self,
            values=-np.asarray(self.values, dtype=float),
            threshold=None if self.threshold is None else -self.threshold,
            chance=None if self.chance is None else -self.chance,
            per_prompt=None if self.per_prompt is None else -self.per_prompt,
            falls=False,
        )
