"""The public functions on one checkpoint, checked against transformers' own model and one another,
and one line for what can't be.
"""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from matplotlib.collections import PathCollection
from transformers import AutoModelForCausalLM

import circuitwatch as cw
from circuitwatch.api import Circuit, Model
from circuitwatch.errors import UserError
from circuitwatch.tasks import PromptSet, own_task

SAID = '"So {} is such a good cook, isn\'t"'
SMALL: dict[str, Any] = {"n_prompts": 16, "seed": 1}


@pytest.fixture(scope="module")
def model(trained_suite: Path) -> Model:
    return cw.load_model(trained_suite / "step300", dtype="float64")


@pytest.fixture(scope="module")
def prompts(model: Model) -> PromptSet:
    return cw.prompts("gendered_pronoun", model, **SMALL)


@pytest.fixture(scope="module")
def circuit(model: Model, prompts: PromptSet) -> Circuit:
    return cw.find_circuit(model, prompts, ig_steps=3)


def test_importing_it_imports_no_torch_and_every_name_is_there() -> None:
    script = "import sys, circuitwatch as cw; dir(cw); assert 'torch' not in sys.modules"
    subprocess.run([sys.executable, "-c", script], check=True)
    assert all(getattr(cw, name) is not None for name in cw.__all__)
    assert set(cw.__all__) < set(dir(cw))
    with pytest.raises(AttributeError, match="no attribute 'opne'"):
        cw.opne  # noqa: B018


def test_the_same_checkpoint_in_transformer_lens(trained_suite: Path, prompts: PromptSet) -> None:
    """Its logits, and a head under the name that the docstring gives it."""
    folder = trained_suite / "step300"
    bridge = cw.load_bridge(folder, device="cpu")
    hf = AutoModelForCausalLM.from_pretrained(folder)
    with torch.no_grad():
        logits, cache = bridge.run_with_cache(prompts.clean)
        torch.testing.assert_close(logits, hf(prompts.clean).logits, atol=1e-4, rtol=1e-4)
    layers, heads = hf.config.num_hidden_layers, hf.config.num_attention_heads
    shape = (*prompts.clean.shape, heads, hf.config.hidden_size // heads)
    assert cache[f"blocks.{layers - 1}.attn.hook_z"].shape == shape
    with pytest.raises(UserError, match="config"):
        cw.load_bridge(trained_suite)


def test_the_metric_is_that_of_transformers_own_model(
    model: Model, prompts: PromptSet, trained_suite: Path
) -> None:
    """Logits of the answer less those of the wrong one, prompt by prompt, at its last token."""
    hf = AutoModelForCausalLM.from_pretrained(trained_suite / "step300", dtype=torch.float64)
    rows = torch.arange(len(prompts.lengths))
    values = []
    for tokens in (prompts.clean, prompts.corrupted):
        logits = hf(tokens).logits[rows, prompts.lengths - 1]
        right, wrong = (logits[rows, prompts.answer_ids[:, k]] for k in (0, 1))
        values.append((right - wrong).detach())
    found = cw.measure(model, prompts)
    assert found.value == pytest.approx(float(values[0].mean()), abs=1e-6)
    assert found.effect == pytest.approx(float((values[0] - values[1]).mean()), abs=1e-6)
    assert found.above_chance and found.low < found.value < found.high


def test_an_exact_edge_score_is_what_patching_that_edge_takes(
    model: Model, prompts: PromptSet
) -> None:
    """Path patching with MLPs frozen moves a head's change along the edge to the logits alone."""
    scores = cw.edge_scores(model, prompts, method="exact")
    assert len(scores) == model.graph.n_edges
    assert scores["score"].abs().is_monotonic_decreasing
    to_logits = scores[scores["receiver"] == "logits"].set_index("sender")["score"]
    heads = ["a0.h0", "a0.h1", "a1.h0", "a1.h1"]
    patched = cw.patch(model, prompts, senders=heads, receivers=["logits"], mlps="frozen")
    unit = cw.measure(model, prompts).effect
    assert list(patched["sender"]) == heads
    np.testing.assert_allclose(patched["effect"] * unit, to_logits[heads], rtol=1e-5, atol=1e-7)
    assert (patched["low"] < patched["effect"]).all() and (
        patched["effect"] < patched["high"]
    ).all()


def test_senders_patched_together_are_one_row(model: Model, prompts: PromptSet) -> None:
    """All that reaches the logits, corrupted together, is the corrupted prompt."""
    found = cw.patch(
        model, prompts, senders=[model.graph.senders, "m0"], receivers=["logits"], mlps="frozen"
    )
    assert found["effect"].iloc[0] == pytest.approx(-1) and found["sender"].iloc[1] == "m0"


def test_the_circuit_reaches_the_threshold_and_its_edges_hang_together(circuit: Circuit) -> None:
    assert circuit.found and circuit.recovery is not None and circuit.recovery >= 0.8
    assert len(circuit) == len(circuit.edges) == int(circuit.frame()["in_circuit"].sum())
    row = circuit.curve[circuit.curve["edges"] == len(circuit)].iloc[0]
    assert row["recovery"] == circuit.recovery and row["faithfulness"] == circuit.faithfulness
    score = circuit.frame().set_index(["sender", "receiver"])["score"].abs()
    strengths = [score[edge] for edge in circuit.edges]
    assert strengths == sorted(strengths, reverse=True)
    ends = {receiver.split("<")[0] for _, receiver in circuit.edges}
    assert {sender for sender, _ in circuit.edges} <= {"input", *ends} and "logits" in ends
    assert set(circuit.nodes) == {"input", *ends}
    kept = circuit.to_json(d_model=32)["edges"].values()
    assert sum(edge["in_graph"] for edge in kept) == len(circuit)


def test_as_many_edges_are_drawn_as_the_circuit_has(circuit: Circuit) -> None:
    (axis,) = circuit.draw().axes
    edges = [c for c in axis.collections if isinstance(c, PathCollection)]  # one an input
    assert sum(len(into.get_paths()) for into in edges) == len(circuit)


def test_an_untrained_model_has_no_circuit_and_says_why(trained_suite: Path) -> None:
    untrained = cw.load_model(trained_suite / "step0")
    found = cw.find_circuit(untrained, cw.prompts("gendered_pronoun", untrained, **SMALL))
    assert not found.found and found.reason.startswith("behaviour not above chance")
    assert found.edges == [] and len(found) == 0 and found.faithfulness is None


def test_a_log_probability_has_no_share_counted_from_0(model: Model, tmp_path: Path) -> None:
    rows = ["clean,corrupted,answer"]
    for a, b in (("Mary", "John"), ("Grace", "Peter"), ("Alice", "Paul"), ("Kate", "James")):
        rows += [f"{SAID.format(a)},{SAID.format(b)},she", f"{SAID.format(b)},{SAID.format(a)},he"]
    (tmp_path / "said.csv").write_text("\n".join(rows))
    task = own_task(tmp_path / "said.csv", metric="log_prob")
    mine = cw.prompts(task, model, n_prompts=8)
    with pytest.raises(UserError, match="criterion=recovery: the metric log_prob is below 0"):
        cw.find_circuit(model, mine)
    found = cw.find_circuit(model, mine, criterion="faithfulness", ig_steps=3)
    assert found.found and found.recovery is None and found.curve["recovery"].isna().all()
    assert found.faithfulness is not None and found.faithfulness >= 0.8


def test_a_task_of_ones_own_and_a_tokenizer_will_do(model: Model) -> None:
    from circuitwatch.tasks.ioi import TASK

    mine = cw.prompts(TASK, model.tokenizer, corruption="abc", **SMALL)
    assert mine.clean.shape[0] == 16
    swap = cw.prompts("ioi", model, **SMALL)
    assert torch.equal(mine.clean[0], swap.clean[0])  # later ones draw more names
    assert not torch.equal(mine.corrupted[0], swap.corrupted[0])


def patched(model: Model, prompts: PromptSet, **options: Any) -> Any:
    return cw.patch(model, prompts, senders="a1.h0", receivers="logits", **options)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda m, p: cw.patch(m, p, senders=["a9.h0"], receivers=["logits"]), "a9.h0: no sender"),
        (lambda m, p: cw.patch(m, p, senders=["m0"], receivers=["a1.h0"]), "a1.h0: no receiver"),
        (lambda m, p: cw.patch(m, p, senders=[], receivers=["logits"]), "at least one sender"),
        (lambda m, p: cw.find_circuit(m, p, threshold=80), "threshold=80: must be above 0"),
        (lambda m, p: cw.edge_scores(m, p, method="acdc"), "method=acdc: choose one of eap-ig"),  # type: ignore[arg-type]
        (lambda m, p: cw.edge_scores(m, p, ig_steps=0), "ig_steps=0: must be auto, or a whole"),
        (lambda m, p: cw.edge_scores(m, p, batch_size=0), "batch_size=0: must be at least 1"),
        (lambda m, p: cw.find_circuit(m, p, search="x"), "search=x: choose one of coarse_to_fine"),
        (lambda m, p: cw.find_circuit(m, p, criterion="x"), "criterion=x: choose one of recovery"),
        (
            lambda m, p: patched(m, p, direction="x"),
            "direction=x: choose one of noising",
        ),
        (lambda m, p: patched(m, p, mlps="x"), "mlps=x: choose one of recomputed, frozen"),
        (
            lambda m, p: cw.patch(m, p, senders="a1.h0", receivers="a0.h0<q>"),
            "no path leads from a1.h0 to a0.h0<q>",
        ),
        (
            lambda m, p: cw.prompts("ioi", m, nonsense=1),
            "task ioi: option=nonsense: choose",
        ),
        (lambda m, p: cw.prompts("ioi", "gpt2"), "'gpt2' is no model of load_model"),
        (lambda m, p: cw.load_model("x", dtype="float12"), "dtype=float12: choose one of float32"),
        (lambda m, p: cw.load_model("x", device="banana"), "device=banana: choose one of "),
        (lambda m, p: cw.prompts("ioi", m, n_prompts=1), "n_prompts=1: must be at least 2"),
        (lambda m, p: cw.prompts("oii", m), "task=oii: no such task; choose one of ioi"),
        (lambda m, p: cw.load_model("no/such/folder"), "no/such/folder"),
    ],
)
def test_what_cannot_be_is_one_line(
    model: Model, prompts: PromptSet, call: Callable[[Model, PromptSet], Any], message: str
) -> None:
    with pytest.raises(UserError) as raised:
        call(model, prompts)
    assert message in str(raised.value) and "\n" not in str(raised.value)
