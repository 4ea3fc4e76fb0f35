"""Emergence points of curves whose answer is known, and on published ones."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from scipy.optimize import brentq
from scipy.special import expit

from circuitwatch.summary.statistics.emergence import fit_emergence
from support import made_up
from support.simulated import TOKENS_PER_STEP

PUBLISHED = Path(__file__).parents[4] / "shared" / "data"
TOKENS = np.array(
    [0, *(1008 * 2**k for k in range(8)), *range(150_000, 1_050_000, 50_000)], dtype=float
)


def sigmoid(middle: float, width: float = 0.2, low: float = 0.0, high: float = 1.0) -> np.ndarray:
    return low + (high - low) / (
        1 + np.exp(-(np.log(np.maximum(TOKENS, 500)) - np.log(middle)) / width)
    )


def published(name: str) -> pd.DataFrame:
    path = PUBLISHED / name
    if not path.exists():
        pytest.skip("the published data are not here")
    return pd.read_csv(path)


@pytest.mark.parametrize("middle", [2.2e5, 4e5, 5e5])
@pytest.mark.parametrize("threshold", [None, 0.5])
def test_a_clean_rise_is_found_where_it_is(middle: float, threshold: float | None) -> None:
    found = fit_emergence(TOKENS, sigmoid(middle), threshold=threshold)
    assert found.status == "emerged"
    assert found.tokens == pytest.approx(middle, rel=0.03)
    assert found.crossing_low <= middle <= found.crossing_high
    assert found.crossing_low in TOKENS and found.crossing_high in TOKENS


def test_what_never_rises_is_not_extrapolated() -> None:
    noise = np.random.default_rng(0).normal(0, 0.02, TOKENS.size)
    for values in (noise, sigmoid(5e6) + noise):
        found = fit_emergence(TOKENS, values, threshold=0.5)
        assert found.status == "never" and found.tokens is None and found.last_tokens == TOKENS[-1]


def test_above_from_the_start() -> None:
    assert fit_emergence(TOKENS, np.full(TOKENS.size, 0.9), threshold=0.5).status == "already"


def test_a_rise_and_fall_is_transient() -> None:
    bump = np.exp(-((np.log(np.maximum(TOKENS, 500)) - np.log(2.5e5)) ** 2) / 0.3)
    assert fit_emergence(TOKENS, bump, threshold=0.5).status == "transient"


def test_a_steady_slope_has_half_of_its_rise_so_far() -> None:
    """Half-way from the first to the last checkpoint, 2 % beside it for noise of 0.01 on a rise of
    0.38; the description says that it is a straight line.
    """
    x = np.log(np.maximum(TOKENS, 504))
    slope = x / 20 + np.random.default_rng(1).normal(0, 0.01, TOKENS.size)
    found = fit_emergence(TOKENS, slope - slope[0])
    assert (found.status, found.shape) == ("emerged", "straight line")
    assert np.log(found.tokens) == pytest.approx((x[0] + x[-1]) / 2, abs=0.3)
    assert found.note.startswith("still rising at the end, so this is half of the rise so far")
    assert (found.lower, found.upper) == pytest.approx((0.0, np.ptp(x) / 20), abs=0.02)


def test_scale_of_values_and_tokens_does_not_matter() -> None:
    one, other = fit_emergence(TOKENS, sigmoid(4e5)), fit_emergence(TOKENS * 1e5, sigmoid(4e5) * 30)
    assert other.status == one.status and other.tokens == pytest.approx(one.tokens * 1e5, rel=0.02)


def test_bad_curves() -> None:
    with pytest.raises(ValueError, match="length"):
        fit_emergence([0, 1], [0.0])
    with pytest.raises(ValueError, match=r"finite|missing"):
        fit_emergence([0, 1, 2], [0.0, np.nan, 1.0])


def test_published_ioi_of_pythia_70m_never_reaches_one() -> None:
    """It rises to 0.83, then falls to −0.59."""
    table = (
        published("circuits_over_time.csv")
        .query("model == 'pythia-70m' and task == 'ioi' and quantity == 'logit_diff'")
        .sort_values("step")
    )
    found = fit_emergence(table["step"] * 2_097_152, table["value"], threshold=1.0)
    assert found.status == "never" and found.tokens is None
    assert (
        fit_emergence(table["step"] * 2_097_152, table["value"], threshold=0.5).status
        == "transient"
    )


def test_published_lambada_thresholds() -> None:
    """Accuracy 0.3: 160m at 27e9 tokens, 410m at 9.0e9, the 1b and larger ones at 5.7 to 6.3e9, 70m
    never.
    """
    table = (
        published("pythia_lm_eval.csv")
        .query("task == 'lambada_openai' and metric == 'acc' and shots == 0")
        .sort_values("tokens")
    )
    expected = {"pythia-160m": 27e9, "pythia-410m": 9.0e9, "pythia-1b": 6.0e9, "pythia-12b": 6.0e9}
    for model, tokens in expected.items():
        curve = table[table["model"] == model]
        found = fit_emergence(curve["tokens"], curve["value"], threshold=0.3)
        assert found.status == "emerged", (model, found)
        assert found.crossing == pytest.approx(tokens, rel=0.1), model
    smallest = table[table["model"] == "pythia-70m"]
    assert fit_emergence(smallest["tokens"], smallest["value"], threshold=0.3).status == "never"


@pytest.mark.parametrize(
    ("model", "tokens"), [("160m", 9.75e9), ("410m", 8.74e9), ("1.4b", 5.09e9), ("2.8b", 5.17e9)]
)
def test_published_ioi_crosses_one_within_a_checkpoint_interval(model: str, tokens: float) -> None:
    """Checkpoints are 1000 steps apart there, 2.1e9 tokens."""
    table = published("circuits_over_time.csv").query(
        f"model == 'pythia-{model}' and task == 'ioi' and quantity == 'logit_diff'"
    )
    table = table.sort_values("step")
    found = fit_emergence(table["step"] * 2_097_152, table["value"], threshold=1.0)
    assert found.status == "emerged"
    assert found.tokens == pytest.approx(tokens, abs=2.1e9) and found.crossing == pytest.approx(
        tokens, rel=0.01
    )
    assert found.low <= tokens <= found.high


def test_published_induction_is_an_interval_between_steps_512_and_1000() -> None:
    table = (
        published("circuits_over_time.csv")
        .query("quantity == 'induction_score_max'")
        .sort_values("step")
    )
    for model, curve in table.groupby("model"):
        found = fit_emergence(curve["step"] * 2_097_152, curve["value"], threshold=0.5)
        assert found.interval == "smooth", model
        assert (found.low, found.high) == pytest.approx((512 * 2_097_152, 1000 * 2_097_152))
        assert found.low < found.tokens < found.high


def test_standard_errors_widen_the_interval() -> None:
    """Which prompts were asked shifts the whole curve: with standard errors of 0.1 on a slope of
    1.25 per log token, by some 0.05 at least.
    """
    values = sigmoid(4e5) + np.random.default_rng(0).normal(0, 0.005, TOKENS.size)
    bare = fit_emergence(TOKENS, values, threshold=0.5)
    known = fit_emergence(TOKENS, values, threshold=0.5, stderr=np.full(TOKENS.size, 0.1))
    assert np.log(known.high / known.low) > np.log(bare.high / bare.low) + 4 * 0.05


def test_a_plateau_that_is_not_reached_is_half_of_the_rise_so_far() -> None:
    """The last checkpoint has 30 % of a rise: half-way to it is known, and said to be so far."""
    x = np.log(np.maximum(TOKENS, 500))
    rise = 1 / (1 + np.exp(-(x - x[-1] - 0.4) / 0.5))
    found = fit_emergence(TOKENS, rise + np.random.default_rng(0).normal(0, 0.01, TOKENS.size))
    half = np.interp(rise[-1] / 2, rise, TOKENS)
    assert found.status == "emerged" and "so far" in found.note
    assert found.low <= half <= (found.high or np.inf)
    assert found.level == pytest.approx(rise[-1] / 2, abs=0.01)


@pytest.mark.parametrize("n", range(4, 13))
def test_a_clean_rise_is_never_called_none(n: int) -> None:
    """From five checkpoints on a rise of eighty times its noise is found, or it is said why not;
    fewer are too few to say, which is not "never".
    """
    for seed in range(20):
        tokens = np.geomspace(1e6, 1e9, n)
        values = 0.1 + 0.8 / (1 + np.exp(-(np.log(tokens) - np.log(4e7)) / 0.3))
        found = fit_emergence(
            tokens, values + np.random.default_rng(seed).normal(0, 0.01, n), n_bootstrap=50
        )
        if n < 5:
            assert (found.status, found.reason) == ("ambiguous", "too few checkpoints")
        elif n < 9:
            assert found.status != "never", (n, seed, found.note)
        else:
            assert found.status == "emerged", (n, seed, found.note)


def test_a_fast_rise_before_slow_growth_is_where_the_values_are() -> None:
    """IOI of Pythia-2.8b and of the largest made-up model: a quick rise and slow growth after it,
    for which a logistic curve is half-way only beyond the two checkpoints where the values cross.
    """
    curve = made_up.ioi("pythia-2.8b")
    cases = [(curve.index.to_numpy() * TOKENS_PER_STEP, curve.to_numpy())]
    if (PUBLISHED / "circuits_over_time.csv").exists():
        table = published("circuits_over_time.csv").query(
            "model == 'pythia-2.8b' and task == 'ioi' and quantity == 'logit_diff'"
        )
        own = table.sort_values("step")
        cases.append((own["step"].to_numpy() * 2_097_152, own["value"].to_numpy()))
    for tokens, values in cases:
        found = fit_emergence(tokens, values)
        assert found.status == "emerged" and found.tokens is not None
        assert found.crossing_low <= found.tokens <= found.crossing_high
        assert found.interval != "fit" and found.low <= found.crossing <= found.high


@pytest.mark.parametrize("seed", range(4))
def test_half_of_a_rise_in_two_parts_is_where_the_values_have_it(seed: int) -> None:
    """Half of the rise comes as a logistic curve at 4e9 tokens, the other as a straight line in log
    tokens after it: half-way to the last checkpoint is known by bisection.
    """
    steps = np.array([1, 2, 4, 8, 16, 32, 64, 128, 256, 512, *range(1000, 144_000, 4000)])
    tokens = steps * 2_097_152.0
    ends = np.log([4e9, 3e11])

    def rise(x: float) -> float:
        line = np.clip((x - ends[0]) / (ends[1] - ends[0]), 0, 1)
        return float(0.3 * expit((x - ends[0]) / 0.25) + 0.3 * line)

    half = brentq(lambda x: rise(x) - 0.5 * rise(np.log(tokens[-1])), *np.log(tokens[[0, -1]]))
    values = np.array([rise(x) for x in np.log(tokens)])
    values += np.random.default_rng(seed).normal(0, 0.005, tokens.size)
    found = fit_emergence(tokens, values, seed=seed)
    assert found.status == "emerged" and found.tokens is not None
    assert found.low is not None and found.high is not None
    assert found.low <= np.exp(half) <= found.high
    # The checkpoints around it are five times apart, and the curve bends between them.
    assert abs(np.log(found.tokens) - half) < np.log(1.25)
    assert found.interval == "smooth" and found.crossing_low <= found.tokens <= found.crossing_high


def test_a_straight_line_emerges_where_it_crosses_for_good() -> None:
    """As published copy suppression: a straight line in log tokens fits as well as a rise, which is
    no veto for a threshold.
    """
    curve = made_up.copy_suppression()
    tokens = curve.index.to_numpy() * TOKENS_PER_STEP
    found = fit_emergence(tokens, curve.to_numpy(), threshold=0.10)
    assert found.status == "emerged" and found.reason is None
    assert found.low <= made_up.crossing(2000, 3000) <= found.high
    assert min(found.aicc_linear, found.aicc_constant) < found.aicc_logistic + 6
    half_rise = fit_emergence(tokens, curve.to_numpy())
    assert half_rise.shape == "straight line"


def test_published_copy_suppression_emerges_where_it_crosses() -> None:
    """CSPA of Pythia-160m passes 0.10 between steps 2000 and 3000, for good; a straight line in log
    tokens fits as well as a rise, which is no veto.
    """
    table = published("circuits_over_time.csv")
    table = table[
        (table["model"] == "pythia-160m") & table["quantity"].str.startswith("cspa_score")
    ]
    strongest = table.groupby("step")["value"].max()
    for curve in (
        strongest,
        table[table["quantity"] == "cspa_score_L8H9"].set_index("step")["value"].sort_index(),
    ):
        found = fit_emergence(curve.index.to_numpy() * 2_097_152, curve.to_numpy(), threshold=0.10)
        assert found.status == "emerged"
        assert (
            found.crossing == pytest.approx(6e9, rel=0.02)
            and found.crossing_low < found.tokens < 7e9
        )
        assert found.low <= 6e9 <= found.high


def test_a_line_emerges_at_a_threshold_that_it_plainly_crosses() -> None:
    """It has no emergence point of its own, but its crossing of an absolute level is one."""
    line = np.log(np.maximum(TOKENS, 500)) / 20
    values = line + np.random.default_rng(2).normal(0, 0.01, TOKENS.size)
    level = float(line[10] + line[11]) / 2
    found = fit_emergence(TOKENS, values, threshold=level)
    assert found.status == "emerged"
    assert TOKENS[9] <= found.tokens <= TOKENS[12]


def test_risen_at_the_last_checkpoint_only_has_emerged_between_the_last_two() -> None:
    values = np.where(TOKENS[-1] <= TOKENS, 0.98, 0.02)
    values = values + np.random.default_rng(0).normal(0, 0.01, TOKENS.size)
    for threshold in (None, 0.5):
        found = fit_emergence(TOKENS, values, threshold=threshold)
        assert found.status == "emerged" and found.interval == "checkpoints"
        assert (found.low, found.high) == (TOKENS[-2], TOKENS[-1])
        assert TOKENS[-2] < found.tokens < TOKENS[-1]
        assert "at the last checkpoint only" in found.note
    # One that noise alone put there has not.
    noise = np.random.default_rng(3).normal(0, 0.02, TOKENS.size)
    noise[-1] = noise.max() + 0.01
    assert fit_emergence(TOKENS, noise, threshold=float(noise[-1]) - 0.005).status == "ambiguous"


@pytest.mark.parametrize("seed", range(5))
def test_an_overshoot_is_half_way_to_where_it_settles(seed: int) -> None:
    """And half of the way to its highest value is said beside."""
    tokens = np.geomspace(1e4, 1e7, 60)
    late = np.log(tokens / 3e5)
    shape = expit(late / 0.3) * (1.5 - 0.5 * expit((late - 1.5) / 0.3))
    found = fit_emergence(tokens, shape + np.random.default_rng(seed).normal(0, 0.02, 60))
    assert found.status == "emerged" and found.upper == pytest.approx(1.0, abs=0.1)
    settled, highest = (np.interp(level, shape[:35], tokens[:35]) for level in (0.5, 0.72))
    assert found.low <= settled <= found.high
    assert float(found.note.split("highest value ")[1].split()[0]) == pytest.approx(1.4, abs=0.06)
    half = float(found.note.split("half of the way to that at ")[1].split("k")[0])
    assert half == pytest.approx(highest / 1e3, rel=0.05)


def test_a_dip_before_the_rise_is_where_it_starts() -> None:
    late = np.log(np.maximum(TOKENS, 500) / 4e5)
    shape = expit(late / 0.15) - 0.5 * np.exp(-(((late + 3.0) / 1.0) ** 2))
    found = fit_emergence(TOKENS, shape + np.random.default_rng(0).normal(0, 0.01, TOKENS.size))
    assert found.lower == pytest.approx(-0.5, abs=0.07) and "dips first" in found.note
    assert found.level == pytest.approx((found.lower + found.upper) / 2)


def test_a_crossing_is_looked_for_after_the_dip() -> None:
    """A perplexity that explodes before it falls: half-way from there lies below where it began."""
    tokens = np.array([0, *(2.1e6 * 2.0 ** np.arange(26))])
    values = np.array([11.7, 11.7, 11.6, 11.4, 645, 600, 60, 20, 3, 0.5, *[0.001] * 17]) * 1e6
    found = fit_emergence(tokens, values, falls=True)
    assert found.status == "emerged" and found.lower > 5.5e8
    assert tokens[5] <= found.tokens <= tokens[6] and found.low >= tokens[4]


def test_where_training_stopped_is_said() -> None:
    """A curve that rises throughout has an earlier half of its rise where it is cut short, and both
    say that it is one so far; one that has settled has the same and says nothing.
    """
    x = np.log(TOKENS[1:])
    noise = np.random.default_rng(2).normal(0, 0.01, x.size)
    growing, settled = 0.1 * x + noise, expit((x - np.log(2e5)) / 0.1) + noise
    whole, cut = (fit_emergence(TOKENS[1:][:n], growing[:n]) for n in (25, 17))
    assert cut.tokens < whole.tokens and all("so far" in one.note for one in (whole, cut))
    whole, cut = (fit_emergence(TOKENS[1:][:n], settled[:n]) for n in (25, 17))
    assert cut.tokens == pytest.approx(whole.tokens, rel=0.05)
    assert "so far" not in whole.note


def test_the_estimate_lies_where_its_interval_and_the_values_are() -> None:
    """On 60 curves of five shapes: within its interval, and between the checkpoints around the
    crossing of the values, or the note names that crossing.
    """
    late = np.log(np.maximum(TOKENS, 500) / 3e5)
    shapes = (
        expit(late / 0.3),
        0.5 * expit(late / 0.1) + 0.5 * np.clip(late / 1.2, 0, 1),
        0.4 * expit((late + 1.5) / 0.2) + 0.6 * expit((late - 0.6) / 0.1),
        np.minimum(1.3 * expit(late / 0.3), 1),
        late,
    )
    emerged = 0
    for k in range(60):
        values = shapes[k % 5] + np.random.default_rng(k).normal(0, 0.04, TOKENS.size)
        found = fit_emergence(TOKENS, values, n_bootstrap=50)
        if found.status != "emerged":
            continue
        emerged += 1
        assert found.low <= found.tokens <= (found.high or np.inf)
        between = found.crossing_low <= found.tokens <= found.crossing_high
        assert between or "the unsmoothed values cross at" in found.note
    assert emerged > 50


def test_without_samples_the_interval_is_the_checkpoints() -> None:
    values = sigmoid(4e5) + np.random.default_rng(0).normal(0, 0.01, TOKENS.size)
    found = fit_emergence(TOKENS, values, n_bootstrap=0)
    assert found.interval == "checkpoints" and found.bootstrap_support is None
    assert (found.low, found.high) == pytest.approx((found.crossing_low, found.crossing_high))
