"""Result files of evaluations other than lm-evaluation-harness: lighteval, DCLM, BigScience."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from circuitwatch.errors import UserError
from circuitwatch.summary.importers import kind_of
from circuitwatch.summary.importers.formats.lighteval import task_of
from support.sources import FORMATS, curves_of, names, points, said, write_json

LIGHTEVAL, DCLM = FORMATS / "lighteval", FORMATS / "dclm"
AGGREGATE = FORMATS / "tr0-1B3-web-checkpoints_agg.json"
SEVERAL = FORMATS / "through_training.json"


# lighteval


def test_results_of_lighteval() -> None:
    assert kind_of(str(LIGHTEVAL)) == "lighteval"
    curves = curves_of(LIGHTEVAL, tokens_per_step="10")
    assert points(curves, "lab/mine", "arc:challenge 25-shot", "acc") == {1e4: 0.2, 2e4: 0.4}
    assert points(curves, "lab/mine", "piqa", "acc_norm")[1e4] == pytest.approx(0.4)
    # The step of a local checkpoint is in its path.
    assert points(curves, "runs/other", "arc:challenge 25-shot", "acc") == {5000: 0.3}
    assert names(curves, "task") == {"arc:challenge 25-shot", "piqa"}  # `all` is no task
    rows = curves.table[curves.table["quantity"] == "acc"]
    assert set(rows["stderr"]) == {0.01}


def test_a_limited_evaluation_does_not_replace_a_full_one(tmp_path: Path) -> None:
    assert "a full evaluation goes before one with max_samples" in said(
        curves_of(LIGHTEVAL, tokens_per_step="10")
    )
    limited = LIGHTEVAL / "lab/mine/results_2024-05-03T00-00-00.json"
    curves = curves_of(limited, tokens_per_step="10")
    assert points(curves, "lab/mine", "arc:challenge 25-shot", "acc") == {2e4: 0.9}
    assert "some results of lab/mine are of max_samples samples only" in said(curves)


def test_two_full_evaluations_that_differ_are_an_error_that_names_both(tmp_path: Path) -> None:
    for name, value, samples in (("a", 0.9, 10), ("b", 0.1, None), ("c", 0.1, None)):
        general = {"model_name": "lab/m", "model_revision": "step5", "max_samples": samples}
        content = {"config_general": general, "results": {"t|0": {"acc": value}}}
        write_json(tmp_path / f"e/{name}.json", content)
    curves = curves_of(tmp_path / "e", tokens_per_step="1")
    assert points(curves, "lab/m", "t", "acc") == {5: 0.1}
    write_json(tmp_path / "e/c.json", content | {"results": {"t|0": {"acc": 0.2}}})
    with pytest.raises(UserError, match=r"b.json and .*c.json give different values for lab/m t"):
        curves_of(tmp_path / "e", tokens_per_step="1")


@pytest.mark.parametrize(
    ("key", "task"),
    [
        ("leaderboard|arc:challenge|25", "arc:challenge 25-shot"),
        ("lighteval|piqa|0|0", "piqa"),
        ("gsm8k|5", "gsm8k 5-shot"),
        ("triviaqa", "triviaqa"),
    ],
)
def test_keys_of_tasks(key: str, task: str) -> None:
    assert task_of(key) == task


@pytest.mark.parametrize(
    ("content", "says"),
    [
        ({"config_general": {"model_name": "a"}, "results": {"t|0": {"acc": 1}}}, "no step in its"),
        ({"config_general": {}, "results": {"t|0": {"acc": 1}}}, "no model_name in its"),
        ({"config_general": "a", "results": {"t|0": {"acc": 1}}}, "no group of settings"),
        ({"config_general": {"model_name": "x/step5"}, "results": {}}, "no metric of any task"),
        (
            {"config_general": {"model_name": "x/step5"}, "results": {"t|0": {"acc": "high"}}},
            "no metric of any task",
        ),
    ],
)
def test_results_of_lighteval_that_cannot_be_used(
    tmp_path: Path, content: object, says: str
) -> None:
    path = write_json(tmp_path / "a/results.json", content)
    with pytest.raises(UserError, match=says) as caught:
        curves_of(path, tokens_per_step="1")
    assert "\n" not in str(caught.value)


def test_one_bad_file_costs_no_other(tmp_path: Path) -> None:
    shutil.copytree(LIGHTEVAL, tmp_path / "evals")
    (tmp_path / "evals/cut.json").write_text('{"config_general": {"model_na')
    curves = curves_of(tmp_path / "evals", tokens_per_step="10")
    assert "1 file left out (cut.json): no result of lighteval" in said(curves)
    assert set(curves.models) == {"lab/mine", "runs/other"}


# DCLM


def test_evaluations_of_dclm() -> None:
    assert kind_of(str(DCLM)) == "dclm"
    curves = curves_of(DCLM)
    # Named, sized and timed by the training's own file; a file's own tokens go first.
    assert points(curves, "books", "arc_easy", "acc") == {1e6: 0.5, 4e6: 0.6}
    assert points(curves, "books", "run", "perplexity") == {1e6: 2.5, 4e6: 2.4}
    assert points(curves, "books", "boolq", "downstream_perpexity") == {1e6: 2.5, 4e6: 2.5}
    sizes = curves.table.groupby("model")["params"].first()
    assert sizes["books"] == 1439795200
    # Without it, by the file's name.
    assert points(curves, "web-tokens=2000000", "piqa", "acc") == {2e6: pytest.approx(0.4)}


def test_one_evaluation_of_dclm_can_be_named() -> None:
    file = DCLM / "evaluation_x_heavy.json"
    assert curves_of(file).models == ["x"]
    assert curves_of(file, columns='model:"mine",params:"1.4B"').models == ["mine"]


@pytest.mark.parametrize("metrics", [{}, {"icl": {"a": "high"}}, {"icl": []}])
def test_evaluations_of_dclm_that_hold_nothing(tmp_path: Path, metrics: object) -> None:
    path = write_json(tmp_path / "a.json", {"eval_metrics": metrics})
    with pytest.raises(UserError, match=r"no evaluation in it: .*no number in its eval_metrics"):
        curves_of(path)


# BigScience


def test_aggregates_of_bigscience() -> None:
    assert kind_of(str(AGGREGATE)) == kind_of(str(SEVERAL)) == "bigscience"
    curves = curves_of(AGGREGATE)
    assert points(curves, "tr0-1B3-web", "arc_easy", "acc") == {1e6: 0.25, 2e6: 0.3, 4e6: 0.5}
    assert points(curves, "tr0-1B3-web", "lambada", "ppl")[1e6] == 1000.0
    assert set(curves.table["step"]) == {500, 1000, 2000}
    assert set(curves.table.query("task == 'arc_easy'")["stderr"]) == {0.01}
    assert "metrics left out, as there are 3 tokens: lambada acc has 2" in said(curves)
    curves = curves_of(SEVERAL)
    assert set(curves.models) == {"tr0-web", "tr0-books"}
    assert points(curves, "tr0-books", "piqa", "acc") == {1e6: 0.5, 2e6: 0.5, 4e6: 0.58}


def test_only_a_file_that_names_no_model_can_be_named() -> None:
    assert curves_of(AGGREGATE, columns='model:"mine"').models == ["mine"]
    curves = curves_of(SEVERAL, columns='model:"mine"')
    assert set(curves.models) == {"tr0-web", "tr0-books"}
    assert "says model itself" in said(curves)


@pytest.mark.parametrize(
    "results", [{}, {"t": {}}, {"t": {"acc": 3}}, {"t": [1, 2]}, {"t": {"acc": [1]}}]
)
def test_aggregates_that_hold_nothing(tmp_path: Path, results: object) -> None:
    path = write_json(tmp_path / "a_agg.json", {"tokens": [1, 2], "results": results})
    with pytest.raises(UserError, match="no curve in it") as caught:
        curves_of(path)
    assert "\n" not in str(caught.value)


def test_cut_files_are_told(tmp_path: Path) -> None:
    path = tmp_path / "a_agg.json"
    path.write_text(AGGREGATE.read_text()[:100])
    with pytest.raises(UserError, match=r"can't be read as JSON \(cut off"):
        curves_of(path)


def test_an_unknown_json_says_what_was_looked_for(tmp_path: Path) -> None:
    path = write_json(tmp_path / "x.json", {"a": 1, "b": 2})
    with pytest.raises(UserError, match="with the keys a, b; looked for") as caught:
        kind_of(str(path))
    text = str(caught.value)
    for looked in ("trainer_state.json", "lm-evaluation-harness", "lighteval", "DataComp-LM"):
        assert looked in text
    assert "\n" not in text and len(text) < 700


def test_what_else_a_folder_holds_is_told(tmp_path: Path) -> None:
    shutil.copytree(LIGHTEVAL, tmp_path / "all/evals")
    shutil.copy(AGGREGATE, tmp_path / "all")
    state = {"log_history": [{"step": 1, "loss": 2.0}, {"step": 2, "loss": 1.0}]}
    write_json(tmp_path / "all/run/trainer_state.json", state)
    curves = curves_of(tmp_path / "all", tokens_per_step="10")
    assert curves.models == ["run"]
    assert "it also holds results of lighteval" in said(curves)
    assert "aggregated evaluations of BigScience" in said(curves)
