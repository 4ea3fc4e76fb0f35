"""Continuous and thresholded metrics of one task side by side, to tell whether a jump is the
model's or the metric's.

A metric that counts only right or wrong answers (accuracy, exact match) can jump where the
probability of the right answer grows smoothly: the jump is then made by the threshold (Schaeffer,
Miranda and Koyejo 2023, arXiv 2304.15004). Both curves are smoothed, and the widths of their rises,
from 10 % to 90 % in natural-log tokens, are compared by a bootstrap over the same prompts where
both have values per prompt. A threshold makes every rise shorter, also a jump of the model's own,
so that the thresholded metric jumps alone only where its rise takes less than half of the other's
and the other takes more than tenfold tokens, both clearly (95 %).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np

from circuitwatch.summary.statistics.curve import Curve
from circuitwatch.summary.statistics.emergence import emergence_samples
from circuitwatch.summary.statistics.status import Emergence

SHARPER = 0.5
"""The thresholded metric is sharper where its rise takes less than this share of the continuous
one's.
"""
JUMP = float(np.log(10))
"""A rise from 10 % to 90 % within tenfold tokens is a jump."""
Finding = Literal[
    "alike",
    "only the thresholded one jumps",
    "only the continuous one rises",
    "neither rises",
    "inconclusive",
]


@dataclass(frozen=True)
class MetricComparison:
    """Two metrics of one task.

    Attributes:
        finding: what they say together.
        warning: a sentence for the reader where only the thresholded metric jumps, else empty.
        width_continuous, width_thresholded: from 10 % to 90 % of the rise, in natural-log tokens;
            missing where there is no rise.
        ratio: thresholded over continuous width, with its 95 % interval ratio_low, ratio_high;
            missing where there is none.
        continuous, thresholded: the two emergences (half-rise).
    """

    finding: Finding
    warning: str
    width_continuous: float | None
    width_thresholded: float | None
    ratio: float | None
    ratio_low: float | None
    ratio_high: float | None
    continuous: Emergence
    thresholded: Emergence


def compare_metrics(
    continuous: Curve, thresholded: Curve, *, n_bootstrap: int = 200, seed: int = 0
) -> MetricComparison:
    """Compare the half-rises of a continuous metric (log-probability, logit difference) and a
    thresholded one (accuracy); thresholds are ignored.
    """
    emergences, widths = [], []
    for curve, noise_seed in ((continuous, 2 * seed + 1), (thresholded, 2 * seed + 2)):
        emergence, samples = emergence_samples(
            curve.half_rise(), n_bootstrap=n_bootstrap, seed=seed, noise_seed=noise_seed
        )
        emergences.append(emergence)
        widths.append(samples.width)
    smooth, sharp = emergences
    rose = [emergence.status == "emerged" for emergence in emergences]
    width = [
        emergence.width if risen and emergence.width else None
        for risen, emergence in zip(rose, emergences, strict=True)
    ]
    ratio = low = high = None
    if width[0] and width[1]:
        ratio = width[1] / width[0]
        if widths[0].size and widths[1].size:
            low, high = (float(v) for v in np.nanquantile(widths[1] / widths[0], [0.025, 0.975]))
    finding: Finding
    if rose[1] and not rose[0]:
        finding = "inconclusive"
    elif not any(rose):
        finding = "neither rises" if {smooth.status, sharp.status} <= {"never"} else "inconclusive"
    elif not rose[1]:
        finding = "only the continuous one rises" if sharp.status == "never" else "inconclusive"
    elif ratio is not None and low is not None and high is not None:
        slow, quick = (float(v) for v in np.nanquantile(widths[0], [0.025, 0.975]))
        finding = "alike" if low >= SHARPER or quick <= JUMP else "inconclusive"
        if high < SHARPER and slow > JUMP:
            finding = "only the thresholded one jumps"
    else:
        finding = "inconclusive"
    warning = ""
    if finding == "only the thresholded one jumps":
        times = width[0] / width[1]  # type: ignore[operator]
        warning = (
            "the jump is in the thresholded metric alone (accuracy), made by counting right "
            f"answers: the continuous metric takes {times:.1f} times as long in log tokens"
        )
    return MetricComparison(finding, warning, width[0], width[1], ratio, low, high, smooth, sharp)
