"""A loop of one's own that is watched: what is recorded, when, and what is left as it was."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
import torch
from torch import nn
from transformers import AutoModelForCausalLM, GPT2Config, GPT2LMHeadModel

import circuitwatch as cw
from circuitwatch import analysis
from circuitwatch.analysis import Seen
from circuitwatch.checkpoints.tokenizers import load_tokenizer
from circuitwatch.cli import main
from circuitwatch.config import ModelConfig, TaskConfig
from circuitwatch.errors import UserError
from circuitwatch.live import cost, measuring
from circuitwatch.monitor import watch_cell
from circuitwatch.record_files import NOT_ASKED
from circuitwatch.records import Cell
from support.tokenizers import tokenizer_named
from support.trainings import LENGTH, ROWS, TASKS, plain_loop, small_gpt2, watcher
from test_monitor import TASK, configuration


def cell(folder: Path, task: str = TASKS[0]) -> Cell:
    return Cell.open(folder / "multirun/live/mine" / task / "seed0")


class Clock:
    """Time that passes when it is told to."""

    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Iterator[Clock]:
    """A measurement takes 2 seconds, and all else none, unless it is told to."""
    clock = Clock()

    def slow(model: Any, probes: Any) -> Seen:
        clock.now += 2
        return Seen.of(model, probes)

    monkeypatch.setattr(cost, "clock", clock)
    monkeypatch.setattr(analysis, "Seen", type("Slow", (), {"of": staticmethod(slow)}))
    return clock


def test_a_loop_of_ones_own(tmp_path: Path) -> None:
    plain = plain_loop(small_gpt2(), None)
    with watcher(tmp_path, every=4) as watch:
        watched = plain_loop(small_gpt2(), watch)
    assert watched == plain
    own = cell(tmp_path)
    assert own.steps_done() == [0, 4, 6] and own.is_done()  # first, due, and last
    assert [record.tokens for record in own.records()] == [0, 4 * ROWS * LENGTH, 6 * ROWS * LENGTH]
    assert watch.share > 0


@pytest.mark.parametrize("circuits", [False, True])
def test_the_same_numbers_as_of_the_same_weights_in_a_folder(
    circuits: bool, trained_suite: Path, tmp_path: Path
) -> None:
    """To the last bit, the circuits and their overlap too."""
    config = configuration(trained_suite)
    steps = [0, 150, 300]
    tokenizer = load_tokenizer(trained_suite / "step0")
    with watcher(
        tmp_path,
        [TaskConfig(name=TASK, n_prompts=24)],
        tokenizer=tokenizer,
        heads=config.heads,
        n_bootstrap=config.n_bootstrap,
        circuits=circuits,
        every=1,
    ) as watch:
        for step in steps:
            model = AutoModelForCausalLM.from_pretrained(trained_suite / f"step{step}")
            watch.step(model.train(), 1008 * step, step=step)
    config.schedule.kind, config.schedule.steps = "steps", steps
    reference = watch_cell(config, tmp_path / "reference")
    live = cell(tmp_path, TASK)
    assert live.steps_done() == reference.steps_done() == steps
    for ours, theirs in zip(live.records(), reference.records(), strict=True):
        alike = {"weights/sha256"}
        if not circuits:
            patched = ("circuit/", "overlap/", "unexplained/", "algorithm/")
            alike |= {key for key in theirs.scalars if key.startswith(patched)}
            assert ours.scalars.pop("circuit/status") == NOT_ASKED
        expected = {key: value for key, value in theirs.scalars.items() if key not in alike}
        assert {key: ours.scalars.get(key) for key in expected} == expected
        pd.testing.assert_frame_equal(ours.prompts, theirs.prompts)
        columns = (
            list(ours.roles) if circuits else ["role", "layer", "head", "score", "low", "high"]
        )
        pd.testing.assert_frame_equal(ours.roles[columns], theirs.roles[columns])
        if circuits and theirs.mask is not None:
            assert ours.mask is not None and (ours.mask == theirs.mask).all()
    assert live.header["model"]["params_total"] == reference.header["model"]["params_total"]
    assert live.header["facts"] == reference.header["facts"]
    assert ("overlap/edge_jaccard" in live.read(300).scalars) == circuits


def test_circuits_of_each_second_measurement_and_the_last(
    trained_suite: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """And what a sweep's results make of a cell in which not everything was asked for."""
    model = AutoModelForCausalLM.from_pretrained(trained_suite / "step300")
    tokenizer = load_tokenizer(trained_suite / "step300")
    task = TaskConfig(name=TASK, n_prompts=24)
    with watcher(tmp_path, [task], tokenizer=tokenizer, circuits=2, every=1) as watch:
        for step in range(4):
            watch.step(model, 100 * step, step=step)
            with torch.no_grad():
                model.lm_head.weight.mul_(1.01)
        with torch.no_grad():
            model.lm_head.weight.div_(1.01)
    status = [record.scalars["circuit/status"] for record in cell(tmp_path, TASK).records()]
    assert status == ["found", NOT_ASKED, "found", NOT_ASKED]
    results = cw.open(tmp_path / "multirun/live")
    (found,) = results.curves(quantity="circuit/found")
    assert list(found.tokens) == [0, 200]  # not 0 where nobody looked
    assert len(results.curves(quantity="behaviour/value")[0].tokens) == 4
    main(["summarize", f"out={tmp_path / 'multirun'}", "sweep=live"])
    assert "mine" in capsys.readouterr().out
    assert (tmp_path / "multirun/live/summary/report.html").stat().st_size > 10_000


def test_nothing_of_the_model_is_touched(tmp_path: Path) -> None:
    """Gradients, modes, hooks, requires_grad and the weights themselves, which are tied."""
    model = small_gpt2()
    model.train()
    model.transformer.h[0].eval()  # a mode of a part's own
    model.transformer.wpe.weight.requires_grad_(False)
    handle = model.transformer.h[1].register_forward_hook(lambda *_: pytest.fail("it was run"))
    parts = {name: (id(p), p.clone(), p._version) for name, p in model.named_parameters()}
    for parameter in model.parameters():
        if parameter.requires_grad:
            parameter.grad = torch.full_like(parameter, 2.0)
    modes = [part.training for part in model.modules()]
    configuration_before = model.config.to_dict()
    with watcher(tmp_path, circuits=True) as watch:
        assert watch.step(model, 0) is not None
    assert [part.training for part in model.modules()] == modes and not all(modes)
    for name, parameter in model.named_parameters():
        identity, before, version = parts[name]
        assert id(parameter) == identity and torch.equal(parameter, before)
        assert parameter._version == version
        if parameter.requires_grad:
            assert (parameter.grad == 2.0).all()
    assert not model.transformer.wpe.weight.requires_grad
    assert model.lm_head.weight is model.transformer.wte.weight
    hooks = [
        (name, part)
        for name, part in model.named_modules()
        for kind in vars(part)
        if kind.endswith("_hooks") and vars(part)[kind]
    ]
    assert [name for name, _ in hooks] == ["transformer.h.1"]
    assert model.config.to_dict() == configuration_before
    handle.remove()


@pytest.mark.filterwarnings("ignore:.torch.jit:DeprecationWarning")  # importing torch.compile
def test_wrappers_are_read_through(tmp_path: Path) -> None:
    """DataParallel, and torch.compile around it and of a part; the records are the same."""
    records = []
    for name in ("plain", "wrapped"):
        model: nn.Module = small_gpt2()
        if name == "wrapped":
            inner = model.transformer  # type: ignore[union-attr]
            inner.h[0] = torch.compile(inner.h[0])
            model = torch.compile(nn.DataParallel(model))
        with watcher(tmp_path / name, TASKS[:1]) as watch:
            found = watch.step(model, 0)
            assert found is not None
            records.append(found[TASKS[0]])
    assert records[0].scalars == records[1].scalars


def test_bfloat16_weights_are_measured_in_float32(tmp_path: Path) -> None:
    rounded, exact = small_gpt2().bfloat16(), small_gpt2().bfloat16().float()
    scalars = []
    for name, model in (("rounded", rounded), ("exact", exact)):
        with watcher(tmp_path / name, TASKS[:1]) as watch:
            found = watch.step(model, 0)
            assert found is not None
            scalars.append(found[TASKS[0]].scalars)
    assert next(rounded.parameters()).dtype == torch.bfloat16
    hashes = {one.pop("weights/sha256") for one in scalars}
    assert scalars[0] == scalars[1] and len(hashes) == 2


def test_what_would_cost_more_than_its_share_is_skipped(
    clock: Clock, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    """A measurement takes 2 s and a step 10 s: of 100 steps with max_share=0.05 one in four has
    time, and at the first and the last there is always time.
    """
    model = small_gpt2()
    with watcher(tmp_path, TASKS[:1], every=1, max_share=0.05) as watch:
        for step in range(11):
            watch.step(model, 10 * step, step=step)
            assert watch.cost.spent == 2 * len(cell(tmp_path).steps_done())
            clock.now += 10
            with torch.no_grad():
                model.lm_head.weight.mul_(1.01)
        with torch.no_grad():
            model.lm_head.weight.div_(1.01)
    assert cell(tmp_path).steps_done() == [0, 4, 8, 10] and cell(tmp_path).is_done()
    clock.now += 1000  # after the training
    assert watch.share == pytest.approx(8 / 110)
    said = capfd.readouterr().err
    assert said.count("skipped, watching has taken") == 3  # once before each measurement
    assert "3 skipped before; watching has taken 10.0% of" in said
    assert "4 measurements, 7 skipped (max_share); 8.0 s, watching has taken 7.3% of" in said


def test_a_failure_ends_the_watching_and_not_the_training(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    """Of one task alone where it is that task's; other tasks are watched on."""
    analyse = analysis.analyse_model

    def fails(checkpoint: Any, *args: Any, **options: Any) -> Any:
        task = args[3].config.task.name
        if checkpoint.step == 2 and task == TASKS[1]:
            raise RuntimeError("no room\n for it")
        if checkpoint.step == 4:
            raise KeyboardInterrupt
        return analyse(checkpoint, *args, **options)

    monkeypatch.setattr(analysis, "analyse_model", fails)
    with pytest.raises(KeyboardInterrupt), watcher(tmp_path) as watch:
        plain_loop(small_gpt2(), watch)
    assert cell(tmp_path).steps_done() == [0, 2]
    assert cell(tmp_path, TASKS[1]).steps_done() == [0]
    assert not cell(tmp_path, TASKS[1]).is_done() and not cell(tmp_path).is_done()
    said = capfd.readouterr().err.splitlines()
    line = f"circuitwatch: {TASKS[1]} is watched no more, the training goes on (step 2 (384 tokens)"
    assert sum(one.startswith(line) and one.endswith("no room for it)") for one in said) == 1


def test_a_failure_of_all_is_said_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    watch = watcher(tmp_path)
    model = small_gpt2()
    watch.step(model, 0)
    monkeypatch.setattr(measuring, "load_state", lambda *a, **k: 1 / 0)
    for step in range(1, 7):
        assert watch.step(model, step) is None
    watch.close()
    assert capfd.readouterr().err.count("division by zero") == 1
    assert cell(tmp_path).steps_done() == [0] and not cell(tmp_path).is_done()


def test_what_fails_at_the_first_look_is_the_users_to_know(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(measuring, "load_state", lambda *a, **k: 1 / 0)
    with pytest.raises(UserError, match="model_name=mine, step 0: ZeroDivisionError: division by"):
        watcher(tmp_path, TASKS[:1]).step(small_gpt2(), 0)
    with pytest.raises(UserError, match=r"tokens=1\.5: give whole numbers of at least 0"):
        watcher(tmp_path, TASKS[:1]).step(small_gpt2(), 1.5)  # type: ignore[arg-type]
    assert not (tmp_path / "multirun").exists()


def test_weights_that_are_not_finite_are_skipped(tmp_path: Path) -> None:
    model = small_gpt2()
    with watcher(tmp_path, TASKS[:1], every=1) as watch:
        watch.step(model, 0)
        with torch.no_grad():
            kept = model.transformer.wte.weight[0].clone()
            model.transformer.wte.weight[0] = float("nan")
        assert watch.step(model, 1) is None
        with torch.no_grad():
            model.transformer.wte.weight[0] = kept + 1
        assert watch.step(model, 2) is not None
    own = cell(tmp_path)
    assert own.steps_done() == [0, 2] and own.is_done()
    assert "wte.weight holds NaN" in own.skipped()["1"]["reason"]


def scaled(model: nn.Module, part: str, factor: float) -> None:
    """Multiply those weights whose names end so."""
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if name.endswith(part):
                parameter.mul_(factor)


QUERIES = "query_key_value.weight"
"""With these far too large the logits are finite and the gradients are not."""


@pytest.mark.parametrize(
    ("part", "factor", "step", "diverged"),
    [
        (QUERIES, 1e15, 0, [TASK]),  # at the first look: ioi is not above chance, has no circuit
        (QUERIES, 1e15, 2, [TASK]),
        (QUERIES, 1e15, 3, [TASK]),  # the last
        ("", 1e12, 2, [TASK, "ioi"]),  # the logits are no numbers, which the loading sees
    ],
)
def test_a_model_that_has_diverged_is_skipped_until_it_is_sane(
    part: str,
    factor: float,
    step: int,
    diverged: list[str],
    trained_suite: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """Its weights are finite, and what is computed of them is not."""
    model = AutoModelForCausalLM.from_pretrained(trained_suite / "step300")
    sane = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    tokenizer = load_tokenizer(trained_suite / "step300")
    with watcher(tmp_path, [TASK, "ioi"], every=1, tokenizer=tokenizer, circuits=True) as watch:
        for now in range(4):
            model.load_state_dict(sane)
            scaled(model, "", 1 + now / 100)
            if now == step:
                scaled(model, part, factor)
            watch.step(model, 100 * now, step=now)
    for task in (TASK, "ioi"):
        own = cell(tmp_path, task)
        left_out = [step] if task in diverged else []
        assert own.is_done()
        assert own.steps_done() == [now for now in range(4) if now not in left_out]
        assert list(own.skipped()) == [str(now) for now in left_out]
        for entry in own.skipped().values():
            assert "the training has diverged" in entry["reason"]
    said = capsys.readouterr().err
    assert "watched no more" not in said and said.count("not measured, ") == 1


def test_roles_that_overflow_skip_the_checkpoint_for_all_tasks(
    trained_suite: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of a sane model the same is a fault, which ends the watching."""

    def overflowing(model: Any, probes: Any) -> Seen:
        raise FloatingPointError("overflow")

    model = AutoModelForCausalLM.from_pretrained(trained_suite / "step300")
    tokenizer = load_tokenizer(trained_suite / "step300")
    with watcher(tmp_path, [TASK, "ioi"], every=1, tokenizer=tokenizer) as watch:
        watch.step(model, 0)
        monkeypatch.setattr(analysis, "Seen", type("Odd", (), {"of": staticmethod(overflowing)}))
        scaled(model, QUERIES, 1e15)
        watch.step(model, 100)
        assert not watch._over
        scaled(model, QUERIES, 1e-15)
        watch.step(model, 200)
        assert watch._over
    for task in (TASK, "ioi"):
        assert cell(tmp_path, task).steps_done() == [0]
        assert list(cell(tmp_path, task).skipped()) == ["1"]


def test_a_cell_of_skipped_checkpoints_alone_is_not_done(
    trained_suite: Path, tmp_path: Path
) -> None:
    model = AutoModelForCausalLM.from_pretrained(trained_suite / "step300")
    scaled(model, QUERIES, 1e15)
    tokenizer = load_tokenizer(trained_suite / "step300")
    with watcher(tmp_path, [TASK], tokenizer=tokenizer, circuits=True) as watch:
        watch.step(model, 0)
    own = cell(tmp_path, TASK)
    assert len(own.skipped()) == 1 and not own.is_done()


def test_a_model_without_room_for_the_prompts_is_refused(tmp_path: Path) -> None:
    shape = {"n_embd": 48, "n_layer": 2, "n_head": 4, "n_positions": 5}
    model = GPT2LMHeadModel(GPT2Config(vocab_size=len(tokenizer_named("nano")), **shape))
    with (
        watcher(tmp_path) as watch,
        pytest.raises(UserError, match=r"context of 5 tokens|5 positions"),
    ):
        watch.step(model, 0)


def test_unchanged_weights_are_flagged(tmp_path: Path) -> None:
    model = small_gpt2()
    with watcher(tmp_path, TASKS[:1], every=1) as watch:
        for step in range(2):
            watch.step(model, step)
    assert cell(tmp_path).read(1).scalars["weights/duplicate_of"] == "step0"


def test_a_step_that_goes_back_ends_the_watching(
    tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    watch = watcher(tmp_path, TASKS[:1])
    watch.step(small_gpt2(), 100, step=5)
    assert watch.step(small_gpt2(), 50, step=4) is None
    assert "comes after step 5 (100 tokens); steps and tokens must rise" in capfd.readouterr().err
    assert watch.step(small_gpt2(), 200, step=8) is None


def test_a_killed_process_leaves_cells_that_can_be_gone_on_with(tmp_path: Path) -> None:
    """Killed after a record was written and before the schedule had it."""
    model = small_gpt2()
    watch = watcher(tmp_path, TASKS[:1], every=1)
    for step in range(2):
        watch.step(model, step)
        with torch.no_grad():
            model.lm_head.weight.mul_(1.01)
    killed = cell(tmp_path)
    killed.set_aside(0)
    (killed.folder / "set_aside/1/step000001").rename(killed.folder / "checkpoints/step000001")
    assert killed.steps_done() == [0, 1] and len(cell(tmp_path).header["schedule"]) == 1
    with watcher(tmp_path, TASKS[:1], every=1) as again:
        again.step(model, 2, step=2)
    own = cell(tmp_path)
    assert own.is_done() and [entry["step"] for entry in own.header["schedule"]] == [0, 1, 2]


class Spy:
    """A run of W&B that keeps what it gets."""

    id = "spy"

    def __init__(self) -> None:
        self.rows: list[dict[str, Any]] = []
        self.metrics: dict[str, Any] = {}

    def define_metric(
        self, name: str, step_metric: str | None = None, hidden: bool = False
    ) -> None:
        assert name not in self.metrics, "once"
        self.metrics[name] = step_metric

    def log(self, row: dict[str, Any], **options: Any) -> None:
        assert not options, "no step="
        assert set(row) <= set(self.metrics)
        self.rows.append(row)


def test_rows_wait_for_a_run_and_a_failing_one_ends_the_logging_alone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    import wandb

    model, spy = small_gpt2(), Spy()
    with watcher(tmp_path, every=1) as watch:
        watch.step(model, 0)
        monkeypatch.setattr(wandb, "run", spy)
        watch.step(model, 10)
        assert [row["circuitwatch/tokens"] for row in spy.rows] == [0, 10]
        assert spy.metrics.pop("circuitwatch/tokens") is None
        assert set(spy.metrics.values()) == {"circuitwatch/tokens"} and "*" not in spy.metrics
        for task in TASKS:
            assert f"circuitwatch/{task}/behaviour/effect" in spy.metrics
        assert all(value == value for row in spy.rows for value in row.values())
        monkeypatch.setattr(spy, "log", lambda row: 1 / 0)
        watch.step(model, 20)
        watch.step(model, 30)
    assert cell(tmp_path).steps_done() == [0, 1, 2, 3] and cell(tmp_path).is_done()
    assert capfd.readouterr().err.count("nothing more is logged to W&B (division by zero)") == 1


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"every": "often"}, "every=often: give a number of steps such as 1000"),
        ({"every": 0}, "every=0: give"),
        ({"max_share": 2}, "max_share=2: must be above 0 and at most 1"),
        ({"circuits": -1}, "circuits=-1: give True, False, or n"),
        ({"model_name": "a/b"}, "model.name='a/b': must be a plain name"),
        ({"device": "tpu"}, "device=tpu: choose one of auto, cpu"),
        ({"tasks": []}, "give a list of at least one task"),
        ({"tasks": "ioi"}, "tasks=ioi: give a list"),
        ({"tasks": ["ioi", "ioi"]}, "ioi stands there twice"),
        ({"tasks": ["juggling"]}, "task=juggling: no such task"),
        ({"tasks": ["arithmetic"]}, "arithmetic"),  # the nano tokenizer lacks its words
        ({"tokenizer": "gpt2"}, "tokenizer='gpt2': give the tokenizer"),
    ],
)
def test_what_is_wrong_is_said_before_the_training(
    options: dict[str, Any], words: str, tmp_path: Path
) -> None:
    with pytest.raises(UserError, match=words.replace("(", r"\(")) as error:
        watcher(tmp_path, **{"tasks": TASKS[:1], **options})
    assert "\n" not in str(error.value)


def test_a_cell_of_other_options_is_refused(tmp_path: Path) -> None:
    with watcher(tmp_path, TASKS[:1]) as watch:
        watch.step(small_gpt2(), 0)
    with pytest.raises(UserError, match=r"n_bootstrap=20, you ask for 30; choose another sweep="):
        watcher(tmp_path, TASKS[:1], n_bootstrap=30).step(small_gpt2(), 0)
    assert ModelConfig().source == "nano"  # and a live cell's is none that could be run again
    assert cell(tmp_path).header["config"]["model"]["path"] is None
