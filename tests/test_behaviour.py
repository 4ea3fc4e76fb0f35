"""The metric against a naive loop, the bootstrap against SciPy's."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import scipy.stats
import torch

from circuitwatch.behaviour import TaskMetric, measure, metric_per_prompt
from circuitwatch.tasks import build_prompts
from support.models import make_variant
from support.tokenizers import tokenizer_named


@pytest.mark.parametrize("task", ["ioi", "greater_than", "agreement"])
def test_metric_equals_a_naive_loop(task: str) -> None:
    tokenizer = tokenizer_named("nano")
    prompts = build_prompts(task, tokenizer, n_prompts=10, seed=0)
    logits = torch.randn(10, len(tokenizer), generator=torch.Generator().manual_seed(0))
    behaviour = measure(logits, -logits, prompts, n_bootstrap=50, seed=0)
    values, hits, log_probs = [], [], []
    for i in range(10):
        probabilities = (logits[i].double().exp() / logits[i].double().exp().sum()).tolist()
        scores = logits[i].tolist() if prompts.metric == "logit_diff" else probabilities
        value = right = 0.0
        for token, sign in zip(
            prompts.answer_ids[i].tolist(), prompts.answer_signs[i].tolist(), strict=True
        ):
            value += sign * scores[token]
            right += probabilities[token] * (sign > 0)
        values.append(value)
        hits.append(value > 0)
        log_probs.append(np.log(right))
    np.testing.assert_allclose(behaviour.per_prompt["value"], values, rtol=1e-4, atol=1e-6)
    assert behaviour.value == pytest.approx(np.mean(values), abs=1e-5)
    twins = metric_per_prompt(-logits, prompts).double().numpy()
    np.testing.assert_allclose(behaviour.per_prompt["corrupted"], twins, rtol=1e-4, atol=1e-6)
    assert behaviour.corrupted == pytest.approx(twins.mean(), abs=1e-6)
    assert behaviour.effect == pytest.approx(np.mean(values) - twins.mean(), abs=1e-5)
    assert behaviour.accuracy == np.mean(hits)
    assert behaviour.log_prob == pytest.approx(np.mean(log_probs), abs=1e-5)


def test_metric_of_some_prompts() -> None:
    tokenizer = tokenizer_named("nano")
    prompts = build_prompts("ioi", tokenizer, n_prompts=6, seed=0)
    logits = torch.randn(6, len(tokenizer))
    chosen = torch.tensor([4, 1])
    assert torch.equal(
        metric_per_prompt(logits[chosen], prompts, chosen),
        metric_per_prompt(logits, prompts)[chosen],
    )


@pytest.mark.parametrize("variant", ["llama", "phi", "gemma2"])
@pytest.mark.parametrize("metric", ["logit_diff", "prob_diff"])
def test_the_metric_of_a_stream_is_that_of_its_logits(
    variant: str, metric: Any, tmp_path: Path
) -> None:
    """Read off a few tokens: also with a bias of the unembedding (Phi), and a cap that makes logits
    no linear map of the stream (Gemma 2).
    """
    model = make_variant(variant, tmp_path).model
    prompts = replace(
        build_prompts("agreement", tokenizer_named("nano"), n_prompts=6, seed=0),
        metric=metric,
        answer_ids=torch.tensor([[3, 9, 7], [4, 9, 0], [3, 3, 8], [1, 2, 3], [9, 8, 7], [5, 6, 0]]),
        answer_signs=torch.tensor([[0.5, 0.5, -1.0]] * 3 + [[1.0, -1.0, 0.0]] * 3),
    )
    indices = torch.tensor([4, 1, 1, 0])
    stream = torch.randn(4, model.d_model, generator=torch.Generator().manual_seed(0)) * 3
    expected = metric_per_prompt(model.unembed(stream), prompts, indices)
    found = TaskMetric(prompts).of_stream(model, stream, indices)
    torch.testing.assert_close(found, expected, rtol=1e-5, atol=1e-6)


def test_intervals_agree_with_scipys_bootstrap() -> None:
    """Two sets of 4000 random resamples: the ends may differ by a few percent of the interval's
    width.
    """
    tokenizer = tokenizer_named("nano")
    prompts = build_prompts("ioi", tokenizer, n_prompts=40, seed=0)
    logits = torch.randn(2, 40, len(tokenizer), generator=torch.Generator().manual_seed(1))
    behaviour = measure(logits[0], logits[1], prompts, n_bootstrap=4000, seed=0)
    table = behaviour.per_prompt
    for values, low, high in (
        (table["value"], behaviour.low, behaviour.high),
        (table["value"] - table["corrupted"], behaviour.effect_low, behaviour.effect_high),
    ):
        expected = scipy.stats.bootstrap(
            (values.to_numpy(),), np.mean, n_resamples=4000, method="percentile", rng=0
        ).confidence_interval
        width = expected.high - expected.low
        assert low == pytest.approx(expected.low, abs=0.05 * width)
        assert high == pytest.approx(expected.high, abs=0.05 * width)


@pytest.mark.parametrize(
    ("clean", "corrupted", "failing"),
    [(2.0, 2.0, "effect"), (2.0, -2.0, ""), (-1.0, -2.0, "value"), (-1.0, 1.0, "value and effect")],
)
def test_both_the_metric_and_its_effect_must_be_above_chance(
    clean: float, corrupted: float, failing: str
) -> None:
    """The metric of a model with a fixed taste is above 0, and the effect of the deciding word is
    0.
    """
    tokenizer = tokenizer_named("nano")
    prompts = build_prompts("ioi", tokenizer, n_prompts=16, seed=0)
    logits = torch.zeros(2, 16, len(tokenizer))
    ids = prompts.answer_ids[:, 0]  # IO
    logits[0].scatter_(1, ids[:, None], clean)
    logits[1].scatter_(1, ids[:, None], corrupted)
    behaviour = measure(logits[0], logits[1], prompts, n_bootstrap=50, seed=0)
    assert behaviour.not_above_chance == failing
    assert behaviour.above_chance == (not failing)


@pytest.mark.parametrize(("size", "counts"), [(0.05, False), (0.2, True)])
def test_a_tiny_effect_is_none(size: float, counts: bool) -> None:
    """Of the same sign and size on every prompt, so that its interval has no width."""
    tokenizer = tokenizer_named("nano")
    prompts = build_prompts("ioi", tokenizer, n_prompts=16, seed=0)
    clean, corrupted = (
        torch.zeros(16, len(tokenizer)).scatter_(1, prompts.answer_ids[:, :1], x)
        for x in (2.0, 2.0 - size)
    )
    behaviour = measure(clean, corrupted, prompts, n_bootstrap=50, seed=0)
    assert behaviour.effect_low == pytest.approx(size)
    assert behaviour.above_chance == counts
