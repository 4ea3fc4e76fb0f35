"""A Trainer that is watched: the training is the same to the last bit, and behaviour and roles
stand beside the loss.
"""

from __future__ import annotations

import json
import os
import random
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import wandb
from torch.utils.data import Dataset, IterableDataset
from transformers import TrainerCallback
from transformers.integrations import WandbCallback

import circuitwatch as cw
from circuitwatch import analysis
from circuitwatch import watcher as watching
from circuitwatch.analysis import Seen
from circuitwatch.callback import CircuitwatchCallback
from circuitwatch.errors import UserError
from circuitwatch.live.weights import sha256_of, state_of
from circuitwatch.record_files import NOT_ASKED
from circuitwatch.records import Cell
from support.trainings import (
    LENGTH,
    ROWS,
    SMALL,
    TASKS,
    plain_loop,
    small_gpt2,
    text,
    trainer,
    wandb_messages,
    watcher,
)
from support.wandb import WandbServer
from support.wandb.client import run as run_client


def callback(folder: Path, **options: Any) -> CircuitwatchCallback:
    settings = {"out": folder / "multirun", "max_share": None, "every": 2, **SMALL}
    return CircuitwatchCallback(options.pop("tasks", TASKS), **settings | options)


def cell(folder: Path, task: str = TASKS[0]) -> Cell:
    return Cell.open(folder / "multirun/live/mine" / task / "seed0")


def noisy(model: Any, probes: Any) -> Seen:
    """A measurement that draws random numbers of every kind."""
    random.random(), np.random.rand(), torch.rand(1)
    return Seen.of(model, probes)


class NoisySeen:
    of = staticmethod(noisy)


@pytest.mark.parametrize("circuits", [False, True])
def test_the_training_is_the_same_to_the_last_bit(
    circuits: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With dropout and shuffled data, although the measurement draws random numbers itself."""
    monkeypatch.setattr(analysis, "Seen", NoisySeen)
    plain = trainer(tmp_path)
    plain.train()
    watched = trainer(tmp_path, [callback(tmp_path, circuits=circuits)])
    watched.train()
    assert watched.losses == plain.losses and len(set(plain.losses)) == 6
    for ours, theirs in zip(watched.model.parameters(), plain.model.parameters(), strict=True):
        assert torch.equal(ours, theirs)
    assert cell(tmp_path).steps_done() == [0, 2, 4, 6]


def test_without_care_it_would_not_be_the_same(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What the test above can see: the same measurement with random states not restored."""
    monkeypatch.setattr(analysis, "Seen", NoisySeen)
    monkeypatch.setattr("circuitwatch.live.undisturbed._restore", lambda states: None)
    plain = trainer(tmp_path)
    plain.train()
    watched = trainer(tmp_path, [callback(tmp_path)])
    watched.train()
    assert watched.losses[0] != plain.losses[0]


def test_records_are_as_those_of_a_sweep(tmp_path: Path) -> None:
    ours = callback(tmp_path, every="log")
    trainer(tmp_path, [ours]).train()
    assert ours.watcher is not None and ours.watcher.share > 0
    for task in TASKS:
        own = cell(tmp_path, task)
        assert own.is_done() and own.steps_done() == [0, 1, 2, 4, 6]
        for record in own.records():
            assert record.tokens == record.step * ROWS * LENGTH
            assert record.scalars["circuit/status"] == NOT_ASKED
            assert "behaviour/effect" in record.scalars and "text/loss" in record.scalars
            assert "roles/induction/max" in record.scalars
    first, second = (cell(tmp_path, task).read(6) for task in TASKS)
    assert first.roles.equals(second.roles)  # measured once for both
    assert first.scalars["behaviour/value"] != second.scalars["behaviour/value"]
    opened = cw.open(tmp_path / "multirun/live")
    assert len(opened.curves(quantity="behaviour/value")) == 2


class Rows(Dataset[dict[str, torch.Tensor]]):
    """Rows of one's own, which could be anything."""

    def __init__(self) -> None:
        self.rows = text()

    def __len__(self) -> int:
        return len(self.rows)

    def __getitem__(self, place: int) -> dict[str, torch.Tensor]:
        return {"input_ids": self.rows[place], "labels": self.rows[place]}


class RandomRows(Rows):
    """Rows that begin anywhere: looking at one changes the next."""

    def __init__(self) -> None:
        super().__init__()
        self.random = random.Random(0)

    def __getitem__(self, place: int) -> dict[str, torch.Tensor]:
        start = self.random.randrange(4)
        row = self.rows[place][start : start + 16]
        return {"input_ids": row, "labels": row}


class Stream(IterableDataset[dict[str, torch.Tensor]]):
    def __iter__(self) -> Any:
        yield from ({"input_ids": row, "labels": row} for row in text())


def test_tokens_are_counted_by_the_trainer_or_told_by_the_data_or_given(tmp_path: Path) -> None:
    def tokens(data: Any, name: str, *, given: int | None = None, **options: Any) -> list[int]:
        watched = callback(tmp_path / name, tasks=TASKS[:1], tokens_per_step=given)
        trainer(tmp_path / name, [watched], data=data, max_steps=2, **options).train()
        return [record.tokens for record in cell(tmp_path / name).records()]

    assert tokens(Rows(), "rows") == [0, 2 * ROWS * LENGTH]
    accumulated = tokens(Rows(), "accumulated", gradient_accumulation_steps=2)
    assert accumulated == [0, 4 * ROWS * LENGTH]
    counted = tokens(RandomRows(), "counted", include_num_input_tokens_seen="all")
    assert counted == [0, 2 * ROWS * 16]
    assert tokens(Stream(), "stream", given=1000) == [0, 2000]


@pytest.mark.parametrize("data", [RandomRows(), Stream(), [{"input_ids": [1] * n} for n in (3, 4)]])
def test_an_unknown_number_of_tokens_is_refused_before_the_training(
    data: Any, tmp_path: Path
) -> None:
    watched = trainer(tmp_path, [callback(tmp_path)], data=data)
    with pytest.raises(UserError, match=r"tokens_per_step=.*include_num_input_tokens_seen"):
        watched.train()
    assert watched.losses == []


def test_a_training_that_goes_on_goes_on_with_its_cells(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    """What is recorded with the same weights is not measured again; where the training goes another
    way, what was left of the earlier is set aside.
    """
    measured: list[None] = []

    def counted(model: Any, probes: Any) -> Seen:
        measured.append(None)
        return Seen.of(model, probes)

    monkeypatch.setattr(analysis, "Seen", type("Counted", (), {"of": staticmethod(counted)}))
    saving = {"save_strategy": "steps", "save_steps": 4, "save_only_model": False}
    trainer(tmp_path, [callback(tmp_path)], max_steps=8, **saving).train()
    assert len(measured) == 5 and cell(tmp_path).steps_done() == [0, 2, 4, 6, 8]
    resume = str(tmp_path / "mine/checkpoint-4")
    before = cell(tmp_path).contents(6)

    trainer(tmp_path, [callback(tmp_path)], max_steps=10).train(resume_from_checkpoint=resume)
    assert len(measured) == 6  # step 10
    assert cell(tmp_path).steps_done() == [0, 2, 4, 6, 8, 10] and cell(tmp_path).is_done()
    assert cell(tmp_path).contents(6) == before and "set_aside" not in capfd.readouterr().err

    class Other(TrainerCallback):
        def on_step_begin(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
            for group in kwargs["optimizer"].param_groups:
                group["lr"] = 1e-3

    trainer(tmp_path, [callback(tmp_path), Other()], max_steps=6).train(
        resume_from_checkpoint=resume
    )
    own = cell(tmp_path)
    assert own.steps_done() == [0, 2, 4, 6] and own.contents(6) != before and own.is_done()
    kept = {path.name for path in (own.folder / "set_aside/1").iterdir()}
    assert kept == {"step000006", "step000008", "step000010"}
    assert "steps 6 to 10 are kept in" in capfd.readouterr().err


def test_another_training_is_refused(tmp_path: Path) -> None:
    trainer(tmp_path, [callback(tmp_path)], max_steps=2).train()
    other = trainer(tmp_path, [callback(tmp_path)], model=small_gpt2(seed=1))
    with pytest.raises(UserError, match=r"step 0 is recorded there with other weights.*sweep="):
        other.train()
    assert other.losses == []


def test_the_last_step_is_that_of_the_training_not_the_best(tmp_path: Path) -> None:
    """With load_best_model_at_end the model has other weights when the training ends; stopped
    early, the last step is none of the schedule.
    """

    class Stops(TrainerCallback):
        def on_step_end(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
            control.should_training_stop = state.global_step == 5

    weights: dict[int, str] = {}

    class Saves(TrainerCallback):
        def on_step_end(
            self, args: Any, state: Any, control: Any, *, model: Any, **kw: Any
        ) -> None:
            weights[state.global_step] = sha256_of(state_of(model))

    watched = trainer(
        tmp_path,
        [callback(tmp_path, every=4), Saves(), Stops()],
        save_strategy="steps",
        save_steps=2,
        eval_strategy="steps",
        eval_steps=2,
        metric_for_best_model="eval_loss",
        greater_is_better=True,  # so that the best is the first
        load_best_model_at_end=True,
    )
    watched.train()
    assert watched.state.best_model_checkpoint.endswith("checkpoint-2")
    own = cell(tmp_path)
    assert own.steps_done() == [0, 4, 5] and own.is_done()
    assert own.read(5).scalars["weights/sha256"] == weights[5]


ONLINE = """
import json
from pathlib import Path
from support.trainings import SMALL, TASKS, trainer
from circuitwatch.callback import CircuitwatchCallback

ours = CircuitwatchCallback(TASKS, out="multirun", max_share=None, every=2, **SMALL)
watched = trainer(Path("."), [ours], max_steps=4, report_to=["wandb"])
watched.train()
print("losses", json.dumps(watched.losses))
"""


def test_behaviour_and_roles_stand_beside_the_loss_in_the_users_own_run(tmp_path: Path) -> None:
    """Online, on a stand-in server, logged by the Trainer's own callback; and the losses are those
    of a training that nobody watches.
    """
    places = [Path(cw.__file__).parents[1], Path(__file__).parents[1]]
    with WandbServer() as server:
        said = run_client(
            ONLINE, server.url, tmp_path, PYTHONPATH=os.pathsep.join(map(str, places)),
            OMP_NUM_THREADS="1", WANDB_CONSOLE="off", WANDB_PROJECT="theirs", timeout=150,
        )  # fmt: skip
        (theirs,) = server.runs("theirs")
    plain = trainer(tmp_path, max_steps=4)
    plain.train()
    (losses,) = (line for line in said.splitlines() if line.startswith("losses "))
    assert json.loads(losses.removeprefix("losses ")) == plain.losses
    assert "circuitwatch: 3 measurements; " in said and "watching has taken" in said
    check_rows(tmp_path, theirs.rows)
    assert theirs.state == "finished"


def check_rows(folder: Path, rows: list[dict[str, Any]]) -> None:
    """A run's rows have the losses over the Trainer's steps and the cells' numbers over tokens."""
    ours = [row for row in rows if "circuitwatch/tokens" in row]
    theirs = [row for row in rows if "train/loss" in row]
    assert [row["circuitwatch/tokens"] for row in ours] == [
        step * ROWS * LENGTH for step in (0, 2, 4)
    ]
    assert [row["train/global_step"] for row in theirs] == [2, 4]
    assert not any("train/global_step" in row for row in ours)  # it is not their axis
    assert not any(key.startswith("circuitwatch/") for row in theirs for key in row)
    for row, record in zip(ours, cell(folder).records(), strict=True):
        for key in ("behaviour/value", "behaviour/effect"):
            found = row[f"circuitwatch/{TASKS[0]}/{key}"]
            assert found == pytest.approx(record.scalars[key])
        for key in ("text/loss", "text/loss_low", "roles/induction/max"):
            assert row[f"circuitwatch/{key}"] == pytest.approx(record.scalars[key])
            assert f"circuitwatch/{TASKS[1]}/{key}" not in row
        own = [value for key, value in row.items() if key.startswith("circuitwatch/")]
        assert all(isinstance(value, int | float) for value in own)


def test_the_order_of_callbacks_does_not_matter(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Ours before that which starts the run."""
    wandb.teardown()  # what other tests said to it
    monkeypatch.setenv("WANDB_MODE", "offline")
    monkeypatch.setenv("WANDB_DIR", str(tmp_path))
    monkeypatch.setenv("WANDB_SILENT", "true")
    monkeypatch.setenv("WANDB_CONSOLE", "off")
    monkeypatch.setenv("WANDB_ERROR_REPORTING", "false")
    monkeypatch.setenv("WANDB__DISABLE_STATS", "true")
    watched = trainer(tmp_path, [callback(tmp_path), WandbCallback()], max_steps=4)
    try:
        watched.train()
    finally:
        wandb.finish()
        wandb.teardown()  # which remembers folders
    messages = wandb_messages(tmp_path)
    check_rows(tmp_path, [m["history"]["item"] for m in messages if m["type"] == "history"])
    axes = {
        metric.get("glob_name") or metric["name"]: metric.get("step_metric", "")
        for metric in (m["metric"] for m in messages if m["type"] == "metric")
    }
    assert axes["circuitwatch/*"] == axes["circuitwatch/text/loss"] == "circuitwatch/tokens"
    assert axes["*"] == "train/global_step"  # the Trainer's own


def test_there_is_always_time_for_the_last_step(
    tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    trainer(tmp_path, [callback(tmp_path, every=1, max_share=1e-9)], max_steps=1).train()
    assert cell(tmp_path).steps_done() == [0, 1] and "skipped" not in capfd.readouterr().err


def test_only_the_first_process_watches(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.distributed, "is_initialized", lambda: True)
    monkeypatch.setattr(torch.distributed, "get_rank", lambda *_: 1)
    with watcher(tmp_path) as second:
        plain_loop(small_gpt2(), second, n_steps=2)
    assert not (tmp_path / "multirun").exists()


def test_names_are_there_when_they_are_used() -> None:
    """`import circuitwatch` imports neither torch nor transformers."""
    code = (
        "import sys, circuitwatch; assert {'callback', 'Watcher'} <= set(dir(circuitwatch));"
        "assert not {'torch', 'transformers', 'numpy'} & set(sys.modules)"
    )
    subprocess.run([sys.executable, "-c", code], check=True)
    assert cw.callback.CircuitwatchCallback is CircuitwatchCallback
    assert cw.Watcher is watching.Watcher
