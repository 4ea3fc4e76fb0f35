"""`trainer_state.json` of transformers' Trainer."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest

from circuitwatch.errors import UserError
from circuitwatch.summary.importers import kind_of
from support.sources import FORMATS, case, curves_of, names, points, said, write_json

RUNS = FORMATS / "trainer"
LAST = RUNS / "run-a/checkpoint-40/trainer_state.json"


def test_the_last_checkpoint_of_each_run_is_read() -> None:
    assert kind_of(str(RUNS)) == kind_of(str(LAST)) == "trainer-state"
    curves = curves_of(RUNS, tokens_per_step="run-a:256")
    assert curves.models == ["run-a", "run-b"]
    assert points(curves, "run-a", "run", "loss") == {2560: 4.0, 5120: 3.2, 7680: 2.4, 10240: 1.6}
    assert points(curves, "run-a", "run", "eval_loss") == {5120: 3.3, 10240: 1.7}
    # run-b counted its tokens itself.
    assert points(curves, "run-b", "run", "loss")[20480] == 2.7
    assert names(curves, "quantity") == {"loss", "eval_loss", "grad_norm"}
    assert "run-a: epoch, learning_rate, eval_runtime and 4 more in its log are no curves" in said(
        curves
    )
    assert "than" not in said(curves)  # the earlier checkpoint agrees


def test_an_earlier_checkpoint_that_disagrees_is_told(tmp_path: Path) -> None:
    state = json.loads((RUNS / "run-a/checkpoint-20/trainer_state.json").read_text())
    state["log_history"][0]["loss"] = 7.0
    state["log_history"].append({"step": 15, "loss": 3.5})
    write_json(tmp_path / "run-a/checkpoint-20/trainer_state.json", state)
    write_json(tmp_path / "run-a/checkpoint-40/trainer_state.json", json.loads(LAST.read_text()))
    curves = curves_of(tmp_path / "run-a", tokens_per_step="1")
    assert points(curves, "run-a", "run", "loss")[10] == 4.0
    assert re.search(r"checkpoint-20/\S+ has other values of loss at step 10 than", said(curves))
    assert re.search(r"checkpoint-20/\S+ also has loss at step 15 than", said(curves))


def test_runs_of_the_same_name_stay_apart(tmp_path: Path) -> None:
    for lab in ("a", "b"):
        write_json(
            tmp_path / lab / "run/checkpoint-40/trainer_state.json", json.loads(LAST.read_text())
        )
    assert set(curves_of(tmp_path, tokens_per_step="1").models) == {"a/run", "b/run"}
    with pytest.raises(UserError, match=r'columns=model:"x": .* has several \(a/run, b/run\)'):
        curves_of(tmp_path, tokens_per_step="1", columns='model:"x"')


def test_what_is_missing_is_said_in_one_line() -> None:
    with pytest.raises(UserError, match=r"give tokens_per_step=, the batch over all devices") as e:
        curves_of(LAST)
    assert "\n" not in str(e.value)


@pytest.mark.parametrize(
    ("content", "says"),
    [
        ('{"log_history": [{"step": 1, "loss": 2', "can't be read as JSON"),
        ('{"log_history": {"step": 1}}', "JSON of no known kind, with the keys log_history"),
        ("[1, 2]", "JSON of no known kind, a list"),
        ('{"log_history": []}', "no curve in it: its log_history has no number beside a step"),
        ('{"log_history": [{"step": "a", "loss": 1}, 3]}', "entries without a step"),
        ('{"log_history": [{"step": 1, "loss": "low"}]}', "loss in its log are no curves"),
    ],
)
def test_states_that_cannot_be_read(tmp_path: Path, content: str, says: str) -> None:
    (tmp_path / "trainer_state.json").write_text(content)
    with pytest.raises(UserError, match=re.escape(says)) as caught:
        curves_of(tmp_path / "trainer_state.json", tokens_per_step="1")
    assert "\n" not in str(caught.value)


def test_the_published_case() -> None:
    curves = curves_of(case("trainer_state.json"), tokens_per_step="1000", columns='model:"dpo"')
    assert names(curves, "model") == {"dpo"}
    assert names(curves, "quantity") == {"loss", "rewards/accuracies"}
    loss = points(curves, "dpo", "run", "loss")
    assert len(loss) == 20 and loss[50_000] == 0.6691 and loss[1_000_000] == 0.1138
