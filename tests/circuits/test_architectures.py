"""Every architecture and its options: runs equal transformers' own forward pass; scores, circuits
and path patching a naive implementation on its modules.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import is_dataclass, replace
from functools import cache
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import pytest
import torch

from circuitwatch.checkpoints.architectures import ARCHITECTURES
from circuitwatch.checkpoints.loading import as_transformer, load_model
from circuitwatch.circuits.attribution import edge_scores, graph_of
from circuitwatch.circuits.evaluation import CircuitEvaluator
from circuitwatch.circuits.patching import PathPatcher
from circuitwatch.circuits.prompts import Prepared, run_metric
from circuitwatch.circuits.quadrature import quadrature_points
from support.architectures import VARIANTS, random_variant
from support.models import Case, Pairs, logit_difference, make_variant, probability
from support.naive_circuits import naive_scores, naive_value, naive_values
from support.plain import Plain

COUPLED = ["olmo2", "olmo2-grouped", "olmo3", "gemma2", "gemma3"]
"""Those in which the heads of a layer share the scale of a norm."""
PATCHED = (
    *COUPLED,
    *("qwen3-windows", "bloom", "falcon", "falcon-alibi", "gptj", "gpt_neo", "smollm3"),
    *("phi-norms", "olmo-clipped", "stablelm-parallel"),
)
"""Those of which paths are patched: every field of the parts is in one."""
KINKED = {"opt", "opt-bare", "olmo-clipped"}
"""Those whose gradients jump, so that the quadrature of them needs more nodes."""
every_variant = pytest.mark.parametrize("variant", VARIANTS)
coupled_variant = pytest.mark.parametrize("variant", COUPLED)
Circuit = set[tuple[str, str]]


@cache
def built(variant: str, n_layers: int = 2) -> Case:
    """A variant's case, made once."""
    with TemporaryDirectory() as folder:
        return make_variant(variant, Path(folder), n_layers)


def mask_of(case: Case, circuit: Circuit) -> np.ndarray:
    """Edges by name as circuitwatch takes them."""
    graph = graph_of(case.model)
    mask = np.zeros_like(graph.edges)
    for sender, receiver in circuit:
        mask[graph.senders.index(sender), graph.receivers.index(receiver)] = True
    return mask


def test_every_architecture_has_a_variant() -> None:
    assert {model_type for model_type, _ in VARIANTS.values()} == set(ARCHITECTURES)


def test_the_coupled_ones_are_these() -> None:
    for variant in VARIANTS:
        assert built(variant).model.blocks[1].couples == (variant in COUPLED)


@every_variant
def test_runs_equal_transformers(variant: str) -> None:
    """Whole rows, longer than any window; then unequal prompts behind their common beginnings, in
    batches that pad, with the last layer at the ends only.
    """
    case = built(variant)
    tokens = torch.randint(0, 50, (3, 30), generator=torch.Generator().manual_seed(3))
    logits = case.model.unembed(case.model.run(case.model.embed(tokens)).final)
    torch.testing.assert_close(logits, case.hf(tokens).logits, rtol=1e-4, atol=2e-5)
    rows, ends = torch.arange(8), case.prompts.lengths - 1
    both = (case.prompts.clean, case.prompts.corrupted)
    for batch_size in (1, 3, 8):
        for values, given in zip(case.prepared(batch_size).end_logits(), both, strict=True):
            expected = torch.stack(
                [
                    case.hf(given[i : i + 1, : end + 1]).logits[0, -1]
                    for i, end in zip(rows.tolist(), ends.tolist(), strict=True)
                ]
            )
            torch.testing.assert_close(values, expected, rtol=1e-4, atol=2e-5)


@every_variant
def test_the_plain_implementation_is_transformers_and_has_the_graphs_edges(variant: str) -> None:
    case = built(variant)
    tokens, plain, graph = case.prompts.clean[4:5], case.textbook, graph_of(case.model)
    torch.testing.assert_close(
        plain.run(plain.embed(tokens))[0], case.hf(tokens).logits, rtol=1e-4, atol=2e-5
    )
    assert graph.parallel == plain.parallel
    assert mask_of(case, set(plain.edges())).tolist() == graph.edges.tolist()


@pytest.mark.parametrize("variant", [v for v in VARIANTS if not v.startswith("falcon")])
def test_attention_equals_transformers(variant: str) -> None:
    """Falcon's weights are not those it attends with: for them it adds a mask of truth values."""
    case, tokens = built(variant), torch.arange(18).view(2, 9)
    hf = random_variant(variant)
    hf.set_attn_implementation("eager")
    patterns = case.model.attention_patterns(tokens)
    for ours, theirs in zip(patterns, hf(tokens, output_attentions=True).attentions, strict=True):
        torch.testing.assert_close(ours, theirs, rtol=1e-4, atol=1e-5)


@every_variant
def test_scores_equal_the_naive_implementation(variant: str) -> None:
    """Relative to the largest score, 1e-4: float32 sums taken in another order."""
    case = built(variant)
    expected = naive_scores(case, case.prompts, probability, quadrature_points(2, "midpoint"))
    scores = edge_scores(case.prepared(3), probability, steps=2, quadrature="midpoint")
    assert np.abs(scores - expected).max() <= 1e-4 * np.abs(expected).max()


@every_variant
def test_scores_of_what_input_feeds_sum_to_the_metrics_change(variant: str) -> None:
    """Completeness, which the effect through a shared scale belongs to."""
    prepared = built(variant).prepared()
    steps, tolerance = (400, 5e-3) if variant in KINKED else (100, 1e-3)
    scores = edge_scores(prepared, logit_difference, steps=steps, quadrature="midpoint")
    clean, corrupted = run_metric(prepared, logit_difference)
    change, size = (corrupted - clean).mean().item(), (corrupted - clean).abs().mean().item()
    assert abs(scores[0].sum() - change) <= tolerance * size


@every_variant
def test_random_circuits_equal_the_naive_recomputation(variant: str) -> None:
    """Any sets of edges, pruned or not, one behind the other, so that what is kept from one to the
    next counts too.
    """
    case = built(variant)
    evaluate, generator = (
        CircuitEvaluator(case.prepared(3), logit_difference),
        np.random.default_rng(len(variant)),
    )
    edges = case.textbook.edges()
    circuit = {edge for edge in edges if generator.random() < 0.5}
    for density in (0.5, 0.1, 0.9):
        assert evaluate(mask_of(case, circuit)) == pytest.approx(
            naive_value(case, circuit), abs=1e-4
        )
        circuit ^= {edges[i] for i in generator.choice(len(edges), 3)}
        assert evaluate(mask_of(case, circuit)) == pytest.approx(
            naive_value(case, circuit), abs=1e-4
        )
        circuit = {edge for edge in edges if generator.random() < density}


@every_variant
def test_full_circuit_is_the_clean_model_and_the_empty_one_the_corrupted(variant: str) -> None:
    case = built(variant)
    clean, corrupted = run_metric(case.prepared(), logit_difference)
    evaluate, edges = (
        CircuitEvaluator(case.prepared(3), logit_difference),
        graph_of(case.model).edges,
    )
    assert evaluate(edges) == pytest.approx(clean.mean().item(), abs=2e-5)
    assert evaluate(np.zeros_like(edges)) == pytest.approx(corrupted.mean().item(), abs=2e-5)


@coupled_variant
def test_circuits_with_half_a_layers_heads(variant: str) -> None:
    """The others carry their corrupted values into the scale: it is neither the clean run's, nor
    the corrupted one's, nor that of a layer of half as many heads.
    """
    case = built(variant)
    for left_out in ({"a0.h0", "a0.h2"}, {"a1.h1", "a1.h3"}, {"a0.h1", "a1.h0"}):
        circuit = {
            (sender, receiver)
            for sender, receiver in case.textbook.edges()
            if sender not in left_out and receiver.split("<")[0] not in left_out
        }
        value = CircuitEvaluator(case.prepared(3), logit_difference)(mask_of(case, circuit))
        assert value == pytest.approx(naive_value(case, circuit), abs=1e-4)


def tensors_of(part: Any) -> Iterator[torch.Tensor]:
    """All tensors in a model or a part of it."""
    if isinstance(part, torch.Tensor):
        yield part
    elif is_dataclass(part):
        yield from tensors_of(list(vars(part).values()))
    elif isinstance(part, list | tuple):
        for inner in part:
            yield from tensors_of(inner)


@every_variant
def test_no_tensor_is_that_of_the_model_it_was_read_from(variant: str) -> None:
    """Which may be a window into a file that the run writes anew."""
    hf = random_variant(variant)
    mine = {t.untyped_storage().data_ptr() for t in tensors_of(as_transformer(hf, "it"))}
    theirs = {p.untyped_storage().data_ptr() for p in (*hf.parameters(), *hf.buffers())}
    assert len(mine) > 10 and not mine & theirs


@every_variant
def test_what_nodes_write_equals_the_naive_implementation(variant: str) -> None:
    """z times `writes`, which everything that looks at single heads builds on."""
    case = built(variant)
    tokens = case.prompts.clean[4:5]
    written = case.textbook.run(case.textbook.embed(tokens))[1]
    run = case.model.run(case.model.embed(tokens))
    for layer, block in enumerate(case.model.blocks):
        outputs = torch.einsum("bphe,hem->hbpm", run.z[layer], block.writes)
        for head in range(case.model.n_heads):
            expected = written[f"a{layer}.h{head}"]
            torch.testing.assert_close(outputs[head], expected, rtol=1e-4, atol=1e-5)
        torch.testing.assert_close(run.mlp_out[layer], written[f"m{layer}"], rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("variant", [*COUPLED, "qwen3", "bloom", "phi-norms", "olmo-clipped"])
def test_scores_equal_finite_differences(variant: str, tmp_path: Path) -> None:
    """A score of one right step is the derivative of the metric when the edge moves towards its
    corrupted value; float64, edge by edge, without autograd.
    """
    hf = random_variant(variant).double()
    hf.save_pretrained(tmp_path)
    case = built(variant)
    model, plain = load_model(tmp_path, dtype=torch.float64), Plain(hf)
    both = (case.prompts.clean, case.prompts.corrupted)
    prompts = Pairs(*(part[:1, :5] for part in both), torch.tensor([5]))
    graph = graph_of(model)
    scores = edge_scores(Prepared(model, prompts), logit_difference, steps=1, quadrature="right")
    clean, corrupted = (plain.embed(tokens) for tokens in (prompts.clean, prompts.corrupted))
    at_clean, at_corrupted = plain.run(clean)[1], plain.run(corrupted)[1]
    every = set(plain.edges())
    for sender, receiver in plain.edges()[::9]:
        values = []
        for epsilon in (1e-5, -1e-5):
            moved = {
                name: at_clean[name] + epsilon * (at_corrupted[name] - at_clean[name])
                for name in at_clean
            }
            logits = plain.run(clean, moved, every - {(sender, receiver)})[0]
            values.append(logit_difference(logits[:, -1], torch.tensor([0])).item())
        expected = (values[0] - values[1]) / 2e-5
        score = scores[graph.senders.index(sender), graph.receivers.index(receiver)]
        assert score == pytest.approx(expected, abs=2e-6 * float(np.abs(scores).max()))


@pytest.mark.parametrize("variant", PATCHED)
def test_path_patching_equals_the_naive_implementation(variant: str) -> None:
    """Four layers, so that there is something on the way and behind; sets of senders into receivers
    of every kind, both ways, MLPs both ways, and at some positions or all.
    """
    case = built(variant, 4)
    few = (case.prompts.clean[:4], case.prompts.corrupted[:4], case.prompts.lengths[:4])
    case = replace(case, prompts=Pairs(*few))
    generator = np.random.default_rng(len(variant))
    graph = graph_of(case.model)
    for trial, direction in enumerate(("noising", "denoising") * 3):
        n = 1 + trial % 3
        sets = [
            [str(x) for x in generator.choice(graph.senders, n, replace=False)] for _ in range(2)
        ]
        receivers = [str(x) for x in generator.choice(graph.receivers[:-1], n + 1, replace=False)]
        if trial == 5:
            receivers = ["logits"]
        ends = torch.stack([case.prompts.lengths - 1, case.prompts.lengths - 2], 1)
        positions = ends if trial in (1, 2) else None
        mlps = "frozen" if trial in (2, 3) else "recomputed"
        patched = PathPatcher(case.prepared(3), logit_difference).patch(
            sets,
            receivers,
            positions=positions,
            direction=direction,
            mlps=mlps,  # type: ignore[arg-type]
        )
        for senders, values in zip(sets, patched.values, strict=True):
            expected = naive_values(case, senders, receivers, positions, direction, mlps)
            assert values.tolist() == pytest.approx(expected, abs=1e-4), (senders, receivers)


@coupled_variant
def test_patched_attention_of_every_head_sums_to_one(variant: str) -> None:
    """Of receiving queries, and of those of the run as it was."""
    case = built(variant, 4)
    receivers = [f"a{layer}.h{head}<q>" for layer in range(4) for head in range(4)]
    places = torch.arange(9).clamp(max=case.prompts.lengths[:, None] - 1)
    patched = PathPatcher(case.prepared(3), logit_difference).patch(
        [["a0.h0", "m0"]], receivers, look_at=places
    )
    real = torch.arange(9) < case.prompts.lengths[:, None]
    for attention in (patched.attention[0], patched.unpatched_attention):
        torch.testing.assert_close((attention * real).sum(-1), torch.ones(16, 8))
