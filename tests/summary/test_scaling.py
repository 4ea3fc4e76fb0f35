"""Trends over model sizes against published correlations, SciPy and known lines."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import scipy.stats

from circuitwatch.summary.scaling import trend

DATA = Path(__file__).parents[3] / "shared" / "data" / "circuits_over_time.csv"
SIZES = np.array([70e6, 160e6, 410e6, 1e9, 2.8e9, 6.9e9])


def test_a_power_law_is_recovered() -> None:
    found = trend(SIZES, 3e12 * SIZES**-0.5)
    assert (
        found.status == "fitted"
        and found.slope == pytest.approx(-0.5, abs=1e-3)
        and found.spearman == pytest.approx(-1)
    )
    assert found.knee is None


def test_spearmans_p_is_exact() -> None:
    """Of the 720 orders of six values two are as extreme as a perfect one."""
    assert trend(SIZES, np.arange(1.0, 7.0)).spearman_p == pytest.approx(2 / 720)


def test_correlations_equal_scipys() -> None:
    values = np.random.default_rng(0).uniform(1, 9, 6)
    found = trend(SIZES, values, pearson_in_logs=False)
    assert found.pearson == pytest.approx(scipy.stats.pearsonr(SIZES, values).statistic)
    assert found.spearman == pytest.approx(scipy.stats.spearmanr(SIZES, values).statistic)


def test_a_censored_size_bends_the_line_only_as_far_as_it_must() -> None:
    """A size that has not learnt by its bound: the slope lies between leaving it out and taking the bound for the value."""
    values = 1e12 * SIZES**-0.5
    values[0] *= 0.5
    censored = trend(SIZES, values, ["later", *["observed"] * 5])
    wrong = trend(SIZES, values)
    assert censored.n_censored == 1 and censored.slope == pytest.approx(-0.5, abs=0.02)
    assert wrong.slope > censored.slope + 0.05


def test_where_more_scale_no_longer_helps() -> None:
    sizes = np.geomspace(1e7, 1e10, 10)
    values = np.exp(-np.minimum(np.log(sizes), np.log(3e8)) + 40) * np.exp(np.random.default_rng(0).normal(0, 0.02, 10))
    found = trend(sizes, values)
    assert found.knee_status == "levels off" and found.knee == pytest.approx(3e8, rel=0.3)
    assert trend(sizes, 1e9 * sizes**-0.5 * np.exp(np.random.default_rng(0).normal(0, 0.02, 10))).knee is None


def test_two_sizes_say_nothing() -> None:
    found = trend(SIZES[:2], [1.0, 2.0])
    assert found.status == "too few sizes (n=2)" and found.slope is None and found.pearson is None


def test_published_correlations_of_circuit_and_model_size() -> None:
    """With the right parameter counts, as opposed to the 14e9 and 28e9 that the published analysis took for 1.4b and 2.8b."""
    if not DATA.exists():
        pytest.skip("the published data are not here")
    table = pd.read_csv(DATA)
    nodes = table[table["quantity"].str.startswith("mean_circuit_nodes")]
    billions = {
        "70m": 70e6,
        "160m": 160e6,
        "410m": 410e6,
        "1b": 1e9,
        "1.4b": 1.4e9,
        "2.8b": 2.8e9,
        "6.9b": 6.9e9,
        "12b": 12e9,
    }
    expected = {
        "ioi": (0.789, 0.90),
        "greater_than": (0.941, 0.90),
        "gender_pronoun": (0.631, 0.90),
        "sva": (0.890, 1.00),
    }
    for task, (pearson, spearman) in expected.items():
        means = nodes[nodes["task"] == task].groupby("model")["value"].mean()
        params = [billions[model.removeprefix("pythia-")] for model in means.index]
        found = trend(params, means.to_numpy(), pearson_in_logs=False)
        assert found.pearson == pytest.approx(pearson, abs=0.002), task
        assert found.spearman == pytest.approx(spearman, abs=0.005), task
