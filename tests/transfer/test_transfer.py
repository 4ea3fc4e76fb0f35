"""Circuits imposed on other checkpoints and other tasks: against the records, against a naive
evaluation, and through kills, changes and mistakes.
"""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
from transformers import AutoModelForCausalLM

import circuitwatch.transfer.imposing
import circuitwatch.transfer_files
from circuitwatch.behaviour import metric_per_prompt
from circuitwatch.checkpoints.folder import FolderSource
from circuitwatch.checkpoints.loading import load_model
from circuitwatch.checkpoints.schedule import Checkpoint
from circuitwatch.checkpoints.source import NotFetched, Say
from circuitwatch.checkpoints.tokenizers import load_tokenizer
from circuitwatch.circuits.attribution import graph_of
from circuitwatch.circuits.evaluation import CircuitEvaluator
from circuitwatch.circuits.prompts import Prepared
from circuitwatch.cli import main
from circuitwatch.config import (
    Config,
    HeadsConfig,
    ModelConfig,
    ScheduleConfig,
    TaskConfig,
    TrackingConfig,
    cell_folder,
)
from circuitwatch.monitor import watch_cell
from circuitwatch.records import Cell
from circuitwatch.tasks import build_prompts
from circuitwatch.transfer.planning import evenly
from circuitwatch.transformer import Transformer
from support.headers import change_header
from support.textbook import Textbook

TASKS, CHOSEN, N_PROMPTS = ("agreement", "gendered_pronoun"), (128, 150, 300), 64


@pytest.fixture(scope="module")
def watched(trained_suite: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A sweep of two cells."""
    out = tmp_path_factory.mktemp("out")
    for task in TASKS:
        config = Config(
            model=ModelConfig(name="tiny", source="folder", path=str(trained_suite)),
            task=TaskConfig(name=task, n_prompts=N_PROMPTS),
            schedule=ScheduleConfig(kind="steps", steps=[0, *CHOSEN]),
            heads=HeadsConfig(length=6, n_sequences=4, n_prompts=8),
            tracking=TrackingConfig(mode="off"),
            sweep="mine",
            out=str(out),
            device="cpu",
            n_bootstrap=100,
        )
        watch_cell(config, cell_folder(config))
    return out


@pytest.fixture(scope="module")
def transferred(watched: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The same sweep, with its transfer."""
    out = tmp_path_factory.mktemp("transferred") / "out"
    shutil.copytree(watched, out)
    main(["transfer", "sweep=mine", f"out={out}"])
    return out


@pytest.fixture
def out(watched: Path, tmp_path: Path) -> Path:
    """A copy of the sweep to do something to."""
    shutil.copytree(watched, tmp_path / "out")
    return tmp_path / "out"


@pytest.fixture
def loaded(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Names of the checkpoints that are loaded."""
    names: list[str] = []

    def load(folder: Path, **options: object) -> object:
        names.append(folder.name)
        return load_model(folder, **options)  # type: ignore[arg-type]

    monkeypatch.setattr(circuitwatch.transfer.imposing, "load_model", load)
    return names


def cell_of(out: Path, task: str) -> Cell:
    return Cell.open(out / "mine/tiny" / task / "seed0")


def files(out: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in (out / "mine/tiny/transfer/seed0").iterdir()}


def rows_of(out: Path) -> pd.DataFrame:
    return pd.concat(
        map(pd.read_parquet, sorted((out / "mine/tiny/transfer/seed0").iterdir())),
        ignore_index=True,
    )


def row(
    rows: pd.DataFrame, task: str, circuit_task: str, circuit_step: int, model_step: int
) -> pd.Series:
    keys = {
        "task": task,
        "circuit_task": circuit_task,
        "circuit_step": circuit_step,
        "model_step": model_step,
    }
    found = rows[np.logical_and.reduce([rows[key] == value for key, value in keys.items()])]
    assert len(found) == 1
    return found.iloc[0]


def change(out: Path, **keys: object) -> None:
    """Say something else in a cell's configuration."""

    def say(header: dict[str, Any]) -> None:
        for key, value in keys.items():
            part, _, name = key.rpartition("__")
            (header["config"][part] if part else header["config"])[name] = value

    change_header(out / "mine/tiny/gendered_pronoun/seed0", say)


def refused(capsys: pytest.CaptureFixture[str], *arguments: str) -> str:
    """The one line that a command ends with, exit code 2."""
    capsys.readouterr()
    with pytest.raises(SystemExit) as ended:
        main(["transfer", *arguments])
    lines = capsys.readouterr().err.splitlines()
    assert ended.value.code == 2 and lines[-1].startswith("circuitwatch: error: ")
    assert not any(line.startswith(("Traceback", "circuitwatch: error")) for line in lines[:-1])
    return lines[-1].removeprefix("circuitwatch: error: ")


def test_every_circuit_meets_every_checkpoint(transferred: Path, trained_suite: Path) -> None:
    """All pairs of checkpoints of a task, and both tasks' circuits at each checkpoint; step 0 has
    no circuit and so no part in it.
    """
    rows = rows_of(transferred)
    assert list(files(transferred)) and set(files(transferred)) == {
        f"step{step:06}.parquet" for step in CHOSEN
    }
    asked = set(
        rows[["task", "circuit_task", "circuit_step", "model_step"]].itertuples(
            index=False, name=None
        )
    )
    own = {(task, task, circuit, model) for task in TASKS for circuit in CHOSEN for model in CHOSEN}
    others = {(task, other, step, step) for task in TASKS for other in TASKS for step in CHOSEN}
    assert asked == own | others and len(rows) == len(asked)
    for side in ("circuit", "model"):
        assert (rows[f"{side}_tokens"] == rows[f"{side}_step"] * 48 * 21).all()


def test_at_home_a_circuit_does_what_its_record_says(transferred: Path) -> None:
    """1e-4: the record was made with another plan of batches."""
    rows = rows_of(transferred)
    for task in TASKS:
        for record in cell_of(transferred, task).records():
            if record.mask is not None:
                at_home = row(rows, task, task, record.step, record.step)
                assert at_home["edges"] == record.mask.sum() == record.scalars["circuit/edges"]
                for name in ("faithfulness", "recovery"):
                    assert at_home[name] == pytest.approx(
                        record.scalars[f"circuit/{name}"], abs=1e-4
                    )


@pytest.mark.parametrize(
    ("task", "circuit_task", "circuit_step", "model_step"),
    [
        ("agreement", "agreement", 150, 300),
        ("gendered_pronoun", "gendered_pronoun", 300, 128),
        ("gendered_pronoun", "agreement", 300, 300),
    ],
)
def test_transfer_and_specificity_equal_a_naive_evaluation(
    transferred: Path,
    trained_suite: Path,
    task: str,
    circuit_task: str,
    circuit_step: int,
    model_step: int,
) -> None:
    """By the library on freshly built prompts, in other batches and without reuse; and by the
    textbook on Hugging Face's modules.

    That one takes each prompt alone and sums every edge. 1e-4: float32 sums in another order.
    """
    folder = trained_suite / f"step{model_step}"
    mask = cell_of(transferred, circuit_task).read(circuit_step).mask
    assert mask is not None
    model, prompts = (
        load_model(folder),
        build_prompts(task, load_tokenizer(folder), n_prompts=N_PROMPTS, seed=0),
    )
    prepared = Prepared(model, prompts, batch_size=7)
    by_hand = CircuitEvaluator(
        prepared, lambda x, i: metric_per_prompt(x, prompts, i), reuse=False
    )(mask)

    graph, textbook = graph_of(model), Textbook(AutoModelForCausalLM.from_pretrained(folder))
    circuit = {(graph.senders[s], graph.receivers[r]) for s, r in np.argwhere(mask)}
    sums = {"clean": 0.0, "corrupted": 0.0, "circuit": 0.0}
    with torch.no_grad():
        for i, length in enumerate(prompts.lengths.tolist()):
            clean, corrupted = (
                textbook.embed(t[i : i + 1, :length]) for t in (prompts.clean, prompts.corrupted)
            )
            logits, outputs, _ = textbook.run(corrupted)
            runs = {"clean": textbook.run(clean)[0], "corrupted": logits}
            runs["circuit"] = textbook.run(clean, outputs, circuit)[0]
            for name, logits in runs.items():
                sums[name] += metric_per_prompt(logits[:, -1], prompts, torch.tensor([i])).item()
    whole, off, value = (sums[name] / N_PROMPTS for name in ("clean", "corrupted", "circuit"))

    found = row(rows_of(transferred), task, circuit_task, circuit_step, model_step)
    assert found["value"] == pytest.approx(by_hand, abs=1e-4) and found["value"] == pytest.approx(
        value, abs=1e-4
    )
    assert found["recovery"] == pytest.approx(
        value / whole, abs=1e-3
    )  # divided by behaviours of about 0.1
    assert found["faithfulness"] == pytest.approx((value - off) / (whole - off), abs=1e-3)


def test_the_table_says_what_is_kept(
    transferred: Path, capsys: pytest.CaptureFixture[str], loaded: list[str]
) -> None:
    """And once all files are there nothing is loaded to print it."""
    main(["transfer", "sweep=mine", f"out={transferred}"])
    assert not loaded
    shown = {
        line.split()[2]: line.split()[3:]
        for line in capsys.readouterr().out.splitlines()
        if "tiny" in line
    }
    rows = rows_of(transferred)
    for task in TASKS:
        mine = rows[rows["task"] == task]
        own, home = mine["circuit_task"] == task, mine["circuit_step"] == mine["model_step"]
        means = [
            mine.loc[part, "faithfulness"].mean()
            for part in (own & home, own & ~home, ~own, own & home)
        ]
        assert shown[task] == ["3", *(f"{mean:.2f}" for mean in means)]


def test_a_killed_run_goes_on_and_ends_with_the_same_bytes(
    out: Path, transferred: Path, monkeypatch: pytest.MonkeyPatch, loaded: list[str]
) -> None:
    write = circuitwatch.transfer_files.os.replace

    def killed(source: Path, target: Path) -> None:
        if target.name == "step000150.parquet":
            raise KeyboardInterrupt  # the file is written but has not got its name
        write(source, target)

    with monkeypatch.context() as patch:
        patch.setattr(circuitwatch.transfer_files.os, "replace", killed)
        with pytest.raises(SystemExit):
            main(["transfer", "sweep=mine", f"out={out}"])
    assert (
        set(files(out)) == {"step000128.parquet", "step000150.parquet.partial"} and len(loaded) == 2
    )
    main(["transfer", "sweep=mine", f"out={out}"])
    assert loaded == ["step128", "step150", "step150", "step300"]
    assert files(out) == files(transferred)


def test_another_circuit_makes_the_files_anew(
    transferred: Path, tmp_path: Path, loaded: list[str]
) -> None:
    out = tmp_path / "out"
    shutil.copytree(transferred, out)
    cell = cell_of(out, "gendered_pronoun")
    record = cell.read(150)
    assert record.mask is not None
    fewer = record.mask.copy()
    fewer[0] = False  # nothing reaches it from `input`
    scalars = record.scalars | {"circuit/edges": int(fewer.sum())}
    cell.write(replace(record, mask=fewer, scalars=scalars))
    main(["transfer", "sweep=mine", f"out={out}"])
    assert loaded == ["step128", "step150", "step300"]
    before, after = rows_of(transferred), rows_of(out)
    changed = (after["circuit_task"] == "gendered_pronoun") & (after["circuit_step"] == 150)
    pd.testing.assert_frame_equal(after[~changed], before[~changed], rtol=1e-4)
    at_home = after[changed & (after["task"] == "gendered_pronoun")]
    assert len(at_home) == 3 and at_home["faithfulness"].to_numpy() == pytest.approx(0, abs=1e-4)


def test_fewer_checkpoints_leave_no_file_of_more(transferred: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    shutil.copytree(transferred, out)
    main(["transfer", "sweep=mine", f"out={out}", "checkpoints=2"])
    rows = rows_of(out)
    assert set(rows["model_step"]) == set(rows["circuit_step"]) == {128, 300}
    assert evenly([1, 2, 3, 4, 5, 6], 3) in ([1, 3, 6], [1, 4, 6])
    assert evenly([1, 2], 12) == [1, 2] and evenly([7], 12) == [7] and evenly([], 12) == []


def test_no_rows_where_there_is_no_behaviour_or_no_record(
    out: Path, capsys: pytest.CaptureFixture[str], loaded: list[str]
) -> None:
    """Pronoun is not above chance at 128 and not recorded at 300; 150 has the weights of another
    checkpoint.
    """
    cell = cell_of(out, "gendered_pronoun")
    record = cell.read(128)
    scalars = {name: v for name, v in record.scalars.items() if not name.startswith("circuit/")}
    cell.write(
        replace(
            record,
            scalars=scalars | {"behaviour/above_chance": False},
            mask=None,
            scores=None,
            curve=None,
        )
    )
    record = cell.read(150)
    cell.write(replace(record, scalars=record.scalars | {"weights/duplicate_of": "step300"}))
    shutil.rmtree(cell.folder / "checkpoints/step000300")
    main(["transfer", "sweep=mine", f"out={out}"])
    assert loaded == ["step128", "step300"]
    rows = rows_of(out)
    assert set(rows["task"]) == set(rows["circuit_task"]) == {"agreement"} and len(rows) == 4
    shown = capsys.readouterr().out
    assert f"{cell.folder}: not finished, used as far as it is (3 of 4 checkpoints)" in shown


def test_one_task_alone(out: Path, capsys: pytest.CaptureFixture[str]) -> None:
    shutil.rmtree(out / "mine/tiny/gendered_pronoun")
    main(["transfer", "sweep=mine", f"out={out}"])
    assert len(rows_of(out)) == 9
    assert capsys.readouterr().out.count("–") == 2  # no other task's circuits


def test_wrong_checkpoints_are_skipped_and_said(
    out: Path, trained_suite: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """One has gone and one has other weights by now."""
    shutil.copytree(trained_suite, tmp_path / "suite")
    shutil.rmtree(tmp_path / "suite/step128")
    shutil.copy(tmp_path / "suite/step0/model.safetensors", tmp_path / "suite/step150")
    shutil.rmtree(out / "mine/tiny/agreement")
    change(out, model__path=str(tmp_path / "suite"))
    main(["transfer", "sweep=mine", f"out={out}"])
    shown = capsys.readouterr().out
    gone = tmp_path / "suite/step128"
    assert f"tiny seed 0 step128: skipped, {gone} is no longer there" in shown
    assert (
        "tiny seed 0 step150: skipped, its weights are not those that the cells were made from"
        in shown
    )
    assert set(files(out)) == {"step000300.parquet"}
    change(out, model__path=str(out.parent / "suite/elsewhere"))
    (out.parent / "suite/elsewhere/step300").mkdir(parents=True)
    change(out, model__tokens_per_step=1008)
    cell = cell_of(out, "gendered_pronoun")
    record = cell.read(300)
    assert record.mask is not None
    fewer = record.mask.copy()
    fewer[0] = False
    scalars = record.scalars | {"circuit/edges": int(fewer.sum())}
    # So that the file is of another record than this.
    cell.write(replace(record, mask=fewer, scalars=scalars))
    line = refused(capsys, "sweep=mine", f"out={out}")
    assert line == f"{out}/mine: none of the checkpoints that have a circuit could be looked at"


def overflowing(model: Transformer) -> Transformer:
    return replace(model, W_U=model.W_U * 1e38)


def with_fewer_words(model: Transformer) -> Transformer:
    return replace(model, W_E=model.W_E[:40])


@pytest.mark.parametrize(
    ("spoil", "why"),
    [(overflowing, "the training has diverged"), (with_fewer_words, "its vocabulary has 40")],
)
def test_a_model_that_cant_be_measured_is_skipped(
    spoil: Callable[[Transformer], Transformer],
    why: str,
    out: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """As by watching it, and the others are made."""

    def load(folder: Path, **options: object) -> Transformer:
        model = load_model(folder, **options)  # type: ignore[arg-type]
        return spoil(model) if folder.name == "step150" else model

    monkeypatch.setattr(circuitwatch.transfer.imposing, "load_model", load)
    main(["transfer", "sweep=mine", f"out={out}"])
    shown = capsys.readouterr()
    assert "tiny seed 0 step150: skipped" in shown.err + shown.out
    assert why in " ".join((shown.err + shown.out).split())
    assert set(files(out)) == {"step000128.parquet", "step000300.parquet"}


def test_what_could_not_be_fetched_is_tried_again(
    out: Path,
    transferred: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    hold: Callable[..., AbstractContextManager[Path]] = FolderSource.hold

    @contextmanager
    def broken(self: FolderSource, checkpoint: Checkpoint, say: Say) -> Iterator[Path]:
        if checkpoint.step == 150:
            raise NotFetched("step150: the line is dead")
        with hold(self, checkpoint, say) as folder:
            yield folder

    with monkeypatch.context() as patch:
        patch.setattr(FolderSource, "hold", broken)
        line = refused(capsys, "sweep=mine", f"out={out}")
    assert (
        line == f"{out}/mine: 1 checkpoint could not be fetched; the others are there, and the "
        f"same command tries again"
    )
    assert set(files(out)) == {"step000128.parquet", "step000300.parquet"}
    main(["transfer", "sweep=mine", f"out={out}"])
    assert files(out) == files(transferred)


def test_mistakes_are_one_line(
    out: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert refused(capsys).startswith("transfer: give sweep=<name>")
    assert "give sweep=<name>" in refused(capsys, "sweep=mine", "steps=3")
    assert (
        refused(capsys, "sweep=other", f"out={out}")
        == f"{out}/other: no such sweep; there are mine"
    )
    for wrong in ("1", "many", "-3"):
        line = refused(capsys, "sweep=mine", f"out={out}", f"checkpoints={wrong}")
        assert line.startswith(f"checkpoints={wrong}: must be ")
    (out / "empty").mkdir()
    assert refused(capsys, "sweep=empty", f"out={out}").startswith(f"{out}/empty: no cell in it")
    change(out, task__prepend_bos=False)
    line = refused(capsys, "sweep=mine", f"out={out}")
    assert (
        f"was made with task.prepend_bos=True and {out}/mine/tiny/gendered_pronoun/seed0 with False"
        in line
    )
    change(out, task__prepend_bos=True, dtype="float64")
    assert "was made with dtype=float32" in refused(capsys, "sweep=mine", f"out={out}")
    change(out, dtype="float32", colour="red")
    assert "made with options that this version does not have" in refused(
        capsys, "sweep=mine", f"out={out}"
    )
    shutil.rmtree(out / "mine/tiny/gendered_pronoun")
    for step in CHOSEN:
        shutil.rmtree(out / f"mine/tiny/agreement/seed0/checkpoints/step{step:06}")
    assert "none of its 1 cells has a circuit at any checkpoint" in refused(
        capsys, "sweep=mine", f"out={out}"
    )
    assert not (out / "mine/tiny/transfer").exists()


def test_help_names_the_command(capsys: pytest.CaptureFixture[str]) -> None:
    main(["--help"])
    assert "circuitwatch transfer sweep=<name>" in capsys.readouterr().out
