"""Charts and histories that W&B lets one download."""

from __future__ import annotations

from pathlib import Path

import pandas as pd
import pytest

from circuitwatch.errors import UserError
from circuitwatch.summary.importers import kind_of
from support.sources import FORMATS, case, curves_of, names, points, said

CHART, HISTORY = FORMATS / "wandb_chart.csv", FORMATS / "wandb_history.csv"


def test_a_chart_has_a_model_a_run_and_no_curve_of_min_and_max() -> None:
    assert kind_of(str(CHART)) == "wandb-chart"
    curves = curves_of(CHART, tokens_per_step="10")
    assert points(curves, "small", "run", "train/loss") == {0: 5, 50: 4, 100: 3, 150: 2}
    # A name of a run may hold what separates it from the metric; its last point is missing.
    assert points(curves, "run - two", "run", "train/loss") == {0: 5.5, 50: 4.5, 100: 3.5}
    assert names(curves, "quantity") == {"train/loss"}


def test_the_axis_of_a_chart_must_be_steps_or_tokens(tmp_path: Path) -> None:
    text = CHART.read_text()
    path = tmp_path / "chart.csv"
    path.write_text(text.replace('"Step"', '"tokens"'))
    assert max(points(curves_of(path), "small", "run", "train/loss")) == 15
    path.write_text(text.replace('"Step"', '"Relative Time (Process)"'))
    with pytest.raises(UserError, match=r"x-axis is Relative Time \(Process\), neither steps nor"):
        curves_of(path)
    path.write_text(text.replace('"Step"', '"seen"'))
    assert max(points(curves_of(path, columns="tokens:seen"), "small", "run", "train/loss")) == 15


def test_a_chart_says_its_runs_itself() -> None:
    curves = curves_of(CHART, tokens_per_step="10", columns='model:"mine"')
    assert names(curves, "model") == {"small", "run - two"}
    assert 'says model itself, so columns=model:"mine" is not used' in said(curves)


@pytest.mark.parametrize("text", ["", "low\n"])
def test_a_chart_without_values(tmp_path: Path, text: str) -> None:
    head = CHART.read_text().splitlines()[0]
    path = tmp_path / "chart.csv"
    path.write_text(f"{head}\n" + (f'"1",{",".join(["low"] * 6)}\n' if text else ""))
    with pytest.raises(UserError, match=r"has no rows|without any value in small - train/loss"):
        curves_of(path, tokens_per_step="10")


def test_the_published_chart() -> None:
    curves = curves_of(case("wandb_chart_export.csv"), tokens_per_step="1000")
    assert names(curves, "model") == {"run-a", "run-b", "run-c"}
    assert names(curves, "quantity") == {"train/loss"}
    loss = points(curves, "run-a", "run", "train/loss")
    assert loss[0] == pytest.approx(25.48284149169922) and loss[2000] < loss[0]


@pytest.mark.parametrize("suffix", ["csv", "parquet"])
def test_a_history_has_gaps_and_clocks(tmp_path: Path, suffix: str) -> None:
    path = HISTORY
    if suffix == "parquet":
        path = tmp_path / "wandb_history.parquet"
        pd.read_csv(HISTORY).to_parquet(path)
    assert kind_of(str(path)) == "wandb-history"
    curves = curves_of(path, tokens_per_step="10", columns='model:"mine"')
    # Steps of the optimiser, not calls of log; what is infinite is left out with a note.
    assert points(curves, "mine", "run", "train/loss") == {0: 5, 1000: 4, 2000: 3}
    assert points(curves, "mine", "run", "eval/acc") == {1000: 0.25, 2000: 0.5}
    assert names(curves, "quantity") == {"train/loss", "eval/acc"}
    assert "step from trainer/global_step" in said(curves)
    assert "1 values of mine run train/loss are missing or infinite" in said(curves)


def test_calls_of_log_are_steps_where_nothing_else_is(tmp_path: Path) -> None:
    path = tmp_path / "h.csv"
    path.write_text("_step,_runtime,loss\n0,1,5.0\n10,2,4.0\n")
    curves = curves_of(path, tokens_per_step="10")
    assert points(curves, "h", "run", "loss") == {0: 5, 100: 4}
    assert "_step is taken for the step; it counts calls of log" in said(curves)


def test_a_history_without_a_metric(tmp_path: Path) -> None:
    path = tmp_path / "h.csv"
    path.write_text("_step,_runtime\n0,1\n")
    with pytest.raises(UserError, match=r"a history of W&B without a metric: .* it has _runtime"):
        curves_of(path)
