"""What circuits need to know of a task: pairs of prompts and a metric; and the shared beginning that need not be computed twice.

Before the first token at which a prompt and its corrupted twin differ, every activation of both is equal: no sender differs there, so no edge has a
score there and no circuit changes anything. Those positions matter only as keys and values that never change. Batches are therefore made of prompts that
first differ at the same position, their shared beginning is run once, and everything else runs from that position on.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Protocol

import torch
from torch import Tensor

from circuitwatch.transformer import Past, Transformer

Metric = Callable[[Tensor, Tensor], Tensor]
"""Logits [batch, d_vocab] at the end of the prompts with the given indices [batch] → the metric of each [batch], differentiable."""


class PromptPairs(Protocol):
    """Clean and corrupted tokens [prompt, pos], right-padded, and their common lengths [prompt]."""

    @property
    def clean(self) -> Tensor: ...  # noqa: D102
    @property
    def corrupted(self) -> Tensor: ...  # noqa: D102
    @property
    def lengths(self) -> Tensor: ...  # noqa: D102


@dataclass(frozen=True)
class Batch:
    """Prompts that first differ from their twins at the same position, from that position on.

    indices [batch] into the prompts; clean, corrupted: embedding outputs [batch, pos, d_model]; end [batch]: where, counted from
    the first of these positions, the metric is read; past: keys and values of the shared beginning, None if there is none.
    """

    indices: Tensor
    clean: Tensor
    corrupted: Tensor
    end: Tensor
    past: Past | None


def first_difference(prompts: PromptPairs) -> Tensor:
    """Position of the first token at which each prompt differs from its twin [prompt]; the last position if they are equal."""
    differs = prompts.clean != prompts.corrupted
    return torch.where(differs.any(1), differs.int().argmax(1), prompts.lengths - 1)


def batches(model: Transformer, prompts: PromptPairs, batch_size: int) -> Iterator[Batch]:
    """Split the prompts by where they first differ, into batches of at most `batch_size`, each with its beginning already run."""
    starts = first_difference(prompts)
    for start in starts.unique().tolist():
        for indices in torch.nonzero(starts == start).flatten().split(batch_size):
            length = int(prompts.lengths[indices].max())
            clean, corrupted = (
                tokens[indices, :length].to(model.device) for tokens in (prompts.clean, prompts.corrupted)
            )
            past = None
            if start:
                past = model.run(model.embed(clean[:, :start])).as_past()
            yield Batch(
                indices.to(model.device),
                model.embed(clean[:, start:], start),
                model.embed(corrupted[:, start:], start),
                (prompts.lengths[indices] - 1 - start).to(model.device),
                past,
            )


def metric_at_end(model: Transformer, stream: Tensor, batch: Batch, metric: Metric) -> Tensor:
    """The metric [batch] from the residual stream [batch, pos, d_model] after the last block."""
    return metric(model.unembed(stream[torch.arange(len(batch.end), device=stream.device), batch.end]), batch.indices)


@torch.no_grad()
def run_metric(model: Transformer, prompts: PromptPairs, metric: Metric, batch_size: int = 64) -> tuple[Tensor, Tensor]:
    """The metric of every prompt, clean and corrupted: two tensors [prompt] on the CPU."""
    clean, corrupted = torch.empty(len(prompts.lengths)), torch.empty(len(prompts.lengths))
    for batch in batches(model, prompts, batch_size):
        for values, embedded in ((clean, batch.clean), (corrupted, batch.corrupted)):
            values[batch.indices.cpu()] = (
                metric_at_end(model, model.run(embedded, batch.past).final, batch, metric).float().cpu()
            )
    return clean, corrupted
