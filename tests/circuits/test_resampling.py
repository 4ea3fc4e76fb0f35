"""Circuits of resampled prompts against the whole analysis done on prompts that are really
repeated.
"""

from __future__ import annotations

import numpy as np
import pytest
import torch

from circuitwatch.circuits.attribution import edge_scores, graph_of, weighted_edge_scores
from circuitwatch.circuits.evaluation import CircuitEvaluator, weighted_exact_edge_scores
from circuitwatch.circuits.prompts import Metric, Prepared, run_metric
from circuitwatch.circuits.resampling import (
    bootstrap_weights,
    circuits_of_resamples,
    interval_of_mean,
)
from circuitwatch.circuits.search import SearchSpec, smallest_circuit
from support.models import Case, Pairs, logit_difference


class Repeated:
    """The prompts of a resample, each as often as it was drawn, and the metric of the originals."""

    def __init__(self, case: Case, drawn: np.ndarray, metric: Metric = logit_difference) -> None:
        self.of = torch.from_numpy(np.repeat(np.arange(len(drawn)), drawn.astype(int)))
        parts = (case.prompts.clean, case.prompts.corrupted, case.prompts.lengths)
        self.of_originals = metric
        self.prepared = Prepared(
            case.model, Pairs(*(part[self.of] for part in parts)), batch_size=3
        )

    def metric(self, logits: torch.Tensor, indices: torch.Tensor) -> torch.Tensor:
        return self.of_originals(logits, self.of[indices])


def falling(case: Case) -> Metric:
    """The logit difference with signs such that corrupting any prompt lowers it."""
    whole, broken = run_metric(case.prepared(), logit_difference)
    signs = (whole - broken).sign()
    return lambda logits, indices: logit_difference(logits, indices) * signs[indices]


def test_drawn_prompts_are_counted() -> None:
    weights = bootstrap_weights(7, 5, (3, 1))
    assert (
        weights.shape == (5, 7)
        and (weights.sum(1) == 7).all()
        and (weights == weights.round()).all()
    )
    assert (weights == bootstrap_weights(7, 5, (3, 1))).all() and (
        weights != bootstrap_weights(7, 5, (3, 2))
    ).any()


@pytest.mark.parametrize("batch_size", [3, 64])
def test_weighted_scores_are_those_of_repeated_prompts(case: Case, batch_size: int) -> None:
    """Relative to the largest score, 1e-5: float32 sums in another order.

    The first set is that of all prompts, once each.
    """
    weights = np.concatenate([np.ones((1, 8)), bootstrap_weights(8, 2, 0)])
    scores = weighted_edge_scores(
        case.prepared(batch_size), logit_difference, weights, steps=3
    ).scores
    assert (scores[0] == edge_scores(case.prepared(batch_size), logit_difference, steps=3)).all()
    for which, drawn in enumerate(weights):
        repeated = Repeated(case, drawn)
        expected = edge_scores(repeated.prepared, repeated.metric, steps=3)
        assert np.abs(scores[which] - expected).max() <= 1e-5 * np.abs(expected).max()


def test_weighted_exact_scores_are_those_of_repeated_prompts(case: Case) -> None:
    """One edge in seven patched on really repeated prompts; 1e-4 relative to the largest score."""
    weights = bootstrap_weights(8, 2, 0)
    scores = weighted_exact_edge_scores(case.prepared(), logit_difference, weights)
    edges = graph_of(case.model).edges
    for which, drawn in enumerate(weights):
        repeated = Repeated(case, drawn)
        evaluate = CircuitEvaluator(repeated.prepared, repeated.metric)
        for sender, receiver in np.argwhere(edges)[::7]:
            without = edges.copy()
            without[sender, receiver] = False
            expected = evaluate(without) - evaluate(edges)
            assert scores[which, sender, receiver] == pytest.approx(
                expected, abs=1e-4 * float(np.abs(scores).max())
            )


def test_circuits_of_resamples_are_those_of_repeated_prompts(case: Case) -> None:
    """The same masks, edge for edge: scores of these models are far enough apart for rounding not
    to change their order.

    By a metric that falls for every prompt: random models would have no behaviour that is sure, and
    no circuit.
    """
    weights = bootstrap_weights(8, 3, 5)
    signed = falling(case)
    spec = SearchSpec(0.6, "faithfulness", "coarse_to_fine")
    clean, corrupted = (values.double().numpy() for values in run_metric(case.prepared(), signed))
    found = circuits_of_resamples(
        CircuitEvaluator(case.prepared(), signed),
        weights,
        weighted_edge_scores(case.prepared(), signed, weights).scores,
        model=clean,
        corrupted=corrupted,
        spec=spec,
    )
    expected = []
    for drawn in weights:
        repeated = Repeated(case, drawn, signed)
        values = [
            values.double().numpy() for values in run_metric(repeated.prepared, repeated.metric)
        ]
        model, twins = (of.mean() for of in values)
        search = smallest_circuit(
            graph_of(case.model),
            edge_scores(repeated.prepared, repeated.metric),
            CircuitEvaluator(repeated.prepared, repeated.metric),
            model=model,
            corrupted=twins,
            interval=interval_of_mean(values[0] - values[1]),
            spec=spec,
        )
        expected.append(search.mask)
    assert [circuit is None for circuit in found] == [mask is None for mask in expected] and any(
        found
    )
    assert all(
        circuit is None or (circuit.mask == mask).all()
        for circuit, mask in zip(found, expected, strict=True)
    )


def test_a_resample_without_a_circuit_keeps_its_place(case: Case) -> None:
    """The second resample draws one prompt only, whose twin does as well as it: there is nothing of
    which a circuit could have a share.
    """
    metric = falling(case)
    clean, corrupted = (values.double().numpy() for values in run_metric(case.prepared(), metric))
    weights = np.stack([np.ones(8), np.eye(8)[5] * 8, np.ones(8)])
    corrupted[5] = clean[5]
    spec = SearchSpec(0.8, "faithfulness", "coarse_to_fine")
    scores = np.stack([edge_scores(case.prepared(), metric)] * 3)
    first, second, third = circuits_of_resamples(
        CircuitEvaluator(case.prepared(), metric),
        weights,
        scores,
        model=clean,
        corrupted=corrupted,
        spec=spec,
    )
    assert (
        second is None
        and first is not None
        and third is not None
        and (first.mask == third.mask).all()
    )


def test_an_interval_is_that_of_the_mean_and_of_repeated_prompts() -> None:
    """Of 400 values the bootstrap is normal: 1.96 standard errors to either side, to a tenth of
    them, with 4,000 resamples.
    """
    values = np.random.default_rng(0).exponential(size=400)
    low, high = interval_of_mean(values, n_bootstrap=4000)
    error = values.std() / 20
    assert [low, high] == pytest.approx(
        [values.mean() - 1.96 * error, values.mean() + 1.96 * error], abs=0.15 * error
    )
    drawn = bootstrap_weights(400, 1, 1)[0]
    assert interval_of_mean(values, drawn) == interval_of_mean(np.repeat(values, drawn.astype(int)))


def test_a_resample_whose_behaviour_is_lost_in_its_interval_has_no_circuit(case: Case) -> None:
    """Where prompts contradict one another; the same circuits are searched where they agree."""
    weights, none = np.array([[1.0] * 8, [3, 1, 1, 3, 0, 0, 0, 0]]), np.zeros(8)
    signs = run_metric(case.prepared(), logit_difference)[0].sign()

    def positive(logits: torch.Tensor, indices: torch.Tensor) -> torch.Tensor:
        return logit_difference(logits, indices) * signs[indices]

    scores = weighted_edge_scores(case.prepared(), positive, weights, steps=1).scores
    evaluator = CircuitEvaluator(case.prepared(), positive)

    def circuits(model: np.ndarray, corrupted: np.ndarray) -> int:
        found = circuits_of_resamples(
            evaluator,
            weights,
            scores,
            model=model,
            corrupted=corrupted,
            spec=SearchSpec(threshold=1e-3, criterion="recovery", search="coarse_to_fine"),
        )
        return sum(circuit is not None for circuit in found)

    agreeing = np.full(8, 1e-3)  # so little that the circuit of all edges, at the least, passes
    assert circuits(agreeing, none) == 2
    assert circuits(np.where(np.arange(8) % 2, 1.0, -1.0), none) == 0
    assert circuits(agreeing, agreeing) == 0  # the empty circuit does what the model does


def test_equal_prompts_have_no_noise(case: Case) -> None:
    """Where every prompt is the same one, resampling changes nothing."""
    rows = torch.zeros(6, dtype=torch.long)
    prompts = Pairs(
        case.prompts.clean[rows, :5], case.prompts.corrupted[rows, :5], case.prompts.lengths[rows]
    )
    prepared = Prepared(case.model, prompts)

    def metric(logits: torch.Tensor, indices: torch.Tensor) -> torch.Tensor:
        return logit_difference(logits, indices * 0)

    weights = bootstrap_weights(6, 2, 0)
    clean, corrupted = (values.double().numpy() for values in run_metric(prepared, metric))
    evaluator = CircuitEvaluator(prepared, metric)
    first, second = circuits_of_resamples(
        evaluator,
        weights,
        weighted_edge_scores(prepared, metric, weights).scores,
        model=clean,
        corrupted=corrupted,
        spec=SearchSpec(threshold=0.5, criterion="faithfulness", search="exhaustive"),
    )
    assert first is not None and second is not None
    assert (first.mask == second.mask).all() and first.mask.any()
