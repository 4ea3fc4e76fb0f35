"""Curves are found again in the long table, and very long ones cost no more than those that are
looked at.
"""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from circuitwatch.summary.curve_tables import emergence_rows
from circuitwatch.summary.curves import COLUMNS, Curves
from circuitwatch.summary.fits import LONGEST, Fits
from circuitwatch.summary.together import compare


def table(n: int, seed: int = 0) -> pd.DataFrame:
    rng = np.random.default_rng(seed)
    made = pd.DataFrame(
        {
            "model": rng.choice(["a", "b"], n),
            "params": 1e6,
            "tokens": np.where(rng.random(n) < 0.1, np.nan, np.arange(n, dtype=float)),
            "step": np.nan,
            "task": rng.choice(["x", "y"], n),
            "quantity": rng.choice(["acc", "loss"], n),
            "value": rng.random(n),
            "stderr": np.nan,
            "seed": rng.integers(0, 2, n),
            "source": "here",
        }
    )
    return made[list(COLUMNS)]


def test_rows_of_a_curve_are_those_of_its_names() -> None:
    every = table(500)
    curves = Curves(every)
    for key in [(m, t, q, s) for m in "ab" for t in "xy" for q in ("acc", "loss") for s in (0, 1)]:
        wanted = (every[["model", "task", "quantity", "seed"]] == list(key)).all(axis=1) & every[
            "tokens"
        ].notna()
        pd.testing.assert_frame_equal(curves.rows(key), every[wanted])
        assert curves.curve(*key).to_dict() == dict(
            zip(every[wanted]["tokens"], every[wanted]["value"], strict=True)
        )
    assert curves.rows(("a", "x", "nothing", 0)).empty and curves.curve("c", "x", "acc").empty


def test_a_curve_of_very_many_checkpoints_is_thinned_everywhere() -> None:
    """40,000 checkpoints: the robust line after the rise would look at 800 million pairs of
    them.
    """
    n = 40_000
    tokens = np.arange(1, n + 1) * 1e6
    values = 1 / (1 + np.exp(-(np.log(tokens) - np.log(2e9)) / 0.3)) + np.random.default_rng(
        0
    ).normal(0, 0.02, n)
    every = pd.DataFrame(
        {
            "model": "a",
            "params": 1e6,
            "tokens": tokens,
            "step": np.nan,
            "task": "x",
            "quantity": "acc",
            "value": values,
            "stderr": np.nan,
            "seed": 0,
            "source": "here",
        }
    )[list(COLUMNS)]
    curves = Curves(every)
    fits = Fits(curves, n_bootstrap=50)
    emergence = emergence_rows(fits)
    (row,) = compare(fits, emergence).stability
    assert emergence[0].tokens == pytest.approx(2e9, rel=0.05)
    assert row.status == "measured" and row.n <= LONGEST


@pytest.mark.parametrize(
    ("quantity", "change", "directions", "doubtful"),
    [
        ("mine/share", -1.0, {}, True),
        ("mine/share", 1.0, {}, False),
        ("mine/share", 0.0, {}, False),
        ("loss", -1.0, {}, False),  # known to fall
        ("behaviour/value", -1.0, {}, False),  # known to rise
        ("mine/share", -1.0, {"mine/share": False}, False),
    ],
)
def test_a_quantity_that_nobody_knows_and_that_falls_is_in_doubt(
    quantity: str, change: float, directions: dict[str, bool], doubtful: bool
) -> None:
    tokens = np.geomspace(1e6, 1e9, 20)
    noise = np.random.default_rng(0).normal(0, 0.02, 20)
    every = table(20).assign(
        model="a", task="x", quantity=quantity, seed=0, tokens=tokens,
        value=change / (1 + np.exp(-np.log(tokens / 3e7))) + noise,
    )  # fmt: skip
    fits = Fits(Curves(every, directions=directions), {"mine/share": 2.0}, n_bootstrap=20)
    wanted = f"it falls: direction={quantity}:falls asks when" if doubtful else ""
    assert fits.doubt(("a", "x", quantity, 0)) == wanted
