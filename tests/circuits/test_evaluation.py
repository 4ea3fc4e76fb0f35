"""Circuit evaluation and exact edge scores against the naive full recomputation."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from circuitwatch.circuits.attribution import graph_of
from circuitwatch.circuits.evaluation import CircuitEvaluator, exact_edge_scores
from circuitwatch.circuits.prompts import first_difference, run_metric
from support.models import Case, logit_difference
from support.naive_circuits import naive_value


@settings(
    max_examples=15,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
    derandomize=True,
)
@given(density=st.floats(0.05, 0.95), seed=st.integers(0, 2**20))
def test_random_circuits_equal_the_naive_recomputation(
    case: Case, density: float, seed: int
) -> None:
    """Any set of edges, pruned or not.

    1e-4 absolute on logit differences of order 1: float32 sums in another order.
    """
    graph = graph_of(case.model)
    mask = graph.edges & (np.random.default_rng(seed).random(graph.edges.shape) < density)
    named = {(graph.senders[s], graph.receivers[r]) for s, r in np.argwhere(mask)}
    value = CircuitEvaluator(case.prepared(), logit_difference)(mask)
    assert value == pytest.approx(naive_value(case, named), abs=1e-4)


@pytest.mark.parametrize("batch_size", [1, 3, 64])
def test_full_circuit_is_the_clean_model_and_the_empty_one_the_corrupted(
    case: Case, batch_size: int
) -> None:
    clean, corrupted = run_metric(case.prepared(), logit_difference)
    evaluate = CircuitEvaluator(case.prepared(batch_size), logit_difference)
    edges = graph_of(case.model).edges
    assert evaluate(edges) == pytest.approx(clean.mean().item(), abs=1e-5)
    assert evaluate(np.zeros_like(edges)) == pytest.approx(corrupted.mean().item(), abs=1e-5)


def test_run_metric_equals_hugging_face(case: Case) -> None:
    rows, ends = torch.arange(len(case.prompts.lengths)), case.prompts.lengths - 1
    for values, tokens in zip(
        run_metric(case.prepared(), logit_difference),
        (case.prompts.clean, case.prompts.corrupted),
        strict=True,
    ):
        torch.testing.assert_close(
            values, logit_difference(case.hf(tokens).logits[rows, ends], rows), rtol=1e-4, atol=1e-5
        )


def test_exact_scores_equal_patching_each_edge_by_hand(case: Case) -> None:
    graph = graph_of(case.model)
    every = set(case.textbook.edges())
    whole = naive_value(case, every)
    scores = exact_edge_scores(case.prepared(), logit_difference)
    for sender, receiver in case.textbook.edges()[::7]:
        expected = naive_value(case, every - {(sender, receiver)}) - whole
        assert scores[
            graph.senders.index(sender), graph.receivers.index(receiver)
        ] == pytest.approx(expected, abs=1e-4)


def test_first_difference(case: Case) -> None:
    assert first_difference(case.prompts).tolist() == [
        min(row % 5, length - 2) for row, length in enumerate(case.prompts.lengths.tolist())
    ]
