"""A user's own tasks from end to end on a small trained model: a file of prompts and a template."""

from __future__ import annotations

import json
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pandas as pd
import pytest
import torch

from circuitwatch.behaviour import TaskMetric
from circuitwatch.checkpoints.loading import load_model
from circuitwatch.checkpoints.tokenizers import load_tokenizer
from circuitwatch.circuits.evaluation import CircuitEvaluator
from circuitwatch.circuits.prompts import Prepared
from circuitwatch.config import (
    CircuitConfig,
    Config,
    HeadsConfig,
    ModelConfig,
    ScheduleConfig,
    TaskConfig,
    TrackingConfig,
)
from circuitwatch.errors import UserError
from circuitwatch.facts import Facts
from circuitwatch.monitor import prompts_of, watch_cell
from circuitwatch.records import Cell
from circuitwatch.summary import summarize
from circuitwatch.tasks import build_prompts

TEMPLATE = """
words: who is meant
patterns:
  - "So {name} is such a {adjective} cook, isn't"
  - "Well, {name} is a very {adjective} cook, isn't"
lists:
  name, pronoun: [[Mary, she], [Anna, she], [Lucy, she], [Emma, she], [Kate, she], [Alice, she],
                  [John, he], [Tom, he], [James, he], [Paul, he], [Mark, he], [Jack, he]]
  adjective: [good, great, bad, fine]
corrupted: {name: "{name2}"}
answer: "{pronoun}"
wrong: "{pronoun2}"
"""


@pytest.fixture(scope="module")
def csv(trained_suite: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The prompts of gendered_pronoun, as a user would write them down."""
    tokenizer = load_tokenizer(trained_suite / "step300")
    prompts = build_prompts("gendered_pronoun", tokenizer, n_prompts=24, seed=0)
    right, wrong = (
        [tokenizer.decode([token]).strip() for token in prompts.answer_ids[:, i]] for i in (0, 1)
    )
    columns = {
        "clean": prompts.clean_text,
        "corrupted": prompts.corrupted_text,
        "answer": right,
        "wrong": wrong,
        "group": ["she" if word == "she" else "he" for word in right],
    }
    path = tmp_path_factory.mktemp("prompts") / "who.csv"
    pd.DataFrame(columns).to_csv(path, index=False)
    return path


def configuration(suite: Path, task: TaskConfig, **parts: object) -> Config:
    config = Config(
        model=ModelConfig(name="tiny", source="folder", path=str(suite)),
        task=task,
        schedule=ScheduleConfig(kind="steps", steps=[0, 300]),
        circuit=CircuitConfig(method="eap", resamples=0),
        heads=HeadsConfig(length=6, n_sequences=4, n_prompts=8),
        tracking=TrackingConfig(mode="off"),
        device="cpu",
    )
    return replace(config, **parts)  # type: ignore[arg-type]


def own(path: Path, **options: object) -> TaskConfig:
    return TaskConfig(name="who", path=str(path), n_prompts=24, **options)  # type: ignore[arg-type]


@pytest.fixture(scope="module")
def cell(trained_suite: Path, csv: Path, tmp_path_factory: pytest.TempPathFactory) -> Cell:
    folder = tmp_path_factory.mktemp("sweep") / "tiny" / "who" / "seed0"
    return watch_cell(configuration(trained_suite, own(csv)), folder)


def test_a_file_gives_the_numbers_of_the_task_that_it_was_written_from(
    cell: Cell, trained_suite: Path, tmp_path: Path
) -> None:
    task = TaskConfig(name="gendered_pronoun", n_prompts=24)
    built_in = watch_cell(configuration(trained_suite, task), tmp_path / "cell")
    assert cell.is_done() and cell.steps_done() == built_in.steps_done()
    for step in cell.steps_done():
        mine, theirs = cell.read(step), built_in.read(step)
        assert mine.scalars == theirs.scalars
        assert (mine.scores is None) == (theirs.scores is None)
        if mine.scores is not None and theirs.scores is not None:
            assert (mine.scores == theirs.scores).all() and (mine.mask == theirs.mask).all()
    last = cell.read(300)
    assert last.scalars["circuit/status"] == "found"
    assert set(last.prompts["group"]) == {"she", "he"}
    assert "group" not in built_in.read(300).prompts


def test_a_cell_says_what_its_task_is(cell: Cell, csv: Path) -> None:
    facts = Facts.of_headers([cell.header]).task("who")
    assert (facts.metric, facts.metric_words) == ("logit_diff", "logit difference")
    assert cell.header["lexicon"] == {
        "rows": 24, "usable rows": 24, "rows used": 24, "group he": 12, "group she": 12,
    }  # fmt: skip
    assert cell.header["prompt_notes"] == [] and cell.header["task_variant"] == ""
    assert len(cell.header["config"]["task"]["sha256"]) == 64


def test_a_summary_has_it(cell: Cell) -> None:
    summarize(cell.folder.parents[2])
    table = pd.read_csv(cell.folder.parents[2] / "summary" / "emergence.csv")
    rows = table[table["task"] == "who"]
    assert set(rows["quantity"]) >= {"behaviour/value", "behaviour/accuracy"}


def test_another_content_is_refused_and_another_place_is_not(
    cell: Cell, csv: Path, trained_suite: Path, tmp_path: Path
) -> None:
    moved, changed = tmp_path / "moved.csv", tmp_path / "changed.csv"
    moved.write_bytes(csv.read_bytes())
    changed.write_bytes(csv.read_bytes() + b"\n")
    assert watch_cell(configuration(trained_suite, own(moved)), cell.folder).is_done()
    with pytest.raises(UserError, match=r"another content than .*changed\.csv has now; choose ano"):
        watch_cell(configuration(trained_suite, own(changed)), cell.folder)


def test_log_prob(csv: Path, trained_suite: Path, tmp_path: Path) -> None:
    """Recovery means nothing, and is refused before anything is written; by faithfulness there is
    a circuit, which does what the record says.
    """
    config = configuration(trained_suite, own(csv, metric="log_prob"))
    with pytest.raises(UserError, match=r"take circuit\.criterion=faithfulness"):
        watch_cell(config, tmp_path / "cell")
    assert not (tmp_path / "cell").exists()
    config = replace(
        config,
        circuit=replace(config.circuit, criterion="faithfulness"),
        schedule=ScheduleConfig(kind="all"),
    )
    cell = watch_cell(config, tmp_path / "sweep" / "tiny" / "who" / "seed0")
    record = cell.read(300)
    scalars = record.scalars
    assert scalars["behaviour/above_chance"] and scalars["circuit/status"] == "found"
    assert scalars["behaviour/value"] == pytest.approx(scalars["behaviour/log_prob"], abs=1e-5)
    assert scalars["behaviour/value"] < 0 < scalars["behaviour/effect_low"]
    assert "circuit/recovery" not in scalars and scalars["circuit/faithfulness"] >= 0.8
    folder = trained_suite / record.revision
    model, prompts = load_model(folder), prompts_of(config, load_tokenizer(folder))
    prepared = Prepared(model, prompts)
    clean, corrupted = (
        torch.stack(
            [
                row.log_softmax(-1)[token]
                for row, token in zip(ends, prompts.answer_ids[:, 0], strict=True)
            ]
        ).mean()
        for ends in prepared.end_logits()
    )
    of_circuit = CircuitEvaluator(prepared, TaskMetric(prompts))(record.mask)
    share = (of_circuit - float(corrupted)) / float(clean - corrupted)
    assert scalars["circuit/faithfulness"] == pytest.approx(share, abs=1e-3)
    summarize(tmp_path / "sweep")
    table = pd.read_csv(tmp_path / "sweep" / "summary" / "emergence.csv")
    statuses = table[table["task"] == "who"].set_index("quantity")["status"]
    assert statuses["behaviour/value"] == statuses["behaviour/effect"] == "emerged"


def run(cwd: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "circuitwatch", *arguments],
        cwd=cwd, capture_output=True, text=True, check=False,
    )  # fmt: skip


def test_a_template_from_the_command_line(trained_suite: Path, tmp_path: Path) -> None:
    (tmp_path / "mine" / "tasks").mkdir(parents=True)
    (tmp_path / "mine" / "tasks" / "meant.yaml").write_text(TEMPLATE, encoding="utf-8")
    given = ["--config-dir=mine", "task=meant", "task.n_prompts=24", "tracking=off"]
    given += ["model=folder", "model.name=tiny", f"model.path={trained_suite}", "circuit=eap"]
    given += ["heads.length=6", "heads.n_sequences=2", "heads.n_prompts=4", "circuit.resamples=0"]
    given += ["schedule=steps", "schedule.steps=[0,300]"]
    shown = run(tmp_path, "prompts", "show=2", *given)
    assert shown.returncode == 0, shown.stderr
    assert "meant: 2 of 24 pairs of prompts" in shown.stdout and "·she" in shown.stdout
    assert not (tmp_path / "multirun").exists()
    done = run(tmp_path, *given)
    assert done.returncode == 0, done.stderr
    cell = Cell.open(tmp_path / "multirun/default/tiny/meant/seed0")
    assert cell.read(300).scalars["circuit/status"] == "found"
    assert not cell.read(0).scalars["behaviour/above_chance"]
    facts = json.loads((cell.folder / "cell.json").read_text())["facts"]["tasks"]["meant"]
    assert facts["words"] == "who is meant"


def test_which_templates_can_be_chosen(tmp_path: Path) -> None:
    """One that can't be is in the way of no other."""
    folder = tmp_path / "mine" / "tasks"
    folder.mkdir(parents=True)
    for name in ("meant.yml", "ioi.yaml", "file.yaml", "two.yml", "two.yaml"):
        (folder / name).write_text(TEMPLATE, encoding="utf-8")
    given = ["prompts", "--config-dir=mine", "model=nano-1m", f"cache={tmp_path}/cache"]
    for name in ("meant", "agreement"):
        shown = run(tmp_path, *given, f"task={name}")
        assert shown.returncode == 0 and f"{name}: 5 of " in shown.stdout, shown.stderr
    for name, message in {
        "ioi": "mine/tasks/ioi.yaml: ioi is a task already; give the file another name",
        "file": "mine/tasks/file.yaml: file is a task already; give the file another name",
        "two": "task=two: is both mine/tasks/two.yaml and mine/tasks/two.yml; give one another ",
        "chess": "task=chess: no such task; choose one of agreement, arithmetic, capitals, ",
    }.items():
        failed = run(tmp_path, *given, f"task={name}")
        assert failed.returncode == 2 and failed.stderr.count("\n") == 1
        assert failed.stderr.startswith(f"circuitwatch: error: {message}"), failed.stderr
        assert name != "chess" or " meant, " in failed.stderr


def test_a_file_from_the_command_line(csv: Path, tmp_path: Path) -> None:
    """Of a nano model only the tokenizer is made, and nothing is trained or written."""
    more = tmp_path / "more.csv"
    rows = csv.read_text().splitlines()
    more.write_text("\n".join([*rows, "a b,a b,she,he,x"]), encoding="utf-8")
    given = [
        "prompts",
        "task=file",
        f"task.path={more}",
        "model=nano-1m",
        f"cache={tmp_path}/cache",
    ]
    shown = run(tmp_path, *given)
    assert shown.returncode == 0, shown.stderr
    assert "more: 5 of 24 pairs of prompts" in shown.stdout
    assert "1 of 25 rows left out: clean and corrupted are the same (row 25)" in shown.stdout
    assert [path.name for path in tmp_path.iterdir()] == ["more.csv"]
    taken = run(tmp_path, *given, "task.name=ioi")
    assert taken.returncode == 2 and taken.stderr.count("\n") == 1
    assert "task.name=ioi: is a task of the catalogue" in taken.stderr
