"""EAP-IG against the naive implementation, its own defining properties, and exact effects."""

from __future__ import annotations

from functools import partial
from pathlib import Path

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from tokenizers import Tokenizer
from tokenizers.models import WordLevel
from transformer_lens.model_bridge import TransformerBridge
from transformer_lens.tools.analysis.attribution_patching import (
    EdgeAttributionConfig,
    attribution_patch,
)
from transformers import PreTrainedTokenizerFast
from transformers.models.llama.modeling_llama import LlamaRMSNorm

from circuitwatch.checkpoints.loading import load_model
from circuitwatch.circuits.attribution import edge_scores, graph_of
from circuitwatch.circuits.evaluation import CircuitEvaluator
from circuitwatch.circuits.prompts import Metric, Prepared, run_metric
from circuitwatch.circuits.quadrature import quadrature_points
from circuitwatch.circuits.search import circuit_of_size, greedy_order
from support.models import Case, Pairs, logit_difference, probability, random_model, unequal_prompts
from support.naive_circuits import naive_scores
from support.published import Published, circuit_by_heap
from support.textbook import Textbook

UNEQUAL = unequal_prompts()


def test_the_textbook_is_the_hugging_face_model(case: Case) -> None:
    tokens = case.prompts.clean
    logits = case.textbook.run(case.textbook.embed(tokens))[0]
    torch.testing.assert_close(logits, case.hf(tokens).logits, rtol=1e-4, atol=1e-5)


def test_the_graph_has_the_textbooks_edges(case: Case) -> None:
    graph = graph_of(case.model)
    named = {(graph.senders[s], graph.receivers[r]) for s, r in np.argwhere(graph.edges)}
    assert named == set(case.textbook.edges())
    assert graph.n_edges == len(named)


@pytest.mark.parametrize("metric", [logit_difference, probability])
@pytest.mark.parametrize(
    ("steps", "quadrature"), [(5, "right"), (5, "left"), (3, "midpoint"), (1, "right")]
)
def test_scores_equal_the_naive_implementation(
    case: Case, metric: Metric, steps: int, quadrature: str
) -> None:
    """Relative to the largest score, 1e-4: float32 sums taken in another order differ by some
    1e-6.
    """
    expected = naive_scores(case, case.prompts, metric, quadrature_points(steps, quadrature))
    scores = edge_scores(case.prepared(), metric, steps=steps, quadrature=quadrature)
    assert np.abs(scores - expected).max() <= 1e-4 * np.abs(expected).max()


def test_scores_do_not_depend_on_the_batch_size(case: Case) -> None:
    one, all_at_once = (edge_scores(case.prepared(size), logit_difference) for size in (1, 64))
    assert np.abs(one - all_at_once).max() <= 1e-5 * np.abs(one).max()


def test_scores_of_what_input_feeds_sum_to_the_metrics_change(case: Case) -> None:
    """Completeness: along the path of embeddings, the gradients at all receivers that `input` feeds
    integrate to F(corrupted) − F(clean).

    The metric depends on the embedding only through those receivers. 200 midpoint steps leave an
    error of about 1e-5 of the change for these models; 1e-3 would be missed by any wrong term.
    """
    scores = edge_scores(case.prepared(), logit_difference, steps=200, quadrature="midpoint")
    clean, corrupted = run_metric(case.prepared(), logit_difference)
    change = (corrupted - clean).mean().item()
    assert abs(scores[0].sum() - change) <= 1e-3 * abs(change)


def test_midpoint_is_closer_to_the_limit_than_right(case: Case) -> None:
    def scores(steps: int, quadrature: str) -> np.ndarray:
        return edge_scores(case.prepared(), logit_difference, steps=steps, quadrature=quadrature)

    limit = scores(100, "midpoint")
    midpoint, right = (
        np.abs(scores(5, quadrature) - limit).sum() for quadrature in ("midpoint", "right")
    )
    assert midpoint <= right


def test_scores_equal_finite_differences(tmp_path: Path) -> None:
    """A score of one right step is the derivative of the metric when the edge moves towards its
    corrupted value; float64, edge by edge, without autograd.
    """
    for architecture in ("parallel", "sequential", "llama"):
        hf = random_model(architecture).double()
        for module in hf.modules():
            if isinstance(module, LlamaRMSNorm):  # it goes through float32 whatever the model is in
                module.forward = partial(
                    F.rms_norm,
                    normalized_shape=(24,),
                    weight=module.weight,
                    eps=module.variance_epsilon,
                )
        hf.save_pretrained(tmp_path / architecture)
        model, textbook = load_model(tmp_path / architecture, dtype=torch.float64), Textbook(hf)
        prompts = Pairs(
            *(part[:1, :5] for part in (UNEQUAL.clean, UNEQUAL.corrupted)), torch.tensor([5])
        )
        graph, scores = (
            graph_of(model),
            edge_scores(Prepared(model, prompts), logit_difference, steps=1, quadrature="right"),
        )
        clean, corrupted = (textbook.embed(tokens) for tokens in (prompts.clean, prompts.corrupted))
        at_clean, at_corrupted = textbook.run(clean)[1], textbook.run(corrupted)[1]
        every = set(textbook.edges())
        for sender, receiver in textbook.edges()[::5]:
            values = []
            for epsilon in (1e-5, -1e-5):
                moved = {
                    name: at_clean[name] + epsilon * (at_corrupted[name] - at_clean[name])
                    for name in at_clean
                }
                logits = textbook.run(clean, moved, every - {(sender, receiver)})[0]
                values.append(logit_difference(logits[:, -1], torch.tensor([0])).item())
            expected = (values[0] - values[1]) / 2e-5
            score = scores[graph.senders.index(sender), graph.receivers.index(receiver)]
            assert score == pytest.approx(expected, abs=1e-6 * float(np.abs(scores).max()))


def test_one_step_equals_transformer_lens(tmp_path: Path) -> None:
    """TransformerLens takes the gradient at its second prompt and moves towards its first, so the
    two change places. GPT-2: it refuses shared keys.
    """
    hf = random_model("sequential")
    hf.save_pretrained(tmp_path)
    tokenizer = PreTrainedTokenizerFast(
        tokenizer_object=Tokenizer(WordLevel({"": 0}, unk_token=""))
    )
    bridge = TransformerBridge.boot_transformers(
        str(tmp_path), hf_model=hf.requires_grad_(True), tokenizer=tokenizer, device="cpu"
    )
    bridge.eval()
    bridge.cfg.use_attn_result = bridge.cfg.use_split_qkv_input = bridge.cfg.use_hook_mlp_in = True
    for name in ("set_use_attn_result", "set_use_split_qkv_input", "set_use_hook_mlp_in"):
        getattr(bridge, name, lambda _: None)(True)
    model = load_model(tmp_path)
    prompts = Pairs(UNEQUAL.clean[:1, :5], UNEQUAL.corrupted[:1, :5], torch.tensor([5]))
    result = attribution_patch(
        bridge,
        prompts.corrupted,
        prompts.clean,
        lambda logits: logit_difference(logits[:, -1], torch.tensor([0])).sum(),
        EdgeAttributionConfig(granularity="edge"),
    )
    graph, expected = (
        graph_of(model),
        np.zeros((len(graph_of(model).senders), len(graph_of(model).receivers))),
    )
    for (writer, reader), score in result.edge_scores.items():
        sender = {"embed": "input", "mlp_out": f"m{writer.layer}"}.get(
            writer.kind, f"a{writer.layer}.h{writer.head}"
        )
        receiver = {"logits": "logits", "mlp_in": f"m{reader.layer}"}.get(
            reader.kind, f"a{reader.layer}.h{reader.head}<{reader.kind[0]}>"
        )
        expected[graph.senders.index(sender), graph.receivers.index(receiver)] += score
    scores = edge_scores(Prepared(model, prompts), logit_difference, steps=1, quadrature="right")
    assert np.abs(scores - expected).max() <= 1e-4 * np.abs(expected).max()


def test_scores_equal_a_published_implementation(tmp_path: Path) -> None:
    """The opponent of the benchmarks computes the same numbers, so that its time is the time of the
    same work.
    """
    hf = random_model("parallel")
    hf.save_pretrained(tmp_path)
    model, published = load_model(tmp_path), Published(hf, batch_size=3)
    ends, alphas = UNEQUAL.lengths - 1, quadrature_points(3, "right")
    scores = edge_scores(Prepared(model, UNEQUAL), logit_difference, steps=3, quadrature="right")
    theirs = published.edge_scores(UNEQUAL.clean, UNEQUAL.corrupted, ends, logit_difference, alphas)
    assert np.abs(scores - theirs.numpy()).max() <= 1e-4 * np.abs(scores).max()
    graph = graph_of(model)
    order = greedy_order(graph, scores)
    evaluate = CircuitEvaluator(Prepared(model, UNEQUAL), logit_difference)
    for n in (5, 20, 60):
        mask = circuit_of_size(graph, order, n)
        by_heap = circuit_by_heap(
            theirs, graph.visible, graph.node_of_receiver, len(graph.nodes), n
        )
        assert (by_heap.numpy() == mask).all()
        expected = published.evaluate(
            by_heap, UNEQUAL.clean, UNEQUAL.corrupted, ends, logit_difference
        )
        assert evaluate(mask) == pytest.approx(expected, abs=1e-4)
