"""The metric against a naive loop, the bootstrap against SciPy's."""

from __future__ import annotations

import numpy as np
import pytest
import scipy.stats
import torch

from circuitwatch.tasks import build_prompts
from circuitwatch.tasks.behaviour import measure, metric_per_prompt
from support.tokenizers import tokenizer_named


@pytest.mark.parametrize("task", ["ioi", "greater_than", "agreement"])
def test_metric_equals_a_naive_loop(task: str) -> None:
    tokenizer = tokenizer_named("nano")
    prompts = build_prompts(task, tokenizer, n_prompts=10, seed=0)
    logits = torch.randn(10, len(tokenizer), generator=torch.Generator().manual_seed(0))
    behaviour = measure(logits, prompts, n_bootstrap=50, seed=0)
    values, hits, log_probs = [], [], []
    for i in range(10):
        probabilities = (logits[i].double().exp() / logits[i].double().exp().sum()).tolist()
        scores = logits[i].tolist() if prompts.metric == "logit_diff" else probabilities
        value = right = 0.0
        for token, sign in zip(prompts.answer_ids[i].tolist(), prompts.answer_signs[i].tolist(), strict=True):
            value += sign * scores[token]
            right += probabilities[token] * (sign > 0)
        values.append(value)
        hits.append(value > 0)
        log_probs.append(np.log(right))
    np.testing.assert_allclose(behaviour.per_prompt["value"], values, rtol=1e-4, atol=1e-6)
    assert behaviour.value == pytest.approx(np.mean(values), abs=1e-5)
    assert behaviour.accuracy == np.mean(hits)
    assert behaviour.log_prob == pytest.approx(np.mean(log_probs), abs=1e-5)


def test_metric_of_some_prompts() -> None:
    tokenizer = tokenizer_named("nano")
    prompts = build_prompts("ioi", tokenizer, n_prompts=6, seed=0)
    logits = torch.randn(6, len(tokenizer))
    chosen = torch.tensor([4, 1])
    assert torch.equal(metric_per_prompt(logits[chosen], prompts, chosen), metric_per_prompt(logits, prompts)[chosen])


def test_intervals_agree_with_scipys_bootstrap() -> None:
    """Two sets of 4000 random resamples: the ends may differ by a few percent of the interval's width."""
    tokenizer = tokenizer_named("nano")
    prompts = build_prompts("ioi", tokenizer, n_prompts=40, seed=0)
    behaviour = measure(
        torch.randn(40, len(tokenizer), generator=torch.Generator().manual_seed(1)), prompts, n_bootstrap=4000, seed=0
    )
    values = behaviour.per_prompt["value"].to_numpy()
    expected = scipy.stats.bootstrap(
        (values,), np.mean, n_resamples=4000, method="percentile", rng=0
    ).confidence_interval
    width = expected.high - expected.low
    assert behaviour.low == pytest.approx(expected.low, abs=0.05 * width)
    assert behaviour.high == pytest.approx(expected.high, abs=0.05 * width)
    assert behaviour.above_chance == (behaviour.low > 0)
