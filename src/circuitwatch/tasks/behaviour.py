"""What a model does on a task: the metric, accuracy and log-probability, with bootstrap intervals over prompts.

Accuracy is a thresholded metric and can jump where nothing jumped underneath (Schaeffer et al., arXiv 2304.15004), so a continuous one
stands beside it. For all four tasks chance is 0 for the metric and 0.5 for accuracy: prompts are balanced so that a model that ignores the
deciding word scores 0 on average.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pandas as pd
import torch
from torch import Tensor

from circuitwatch.tasks.prompts import MetricKind, PromptSet
from circuitwatch.transformer import Transformer


@dataclass(frozen=True)
class Behaviour:
    """Means over prompts; low and high are the ends of the 95 % percentile bootstrap interval. per_prompt has columns prompt, value, correct, log_prob."""

    value: float
    low: float
    high: float
    accuracy: float
    accuracy_low: float
    accuracy_high: float
    log_prob: float
    per_prompt: pd.DataFrame

    @property
    def above_chance(self) -> bool:
        """Whether the interval of the metric lies above 0."""
        return self.low > 0


def signed_sum(logits: Tensor, metric: MetricKind, answer_ids: Tensor, answer_signs: Tensor) -> Tensor:
    """The metric [prompt] from logits [prompt, d_vocab], answer ids [prompt, answer] and signs [prompt, answer]; differentiable."""
    values = logits.softmax(-1) if metric == "prob_diff" else logits
    return (values.gather(1, answer_ids) * answer_signs).sum(-1)


def metric_per_prompt(logits: Tensor, prompts: PromptSet, indices: Tensor | None = None) -> Tensor:
    """The metric [prompt] from logits [prompt, d_vocab] at the ends of the prompts with the given indices [prompt] (default: all)."""
    ids, signs = prompts.answer_ids.to(logits.device), prompts.answer_signs.to(logits)
    if indices is not None:
        ids, signs = ids[indices], signs[indices]
    return signed_sum(logits, prompts.metric, ids, signs)


@dataclass(frozen=True)
class TaskMetric:
    """The metric of a task's prompts as circuits want it. A logit difference is read off the few tokens that it is about."""

    prompts: PromptSet

    def __call__(self, logits: Tensor, indices: Tensor) -> Tensor:
        """The metric [row] from logits [row, d_vocab] at the ends of the prompts with the given indices [row]."""
        return metric_per_prompt(logits, self.prompts, indices)

    def of_stream(self, model: Transformer, stream: Tensor, indices: Tensor) -> Tensor:
        """The metric [row] from the residual stream [row, d_model] after the last block."""
        if self.prompts.metric != "logit_diff":
            return self(model.unembed(stream), indices)
        ids, signs = self.prompts.answer_ids.to(stream.device), self.prompts.answer_signs.to(stream)
        directions = torch.einsum("dpa,pa->pd", model.W_U[:, ids], signs)  # once a prompt, however many rows it has
        value = (model.final_norm(stream) * directions[indices]).sum(-1)
        return value if model.b_U is None else value + (model.b_U[ids] * signs).sum(-1)[indices]


@torch.no_grad()
def measure(logits: Tensor, prompts: PromptSet, *, n_bootstrap: int, seed: int) -> Behaviour:
    """Behaviour from logits [prompt, d_vocab] at the ends of all prompts. A prompt is answered correctly if its metric is above 0."""
    value = metric_per_prompt(logits, prompts).cpu().double().numpy()
    log_probabilities = logits.cpu().double().log_softmax(-1).gather(1, prompts.answer_ids)
    right = prompts.answer_signs > 0
    log_prob = log_probabilities.masked_fill(~right, float("-inf")).logsumexp(-1).numpy()
    correct = value > 0
    resampled = np.random.default_rng(seed).integers(len(value), size=(n_bootstrap, len(value)))
    low, high = np.quantile(value[resampled].mean(1), [0.025, 0.975])
    accuracy_low, accuracy_high = np.quantile(correct[resampled].mean(1), [0.025, 0.975])
    table = pd.DataFrame({"prompt": np.arange(len(value)), "value": value, "correct": correct, "log_prob": log_prob})
    return Behaviour(
        value=float(value.mean()),
        low=float(low),
        high=float(high),
        accuracy=float(correct.mean()),
        accuracy_low=float(accuracy_low),
        accuracy_high=float(accuracy_high),
        log_prob=float(log_prob.mean()),
        per_prompt=table,
    )
