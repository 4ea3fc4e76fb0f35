"""A metric that rises on prompts without the deciding word too is no behaviour: nothing emerges,
and every part of the summary says why.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from circuitwatch.records import find_cells
from circuitwatch.summary import SummaryResult, summarize
from circuitwatch.summary.curves import Curves, combine
from circuitwatch.summary.fits import Fits
from circuitwatch.summary.importers.cells import curves_of, read_cells


@pytest.fixture(scope="module")
def tasteful(
    tmp_path_factory: pytest.TempPathFactory, make_sweep: Callable[..., Path]
) -> SummaryResult:
    """IOI as it is; greater-than and agreement rise equally on clean and corrupted prompts."""
    folder = make_sweep(
        tmp_path_factory.mktemp("multirun") / "taste",
        tasks=("ioi", "greater_than", "agreement"),
        taste=("greater_than", "agreement"),
    )
    return summarize(folder, n_bootstrap=20, formats=("png",))


def test_no_behaviour_emerges_from_a_taste(tasteful: SummaryResult) -> None:
    rows = tasteful.emergence[tasteful.emergence["quantity"].str.startswith("behaviour/")]
    taste = rows[rows["task"] != "ioi"]
    assert (
        set(taste["quantity"]) == {"behaviour/value", "behaviour/effect", "behaviour/accuracy"}
        and len(taste) == 12
    )
    assert set(taste["status"]) <= {"never", "ambiguous"}
    values = taste[taste["quantity"] != "behaviour/effect"]
    assert values["note"].str.contains("above chance").all() and taste["tokens"].isna().all()
    ioi = rows[(rows["task"] == "ioi") & (rows["model"] == "nano-400k")].set_index("quantity")
    assert set(ioi["status"]) == {"emerged"} and len(ioi) == 3
    # The effect is 1.8 times the value in this sweep, so that both have the same emergence point.
    assert ioi.loc["behaviour/effect", "tokens"] == pytest.approx(
        ioi.loc["behaviour/value", "tokens"], rel=0.05
    )


def test_what_rests_on_emergence_follows(tasteful: SummaryResult) -> None:
    compared = tasteful.comparisons
    own = compared.lags[compared.lags["task"] == "greater_than"]
    assert len(own) and own["ratio"].isna().all() and "after" not in set(own["verdict"])
    for table in (compared.stability, compared.changes):
        assert "greater_than" not in set(
            table.loc[table["quantity"].str.startswith("behaviour/"), "task"]
        )
    assert set(compared.metrics.loc[compared.metrics["task"] != "ioi", "finding"]) <= {
        "neither rises",
        "inconclusive",
    }
    scaling = tasteful.scaling[tasteful.scaling["quantity"] == "behaviour/value"].set_index("task")
    assert scaling.loc["greater_than", "n_observed"] == 0


def test_the_report_says_why(tasteful: SummaryResult) -> None:
    page = (tasteful.folder / "report.html").read_text(encoding="utf-8")
    answers = page.split('<ul class="answers">')[1].split("<h3>")[0]
    assert "its effect (clean − corrupted) is not above 0" in answers.split("Greater-than ")[1]
    assert "effect of the deciding word (clean − corrupted)" in page


def test_effects_are_paired_by_prompt(sweep_folder: Path) -> None:
    """The curve of the effect has its values per prompt, whose means are what the record says;
    standard errors are those of its own interval.
    """
    cells = [cell for cell in find_cells(sweep_folder) if cell.header["task"] == "ioi"]
    curves = combine([curves_of(read_cells(cells)[0])])
    key = ("nano-400k", "ioi", "behaviour/effect", 0)
    curve = Fits(curves).curve(key)
    assert curve.per_prompt is not None and curve.not_above_chance is not None
    np.testing.assert_allclose(curve.per_prompt.mean(axis=1), curve.values, atol=1e-12)
    assert curve.not_above_chance[0] and not curve.not_above_chance[-1]
    last = curves.rows(key).iloc[-1]
    record = next(c for c in cells if c.header["model"]["name"] == "nano-400k").read(
        int(last["step"])
    )
    width = float(record.scalars["behaviour/effect_high"]) - float(
        record.scalars["behaviour/effect_low"]
    )
    assert last["stderr"] == pytest.approx(width / 2 / 1.959964)


def test_curves_from_elsewhere_have_no_say_on_chance() -> None:
    table = pd.DataFrame(
        {
            "model": "m",
            "params": 1e6,
            "tokens": 1000.0 * 2 ** np.arange(16),
            "step": np.nan,
            "task": "ioi",
            "quantity": "acc",
            "value": np.arange(16.0),
            "stderr": np.nan,
            "seed": 0,
            "source": "x",
        }
    )
    assert Fits(Curves(table)).curve(("m", "ioi", "acc", 0)).not_above_chance is None
