"""Published facts about Pythia's training, through the importers and the statistics: what others
measured must come out again.

The facts are those of the data's own README: emergence points are where the published curves pass a
level, between two checkpoints; how far the estimate may be from them is the distance of those two
checkpoints.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path

import pandas as pd
import pytest

from circuitwatch.checkpoints.suites import read_suites
from circuitwatch.cli.choices import conf_dir
from circuitwatch.errors import UserError
from circuitwatch.summary.curve_tables import emergence_rows, scaling_rows
from circuitwatch.summary.curves import Curves
from circuitwatch.summary.fits import Fits
from circuitwatch.summary.importers import parse_request, read_sources
from support.tokenizers import PUBLISHED

pytestmark = pytest.mark.skipif(not PUBLISHED.is_dir(), reason="the published data are not here")

STEP = 2_097_152
LAMBADA = {"pythia-160m": 27e9, "pythia-410m": 9.0e9}
LARGER = ("pythia-1b", "pythia-1.4b", "pythia-2.8b", "pythia-6.9b", "pythia-12b")
CORRELATIONS = {
    "ioi": (0.789, 0.90),
    "greater_than": (0.941, 0.90),
    "gender_pronoun": (0.631, 0.90),
    "sva": (0.890, 1.00),
}
NODES = "mean_circuit_nodes_step>=1000"
BY_THEIR_NAMES = {
    "pythia-70m": "70M",
    "pythia-160m": "160M",
    "pythia-410m": "410M",
    "pythia-1.4b": "1.4B",
    "pythia-2.8b": "2.8B",
}


def load(*sources: Path | str) -> Curves:
    paths = [str(PUBLISHED / source) for source in sources]
    return read_sources(
        parse_request({"from": ",".join(paths), "to": "x"}), read_suites([conf_dir()])
    ).curves


def rows_of(curves: Curves, task: str, quantity: str, level: float) -> pd.DataFrame:
    """The emergence of one quantity of one task, by model."""
    table = curves.table
    chosen = Curves(table[(table["task"] == task) & (table["quantity"] == quantity)])
    return emergence_rows(Fits(chosen, {quantity: level})).frame().set_index("model")


def is_at(row: pd.Series, tokens: float, *, rel: float = 0.005) -> None:
    """The curve crosses at `tokens`, to the digits that were published, and the estimate is no
    further off than a checkpoint.
    """
    assert row["status"] == "emerged"
    assert row["crossing"] == pytest.approx(tokens, rel=rel)
    assert abs(row["tokens"] - tokens) <= row["crossing_high"] - row["crossing_low"]


def trends(curves: Curves) -> pd.DataFrame:
    """Mean circuit nodes against model size, by task."""
    found = scaling_rows(curves, []).frame()
    return found[found["quantity"] == NODES].set_index("task")


@pytest.fixture(scope="module")
def paper() -> Curves:
    return load("circuits_over_time.csv")


def test_what_is_read_of_the_papers_numbers(paper: Curves) -> None:
    file = pd.read_csv(PUBLISHED / "circuits_over_time.csv")
    known = file[file["model"] != "pythia-160m-alldropout"]
    assert len(paper.table) == len(known)  # nothing else is left out, and nothing twice
    assert any("pythia-160m-alldropout" in note and "60 values" in note for note in paper.notes)
    with_steps = paper.table.dropna(subset="step")
    assert (with_steps["tokens"] == with_steps["step"] * STEP).all()
    assert paper.table["value"].sum() == pytest.approx(known["value"].sum())


def test_ioi_logit_difference_crosses_one(paper: Curves) -> None:
    rows = rows_of(paper, "ioi", "logit_diff", 1.0)
    for model, tokens in {
        "pythia-160m": 9.75e9,
        "pythia-410m": 8.74e9,
        "pythia-1.4b": 5.09e9,
        "pythia-2.8b": 5.17e9,
    }.items():
        is_at(rows.loc[model], tokens)
        assert rows.loc[model, "crossing_high"] - rows.loc[model, "crossing_low"] == pytest.approx(
            STEP * 1000
        )


def test_the_smallest_never_gets_there_and_is_no_number(paper: Curves) -> None:
    """It rises to 0.83 and falls to −0.59."""
    assert paper.curve("pythia-70m", "ioi", "logit_diff").max() == pytest.approx(0.83, abs=0.005)
    row = rows_of(paper, "ioi", "logit_diff", 1.0).loc["pythia-70m"]
    assert row["status"] in ("never", "transient") and pd.isna(row["tokens"])
    assert rows_of(paper, "ioi", "logit_diff", 0.5).loc["pythia-70m", "status"] == "transient"


def test_a_size_that_never_gets_there_is_censored_in_the_trend(paper: Curves) -> None:
    differences = Curves(paper.table.query("quantity == 'logit_diff'"))
    emergence = emergence_rows(Fits(differences, {"logit_diff": 1.0}))
    row = (
        scaling_rows(paper, emergence)
        .frame()
        .set_index(["quantity", "of"])
        .loc[("logit_diff", "tokens of emergence")]
    )
    assert (row["n_observed"], row["n_censored"]) == (4, 1) and row["slope"] < 0


@pytest.mark.parametrize("model", ["pythia-70m", "pythia-410m"])
def test_induction_is_an_interval(paper: Curves, model: str) -> None:
    row = rows_of(paper, "repeated_random", "induction_score_max", 0.5).loc[model]
    assert row["status"] == "emerged"
    assert (row["crossing_low"], row["crossing_high"]) == (
        512 * STEP,
        1000 * STEP,
    )  # 1.07e9 and 2.10e9
    assert row["tokens_low"] >= 1.07e9 and row["tokens_high"] <= 2.10e9


def test_lambada_from_the_table() -> None:
    check_lambada(load("pythia_lm_eval.csv"), LAMBADA, LARGER)


def test_lambada_from_the_files_of_the_harness() -> None:
    check_lambada(load("lm_eval"), LAMBADA, ())


def check_lambada(curves: Curves, points: Mapping[str, float], larger: Iterable[str]) -> None:
    rows = rows_of(curves, "lambada_openai", "acc", 0.3)
    for model, tokens in points.items():
        is_at(rows.loc[model], tokens, rel=0.015)  # published to two digits: 27.3e9 is 27e9
    for model in larger:
        assert 5.65e9 <= rows.loc[model, "crossing"] < 6.35e9
        is_at(rows.loc[model], 6.0e9, rel=0.06)
    assert rows.loc["pythia-70m", "status"] == "never" and pd.isna(rows.loc["pythia-70m", "tokens"])


def test_table_and_files_of_the_harness_say_the_same() -> None:
    table, files = load("pythia_lm_eval.csv"), load("lm_eval")
    key = ["model", "task", "quantity", "tokens"]
    both = table.table.merge(
        files.table, on=key, suffixes=("_table", "_files"), validate="one_to_one"
    )
    assert len(both) == 3 * 27 * 14  # models, checkpoints; 14 metrics of 8 tasks
    assert (both["value_table"] - both["value_files"]).abs().max() < 1e-12
    assert (both["stderr_table"] - both["stderr_files"]).abs().max() < 1e-12
    assert (both["params_table"] == both["params_files"]).all()
    mixed = load("pythia_lm_eval.csv", "lm_eval")
    assert len(mixed.table) == len(table.table) + len(files.table) - len(both)
    assert not any("different values" in note for note in mixed.notes)


def test_five_shot_results_are_curves_of_their_own() -> None:
    curves = load("pythia_lm_eval.csv")
    assert len(curves.curve("pythia-1b", "lambada_openai", "acc")) == 27
    assert len(curves.curve("pythia-1b", "lambada_openai 5-shot", "acc")) == 15


def test_circuit_size_against_model_size(paper: Curves) -> None:
    """With the exact parameter counts; the published r take the sizes by the models' names, which
    moves it in the third digit.
    """
    found = trends(paper)
    for task, (pearson, spearman) in CORRELATIONS.items():
        assert found.loc[task, "pearson"] == pytest.approx(pearson, abs=0.007), task
        assert found.loc[task, "spearman"] == pytest.approx(spearman, abs=0.005), task
        assert found.loc[task, "n_observed"] == 5


def sized(tmp_path: Path, sizes: Mapping[str, str]) -> Curves:
    """The papers' mean circuit nodes with the sizes of the models in a column."""
    table = pd.read_csv(PUBLISHED / "circuits_over_time.csv").query("quantity == @NODES")
    path = tmp_path / "sized.csv"
    table.assign(params=table["model"].map(sizes)).to_csv(path, index=False)
    return load(path)


def test_circuit_size_against_the_sizes_by_their_names(tmp_path: Path) -> None:
    found = trends(sized(tmp_path, BY_THEIR_NAMES))
    for task, (pearson, _) in CORRELATIONS.items():
        assert found.loc[task, "pearson"] == pytest.approx(pearson, abs=0.0006), (
            task
        )  # three published digits


def test_the_wrong_sizes_of_the_published_analysis_are_put_right(tmp_path: Path) -> None:
    """It took 14e9 and 28e9 for the 1.4b and the 2.8b model, and printed r = 0.727 for IOI instead
    of 0.789.
    """
    curves = sized(tmp_path, BY_THEIR_NAMES | {"pythia-1.4b": "14B", "pythia-2.8b": "28B"})
    for model in ("pythia-1.4b", "pythia-2.8b"):
        assert any(
            f"{model} has" in note and "the registry's are used" in note for note in curves.notes
        )
    assert trends(curves).loc["ioi", "pearson"] == pytest.approx(0.789, abs=0.007)


@pytest.mark.parametrize(
    ("name", "says"),
    [
        (
            "circuits_over_time_faithfulness_vs_size.csv",
            "different values of pythia-160m ioi circuit_edges",
        ),
        ("polypythias_training_maps.tsv", "no column model, task, quantity"),
    ],
)
def test_tables_that_are_no_curves_are_left_out_by_name(name: str, says: str) -> None:
    assert any(says in note and name in note for note in load(name, "circuits_over_time.csv").notes)
    with pytest.raises(UserError, match=says):
        load(name)
