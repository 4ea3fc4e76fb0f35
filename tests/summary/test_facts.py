"""A task, a role and a quantity that only a cell's facts name: their package is not installed, and
they come through to every table in the right words; variants of a task are never pooled.
"""

from __future__ import annotations

from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from circuitwatch import transfer_files
from circuitwatch.catalogue import Algorithm, Quantity, Role, Task
from circuitwatch.facts import Facts, TaskFacts
from circuitwatch.record_files import CheckpointRecord
from circuitwatch.records import Cell
from circuitwatch.results import Results
from circuitwatch.results import open as open_results
from circuitwatch.summary.curves import combine
from circuitwatch.summary.heads.transfer import read_transfer, transfer_table
from circuitwatch.summary.importers import Request, read_sources, wandb_runs
from circuitwatch.summary.importers.cells import curves_of, read_cells
from circuitwatch.summary.importers.wandb_runs import find_runs
from circuitwatch.summary.variants import told_apart
from support.wandb_server import FakeApi, FakeRun

STEPS = [0, 100, 200, 400, 800, 1600, 3200, 6400, 12800, 25600]
PER_STEP = 1000
ROLE = Role("sink", "attention sink", "", 0.3, "", confirmed_on={"capitals": "logits"}, place=5)
LOSS = Quantity(
    "mine/loss",
    "loss on prose",
    "nats",
    rise="half-rise",
    falls=True,
    panel="text",
    interval=("mine/loss_from", "mine/loss_to"),
    of="model",
)
LOW = Quantity("mine/share_low", "share of low ones", rise=0.5)
SHARE = Quantity("mine/share", "share of sinks", "share", panel="algorithm", interval=None)
PATH = Quantity("algorithm/P", "P: by the sinks", over_cutoffs=True, roles=("sink",))
TASK = Task(
    "capitals",
    "capitals of countries",
    "prob_diff",
    make_prompts=lambda *_, **__: None,  # type: ignore[arg-type, return-value]
    roles=("sink",),
    algorithm=Algorithm((PATH,), lambda *_: None, lambda *_: None),
)


def rise(step: int, at: float) -> float:
    return float(1 / (1 + np.exp(-(np.log(max(step, 1)) - np.log(at)) / 0.2)))


def record(step: int, rng: np.random.Generator) -> CheckpointRecord:
    known, sink, noise = rise(step, 1200), rise(step, 300), rng.normal(0, 0.004, 4)
    values = np.clip(known + rng.normal(0, 0.02, 24), 0, 1)
    above = known > 0.05
    scalars: dict[str, Any] = {
        "behaviour/value": float(values.mean()),
        "behaviour/low": float(values.mean() - 0.02),
        "behaviour/high": float(values.mean() + 0.02),
        "behaviour/above_chance": above,
        "mine/loss": 9 - 4 * sink + noise[0],
        "mine/loss_from": 9 - 4 * sink - 0.1,
        "mine/loss_to": 9 - 4 * sink + 0.1,
        "mine/share": 0.4 + noise[1],
        "mine/share_low": known + noise[2],
        "mine/other": 0.5 + noise[3],
        "mine/other_low": 0.4,
        "mine/other_high": 0.6,
        "roles/sink/max": 0.9 * sink,
        "roles/sink/head": "a0.h1",
        "roles/sink/total": sink,
    } | ({"algorithm/P": 1.0} if above else {})
    roles = pd.DataFrame(
        {
            "role": "sink",
            "layer": [0, 0],
            "head": [0, 1],
            "score": [0.01, 0.9 * sink],
            "confirmed": [None, True],
            "effect": [None, -0.4],
            "effect_low": [None, -0.5],
            "effect_high": [None, -0.3],
            "effect_on": [None, "logits"],
            "sign": [None, "helps"],
        }
    ).astype({"confirmed": "boolean", "effect": "Float64"})
    prompts = pd.DataFrame(
        {
            "prompt": range(24),
            "value": values,
            "corrupted": -values,
            "correct": values > 0.5,
            "log_prob": -1.0,
        }
    )
    direct = pd.DataFrame(
        {"sender": ["a0.h0", "a0.h1"], "receivers": "logits", "effect": [-0.1, -0.3]}
    ).assign(low=-0.5, high=0.0)
    return CheckpointRecord(
        step, step * PER_STEP, f"s{step}", scalars, prompts, roles, patching=direct
    )


def write_cell(
    folder: Path,
    facts: Facts,
    *,
    model: str,
    task: str,
    seed: int,
    config: dict[str, Any] | None = None,
) -> Cell:
    header = {
        "config": {"heads": {}, "task": {"name": task}, **(config or {})},
        "model": {"name": model, "params_total": 1000 * len(model), "n_layers": 1, "n_heads": 2},
        "task": task,
        "seed": seed,
        "schedule": [{"step": s, "tokens": s * PER_STEP, "revision": f"s{s}"} for s in STEPS],
        "facts": facts.of_cell(task),
        "code_version": "0",
    }
    cell = Cell.create(folder / model / task / f"seed{seed}", header)
    rng = np.random.default_rng([len(model), seed])
    for step in STEPS:
        cell.write(record(step, rng))
    return cell


OWN = Facts(
    {"capitals": TaskFacts.of(TASK)},
    {"sink": ROLE},
    {q.key: q for q in (LOSS, LOW, SHARE, PATH, ROLE.quantity)},
)


@pytest.fixture(scope="module")
def results(tmp_path_factory: pytest.TempPathFactory) -> Results:
    folder = tmp_path_factory.mktemp("out") / "own"
    for model in ("small", "larger"):
        for seed in (0, 1):
            write_cell(folder, OWN, model=model, task="capitals", seed=seed)
    return open_results(folder, n_bootstrap=20)


def test_a_role_comes_through_to_every_table(results: Results) -> None:
    assert results.facts.words("capitals") == "capitals of countries"
    rows = {(row.model, row.seed): row for row in results.emergence if "sink" in row.quantity}
    assert len(rows) == 4
    for row in rows.values():
        assert (row.task, row.quantity, row.rule) == ("-", "roles/sink/max", "threshold")
        assert (row.level, row.status, row.head) == (ROLE.threshold, "emerged", "a0.h1")
        assert row.tokens == pytest.approx(300 * PER_STEP, rel=0.3)
    assert {(lag.task, lag.role, lag.verdict) for lag in results.compared.lags} == {
        ("capitals", "sink", "before")
    }
    (said,) = results.compared.agreement
    assert said.text.startswith("attention sink before the behaviour at 2 of 2 sizes")
    roles = results.tables["roles"].frame()
    assert set(roles["role"]) == {"sink"} and set(roles["threshold"]) == {0.3}
    assert set(roles["confirmed_at_end"]) == {"capitals: a0.h1 helps"}
    turnover = results.tables["turnover"].frame()
    assert set(turnover["head"]) == {"a0.h1"} and (turnover["helps_capitals"] > 0).all()
    assert ("-", "roles/sink/max", 2) in {
        (row.task, row.quantity, row.seeds) for row in results.seeds
    }


def test_a_quantity_of_the_model_falls_and_appears_once_a_model(results: Results) -> None:
    curves = results.curves(quantity="loss on prose")
    assert [(c.model, c.task, c.unit) for c in curves] == [
        ("small", "-", "nats"),
        ("small", "-", "nats"),
        ("larger", "-", "nats"),
        ("larger", "-", "nats"),
    ]
    assert np.allclose(curves[0].stderr, 0.2 / (2 * 1.96), rtol=1e-3)
    rows = [row for row in results.emergence if row.quantity == "mine/loss"]
    assert {(row.task, row.status) for row in rows} == {("-", "emerged")} and len(rows) == 4
    for row in rows:
        assert row.tokens == pytest.approx(300 * PER_STEP, rel=0.3)
        assert row.level == pytest.approx(7, abs=0.3)
    assert {row.status for row in results.compared.stability if row.quantity == "mine/loss"} == {
        "measured"
    }


def test_an_end_of_an_interval_is_no_curve_but_a_quantity_of_that_name_is(
    results: Results,
) -> None:
    names = set(results.all_curves.table["quantity"])
    assert {"mine/loss", "mine/share", "mine/share_low", "mine/other"} <= names
    assert not names & {"mine/loss_from", "mine/loss_to", "mine/other_low", "mine/other_high"}
    assert not names & {"behaviour/low", "behaviour/high"}
    (other,) = results.curves("small", quantity="mine/other", seed=0)
    assert np.allclose(other.stderr, 0.2 / (2 * 1.96), rtol=1e-3)
    (share,) = results.curves("small", quantity="mine/share", seed=0)
    assert np.isnan(share.stderr).all()  # share_low is not its low end
    rows = {row.quantity: row for row in results.emergence if row.model == "small"}
    assert rows["mine/share_low"].level == 0.5 and rows["mine/share_low"].status == "emerged"
    assert "mine/share" not in rows and "roles/sink/total" not in rows  # nobody asks when they rose


def test_shares_of_an_own_algorithm(results: Results) -> None:
    """P is recorded as 1, but its role's holders have 0.3 of 0.4: it is counted anew."""
    table = results.tables["algorithm"].frame()
    assert set(table["quantity"]) == {"P", "mine/share"}
    assert table.set_index("quantity").loc["P", "last"].tolist() == pytest.approx([0.75] * 4)
    assert set(table.set_index("quantity").loc["mine/share", "verdict"]) <= {"stays"}


def facts_of(variant: str = "", **more: Any) -> Facts:
    return Facts(
        {"capitals": TaskFacts.of(TASK, variant)} | more,
        {"sink": ROLE},
        {q.key: q for q in (LOSS, ROLE.quantity)},
    )


def test_variants_of_a_task_are_two_tasks(tmp_path: Path) -> None:
    plain, tens = facts_of(), facts_of("tens")
    for model, facts in (("small", plain), ("larger", tens)):
        write_cell(tmp_path / "s", facts, model=model, task="capitals", seed=0)
    write_cell(tmp_path / "t", plain, model="larger", task="capitals", seed=0)
    sources = read_sources(Request((str(tmp_path / "s"), str(tmp_path / "t")), tmp_path))
    (note,) = [note for note in sources.curves.notes if "tasks here" in note]
    assert note == (
        "capitals: cells differ in how its prompts are made or in its metric, so they are 2 tasks "
        "here: capitals, capitals (tens)"
    )
    results = Results(sources, n_bootstrap=10)
    assert {(c.model, c.task) for c in results.cells} == {
        ("small", "capitals"),
        ("larger", "capitals"),
        ("larger", "capitals (tens)"),
    }
    (tens_row,) = [r for r in results.emergence if r.task == "capitals (tens)"][:1]
    assert results.facts.task(tens_row.task).words == "capitals of countries (tens)"
    assert {(row.model, row.task) for row in results.compared.lags} == {
        ("small", "capitals"),
        ("larger", "capitals"),
        ("larger", "capitals (tens)"),
    }
    turnover = results.tables["turnover"].frame()
    assert {"helps_capitals", "helps_capitals (tens)"} <= set(turnover)


def test_two_metrics_of_a_task_are_two_tasks() -> None:
    other = TaskFacts(
        "capitals", "capitals of countries", "log_prob", "nats", "log-probability of the answer"
    )
    headers = [
        {"task": "capitals", "facts": facts.of_cell("capitals")}
        for facts in (facts_of(), facts_of(capitals=other))
    ]
    told, notes = told_apart(headers)
    assert [header["task"] for header in told] == [
        "capitals (probability difference)",
        "capitals (log-probability of the answer)",
    ]
    assert len(notes) == 1
    assert told_apart(headers[:1]) == (headers[:1], [])
    units = [Facts.of_headers([header]).unit("behaviour/value", header["task"]) for header in told]
    assert units == ["probability difference", "log-probability of the answer"]


def test_who_says_nothing_of_its_task_stands_beside_a_variant() -> None:
    """A run of another program, and a cell of a task that is not installed."""
    variant, plain = (
        {"task": "rivers", "facts": Facts({"rivers": said}, {"sink": ROLE}).of_cell("rivers")}
        for said in (
            TaskFacts("rivers", "rivers", "prob_diff", variant="tens"),
            TaskFacts("rivers", "rivers", "prob_diff"),
        )
    )
    foreign = {"task": "run", "config": {"model": "mine", "lr": 0.1}, "facts": {}}
    silent = {"task": "rivers", "config": {}}
    told, notes = told_apart([variant, plain, foreign, silent])
    assert [header["task"] for header in told] == ["rivers (tens)", "rivers", "run", "rivers"]
    assert told[2] is foreign and told[3] is silent and len(notes) == 1
    assert told_apart([plain, silent]) == ([plain, silent], [])  # no metric is no other metric


def test_transfer_has_the_names_of_variants(tmp_path: Path) -> None:
    """The files of both models say `capitals`; only the larger one's prompts are of a variant."""
    circuits = {100: [0, 1, 2], 200: [1, 2, 3]}
    for model, variant in (("small", ""), ("larger", "tens")):
        write_cell(tmp_path, facts_of(variant), model=model, task="capitals", seed=0)
        rows = [
            (circuit, at, 0.5 + 0.1 * (circuit == at)) for circuit in circuits for at in circuits
        ]
        table = pd.DataFrame(rows, columns=["circuit_step", "model_step", "faithfulness"]).assign(
            task="capitals", circuit_task="capitals", edges=3, value=0.5, recovery=0.5
        )
        for which in ("circuit", "model"):
            table[f"{which}_tokens"] = table[f"{which}_step"] * PER_STEP
        folder = tmp_path / model / "transfer" / "seed0"
        folder.mkdir(parents=True)
        for step, part in table.groupby("model_step"):
            transfer_files.write(transfer_files.file_of(folder, step), part, made_from="made up")
    cells = [
        replace(cell, circuits={step: np.array(c) for step, c in circuits.items()})
        for cell in read_sources(Request((str(tmp_path),), tmp_path)).cells
    ]
    transfer = read_transfer(tmp_path, cells)
    for column in ("task", "circuit_task"):
        assert set(zip(transfer["model"], transfer[column], strict=True)) == {
            ("small", "capitals"),
            ("larger", "capitals (tens)"),
        }
    found = transfer_table(transfer, cells)
    assert found["edge_jaccard"].tolist() == [0.5, 0.5] and found["own"].tolist() == [0.6, 0.6]


def rivers(metric: str) -> Facts:
    return Facts(
        {"rivers": TaskFacts("rivers", "rivers", metric, metric_words=metric)}, {"sink": ROLE}, {}
    )


def test_a_metric_of_cells_is_not_pooled_with_another_one_of_runs(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    cell = write_cell(tmp_path, rivers("logit_diff"), model="small", task="rivers", seed=0)
    logged = [{"tokens": r.tokens, "behaviour/value": 7.0} for r in cell.records()]
    runs = [
        FakeRun(
            metric or "no facts",
            {"model": "small", "task": "rivers", "seed": seed}
            | ({"facts": rivers(metric).of_cell("rivers")} if metric else {}),
            logged,
        )
        for seed, metric in enumerate(("prob_diff", "logit_diff", ""))
    ]
    monkeypatch.setattr(
        wandb_runs, "find_runs", partial(find_runs, api=lambda: FakeApi({"me/p": runs}))
    )
    curves = read_sources(Request(("wandb:me/p", str(tmp_path)), tmp_path)).curves
    table = curves.table[curves.table["quantity"] == "behaviour/value"]
    assert {(task, seed) for task, seed in zip(table["task"], table["seed"], strict=True)} == {
        ("rivers (logit_diff)", 0),
        ("rivers (prob_diff)", 0),
        ("rivers (logit_diff)", 1),
        ("rivers", 2),
    }
    assert set(table.loc[table["task"] == "rivers (prob_diff)", "value"]) == {7.0}
    assert sum("tasks here" in note for note in curves.notes) == 1
    assert not [note for note in curves.notes if "median" in note]


def test_two_files_of_the_same_name_are_two_tasks(tmp_path: Path) -> None:
    for model, content in (("small", "0123456789"), ("larger", "abcdef0123")):
        config = {"task": {"name": "rivers", "path": "rivers.csv", "sha256": content}}
        write_cell(tmp_path, rivers("prob_diff"), model=model, task="rivers", seed=0, config=config)
    sources = read_sources(Request((str(tmp_path),), tmp_path))
    assert [cell.task for cell in sources.cells] == [
        "rivers (file 01234567)",
        "rivers (file abcdef01)",
    ]
    assert any("2 tasks here: rivers (file 01234567)" in note for note in sources.curves.notes)
    one = read_sources(Request((str(tmp_path / "small"),), tmp_path))
    assert [cell.task for cell in one.cells] == ["rivers"]


def test_a_curve_is_read_as_its_own_cell_says(tmp_path: Path) -> None:
    """The larger model's cell has another threshold, and says that the loss rises."""
    other = replace(ROLE, threshold=0.6)
    rising = replace(LOSS, rise=0.9, falls=False)
    others = replace(
        OWN,
        roles={"sink": other},
        quantities={**OWN.quantities, LOSS.key: rising, other.quantity.key: other.quantity},
    )
    for model, facts in (("small", OWN), ("larger", others)):
        for seed in (0, 1):
            write_cell(tmp_path / "s", facts, model=model, task="capitals", seed=seed)
    results = open_results(tmp_path / "s", n_bootstrap=10)
    rows = {(row.model, row.quantity): row for row in results.emergence}
    roles = results.tables["roles"].frame().set_index("model")
    for model, threshold in (("small", 0.3), ("larger", 0.6)):
        assert rows[model, "roles/sink/max"].level == threshold
        assert set(roles.loc[model, "threshold"]) == {threshold}
        first_held = roles.loc[model, "held_from"].to_numpy()
        assert (roles.loc[model, "tokens"].to_numpy() <= first_held * 1.001).all()
    assert roles.loc["small", "tokens"].max() < roles.loc["larger", "tokens"].min()
    assert rows["small", "mine/loss"].level == pytest.approx(7, abs=0.3)
    assert rows["larger", "mine/loss"].level == 0.9
    said = [note for note in results.notes if "cells disagree" in note]
    assert len(said) == 2
    assert said[0].startswith(
        "role sink: cells disagree (threshold 0.3 in small capitals seed0, 0.6 in larger capitals "
        "seed0): each curve is read as its own cell says; words"
    )
    assert said[1].startswith("quantity mine/loss: cells disagree (rise half-rise in small")
    assert "falls True in small capitals seed0, False in larger" in said[1]


def test_thresholds_of_cells_that_say_no_facts(tmp_path: Path) -> None:
    """Cells of earlier versions have them in their configurations only."""
    cells = [
        write_cell(tmp_path / "s", OWN, model=model, task="capitals", seed=0, config=config)
        for model, config in (
            ("small", {}),
            ("larger", {"heads": {"thresholds": {"induction": 0.25}}}),
        )
    ]
    for cell in cells:
        del cell.header["facts"]
    curves = combine([curves_of(read_cells(cells)[0])])
    for model, threshold in (("small", 0.5), ("larger", 0.25)):
        facts = curves.facts_of((model, "-", "roles/induction/max", 0))
        assert facts.quantity("roles/induction/max").rise == threshold
    assert sum("role induction: cells disagree" in note for note in curves.notes) == 1
