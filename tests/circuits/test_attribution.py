"""EAP-IG against the naive implementation, its own defining properties, and exact effects."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from circuitwatch.circuits.attribution import edge_scores, graph_of, quadrature_points
from circuitwatch.circuits.prompts import Metric, run_metric
from support.models import Case, Pairs, logit_difference, probability


def naive_scores(case: Case, prompts: Pairs, metric: Metric, alphas: list[float]) -> np.ndarray:
    """Prompt by prompt, step by step, edge by edge, with autograd on every receiver's own input."""
    graph = graph_of(case.model)
    scores = np.zeros(graph.edges.shape)
    for i, length in enumerate(prompts.lengths.tolist()):
        clean, corrupted = (
            case.textbook.embed(tokens[i : i + 1, :length]) for tokens in (prompts.clean, prompts.corrupted)
        )
        clean_outputs, corrupted_outputs = case.textbook.run(clean)[1], case.textbook.run(corrupted)[1]
        for alpha in alphas:
            embedded = (corrupted + alpha * (clean - corrupted)).requires_grad_()
            logits, _, inputs = case.textbook.run(embedded)
            metric(logits[:, -1], torch.tensor([i])).sum().backward()
            for sender, receiver in case.textbook.edges():
                difference = corrupted_outputs[sender] - clean_outputs[sender]
                score = (difference * inputs[receiver].grad).sum().item() / len(alphas) / len(prompts.lengths)
                scores[graph.senders.index(sender), graph.receivers.index(receiver)] += score
    return scores


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
@pytest.mark.parametrize(("steps", "quadrature"), [(5, "right"), (5, "left"), (3, "midpoint"), (1, "right")])
def test_scores_equal_the_naive_implementation(case: Case, metric: Metric, steps: int, quadrature: str) -> None:
    """Relative to the largest score, 1e-4: float32 sums taken in another order differ by some 1e-6."""
    expected = naive_scores(case, case.prompts, metric, quadrature_points(steps, quadrature))
    scores = edge_scores(case.model, case.prompts, metric, steps=steps, quadrature=quadrature)
    assert np.abs(scores - expected).max() <= 1e-4 * np.abs(expected).max()


def test_scores_do_not_depend_on_the_batch_size(case: Case) -> None:
    one, all_at_once = (edge_scores(case.model, case.prompts, logit_difference, batch_size=size) for size in (1, 64))
    assert np.abs(one - all_at_once).max() <= 1e-5 * np.abs(one).max()


def test_scores_of_what_input_feeds_sum_to_the_metrics_change(case: Case) -> None:
    """Completeness: along the path of embeddings, the gradients at all receivers that `input` feeds integrate to F(corrupted) − F(clean).

    The metric depends on the embedding only through those receivers. 200 midpoint steps leave an error of about 1e-5 of the change for
    these models; 1e-3 would be missed by any wrong term.
    """
    scores = edge_scores(case.model, case.prompts, logit_difference, steps=200, quadrature="midpoint")
    clean, corrupted = run_metric(case.model, case.prompts, logit_difference)
    change = (corrupted - clean).mean().item()
    assert abs(scores[0].sum() - change) <= 1e-3 * abs(change)


def test_midpoint_is_closer_to_the_limit_than_right(case: Case) -> None:
    def scores(steps: int, quadrature: str) -> np.ndarray:
        return edge_scores(case.model, case.prompts, logit_difference, steps=steps, quadrature=quadrature)

    limit = scores(100, "midpoint")
    midpoint, right = (np.abs(scores(5, quadrature) - limit).sum() for quadrature in ("midpoint", "right"))
    assert midpoint <= right


def test_quadrature_points() -> None:
    assert quadrature_points(4, "right") == [0.25, 0.5, 0.75, 1.0]
    assert quadrature_points(4, "left") == [0.0, 0.25, 0.5, 0.75]
    assert quadrature_points(2, "midpoint") == [0.25, 0.75]
