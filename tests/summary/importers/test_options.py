"""What the options of `summarize from=…` say: pairs, constants in quotes, tokens of a step by
model.
"""

from __future__ import annotations

from pathlib import Path

import pytest

from circuitwatch.errors import UserError
from circuitwatch.summary.importers.options import pairs, tokens_per_step_of
from circuitwatch.summary.importers.rates import TokensPerStep
from circuitwatch.summary.importers.registry import Registry
from support.sources import FORMATS, SUITES, curves_of, points

CHART = FORMATS / "wandb_chart.csv"


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("a:b,c:d", [("a", "b"), ("c", "d")]),
        ("step:train:step", [("step:train", "step")]),
        ('model:"a, b: c",task:x', [("model", '"a, b: c"'), ("task", "x")]),
        ("model:'a,b'", [("model", "'a,b'")]),
        ("value:it's,step:s", [("value", "it's"), ("step", "s")]),
        ("t/q:0.5,ppl:2", [("t/q", "0.5"), ("ppl", "2")]),
        ("", []),
    ],
)
def test_pairs(text: str, found: list[tuple[str, str]]) -> None:
    assert pairs("columns", text) == found


@pytest.mark.parametrize("text", ["a", "a:", ":b", 'a:b,"c"'])
def test_what_is_no_pair(text: str) -> None:
    with pytest.raises(UserError, match="is no pair <name>:<value>"):
        pairs("columns", text)


@pytest.mark.parametrize(
    ("text", "given"),
    [
        ("", None),
        ("2097152", 2097152.0),
        ("a:10,b:20", {"a": 10.0, "b": 20.0}),
        ("a:10,30", {"a": 10.0, "": 30.0}),
        ("runs:a:10", {"runs:a": 10.0}),
    ],
)
def test_tokens_of_a_step(text: str, given: object) -> None:
    assert tokens_per_step_of(text) == given


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("-1", "tokens_per_step=-1: give a number of tokens above 0"),
        ("a:many", "such as small:1048576,large:2097152"),
        ("a:1,a:2", "a has two numbers"),
        ("1,2", "all others have two numbers"),
        ("a:inf", "give a number of tokens above 0"),
    ],
)
def test_what_is_no_number_of_tokens(text: str, says: str) -> None:
    with pytest.raises(UserError, match=says):
        tokens_per_step_of(text)


def test_each_model_has_its_own_tokens_of_a_step() -> None:
    curves = curves_of(CHART, tokens_per_step="small:10,7")
    assert max(points(curves, "small", "run", "train/loss")) == 150
    assert max(points(curves, "run - two", "run", "train/loss")) == 70


def test_a_model_without_a_number_is_told() -> None:
    curves = curves_of(CHART, tokens_per_step="small:10")
    assert curves.models == ["small"]
    assert any("3 values of run - two run train/loss have a step but no" in n for n in curves.notes)


def test_a_name_that_no_model_has_is_an_error_with_the_nearest() -> None:
    with pytest.raises(
        UserError, match=r"^tokens_per_step=smal:10: no model is called smal; there is small"
    ):
        curves_of(CHART, tokens_per_step="smal:10,7")
    # Also where nothing else would be left.
    with pytest.raises(UserError, match="no model is called smal; there is small"):
        curves_of(CHART, tokens_per_step="smal:10")


def test_the_last_part_of_a_name_will_do(tmp_path: Path) -> None:
    path = tmp_path / "a.csv"
    path.write_text("model,step,task,quantity,value\nlab/a,1,t,q,1\nlab/a,2,t,q,2\nb,2,t,q,2\n")
    curves = curves_of(path, tokens_per_step="a:5,7")
    assert points(curves, "lab/a", "t", "q") == {5: 1, 10: 2}
    assert points(curves, "b", "t", "q") == {14: 2}
    with pytest.raises(UserError, match="no model is called lab; there is"):
        curves_of(path, tokens_per_step="lab:5,7")


def test_where_no_model_is_read_the_reason_is_told(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"absent.csv: no such file"):
        curves_of(tmp_path / "absent.csv", tokens_per_step="a:5")


def test_models_are_meant_by_any_of_their_names(tmp_path: Path) -> None:
    rates = TokensPerStep({"EleutherAI/pythia-70m": 5.0}, Registry(SUITES))
    assert rates.of("pythia-70m") == 5.0 and rates.of("other") is None
    rates.check()
    path = tmp_path / "a.csv"
    path.write_text("model,step,task,quantity,value\npythia-70m,1,t,q,1\npythia-70m,2,t,q,2\n")
    curves = curves_of(path, tokens_per_step="EleutherAI/pythia-70m:5")
    assert points(curves, "pythia-70m", "t", "q") == {5: 1, 10: 2}
