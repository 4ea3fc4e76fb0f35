"""A folder that grows: watched while it does, and gone on with afterwards. Time is a script's, so
that nothing here waits.
"""

from __future__ import annotations

import gc
import json
import os
import shutil
import signal
import subprocess
import sys
import time
import weakref
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file
from transformers import AutoModelForCausalLM

from circuitwatch import analysis
from circuitwatch.checkpoints.files import weights_sha256
from circuitwatch.cli import main
from circuitwatch.config import CheckpointsConfig, Config, ScheduleConfig
from circuitwatch.errors import UserError
from circuitwatch.monitor import watch_cell
from circuitwatch.records import Cell
from support.growing import (
    TASK,
    Run,
    Script,
    arguments,
    contents,
    following,
    nothing,
    watching,
)


@pytest.fixture
def run(trained_suite: Path, tmp_path: Path) -> Run:
    return Run(trained_suite, tmp_path / "run")


def cell_at(folder: Path) -> Cell:
    return Cell.open(folder)


def record_of(cell: Cell, step: int) -> dict[str, bytes]:
    """The files of one record."""
    folder = f"checkpoints/step{step:06}/"
    return {name: content for name, content in contents(cell).items() if folder in name}


def assert_as_of_the_finished_folder(cell: Cell, config: Config, folder: Path) -> None:
    """Its records are those of a plain run over what there is now, byte for byte."""
    config.follow, config.follow_idle = False, None
    plain = watch_cell(config, folder)
    assert cell.is_done() and plain.steps_done() == cell.steps_done()
    assert contents(cell) == contents(plain)
    assert cell.header["schedule"] == plain.header["schedule"]


def sharded(suite: Path, step: int, folder: Path) -> list[Path]:
    """A checkpoint in several files; returns the files in the order that transformers writes."""
    model = AutoModelForCausalLM.from_pretrained(suite / f"step{step}")
    model.save_pretrained(folder, max_shard_size="20kB")
    shutil.copy(suite / f"step{step}" / "tokenizer.json", folder)
    shutil.copy(suite / f"step{step}" / "tokenizer_config.json", folder)
    shards = sorted(folder.glob("*.safetensors"))
    assert len(shards) > 2
    index = folder / "model.safetensors.index.json"
    return [folder / "config.json", *shards, index, *sorted(folder.glob("tokenizer*"))]


def test_checkpoints_are_recorded_once_they_are_whole(
    run: Run, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """There is no folder at first; then one comes at once, one in pieces, one half and then whole,
    each of them while nothing else happens. What is no checkpoint is not looked at.
    """
    files = sharded(run.suite, 128, tmp_path / "pieces")
    folder = tmp_path / "cell"

    def begin_writing() -> None:
        run.at(128).mkdir()
        (run.folder / "tmp-checkpoint-200").mkdir()
        (run.folder / "checkpoint-200.building").mkdir()
        (run.folder / "logs").mkdir()

    def put(file: Path) -> Callable[[], None]:
        def action() -> None:
            assert cell_at(folder).steps_done() == [0]
            shutil.copy(file, run.at(128))

        return action

    def half() -> None:
        assert cell_at(folder).steps_done() == [0, 128]
        run.write(150)
        run.truncate(150, 5000)

    def repaired() -> None:
        assert cell_at(folder).steps_done() == [0, 128]
        run.repair(150)

    script = Script(
        nothing,
        lambda: run.write(0),
        nothing,
        begin_writing,
        *[put(file) for file in files],
        nothing,
        nothing,
        half,
        nothing,
        repaired,
        nothing,
        lambda: run.write(300),
    )
    config = following(run.folder)
    cell = watch_cell(config, folder, script.clock)
    assert script.is_over and cell.skipped() == {} and cell.steps_done() == [0, 128, 150, 300]
    said = capsys.readouterr()
    assert (
        f"waiting for checkpoints (none yet in {run.folder}; stops after 1min without" in said.err
    )
    assert (
        "waiting for checkpoints (last: step 0, 0 s ago; stops after 1min without one)" in said.err
    )
    assert "skipped" not in said.err and "4 checkpoints in" in said.out
    assert_as_of_the_finished_folder(cell, config, tmp_path / "plain")


def test_a_file_without_a_header_is_taken_when_it_has_stopped_growing(
    run: Run, tmp_path: Path
) -> None:
    """Of an old .bin file nothing tells how long it is going to be."""
    run.write(0)
    weights = load_file(run.suite / "step300/model.safetensors")
    torch.save(weights, tmp_path / "whole.bin", _use_new_zipfile_serialization=False)
    content = (tmp_path / "whole.bin").read_bytes()

    def grow(share: float) -> Callable[[], None]:
        def action() -> None:
            if not run.at(300).exists():
                run.write(300)
                (run.at(300) / "model.safetensors").unlink()
            path = run.at(300) / "pytorch_model.bin"
            path.write_bytes(content[: int(share * len(content))])

        return action

    script = Script(nothing, nothing, *[grow(share) for share in (0.2, 0.4, 0.6, 0.8, 1)])
    config = following(run.folder)
    cell = watch_cell(config, tmp_path / "cell", script.clock)
    assert cell.steps_done() == [0, 300] and cell.skipped() == {}
    assert_as_of_the_finished_folder(cell, config, tmp_path / "plain")


def test_old_checkpoints_are_deleted_while_it_is_watched(
    run: Run, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """One that is recorded, one that never became whole, one while it is read, and one after it was
    read: that one is recorded with the hash of what was read.
    """
    load = analysis.load_model

    def loading(folder: Path, **options: Any) -> Any:
        if folder == run.at(128):
            shutil.rmtree(folder)
        model = load(folder, **options)
        if folder == run.at(150):
            shutil.rmtree(folder)
        return model

    monkeypatch.setattr("circuitwatch.analysis.load_model", loading)

    def half() -> None:
        run.delete(0)
        run.write(64)
        run.truncate(64, 100)

    script = Script(
        lambda: run.write(0),
        nothing,
        nothing,
        half,
        nothing,
        lambda: run.delete(64),
        lambda: run.write(128),
        nothing,
        lambda: run.write(150),
        nothing,
        lambda: run.write(300),
    )
    cell = watch_cell(following(run.folder), tmp_path / "cell", script.clock)
    assert cell.is_done() and cell.steps_done() == [0, 150, 300]
    assert {step: entry["reason"] for step, entry in cell.skipped().items()} == {
        step: f"{run.at(int(step))} is no longer there" for step in ("64", "128")
    }
    assert cell.read(150).scalars["weights/sha256"] == weights_sha256(run.suite / "step150")
    said = capsys.readouterr().err
    for step in (64, 128):
        assert said.count(f"step {step}: skipped, {run.at(step)} is no longer there") == 1
    # A plain run keeps all that, also when nothing is left in the folder.
    before = contents(cell)
    watch_cell(watching(run.folder), cell.folder)
    run.delete(300)
    watch_cell(watching(run.folder), cell.folder)
    assert contents(cell) == before and capsys.readouterr().out.count("done already") == 2


def test_one_that_came_back_is_tried_again(run: Run, tmp_path: Path) -> None:
    def again() -> None:
        assert set(cell_at(tmp_path / "cell").skipped()) == {"128"}
        run.write(128)

    script = Script(
        lambda: run.write(0),
        lambda: run.at(128).mkdir(),
        nothing,
        nothing,
        lambda: run.delete(128),
        nothing,
        again,
    )
    cell = watch_cell(following(run.folder), tmp_path / "cell", script.clock)
    assert cell.steps_done() == [0, 128] and cell.skipped() == {}


def test_one_that_is_late_ends_as_if_it_had_come_in_time(run: Run, tmp_path: Path) -> None:
    """150 becomes whole after 300 was recorded, whose circuit was compared with that of 128."""
    folder = tmp_path / "cell"
    kept: dict[str, bytes] = {}

    def late() -> None:
        assert cell_at(folder).steps_done() == [0, 128, 300]
        kept.update(contents(cell_at(folder)))
        run.repair(150)

    run.write(0, 128, 150, 300)
    run.truncate(150, 1000)
    script = Script(nothing, nothing, nothing, late)
    cell = watch_cell(following(run.folder), folder, script.clock)
    assert cell.steps_done() == [0, 128, 150, 300] and cell.skipped() == {}
    plain = watch_cell(watching(run.folder), tmp_path / "plain")
    for step in (0, 128, 150, 300):
        assert record_of(cell, step) == record_of(plain, step)
    now = contents(cell)
    others = {name for name in kept if now[name] != kept[name]}
    at_the_end = "checkpoints/step000300"
    assert others == {f"{at_the_end}/scalars.json", f"{at_the_end}/manifest.json"}


def test_when_it_has_been_idle_what_is_not_whole_is_skipped_until_it_changes(
    run: Run, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Also for the plain command, which says that the cell is done while nothing changes."""
    run.write(0, 128)
    run.truncate(128, 10000)
    script = Script()
    cell = watch_cell(following(run.folder), tmp_path / "cell", script.clock)
    assert script.waits == 1 + 6  # one look to compare with, then a minute
    assert cell.is_done() and cell.steps_done() == [0]
    size = (run.suite / "step128/model.safetensors").stat().st_size
    reason = f"{run.at(128)}/model.safetensors has 10000 of {size} bytes"
    assert cell.skipped()["128"]["reason"] == reason
    assert f"step 128: skipped, {reason}" in capsys.readouterr().err
    watch_cell(watching(run.folder), cell.folder)
    assert "done already, 1 checkpoint, 1 skipped" in capsys.readouterr().out
    run.truncate(128, 9000)
    watch_cell(watching(run.folder), cell.folder)
    assert "has 9000 of" in cell.skipped()["128"]["reason"] and cell.is_done()
    run.repair(128)
    config = watching(run.folder)
    watch_cell(config, cell.folder)
    assert cell.skipped() == {}
    assert_as_of_the_finished_folder(cell, config, tmp_path / "plain")


def test_damaged_weights_are_tried_again_once_they_have_changed(
    run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A NaN is found only by reading all; neither a run that goes on nor one that follows reads it
    twice.
    """
    read: list[str] = []
    load = analysis.load_model

    def loading(folder: Path, **options: Any) -> Any:
        read.append(folder.name)
        return load(folder, **options)

    monkeypatch.setattr("circuitwatch.analysis.load_model", loading)
    run.write(0, 128)
    file = run.at(128) / "model.safetensors"
    tensors = load_file(file)
    tensors["gpt_neox.final_layer_norm.weight"][0] = float("nan")
    save_file(tensors, file, metadata={"format": "pt"})
    cell = watch_cell(watching(run.folder), tmp_path / "cell")
    assert cell.is_done() and "NaN" in cell.skipped()["128"]["reason"]
    run.write(150)
    cell = watch_cell(watching(run.folder), cell.folder)
    script = Script(nothing, lambda: run.write(300), nothing)
    cell = watch_cell(following(run.folder), cell.folder, script.clock)
    assert read == [f"checkpoint-{step}" for step in (0, 128, 150, 300)]
    assert "NaN" in cell.skipped()["128"]["reason"] and cell.is_done()
    script = Script(nothing, lambda: run.repair(128))
    config = following(run.folder)
    cell = watch_cell(config, cell.folder, script.clock)
    assert read[4:] == ["checkpoint-128"] and cell.skipped() == {}
    assert cell.steps_done() == [0, 128, 150, 300]


def test_what_changes_while_it_is_found_damaged_is_tried_again(
    run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A plain run meets half a checkpoint, which becomes whole before the run ends."""
    load = analysis.load_model

    def loading(folder: Path, **options: Any) -> Any:
        if folder == run.at(0):
            run.repair(128)
        return load(folder, **options)

    monkeypatch.setattr("circuitwatch.analysis.load_model", loading)
    run.write(0, 128)
    run.truncate(128, 1000)
    cell = watch_cell(watching(run.folder), tmp_path / "cell")
    assert list(cell.skipped()) == ["128"]
    cell = watch_cell(watching(run.folder), tmp_path / "cell")
    assert cell.steps_done() == [0, 128] and cell.is_done()


def test_one_that_is_written_to_while_it_is_read_is_not_recorded(
    run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    load = analysis.load_model
    touched: list[Path] = []

    def loading(folder: Path, **options: Any) -> Any:
        model = load(folder, **options)
        if folder == run.at(128) and not touched:
            touched.append(folder)
            shutil.copy(run.suite / "step150/model.safetensors", folder)
        return model

    monkeypatch.setattr("circuitwatch.analysis.load_model", loading)
    run.write(0, 128)
    cell = watch_cell(watching(run.folder), tmp_path / "cell")
    assert cell.skipped()["128"]["reason"] == f"{run.at(128)} was written to while it was read"
    watch_cell(watching(run.folder), tmp_path / "cell")
    assert cell.read(128).scalars["weights/sha256"] == weights_sha256(run.suite / "step150")


SCHEDULES = (
    ScheduleConfig(),
    ScheduleConfig(kind="every", every=2),
    ScheduleConfig(kind="log"),
    ScheduleConfig(kind="sparse"),
)


@pytest.mark.parametrize("schedule", SCHEDULES, ids=lambda schedule: schedule.kind)
def test_the_same_command_goes_on_with_checkpoints_that_came_since(
    schedule: ScheduleConfig, run: Run, tmp_path: Path
) -> None:
    """Whatever the schedule takes of the longer list, nothing that was recorded is refused, nothing
    is made anew, and all that it takes now is there.
    """
    run.write(0, 64, 128)
    cell = watch_cell(watching(run.folder, schedule=schedule), tmp_path / "cell")
    first, before = cell.steps_done(), contents(cell)
    assert first[-1] == 128 and cell.is_done()
    run.write(150, 300)
    run.delete(0)
    cell = watch_cell(watching(run.folder, schedule=schedule), cell.folder)
    assert cell.is_done() and before.items() <= contents(cell).items()
    run.write(0)
    config = watching(run.folder, schedule=schedule)
    assert set(cell.steps_done()) == {*first, *watch_cell(config, tmp_path / "new").steps_done()}
    watch_cell(config, cell.folder)
    assert before.items() <= contents(cell).items()


def test_new_checkpoints_through_the_command_line(
    run: Run, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run.write(0, 128)
    command = arguments(run.folder, tmp_path / "out")
    main(command)
    main(command)
    assert "done already, 2 checkpoints" in capsys.readouterr().out
    run.write(150)
    main(command)
    cell = cell_at(tmp_path / "out/default/tiny" / TASK / "seed0")
    assert cell.is_done() and cell.steps_done() == [0, 128, 150]
    main([*command, "follow=true", "follow_idle=0.02s", "follow_every=0.01s"])
    assert "3 checkpoints in" in capsys.readouterr().out and cell.is_done()


def test_one_that_was_lost_before_it_was_recorded_is_skipped(run: Run, tmp_path: Path) -> None:
    run.write(0, 128, 150)
    cell = watch_cell(watching(run.folder), tmp_path / "cell")
    shutil.rmtree(cell.folder / "checkpoints/step000128")
    run.delete(0, 128)
    watch_cell(watching(run.folder), cell.folder)
    assert cell.is_done() and cell.steps_done() == [0, 150]
    assert cell.skipped()["128"]["reason"] == f"{run.at(128)} is no longer there"


def test_another_number_of_tokens_or_another_name_of_a_step_is_refused(
    run: Run, tmp_path: Path
) -> None:
    """Also where all the checkpoints that were recorded are gone."""
    (tmp_path / "run").mkdir()

    def say(tokens: int) -> None:
        (run.folder / "suite.json").write_text(json.dumps({"tokens_per_step": tokens}))

    config = watching(run.folder)
    config.model.tokens_per_step = None
    say(1008)
    run.write(0, 128)
    cell = watch_cell(config, tmp_path / "cell")
    say(1009)
    run.write(150)
    for delete in (lambda: None, lambda: run.delete(0, 128)):
        delete()
        with pytest.raises(UserError, match=r"checkpoint-128 \(step 128, 129024 tokens\) is not"):
            watch_cell(config, cell.folder)
    say(1008)
    run.at(150).rename(run.folder / "step128")
    with pytest.raises(UserError, match=r"checkpoint-128 \(step 128, 129024 tokens\) is not"):
        watch_cell(config, cell.folder)


@pytest.mark.parametrize("duplicates", ["flag", "skip", "error"])
def test_a_copy_of_what_is_on_record(duplicates: str, run: Run, tmp_path: Path) -> None:
    """It comes last, and yet it is the duplicate: what it is a copy of is recorded."""
    run.write(0, 128)
    script = Script(nothing, nothing, lambda: run.write(150, source=128), nothing, nothing)
    config = following(run.folder, checkpoints=CheckpointsConfig(duplicates=duplicates))
    folder = tmp_path / "cell"
    if duplicates == "error":
        with pytest.raises(UserError, match="step 150 those of checkpoint-128"):
            watch_cell(config, folder, script.clock)
        assert cell_at(folder).steps_done() == [0, 128] and not cell_at(folder).is_done()
        return
    cell = watch_cell(config, folder, script.clock)
    assert "weights/duplicate_of" not in cell.read(128).scalars
    if duplicates == "flag":
        assert cell.read(150).scalars["weights/duplicate_of"] == "checkpoint-128"
        return
    assert cell.steps_done() == [0, 128]
    assert cell.skipped()["150"]["reason"] == "same weights as checkpoint-128"
    assert "seen" not in cell.skipped()["150"]  # another run may flag it instead


def test_a_plain_run_flags_a_copy_that_came_last_too(run: Run, tmp_path: Path) -> None:
    run.write(0, 128)
    watch_cell(watching(run.folder), tmp_path / "cell")
    run.write(150, source=128)
    cell = watch_cell(watching(run.folder), tmp_path / "cell")
    assert cell.read(150).scalars["weights/duplicate_of"] == "checkpoint-128"
    fresh = watch_cell(watching(run.folder), tmp_path / "fresh")
    assert fresh.read(128).scalars["weights/duplicate_of"] == "checkpoint-150"


def test_each_checkpoint_is_hashed_once(
    run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    hashed: list[str] = []

    def hashing(folder: Path) -> str:
        hashed.append(folder.name)
        return weights_sha256(folder)

    monkeypatch.setattr("circuitwatch.checkpoints.audit.weights_sha256", hashing)
    monkeypatch.setattr("circuitwatch.analysis.weights_sha256", hashing)
    run.write(0, 64)
    script = Script(nothing, nothing, lambda: run.write(128), nothing, lambda: run.write(150))
    watch_cell(following(run.folder), tmp_path / "cell", script.clock)
    watch_cell(following(run.folder), tmp_path / "cell", Script(nothing).clock)
    assert hashed == [f"checkpoint-{step}" for step in (0, 64, 128, 150)]


def test_one_model_is_in_memory_at_a_time(
    run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    alive: list[weakref.ref[Any]] = []
    load = analysis.load_model

    def loading(folder: Path, **options: Any) -> Any:
        gc.collect()
        assert not any(model() is not None for model in alive)
        model = load(folder, **options)
        alive.append(weakref.ref(model))
        return model

    monkeypatch.setattr("circuitwatch.analysis.load_model", loading)
    run.write(0)
    later = [lambda step=step: run.write(step) for step in (64, 128, 150)]
    actions = [action for one in later for action in (nothing, nothing, one)]
    watch_cell(following(run.folder), tmp_path / "cell", Script(*actions).clock)
    assert len(alive) == 4


@pytest.mark.parametrize(
    ("schedule", "taken"),
    [
        (ScheduleConfig(kind="every", every=2), [0, 32, 128, 150]),
        (ScheduleConfig(kind="log"), [0, 16, 32, 64, 128, 150]),
    ],
    ids=["every", "log"],
)
def test_schedules_while_the_folder_grows_and_loses_old_ones(
    schedule: ScheduleConfig, taken: list[int], run: Run, tmp_path: Path
) -> None:
    """Each second one is counted over all that were ever there; the last is taken in the end."""
    order = (0, 16, 32, 64, 128, 150)
    actions: list[Callable[[], object]] = []
    for place, step in enumerate(order):
        actions.append(lambda step=step: run.write(step))
        actions += [nothing, nothing]
        if place >= 2:
            actions.append(lambda step=order[place - 2]: run.delete(step))
    cell = watch_cell(
        following(run.folder, schedule=schedule), tmp_path / "cell", Script(*actions).clock
    )
    assert cell.steps_done() == taken and cell.skipped() == {}


@pytest.mark.parametrize(
    "schedule",
    [ScheduleConfig(kind="steps", steps=[64, 128]), ScheduleConfig(stop="128")],
    ids=["steps", "to"],
)
def test_it_ends_when_the_schedule_takes_no_more(
    schedule: ScheduleConfig, run: Run, tmp_path: Path
) -> None:
    """Without waiting for ever, but only once the last is whole."""
    run.write(0, 64)

    def last() -> None:
        run.write(128)
        run.truncate(128, 10)

    script = Script(nothing, nothing, last, nothing, nothing, lambda: run.repair(128))
    config = following(run.folder, schedule=schedule, follow_idle=None)
    cell = watch_cell(config, tmp_path / "cell", script.clock)
    assert cell.is_done() and cell.steps_done() == [0, 64, 128] and script.is_over


def test_idle_is_counted_from_the_last_that_happened_to_any_checkpoint(
    run: Run, tmp_path: Path
) -> None:
    """Those that the schedule leaves out show that the run is alive."""
    order = (0, 1, 2, 4, 8, 16)
    actions: list[Callable[[], object]] = []
    for step in order:
        actions += [lambda step=step: run.write(step), *[nothing] * 4]
    schedule = ScheduleConfig(kind="every", every=5)
    cell = watch_cell(
        following(run.folder, schedule=schedule), tmp_path / "cell", Script(*actions).clock
    )
    assert cell.steps_done() == [0, 16]


def test_no_tokenizer_no_prompts(
    run: Run, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """The first checkpoint must have one; others need none of their own."""

    def without() -> None:
        run.write(0)
        for path in run.at(0).glob("*tokenizer*"):
            path.unlink()

    def later() -> None:
        assert not (tmp_path / "cell/cell.json").exists()
        run.write(128)

    script = Script(without, nothing, nothing, later)
    cell = watch_cell(following(run.folder), tmp_path / "cell", script.clock)
    assert cell.steps_done() == [0, 128]


def test_nothing_ever_comes(run: Run, tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"no checkpoint in 1min; the same command waits again"):
        watch_cell(following(run.folder), tmp_path / "cell", Script().clock)
    assert not (tmp_path / "cell").exists()


def test_the_first_is_deleted_while_its_tokenizer_is_read(
    run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from circuitwatch import monitor

    load = monitor.load_tokenizer

    def loading(folder: Path) -> Any:
        if folder == run.at(0):
            run.delete(0)
        return load(folder)

    monkeypatch.setattr("circuitwatch.monitor.load_tokenizer", loading)
    run.write(0)
    script = Script(nothing, lambda: run.write(128))
    cell = watch_cell(following(run.folder), tmp_path / "cell", script.clock)
    assert cell.steps_done() == [128]


def test_stopped_while_it_waits_and_gone_on_with(run: Run, tmp_path: Path) -> None:
    """Ctrl-C, then a run that follows, Ctrl-C, then a plain one: the records of a plain run."""

    def stop() -> None:
        raise KeyboardInterrupt

    run.write(0, 128)
    folder = tmp_path / "cell"
    with pytest.raises(KeyboardInterrupt):
        watch_cell(following(run.folder), folder, Script(nothing, stop).clock)
    assert cell_at(folder).steps_done() == [0, 128] and not cell_at(folder).is_done()
    run.write(150)
    with pytest.raises(KeyboardInterrupt):
        watch_cell(following(run.folder), folder, Script(nothing, nothing, stop).clock)
    assert cell_at(folder).steps_done() == [0, 128, 150]
    run.write(300)
    config = watching(run.folder)
    cell = watch_cell(config, folder)
    assert_as_of_the_finished_folder(cell, config, tmp_path / "plain")
    with pytest.raises(KeyboardInterrupt):  # it waits again, and is not done while it does
        watch_cell(following(run.folder), folder, Script(nothing, stop).clock)
    assert not cell.is_done()


def test_sigterm_ends_it_in_order(run: Run, tmp_path: Path) -> None:
    run.write(0)
    command = arguments(run.folder, tmp_path / "out", "follow=true", "follow_every=0.05s")
    said = tmp_path / "said"
    with said.open("w") as file:
        process = subprocess.Popen([sys.executable, "-m", "circuitwatch", *command], stderr=file)
    folder = tmp_path / "out/default/tiny" / TASK / "seed0"

    def until(happened: Callable[[], bool]) -> None:
        deadline = time.monotonic() + 120
        while not happened():
            assert process.poll() is None and time.monotonic() < deadline, said.read_text()
            time.sleep(0.01)

    # Said before the next one is there, so that there is something to wait for.
    until(lambda: "waiting for checkpoints (last: step 0" in said.read_text())
    run.write(128)
    until((folder / "checkpoints/step000128").exists)
    os.kill(process.pid, signal.SIGTERM)
    process.wait(timeout=60)
    err = said.read_text()
    assert process.returncode == 143, err
    assert err.endswith("circuitwatch: interrupted; the same command goes on where it stopped\n")
    assert "Traceback" not in err
    cell = cell_at(folder)
    assert cell.steps_done() == [0, 128] and not cell.is_done()
    main(arguments(run.folder, tmp_path / "out"))
    assert cell.is_done()
