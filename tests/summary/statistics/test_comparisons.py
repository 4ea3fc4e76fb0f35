"""Adjusted p-values against their definitions, written out one by one."""

from __future__ import annotations

import numpy as np
import pytest

from circuitwatch.summary.statistics.comparisons import benjamini_hochberg, holm


def test_against_the_definitions() -> None:
    rng = np.random.default_rng(0)
    for n in (1, 2, 7, 20):
        p = np.round(rng.uniform(0, 1, n) ** 2, 2)
        # Holm: the smallest level at which the step-down test rejects; Benjamini–Hochberg: at which
        # the step-up test does.
        levels = np.linspace(0, 1, 20_001)
        ranked = np.argsort(p, kind="stable")
        for k in range(n):
            place = int(np.flatnonzero(ranked == k)[0])
            down = max((n - i) * p[ranked[i]] for i in range(place + 1))
            up = min(n / (i + 1) * p[ranked[i]] for i in range(place, n))
            assert holm(p)[k] == pytest.approx(min(1, down))
            assert benjamini_hochberg(p)[k] == pytest.approx(min(1, up))
            rejected = [
                any(p[ranked[i]] <= (i + 1) / n * level for i in range(place, n))
                for level in levels[::500]
            ]
            assert all(
                rejected[i] == (level >= min(1, up) - 1e-9)
                for i, level in enumerate(levels[::500])
                if level < 1
            )


def test_what_has_no_p_is_no_test() -> None:
    for adjusted, expected in (
        (holm([0.01, np.nan, 0.04]), 0.02),
        (benjamini_hochberg([0.01, np.nan, 0.04]), 0.02),
    ):
        assert adjusted[0] == pytest.approx(expected) and np.isnan(adjusted[1])
        assert adjusted[2] == pytest.approx(0.04)
    assert np.isnan(holm([np.nan])).all() and np.isnan(benjamini_hochberg([np.nan])).all()
