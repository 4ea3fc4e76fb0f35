"""experiment=paper: one multirun over all tasks has the paper's settings, and role curves are over
the circuit.
"""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from circuitwatch import catalogue
from circuitwatch.catalogue import Role
from circuitwatch.checkpoints.tokenizers import load_tokenizer
from circuitwatch.circuits.graph import Graph
from circuitwatch.cli import main
from circuitwatch.records import Cell, find_cells
from circuitwatch.scalars import curve_rows, role_scalars
from circuitwatch.summary.cells import NO_TASK, CellData, role_curves, tells
from circuitwatch.summary.importers.cells import curves_of, read_cells
from circuitwatch.tasks import build_prompts

N_PROMPTS = {"agreement": 200, "gendered_pronoun": 100}


@pytest.fixture(scope="module")
def cells(trained_suite: Path, tmp_path_factory: pytest.TempPathFactory) -> list[Cell]:
    out = tmp_path_factory.mktemp("paper")
    main(
        [
            "-m",
            "experiment=paper",
            "model=folder",
            "model.name=tiny",
            f"model.path={trained_suite}",
            f"task={','.join(N_PROMPTS)}",
            "schedule=steps",
            "schedule.steps=[0,300]",
            "circuit.resamples=0",
            "tracking=off",
            "device=cpu",
            f"out={out}",
            "sweep=mine",
        ]
    )
    return find_cells(out / "mine")


def test_each_task_has_its_number_of_prompts_and_no_bos(
    cells: list[Cell], trained_suite: Path
) -> None:
    assert {cell.header["task"]: len(cell.read(300).prompts) for cell in cells} == N_PROMPTS
    tokenizer = load_tokenizer(trained_suite / "step300")
    for cell in cells:
        task = cell.header["config"]["task"]
        prompts = build_prompts(
            cell.header["task"],
            tokenizer,
            n_prompts=task["n_prompts"],
            seed=0,
            prepend_bos=task["prepend_bos"],
        )
        assert tokenizer.bos_token_id not in prompts.clean[:, 0]


def test_the_score_is_the_published_formula(cells: list[Cell]) -> None:
    for cell in cells:
        scalars = cell.read(300).scalars
        assert scalars["circuit/status"] == "found" and scalars["circuit/recovery"] >= 0.8
        assert scalars["circuit/score_steps"] == 30 and "circuit/score_error" not in scalars
        assert cell.header["config"]["circuit"]["quadrature"] == "right"


def test_role_curves_are_over_the_circuit(cells: list[Cell]) -> None:
    """Without a circuit there is none; with one, the strongest of its heads, which need not be the
    strongest of all.
    """
    for cell in cells:
        before, after = cell.read(0), cell.read(300)
        assert before.mask is None and "roles/induction/max" not in before.scalars
        inside = after.roles[
            (after.roles["role"] == "induction") & after.roles["in_circuit"].astype(bool)
        ]
        found = after.scalars.get("roles/induction/max")
        assert found == (inside["score"].max() if len(inside) else None)


def test_name_movers_need_an_edge_to_the_logits() -> None:
    graph = Graph(n_layers=2, n_heads=2, parallel=True)
    mask = np.zeros(graph.edges.shape, dtype=bool)
    place = {name: i for i, name in enumerate(graph.senders)}
    # a0.h0 writes to the logits, a0.h1 only to a1.h1's query, and a1.h1 to the logits; a1.h0 is not
    # in the circuit.
    mask[[place["a0.h0"], place["a1.h1"]], -1] = True
    mask[place["a0.h1"], graph.receivers.index("a1.h1<q>")] = True
    mask[0, [graph.receivers.index(f"{head}<v>") for head in ("a0.h0", "a0.h1")]] = True
    roles = pd.DataFrame(
        [
            (role, layer, head)
            for role in ("induction", "name_mover")
            for layer in (0, 1)
            for head in (0, 1)
        ],
        columns=["role", "layer", "head"],
    )
    kept = curve_rows(graph, roles, mask, "circuit")
    assert list(map(tuple, kept.to_numpy())) == [
        ("induction", 0, 0),
        ("induction", 0, 1),
        ("induction", 1, 1),
        ("name_mover", 0, 0),
        ("name_mover", 1, 1),
    ]
    assert (
        len(curve_rows(graph, roles, None, "all")) == 8
        and curve_rows(graph, roles, None, "circuit").empty
    )


def test_any_role_that_writes_the_answer_needs_an_edge_to_the_logits(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    graph = Graph(n_layers=1, n_heads=2, parallel=False)
    mask = np.zeros(graph.edges.shape, dtype=bool)
    for sender, receiver in (("a0.h0", "logits"), ("a0.h1", "m0")):
        mask[graph.senders.index(sender), graph.receivers.index(receiver)] = True
    roles = pd.DataFrame({"role": "mine", "layer": 0, "head": [0, 1]})
    monkeypatch.setitem(catalogue.ADDED, Role, {})
    for writes_answer, kept in ((True, [0]), (False, [0, 1])):
        catalogue.add(Role("mine", "mine", "", 0.5, "", writes_answer=writes_answer))
        assert curve_rows(graph, roles, mask, "circuit")["head"].tolist() == kept


def test_curves_over_a_circuit_say_nothing_false_of_the_model() -> None:
    """A circuit of a first-layer head alone: copy suppression has no curve there, and the model no
    fewer layers.
    """
    roles = pd.DataFrame(
        {
            "role": ["copy_suppression", "induction"],
            "layer": [0, 0],
            "head": [0, 0],
            "score": [0.3, 0.2],
        }
    )
    scalars = role_scalars(roles, {}, n_layers=12)
    assert scalars["roles/induction/head"] == "a0.h0"
    assert not any(name.startswith("roles/copy_suppression") for name in scalars)
    assert (
        "this model has 2" in role_scalars(roles, {}, n_layers=2)["roles/copy_suppression/left_out"]
    )


def test_a_roles_curve_is_over_the_circuits_of_one_task(cells: list[Cell]) -> None:
    """Circuits of two tasks give two curves; the summary shows one of them and no patchwork, in
    both of its readers.
    """
    telling = next(
        cell
        for cell in cells
        if cell.header["task"] == "agreement"  # neither can confirm the role: the first tells
    )
    expected = {
        float(record.tokens): record.scalars["roles/induction/max"]
        for record in telling.records()
        if "roles/induction/max" in record.scalars
    }
    assert expected, "no head in that circuit: nothing would be tested"
    read, _ = read_cells(cells)
    curve = curves_of(read).curve("tiny", NO_TASK, "roles/induction/max")
    assert curve.to_dict() == expected
    table = role_curves(read)["tiny", 0]
    if "roles/induction/max" in table:
        shown = table.dropna(subset=["roles/induction/max"]).set_index("tokens")[
            "roles/induction/max"
        ]
        assert {float(tokens): value for tokens, value in shown.items()} == expected
    else:
        assert not expected


def test_one_task_tells_a_roles_curve(tmp_path: Path) -> None:
    """The first in which the role can be confirmed, else the first of all."""

    def telling(role: str, curves: str = "circuit") -> list[str]:
        every = {("m", 0): ["agreement", "greater_than", "ioi"]}
        told = []
        for task in every["m", 0]:
            header = {"model": {"name": "m"}, "task": task, "seed": 0}
            header["config"] = {"heads": {"curves": curves}}
            cell = CellData(tmp_path, header, True, pd.DataFrame(), pd.DataFrame())
            told += [task] if tells(cell, f"roles/{role}/max", every) else []
        return told

    assert telling("name_mover") == telling("induction") == ["ioi"]
    assert telling("successor") == ["greater_than"]
    assert telling("previous_token") == ["agreement"]
    assert telling("name_mover", "all") == ["agreement", "greater_than", "ioi"]


def test_transfer_takes_cells_with_different_numbers_of_prompts(
    cells: list[Cell], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "out"
    shutil.copytree(cells[0].folder.parents[3], out)
    main(["transfer", "sweep=mine", f"out={out}"])
    assert list(out.glob("mine/tiny/transfer/seed0/step*.parquet"))


def test_another_task_must_say_its_number(
    capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    with pytest.raises(SystemExit) as stopped:
        main(["experiment=paper", "task.name=mine", f"out={tmp_path}"])
    assert stopped.value.code == 2
    assert "task.n_prompts=64" in capsys.readouterr().err
