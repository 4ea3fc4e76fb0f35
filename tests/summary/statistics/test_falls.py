"""A fall is found where the same rise is: the answer is that of the mirrored curve, in the curve's
own sign and in words for a fall.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest

from circuitwatch.summary.statistics.emergence import fit_emergence
from circuitwatch.summary.statistics.falls import as_fall, as_rise
from circuitwatch.summary.statistics.stability import stability
from circuitwatch.summary.statistics.status import Emergence

TOKENS = np.geomspace(1e5, 1e9, 30)
SHARE = 1 / (1 + np.exp(-(np.log(TOKENS) - np.log(1e7)) / 0.4))
LOSS = 10.0 - 6.0 * SHARE + np.random.default_rng(0).normal(0, 0.05, TOKENS.size)


def test_the_half_fall_of_a_loss_is_at_its_middle_and_in_its_own_sign() -> None:
    found = fit_emergence(TOKENS, LOSS, falls=True)
    assert found.status == "emerged" and found.tokens == pytest.approx(1e7, rel=0.1)
    assert found.low is not None and found.high is not None
    assert found.low < found.tokens < found.high and found.high / found.low < 1.1
    assert (found.lower, found.level, found.upper) == (
        pytest.approx(10, abs=0.1),
        pytest.approx(7, abs=0.1),
        pytest.approx(4, abs=0.1),
    )
    assert found.final == LOSS[-1]
    assert fit_emergence(TOKENS, LOSS).status != "emerged"


def test_a_threshold_is_passed_from_above() -> None:
    found = fit_emergence(TOKENS, LOSS, threshold=8.5, falls=True)
    crossed = np.flatnonzero(LOSS < 8.5)[0]
    assert found.status == "emerged" and found.level == 8.5
    assert (found.crossing_low, found.crossing_high) == (TOKENS[crossed - 1], TOKENS[crossed])
    assert fit_emergence(TOKENS, LOSS, threshold=12.0, falls=True).status == "already"
    never = fit_emergence(TOKENS, LOSS, threshold=2.0, falls=True)
    assert never.status == "never" and f"lowest value {LOSS.min():.3g}" in never.note


@pytest.mark.parametrize("seed", range(20))
def test_where_nothing_falls_nothing_has_emerged(seed: int) -> None:
    """A flat curve with noise, and one that rises, asked for a fall."""
    noise = np.random.default_rng(seed).normal(0, 0.05, TOKENS.size)
    assert fit_emergence(TOKENS, 10 + noise, falls=True).status != "emerged"
    assert fit_emergence(TOKENS, 4 + 6 * SHARE + noise, falls=True).status != "emerged"


def test_values_per_prompt_are_turned_too() -> None:
    """The interval over prompts is that of the mirrored curve with the same draws."""
    ease = np.random.default_rng(1).normal(1, 0.2, 20)
    prompts = pd.DataFrame(10 - 6 * SHARE[:, None] * ease, index=TOKENS)
    values = prompts.mean(axis=1).to_numpy()
    fall = fit_emergence(TOKENS, values, per_prompt=prompts, falls=True)
    rise = fit_emergence(TOKENS, -values, per_prompt=-prompts)
    assert (fall.tokens, fall.low, fall.high) == (rise.tokens, rise.low, rise.high)


@pytest.mark.parametrize(
    ("note", "turned"),
    [
        ("highest value -3.5 (a single checkpoint)", "lowest value 3.5 (a single checkpoint)"),
        ("highest at 1M tokens, then fell", "lowest at 1M tokens, then rose"),
        ("no rise", "no fall"),
        (
            "at or above the threshold at the first checkpoint",
            "at or below the threshold at the first checkpoint",
        ),
        ("rises, but no crossing of the half-way level holds", None),
    ],
)
def test_notes_are_in_words_for_a_fall(note: str, turned: str | None) -> None:
    blank = Emergence("never", "half rise", 5, 0.0, 1.0, 2.0, note=note)
    there = as_fall(blank).note
    assert there == (turned or note.replace("rises", "falls"))
    assert as_rise(as_fall(blank)) == blank


def test_what_stays_after_a_fall_is_what_stays_after_the_rise() -> None:
    fall = fit_emergence(TOKENS, LOSS, falls=True)
    rise = fit_emergence(TOKENS, -LOSS)
    assert stability(TOKENS, LOSS, fall, falls=True) == stability(TOKENS, -LOSS, rise)
    lost_again = LOSS.copy()
    lost_again[-3] += 3.0
    found = stability(TOKENS, lost_again, replace(fall), falls=True)
    assert found.largest_fall is not None and found.largest_fall == pytest.approx(0.5, abs=0.05)
