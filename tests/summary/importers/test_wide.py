"""Wide tables: which columns become what, and what is said about it."""

from __future__ import annotations

from pathlib import Path

import pytest

from circuitwatch.errors import UserError
from circuitwatch.summary.importers import kind_of
from support.sources import FORMATS, case, curves_of, names, points, said

TASKS, STEPS, MODELS = (FORMATS / f"wide_{what}.csv" for what in ("tasks", "steps", "models"))


def test_columns_are_metrics_unless_the_metric_is_said() -> None:
    assert kind_of(str(TASKS)) == "wide"
    curves = curves_of(TASKS)
    assert points(curves, "small", "run", "piqa") == {1e6: 0.5, 4e6: 0.6}
    curves = curves_of(TASKS, columns='quantity:"acc"')
    assert points(curves, "small", "piqa", "acc") == {1e6: 0.5, 4e6: 0.6}
    assert names(curves, "task") == {"arc_easy", "piqa"}
    rows = curves.table.set_index(["model", "task"])
    assert set(rows.loc[("small", "arc_easy"), "stderr"]) == {0.01}
    assert rows.loc[("large", "piqa"), "stderr"].isna().all()
    assert names(curves, "params") == {1e6, 4e6}


def test_one_line_says_what_became_what() -> None:
    notes = [note for note in curves_of(TASKS).notes if "a wide table, turned" in note]
    assert notes == [
        "wide_tasks.csv: a wide table, turned: arc_easy, piqa are quantities, tokens from tokens; "
        'task is run (columns=task:"…" would name it)'
    ]
    assert "columns without any number left out: comment" in said(curves_of(TASKS))


def test_columns_are_steps() -> None:
    curves = curves_of(STEPS, tokens_per_step="10")
    assert points(curves, "small", "piqa", "acc") == {0: 0.5, 1000: 0.52, 10_000: 0.6}
    assert points(curves, "large", "piqa", "acc") == {0: 0.5, 1000: 0.55}
    assert "step0, step100, step1000 are steps" in said(curves)


def test_columns_are_models_where_the_registry_knows_them_or_all_else_is_said(
    tmp_path: Path,
) -> None:
    curves = curves_of(MODELS, columns='task:"pile",quantity:"ppl"')
    assert points(curves, "pythia-70m", "pile", "ppl")[1000 * 2_097_152] == 10.5
    assert curves.models == ["pythia-70m", "pythia-160m"]
    assert "pythia-70m, pythia-160m are models" in said(curves_of(MODELS))
    path = tmp_path / "mine.csv"
    path.write_text("tokens,one,two\n1e6,1,2\n2e6,3,4\n")
    curves = curves_of(path, columns='task:"t",quantity:"q"')
    assert names(curves, "model") == {"one", "two"}
    assert names(curves_of(path), "model") == {"mine"}


def test_sizes_are_models(tmp_path: Path) -> None:
    path = tmp_path / "a.csv"
    path.write_text(",tokens,70M,1.4B\n0,1e6,5,4\n1,2e6,4,3\n")
    curves = curves_of(path, columns='quantity:"loss"')
    assert points(curves, "1.4B", "run", "loss") == {1e6: 4, 2e6: 3}
    assert curves.table.groupby("model")["params"].first().to_dict() == {"70M": 7e7, "1.4B": 1.4e9}
    assert "70M, 1.4B are models" in said(curves) and "not used" not in said(curves)


def test_what_steps_are_called_in_logs(tmp_path: Path) -> None:
    path = tmp_path / "a.csv"
    for name in ("iter", "trainer/global_step", "train/step", "_step"):
        path.write_text(f"{name},loss\n1,5\n2,4\n")
        curves = curves_of(path, tokens_per_step="10")
        assert points(curves, "a", "run", "loss") == {10: 5, 20: 4}
        assert f"loss is a quantity, step from {name}" in said(curves)
    path.write_text("_step,iter,loss\n1,10,5\n2,20,4\n")
    assert set(curves_of(path, tokens_per_step="1").table["tokens"]) == {10, 20}


@pytest.mark.parametrize(
    ("content", "says"),
    [
        ("epoch,train_loss,acc\n1,2.5,0.1\n2,2.0,0.2\n", "such as columns=step:epoch$"),
        ("date,loss\n2024-01-01,2\n2024-01-02,1\n", "none of them can be the step or tokens$"),
        ("model,arc,piqa\na,0.3,0.4\nb,0.5,0.6\n", "none of them can be the step or tokens$"),
    ],
)
def test_a_wide_table_needs_steps_or_tokens(tmp_path: Path, content: str, says: str) -> None:
    path = tmp_path / "a.csv"
    path.write_text(content)
    with pytest.raises(UserError, match=says):
        curves_of(path, tokens_per_step="10")
    if "epoch" in content:
        curves = curves_of(path, tokens_per_step="10", columns="step:epoch")
        assert points(curves, "a", "run", "train_loss") == {10: 2.5, 20: 2.0}


def test_shots_and_seeds_beside_metrics(tmp_path: Path) -> None:
    path = tmp_path / "a.csv"
    path.write_text("model,tokens,seed,shots,acc\nm,1e6,0,5,0.1\nm,2e6,0,5,0.2\nm,1e6,1,0,0.3\n")
    curves = curves_of(path, columns='task:"piqa"')
    assert points(curves, "m", "piqa 5-shot", "acc") == {1e6: 0.1, 2e6: 0.2}
    assert points(curves, "m", "piqa", "acc", 1) == {1e6: 0.3}


def test_constants_must_be_possible(tmp_path: Path) -> None:
    for given, says in (
        ('value:"3"', "only model, task, quantity, params, seed can be given as a constant"),
        ('params:"many"', "give a number such as 160M"),
        ('seed:"1.5"', "give a whole number"),
    ):
        with pytest.raises(UserError, match=says):
            curves_of(MODELS, columns=given)
    curves = curves_of(MODELS, columns='quantity:"a, b: c",seed:"3"')
    assert names(curves, "quantity") == {"a, b: c"} and names(curves, "seed") == {3}


def test_a_constant_that_changes_nothing_is_an_error(tmp_path: Path) -> None:
    path = tmp_path / "pythia-70m/a_step1.json"
    path.parent.mkdir()
    path.write_text('{"results": {"t": {"acc": 0.1}}}')
    with pytest.raises(UserError, match="no source takes it: cells, runs of W&B and results of lm"):
        curves_of(path, columns='model:"x"')


def test_a_constant_without_quotes_is_told_about_them() -> None:
    with pytest.raises(UserError, match=r"""keeps: 'columns=model:"mine"'$"""):
        curves_of(MODELS, columns="model:mine")


@pytest.mark.parametrize(
    ("content", "says"),
    [
        ("step,loss\n", "has no rows"),
        ("step,loss\n1,low\n2,high\n", "no column of loss holds a number"),
        ("step,loss,loss\n1,2,3\n", "more than one column is called loss"),
        ("step,loss\n1,2\n3\n", "can't be read as a table"),
        ("model,step1,step2\nm,x,y\n", "no column of step1, step2 holds a number"),
    ],
)
def test_wide_tables_that_cannot_be_read(tmp_path: Path, content: str, says: str) -> None:
    path = tmp_path / "a.csv"
    path.write_text(content)
    with pytest.raises(UserError, match=says) as caught:
        curves_of(path, tokens_per_step="1")
    assert "\n" not in str(caught.value)


def test_the_published_case() -> None:
    curves = curves_of(case("wide.csv"), columns='model:"OLMo-190M",task:"ppl"')
    assert names(curves, "model") == {"OLMo-190M"} and names(curves, "task") == {"ppl"}
    assert len(names(curves, "quantity")) == 8
    bpb = points(curves, "OLMo-190M", "ppl", "eval/downstream_bpb/hellaswag_val_rc_5shot_bpb")
    assert len(bpb) == 37 and bpb[104857600.0] == pytest.approx(1.7426130771636963)
    assert "tokens from throughput/total_tokens, step from _step" in said(curves)
