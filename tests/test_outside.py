"""A user's package with a task, a role and a quantity, one file each (support/outside): a cell is
watched with it installed and summarised without it, and all three are found in the record, the W&B
row, the tables, the figures and the report, with their words and units.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pandas as pd
import pytest

import circuitwatch as cw
from circuitwatch.records import Cell, find_cells
from circuitwatch.results import Results
from circuitwatch.summary.panels import specification
from circuitwatch.tracking.names import logged_name
from support.offline_runs import history, values

OUTSIDE = Path(__file__).parent / "support" / "outside"
ROLE, ENTROPY = "roles/self_attention/max", "text/entropy"


def run(*arguments: str, installed: bool) -> str:
    """The command line, in a process of its own, with or without the user's package."""
    path = str(OUTSIDE) if installed else ""
    done = subprocess.run(
        [sys.executable, "-m", "circuitwatch", *arguments],
        env={**os.environ, "PYTHONPATH": path, "WANDB_MODE": "offline"},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.fixture(scope="module")
def sweep(trained_suite: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("outside")
    run(
        "model=folder",
        "model.name=tiny",
        f"model.path={trained_suite}",
        "task=she_or_he",
        "task.n_prompts=16",
        "heads.length=6",
        "heads.n_sequences=4",
        "heads.n_prompts=8",
        "heads.thresholds.self_attention=0.1",
        "circuit.resamples=0",
        "tracking=offline",
        "device=cpu",
        f"out={out}",
        "sweep=mine",
        installed=True,
    )
    run("summarize", "sweep=mine", f"out={out}", installed=False)
    return out / "mine"


@pytest.fixture(scope="module")
def cell(sweep: Path) -> Cell:
    (only,) = find_cells(sweep)
    return only


@pytest.fixture(scope="module")
def results(sweep: Path) -> Results:
    return cw.open(sweep)


def table(sweep: Path, name: str) -> pd.DataFrame:
    return pd.read_csv(sweep / "summary" / f"{name}.csv", keep_default_na=False, na_values=[""])


def test_the_record_has_them(cell: Cell) -> None:
    record = cell.read(cell.steps_done()[-1])
    assert record.scalars["behaviour/above_chance"] is True
    low, value, high = (record.scalars[f"{ENTROPY}{end}"] for end in ("_low", "", "_high"))
    assert low < value < high  # type: ignore[operator]
    mine = record.roles[record.roles["role"] == "self_attention"]
    assert len(mine) == 4 and mine["score"].between(0, 1).all()
    assert mine["score"].max() == pytest.approx(record.scalars[ROLE])
    assert set(mine["effect_on"].dropna()) == {"logits"}  # checked in the task that it names
    said = cell.header["facts"]
    assert said["tasks"]["she_or_he"]["words"] == "she or he?"
    assert said["roles"]["self_attention"]["threshold"] == 0.1


def test_the_wandb_row_has_them(cell: Cell) -> None:
    rows = history(cell)
    for name in ("behaviour/value", ROLE, ENTROPY):
        recorded = [cell.read(step).scalars[name] for step in cell.steps_done()]
        assert values(rows, logged_name(name, "logit_diff")) == pytest.approx(recorded)


def test_the_tables_have_them_with_their_own_thresholds(sweep: Path) -> None:
    emergence = table(sweep, "emergence").set_index(["task", "quantity"])
    assert ("she_or_he", "behaviour/value") in emergence.index
    role, entropy = emergence.loc[("-", ROLE)], emergence.loc[("-", ENTROPY)]
    assert (role["rule"], role["level"]) == ("threshold", 0.1)
    assert entropy["rule"] == "half rise" and entropy["final"] > 0
    assert "self_attention" in set(table(sweep, "roles")["role"])
    assert "self_attention" in set(table(sweep, "lags")["role"])  # it serves the task


def test_an_ability_that_is_learnt_lowers_the_entropy_and_a_fall_is_its_emergence(
    results: Results,
) -> None:
    (curve,) = results.curves(quantity=ENTROPY)
    assert curve.values[0] > curve.values[-1] and curve.unit == "nats of mine"
    emergence = curve.emergence
    if emergence.level is not None:
        assert curve.values.min() < emergence.level < curve.values.max()


def test_panels_have_their_words_and_units(results: Results) -> None:
    sections = specification(results.all_curves, results.cells, results.heads.bands).sections
    axes = {
        name: {(panel.title, panel.axis) for panel in section.panels}
        for name, section in sections.items()
    }
    assert ("she or he?", "logit difference") in axes["behaviour"]
    assert ("looks at itself", "strongest head's score") in axes["roles"]
    assert ("entropy of the next token", "nats of mine") in axes["text"]


def test_the_report_and_the_figures_have_them(sweep: Path) -> None:
    page = (sweep / "summary" / "report.html").read_text(encoding="utf-8")
    for words in ("she or he?", "looks at itself", "entropy of the next token", "nats of mine"):
        assert words in page, words
    assert (sweep / "summary" / "text.png").stat().st_size > 5000
    # In no other words: a name that only a program reads is in no sentence.
    assert "self attention" not in page.replace("self_attention", "")


def test_what_is_not_installed_is_not_needed_to_read_but_to_watch(trained_suite: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "circuitwatch", "model=folder", "model.name=t", "task=she_or_he",
         f"model.path={trained_suite}"],
        capture_output=True,
        text=True,
    )  # fmt: skip
    assert done.returncode == 2 and "task=she_or_he: no such task" in done.stderr
    assert len(done.stderr.strip().splitlines()) == 1


def test_the_header_is_whole_json_without_functions(cell: Cell) -> None:
    text = json.dumps(cell.header)
    assert "<function" not in text and "outside_things" not in text
