"""Checkpoints that are not above chance can't count as risen, on curves whose answer is known."""

from __future__ import annotations

import numpy as np
import pytest

from circuitwatch.summary.statistics.chance import gate
from circuitwatch.summary.statistics.emergence import fit_emergence
from circuitwatch.summary.statistics.stability import stability
from circuitwatch.summary.statistics.status import Emergence

TOKENS = 1000.0 * 2 ** np.arange(16)


def rise(middle: float = 8.0, height: float = 1.0) -> np.ndarray:
    """A logistic rise at checkpoint `middle`, with a little noise."""
    places = np.arange(16)
    return height / (1 + np.exp(-(places - middle) * 2)) + np.random.default_rng(1).normal(
        0, 0.01, 16
    )


def above_from(first: int) -> list[str]:
    return ["effect"] * first + [""] * (16 - first)


def test_a_checkpoint_not_above_chance_cannot_count() -> None:
    plain = fit_emergence(TOKENS, rise(), chance=0.0)
    assert (
        plain.status == "emerged"
        and fit_emergence(TOKENS, rise(), chance=0.0, not_above_chance=above_from(8)) == plain
    )
    never = fit_emergence(TOKENS, rise(), chance=0.0, not_above_chance=["effect"] * 16)
    assert never.status == "never" and "its effect (clean − corrupted) is not above 0" in never.note
    # Above chance only before the rise: nothing from the crossing on.
    early = ["", "", *["value and effect"] * 14]
    assert fit_emergence(TOKENS, rise(), chance=0.0, not_above_chance=early).status == "never"
    # One checkpoint of eight is above chance by chance; half of them, here and there, are no steady
    # behaviour.
    odd = [*above_from(8)[:8], *["effect"] * 3, "", *["effect"] * 4]
    assert fit_emergence(TOKENS, rise(), chance=0.0, not_above_chance=odd).status == "never"
    half = [*["effect"] * 8, *["", "", "effect", "effect"] * 2]
    assert fit_emergence(TOKENS, rise(), chance=0.0, not_above_chance=half).status == "ambiguous"


@pytest.mark.parametrize("threshold", [None, 0.5])
def test_the_emergence_point_is_that_of_the_first_checkpoint_above_chance(
    threshold: float | None,
) -> None:
    found = fit_emergence(
        TOKENS, rise(), threshold=threshold, chance=0.0, not_above_chance=above_from(12)
    )
    assert (
        found.status == "emerged"
        and found.tokens is not None
        and found.high is not None
        and found.low is not None
    )
    assert (found.crossing_low, found.crossing_high) == (TOKENS[11], TOKENS[12])
    assert TOKENS[11] <= found.tokens <= TOKENS[12] and found.low <= found.tokens <= found.high
    assert found.interval == "checkpoints" and found.width is None and "above chance" in found.note


def test_what_was_there_at_the_first_checkpoint_emerges_once_it_is_above_chance() -> None:
    flat = 0.8 + np.random.default_rng(2).normal(0, 0.01, 16)
    assert (
        fit_emergence(TOKENS, flat, chance=0.0, not_above_chance=above_from(0)).status == "already"
    )
    for threshold in (None, 0.5):
        found = fit_emergence(
            TOKENS, flat, threshold=threshold, chance=0.0, not_above_chance=above_from(5)
        )
        assert found.status == "emerged" and found.crossing_high == TOKENS[5]
        assert found.crossing == pytest.approx(np.sqrt(TOKENS[4] * TOKENS[5]))
    # From an untrained model on: of 0 tokens there is no logarithm.
    tokens = np.append(0.0, TOKENS[:-1])
    found = fit_emergence(tokens, flat, threshold=0.5, not_above_chance=above_from(1))
    assert found.crossing == pytest.approx(np.sqrt(1 * TOKENS[0])) and found.crossing_low == 0


def test_few_checkpoints() -> None:
    few, values = TOKENS[:4], np.array([0.1, 0.2, 0.9, 0.9])
    found = fit_emergence(
        few, values, threshold=0.5, not_above_chance=["effect", "effect", "effect", ""]
    )
    assert found.status == "ambiguous"
    assert (
        fit_emergence(few, values, threshold=0.5, not_above_chance=["effect"] * 4).status == "never"
    )
    with pytest.raises(ValueError, match="of 4"):
        fit_emergence(few, values, threshold=0.5, not_above_chance=[""])


def test_a_curve_that_never_rose_keeps_its_own_reason() -> None:
    known = Emergence("never", "half rise", 16, 1.0, 2.0, 0.0, reason="no rise", note="no rise")
    for reasons in (above_from(3), above_from(16), above_from(0)):
        assert gate(known, TOKENS, rise(), reasons) == (known, False)


def test_stability_counts_what_is_lost() -> None:
    found = fit_emergence(TOKENS, rise(), chance=0.0)
    lost = [*above_from(8)[:15], "effect"]
    after = TOKENS[max(found.risen or 0.0, found.crossing_high or 0.0) <= TOKENS]
    assert stability(TOKENS, rise(), found).below == 0
    assert stability(TOKENS, rise(), found, lost).below == pytest.approx(1 / len(after))
