"""What a model does on a task: the metric, and what the deciding word does to it; with bootstrap
intervals over prompts.

The metric alone can't tell a behaviour from a taste. A model that ignores the deciding word and
always prefers late years scores well above 0 in greater-than. So the *effect* stands beside it: the
metric on the clean prompt less that on its corrupted counterpart, paired by prompt, which is 0 for
every model that ignores the word. A behaviour is above chance only if both intervals lie above 0,
by what counts as more than 0 (`Metric.least`): odds of 1.1 to 1, or one part in a hundred of
probability. Random weights do respond to the deciding word, very little and always the same way, so
that with an interval against 0 alone one untrained model in a hundred had a behaviour.

The log-probability of the right answers (`log_prob`) is never above 0, whatever the model knows. As
a metric it is above chance where its effect is.

Accuracy is a thresholded metric and can jump where nothing jumped underneath (Schaeffer et al.,
arXiv 2304.15004), so a continuous one, the log-probability of the right answers, is measured too.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd
import torch
from torch import Tensor

from circuitwatch.catalogue import METRICS, MetricKind
from circuitwatch.tasks.prompts import PromptSet
from circuitwatch.transformer import Transformer


@dataclass(frozen=True)
class Behaviour:
    """Means over prompts; low and high are the ends of their 95 % percentile bootstrap intervals.

    metric: which one; value: its mean on the clean prompts; corrupted: on their counterparts;
    effect: their difference. per_prompt has columns prompt, value, corrupted, correct, log_prob,
    and group where the prompts have one.
    """

    metric: MetricKind
    value: float
    low: float
    high: float
    corrupted: float
    effect: float
    effect_low: float
    effect_high: float
    accuracy: float
    accuracy_low: float
    accuracy_high: float
    log_prob: float
    per_prompt: pd.DataFrame

    @property
    def not_above_chance(self) -> str:
        """Which interval does not lie above the metric's `least`: `value`, `effect`, `value and
        effect`, or nothing; of `log_prob` the effect's alone is asked.
        """
        least = METRICS[self.metric].least
        lows = {"value": self.low, "effect": self.effect_low}
        if self.metric == "log_prob":
            del lows["value"]
        return " and ".join(name for name, low in lows.items() if low <= least)

    @property
    def above_chance(self) -> bool:
        """Whether the intervals of the metric and of its effect lie above 0, by what counts."""
        return not self.not_above_chance


def signed_sum(
    logits: Tensor, metric: MetricKind, answer_ids: Tensor, answer_signs: Tensor
) -> Tensor:
    """The metric [prompt] from logits [prompt, d_vocab], answer ids [prompt, answer] and signs
    [prompt, answer]; differentiable.
    """
    if metric == "log_prob":
        of_answers = logits.log_softmax(-1).gather(1, answer_ids)
        return of_answers.masked_fill(answer_signs <= 0, float("-inf")).logsumexp(-1)
    values = logits.softmax(-1) if metric == "prob_diff" else logits
    return (values.gather(1, answer_ids) * answer_signs).sum(-1)


def metric_per_prompt(logits: Tensor, prompts: PromptSet, indices: Tensor | None = None) -> Tensor:
    """The metric [prompt] from logits [prompt, d_vocab] at the ends of the prompts with the given
    indices [prompt] (default: all).
    """
    ids, signs = prompts.answer_ids.to(logits.device), prompts.answer_signs.to(logits)
    if indices is not None:
        ids, signs = ids[indices], signs[indices]
    return signed_sum(logits, prompts.metric, ids, signs)


@dataclass(frozen=True)
class TaskMetric:
    """The metric of a task's prompts as circuits want it.

    A logit difference is read off the few tokens that it is about.
    """

    prompts: PromptSet

    def __call__(self, logits: Tensor, indices: Tensor) -> Tensor:
        """The metric [row] from logits [row, d_vocab] at the ends of the prompts with the given
        indices [row].
        """
        return metric_per_prompt(logits, self.prompts, indices)

    def of_stream(self, model: Transformer, stream: Tensor, indices: Tensor) -> Tensor:
        """The metric [row] from the residual stream [row, d_model] after the last block."""
        if self.prompts.metric != "logit_diff":
            return self(model.unembed(stream), indices)
        ids, signs = self.prompts.answer_ids.to(stream.device), self.prompts.answer_signs.to(stream)
        if model.logit_cap is not None:  # what is added up is not linear in the stream
            distinct, places = ids.unique(return_inverse=True)
            logits = model.final_norm(stream) @ model.W_U[:, distinct]
            logits = model.capped(logits if model.b_U is None else logits + model.b_U[distinct])
            return (logits.gather(1, places[indices]) * signs[indices]).sum(-1)
        directions = torch.einsum(
            "dpa,pa->pd", model.W_U[:, ids], signs
        )  # once a prompt, however many rows it has
        value = (model.final_norm(stream) * directions[indices]).sum(-1)
        return value if model.b_U is None else value + (model.b_U[ids] * signs).sum(-1)[indices]


@torch.no_grad()
def measure(
    clean: Tensor, corrupted: Tensor, prompts: PromptSet, *, n_bootstrap: int, seed: int
) -> Behaviour:
    """Behaviour from logits [prompt, d_vocab] at the ends of all clean prompts and of their
    counterparts.

    A prompt is answered correctly if its metric is above 0; for `log_prob` see `_ranked_first`.
    """
    value, counterpart = (
        metric_per_prompt(x, prompts).cpu().double().numpy() for x in (clean, corrupted)
    )
    log_prob = signed_sum(
        clean.cpu().double(), "log_prob", prompts.answer_ids, prompts.answer_signs
    ).numpy()
    correct = _ranked_first(clean.cpu(), prompts) if prompts.metric == "log_prob" else value > 0
    resampled = np.random.default_rng(seed).integers(len(value), size=(n_bootstrap, len(value)))

    def interval(of_prompts: npt.NDArray[np.float64]) -> tuple[float, float]:
        low, high = np.quantile(of_prompts[resampled].mean(1), [0.025, 0.975])
        return float(low), float(high)

    low, high = interval(value)
    effect_low, effect_high = interval(value - counterpart)
    accuracy_low, accuracy_high = interval(correct.astype(float))
    columns: dict[str, Any] = {
        "value": value,
        "corrupted": counterpart,
        "correct": correct,
        "log_prob": log_prob,
    }
    if prompts.groups:
        columns["group"] = list(prompts.groups)
    return Behaviour(
        metric=prompts.metric,
        value=float(value.mean()),
        low=low,
        high=high,
        corrupted=float(counterpart.mean()),
        effect=float((value - counterpart).mean()),
        effect_low=effect_low,
        effect_high=effect_high,
        accuracy=float(correct.mean()),
        accuracy_low=accuracy_low,
        accuracy_high=accuracy_high,
        log_prob=float(log_prob.mean()),
        per_prompt=pd.DataFrame({"prompt": np.arange(len(value)), **columns}),
    )


def _ranked_first(logits: Tensor, prompts: PromptSet) -> npt.NDArray[np.bool_]:
    """Whether a right answer has a higher logit than every wrong one [prompt], where a prompt has
    no wrong one than every other token; from logits [prompt, d_vocab].
    """
    of_answers, signs = logits.gather(1, prompts.answer_ids), prompts.answer_signs
    right, wrong = (
        of_answers.masked_fill(~which, float("-inf")).amax(-1) for which in (signs > 0, signs < 0)
    )
    anything = logits.amax(-1)
    return torch.where((signs < 0).any(-1), right > wrong, right >= anything).numpy()
