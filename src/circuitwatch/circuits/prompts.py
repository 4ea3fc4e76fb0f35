"""What circuits need to know of a task: pairs of prompts and a metric; and the work that all
analyses of one checkpoint share.

Before the first token at which a prompt and its corrupted counterpart differ, every activation of
both is equal: no sender differs there, so no edge has a score there and no circuit changes
anything. Those positions matter only as keys and values that never change: they are run once and
kept. Prompts are aligned at their ends, so that prompts that first differ at different places and
have different lengths still share a batch.

The corrupted run is kept too: it is the state of all that lies outside a circuit, one half of every
sender's difference, and the source of what no later run changes in the first layer, where only the
tokens that differ matter.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

import torch
from torch import Tensor

from circuitwatch.transformer import ActivationCache, Context, Like, Transformer

Metric = Callable[[Tensor, Tensor], Tensor]
"""Logits [batch, d_vocab] at the end of the prompts with the given indices [batch] → the metric of
each [batch], differentiable.

One that has a method `of_stream(model, stream [row, d_model], indices [row])` is asked that
instead: it needs not all logits.
"""

LOGITS_AT_A_TIME = 512
"""Rows of logits held at once: 100 MB with 50,000 tokens."""


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
    """The ends of some prompts, from before the first token at which any of them differs from its
    counterpart; all end at the last position.

    indices [batch] into the prompts; clean, corrupted: embedding outputs [batch, pos, d_model];
    context: where these tokens stand, with the keys and values of what came before; changed [row]:
    flat indices into batch · pos of the tokens that differ; corrupted_run: its cache, `at_end`;
    begin [batch]: the position in the prompt of the first column, negative where padding comes
    first.
    """

    indices: Tensor
    begin: Tensor
    clean: Tensor
    corrupted: Tensor
    context: Context
    changed: Tensor
    corrupted_run: ActivationCache

    @property
    def like(self) -> Like:
        """For runs of these prompts from any mixture of the clean and the corrupted embedding."""
        return Like(self.corrupted_run, self.changed)

    def keys_of(self, positions: Tensor) -> Tensor:
        """Where the tokens at positions [batch, place] of the prompts stand among the keys of these
        tokens' attention: [batch, place].
        """
        n_past = self.context.keys[0].shape[1] if self.context.keys else 0
        return torch.where(
            positions < self.begin[:, None], positions, n_past + positions - self.begin[:, None]
        )


class Prepared:
    """Prompts made ready for one model, in batches of at most `batch_size`; all analyses of the
    checkpoint use these.
    """

    @torch.no_grad()
    def __init__(self, model: Transformer, prompts: PromptPairs, *, batch_size: int = 32) -> None:
        self.model, self.n_prompts = model, len(prompts.lengths)
        different = prompts.lengths - first_difference(prompts)
        order = different.argsort(
            stable=True
        )  # alike ones together, so that little is computed in vain
        self.batches = [
            _batch(model, prompts, indices, different) for indices in order.split(batch_size)
        ]

    @torch.no_grad()
    def end_logits(self) -> tuple[Tensor, Tensor]:
        """Logits at the end of every prompt, clean and corrupted: two tensors [prompt, d_vocab]."""
        clean, corrupted = (
            torch.empty(
                self.n_prompts,
                self.model.W_U.shape[1],
                dtype=self.model.W_U.dtype,
                device=self.model.device,
            )
            for _ in range(2)
        )
        for batch in self.batches:
            run = self.model.run(batch.clean, batch.context, like=batch.like, at_end=True)
            clean[batch.indices] = self.model.unembed(run.final[:, -1])
            corrupted[batch.indices] = self.model.unembed(batch.corrupted_run.final[:, -1])
        return clean, corrupted


def first_difference(prompts: PromptPairs) -> Tensor:
    """Position of the first token at which each prompt differs from its counterpart [prompt]; the
    last position if they are equal.
    """
    differs = prompts.clean != prompts.corrupted
    return torch.where(differs.any(1), differs.int().argmax(1), prompts.lengths - 1)


def _batch(model: Transformer, prompts: PromptPairs, indices: Tensor, different: Tensor) -> Batch:
    """The batch of the prompts with these indices, of which the last `different` [prompt] tokens
    need computing.
    """
    n_pos = int(different[indices].max())
    begin = (prompts.lengths[indices] - n_pos)[
        :, None
    ]  # negative for a prompt shorter than that: padding comes first
    positions = begin + torch.arange(n_pos)
    real, positions = positions >= 0, positions.clamp(min=0)
    clean_tokens = prompts.clean[indices]
    clean = clean_tokens.gather(1, positions)
    corrupted = torch.where(real, prompts.corrupted[indices].gather(1, positions), clean)
    n_past = max(0, int(begin.max()))
    own = torch.ones(n_pos, n_pos, dtype=torch.bool).tril() & real[:, None, :] | torch.eye(
        n_pos, dtype=torch.bool
    )
    earlier = (torch.arange(n_past) < begin)[:, None, :].expand(-1, n_pos, -1)
    mask = torch.cat([earlier, own], 2)[:, None].to(model.device)
    past = None
    if n_past:
        before = model.run(
            model.embed(clean_tokens[:, :n_past].to(model.device)), at_end=True
        )  # keys and values are whole
        past = before.keys, [values.clone() for values in before.values]  # views of larger tensors
    positions = positions.to(model.device)
    context = model.context(positions, mask, past)
    changed = torch.nonzero((clean != corrupted).flatten()).flatten().to(model.device)
    clean, corrupted = (
        model.embed(tokens.to(model.device), positions) for tokens in (clean, corrupted)
    )
    cache = model.run(corrupted, context, at_end=True)
    for norm_inputs in (cache.query_inputs, cache.key_value_inputs, cache.mlp_inputs):
        del norm_inputs[1:]  # later runs take over the first layer's alone
    return Batch(
        indices.to(model.device),
        begin[:, 0].to(model.device),
        clean,
        corrupted,
        context,
        changed,
        cache,
    )


def metric_at_end(model: Transformer, stream: Tensor, batch: Batch, metric: Metric) -> Tensor:
    """The metric [batch] from the residual stream [batch, pos, d_model] after the last block."""
    return of_stream(model, stream[:, -1], batch.indices, metric)


def of_stream(model: Transformer, stream: Tensor, indices: Tensor, metric: Metric) -> Tensor:
    """The metric [row] from the residual stream [row, d_model] after the last block, of the prompts
    with the given indices [row].
    """
    short: Callable[[Transformer, Tensor, Tensor], Tensor] | None = getattr(
        metric, "of_stream", None
    )
    return short(model, stream, indices) if short else metric(model.unembed(stream), indices)


def metric_of_streams(
    model: Transformer, streams: Tensor, indices: Tensor, metric: Metric
) -> Tensor:
    """The metric [set, prompt] from streams [set, prompt, d_model], a few at a time: all their
    logits would not fit in memory.
    """
    flat, repeated = streams.flatten(0, 1), indices.repeat(len(streams))
    parts = [
        of_stream(model, rows, which, metric)
        for rows, which in zip(
            flat.split(LOGITS_AT_A_TIME), repeated.split(LOGITS_AT_A_TIME), strict=True
        )
    ]
    return torch.cat(parts).view(streams.shape[:2])


@torch.no_grad()
def run_metric(prepared: Prepared, metric: Metric) -> tuple[Tensor, Tensor]:
    """The metric of every prompt, clean and corrupted: two tensors [prompt] on the CPU."""
    indices = torch.arange(prepared.n_prompts, device=prepared.model.device)
    clean, corrupted = (metric(logits, indices).float().cpu() for logits in prepared.end_logits())
    return clean, corrupted
