"""Adjusted p-values against their definitions, written out one by one."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from circuitwatch.summary.statistics.comparisons import benjamini_hochberg, holm, with_adjusted


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


def test_rows_without_a_p_are_no_tests() -> None:
    table = with_adjusted(
        pd.DataFrame({"spearman_p": [0.01, None, 0.04], "pearson_p": [None, None, None]})
    )
    assert table["spearman_p_holm"].tolist()[::2] == pytest.approx([0.02, 0.04])
    assert np.isnan(table["spearman_p_holm"][1]) and set(table["spearman_p_tests"]) == {2}
    assert table["pearson_p_bh"].isna().all() and set(table["pearson_p_tests"]) == {0}
