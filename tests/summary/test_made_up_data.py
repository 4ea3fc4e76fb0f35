"""Made-up numbers in the form of published ones (`support.made_up`), through the importers and the
statistics: what was put in must come out, and the traps of the published data are survived.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import scipy.stats

from circuitwatch.checkpoints.suites import read_suites
from circuitwatch.cli.choices import conf_dir
from circuitwatch.errors import UserError
from circuitwatch.summary.curve_tables import emergence_rows, scaling_rows
from circuitwatch.summary.curves import Curves
from circuitwatch.summary.fits import Fits
from circuitwatch.summary.importers import parse_request, read_sources
from support import made_up
from support.made_up import EVALUATED, IOI, LAMBADA, NODES, NODES_QUANTITY, SIZES, STEPS
from support.simulated import TOKENS_PER_STEP


def load(*paths: Path) -> Curves:
    request = parse_request({"from": ",".join(map(str, paths)), "to": "x"})
    return read_sources(request, read_suites([conf_dir()])).curves


def rows_of(curves: Curves, task: str, quantity: str, level: float) -> pd.DataFrame:
    """The emergence of one quantity of one task, by model."""
    table = curves.table
    chosen = Curves(table[(table["task"] == task) & (table["quantity"] == quantity)])
    return emergence_rows(Fits(chosen, {quantity: level})).frame().set_index("model")


def is_between(row: pd.Series, before: int, after: int) -> None:
    """The curve crosses half-way in log tokens between two steps, and the estimate is no further
    off than their distance.
    """
    assert row["status"] == "emerged"
    assert row["crossing"] == pytest.approx(made_up.crossing(before, after), rel=1e-6)
    ends = (before * TOKENS_PER_STEP, after * TOKENS_PER_STEP)
    assert (row["crossing_low"], row["crossing_high"]) == ends
    assert abs(row["tokens"] - row["crossing"]) <= ends[1] - ends[0]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("made-up")
    made_up.write_notebook_numbers(folder / "notebooks.csv")
    made_up.write_benchmarks(folder / "benchmarks.csv")
    made_up.write_harness(folder / "harness")
    return folder


@pytest.fixture(scope="module")
def notebooks(folder: Path) -> Curves:
    return load(folder / "notebooks.csv")


def test_what_is_read(folder: Path, notebooks: Curves) -> None:
    """All but the model whose tokens a step nobody knows; steps are turned into tokens."""
    file = pd.read_csv(folder / "notebooks.csv")
    unknown = file["model"] == "pythia-160m-alldropout"
    assert unknown.sum() == len(STEPS) and len(notebooks.table) == (~unknown).sum()
    said = [note for note in notebooks.notes if "pythia-160m-alldropout" in note]
    assert any(f"{len(STEPS)} values" in note and "tokens_per_step=" in note for note in said)
    with_steps = notebooks.table.dropna(subset="step")
    assert (with_steps["tokens"] == with_steps["step"] * TOKENS_PER_STEP).all()
    assert notebooks.table["value"].sum() == pytest.approx(file.loc[~unknown, "value"].sum())


def test_a_logit_difference_crosses_one(notebooks: Curves) -> None:
    rows = rows_of(notebooks, "ioi", "logit_diff", 1.0)
    for model, (before, after, _) in IOI.items():
        is_between(rows.loc[model], before, after)


def test_the_smallest_never_gets_there_and_is_right_censored(notebooks: Curves) -> None:
    row = rows_of(notebooks, "ioi", "logit_diff", 1.0).loc["pythia-70m"]
    assert row["status"] == "never" and row["reason"] == "below the threshold"
    assert pd.isna(row["tokens"])
    half = rows_of(notebooks, "ioi", "logit_diff", 0.5).loc["pythia-70m"]
    assert (half["status"], half["reason"]) == ("transient", "rose and fell")
    differences = Curves(notebooks.table.query("quantity == 'logit_diff'"))
    emergence = emergence_rows(Fits(differences, {"logit_diff": 1.0}))
    trends = scaling_rows(notebooks, emergence).frame().set_index(["quantity", "of"])
    row = trends.loc[("logit_diff", "tokens of emergence")]
    assert (row["n_observed"], row["n_censored"]) == (4, 1) and row["slope"] < 0


@pytest.mark.parametrize("model", ["pythia-70m", "pythia-410m"])
def test_a_jump_between_far_checkpoints_is_an_interval(notebooks: Curves, model: str) -> None:
    row = rows_of(notebooks, "repeated_random", "induction_score_max", 0.5).loc[model]
    ends = (512 * TOKENS_PER_STEP, 1000 * TOKENS_PER_STEP)
    assert row["status"] == "emerged"
    assert (row["crossing_low"], row["crossing_high"]) == ends
    assert (row["tokens_low"], row["tokens_high"]) == pytest.approx(ends)


@pytest.mark.parametrize("source", ["benchmarks.csv", "harness"])
def test_accuracy_crosses_its_level(folder: Path, source: str) -> None:
    """From the table and from the files of the harness; steps 10,000 apart."""
    rows = rows_of(load(folder / source), "lambada_openai", "acc", 0.3)
    for model, (before, after) in LAMBADA.items():
        is_between(rows.loc[model], before, after)
    assert rows.loc["pythia-70m", "status"] == "never" and pd.isna(rows.loc["pythia-70m", "tokens"])


def test_table_and_files_of_the_harness_say_the_same(folder: Path) -> None:
    table, files = load(folder / "benchmarks.csv"), load(folder / "harness")
    key = ["model", "task", "quantity", "tokens"]
    both = table.table.merge(
        files.table, on=key, suffixes=("_table", "_files"), validate="one_to_one"
    )
    assert len(both) == len(files.table) == 4 * len(EVALUATED) * 2
    for column in ("value", "stderr", "params"):
        np.testing.assert_allclose(both[f"{column}_table"], both[f"{column}_files"], rtol=1e-12)
    mixed = load(folder / "benchmarks.csv", folder / "harness")
    assert len(mixed.table) == len(table.table)
    assert not any("different values" in note for note in mixed.notes)


def test_five_shot_results_are_curves_of_their_own(folder: Path) -> None:
    curves = load(folder / "benchmarks.csv")
    assert len(curves.curve("pythia-410m", "lambada_openai", "acc")) == len(EVALUATED)
    five = curves.curve("pythia-410m", "lambada_openai 5-shot", "acc")
    assert five.tolist() == pytest.approx(made_up.accuracy("pythia-410m", 5).iloc[::3].tolist())


def nodes_against_size(curves: Curves) -> pd.DataFrame:
    found = scaling_rows(curves, []).frame()
    return found[found["quantity"] == NODES_QUANTITY].set_index("task")


def test_circuit_size_against_model_size(notebooks: Curves) -> None:
    """By SciPy, with the registry's counts."""
    found = nodes_against_size(notebooks)
    table = notebooks.table[notebooks.table["quantity"] == NODES_QUANTITY]
    for task in NODES:
        own = table[table["task"] == task]
        pearson = scipy.stats.pearsonr(own["params"], own["value"]).statistic
        spearman = scipy.stats.spearmanr(own["params"], own["value"]).statistic
        assert found.loc[task, "pearson"] == pytest.approx(pearson)
        assert found.loc[task, "spearman"] == pytest.approx(spearman)
        assert found.loc[task, "n_observed"] == 5


def test_wrong_sizes_of_known_models_are_put_right(folder: Path, notebooks: Curves) -> None:
    """A published analysis took ten times the sizes of the 1.4b and the 2.8b model; that would
    change the correlation, and the registry's sizes are used instead, with a note.
    """
    wrong = SIZES | {"pythia-1.4b": 14e9, "pythia-2.8b": 28e9}
    table = pd.read_csv(folder / "notebooks.csv").query("quantity == @NODES_QUANTITY")
    table.assign(params=table["model"].map(wrong)).to_csv(folder / "wrong.csv", index=False)
    curves = load(folder / "wrong.csv")
    for model in ("pythia-1.4b", "pythia-2.8b"):
        assert any(f"{model} has" in note and "registry's are" in note for note in curves.notes)
    registered = notebooks.table.groupby("model")["params"].first()
    right = SIZES | {model: registered[model] for model in ("pythia-1.4b", "pythia-2.8b")}
    found = nodes_against_size(curves)
    for task, nodes in NODES.items():
        of_right, of_wrong = (
            scipy.stats.pearsonr(list(sizes.values()), nodes).statistic for sizes in (right, wrong)
        )
        assert found.loc[task, "pearson"] == pytest.approx(of_right)
        assert abs(of_wrong - of_right) > 0.001


@pytest.mark.parametrize(
    ("name", "content", "says"),
    [
        (
            "faithfulness.csv",
            "source_file,model,task,step,n_edges,faithfulness\n"
            "x,pythia-160m,ioi,9,100,0.7\nx,pythia-160m,ioi,9,200,0.8\n",
            "different values of pythia-160m ioi",
        ),
        ("maps.tsv", "seed\tstep\tstate\n1\t512\t3\n", "have a step but no tokens"),
    ],
)
def test_tables_that_are_no_curves_are_left_out_by_name(
    folder: Path, name: str, content: str, says: str
) -> None:
    (folder / name).write_text(content, encoding="utf-8")
    notes = load(folder / name, folder / "notebooks.csv").notes
    assert any(says in note and name in note for note in notes)
    with pytest.raises(UserError, match=says):
        load(folder / name)
