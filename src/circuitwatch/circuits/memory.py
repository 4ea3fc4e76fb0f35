"""How many prompts at a time: an estimate of what the analysis needs beside the model, and what to
do when memory runs out all the same.

Counted are the tensors that live together: the corrupted runs and senders' outputs kept for all
prompts, and, for a batch, one step's forward pass with what its backward pass needs, the gathered
gradients, and the differences of all senders with one layer's receivers. `make bench` prints the
estimate beside the measured peak.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeVar

import psutil
import torch

from circuitwatch.circuits.attribution import graph_of
from circuitwatch.circuits.prompts import PromptPairs, first_difference
from circuitwatch.errors import UserError
from circuitwatch.transformer import Transformer

SHARE_OF_FREE = 0.5
"""Default budget: this share of the memory that is free."""
LARGEST_BATCH = 64
OVERHEAD = 1.6
"""Measured peak over what the tensors alone add up to: at most this in the benchmarks.

Allocators hold on to more than is in use.
"""

Result = TypeVar("Result")


@dataclass(frozen=True)
class Plan:
    """Prompts at a time, whether senders' outputs are kept between circuits, and the bytes that
    this is expected to need.
    """

    batch_size: int
    reuse: bool
    estimate: int


def free_memory(device: torch.device) -> int:
    """Bytes free on a device now."""
    if device.type == "cuda":
        return int(torch.cuda.mem_get_info(device)[0])
    return int(psutil.virtual_memory().available)


def plan(
    model: Transformer,
    prompts: PromptPairs,
    *,
    steps: int,
    budget: int | None = None,
    batch_size: int | None = None,
) -> Plan:
    """The largest batch of at most LARGEST_BATCH prompts that fits the budget in bytes (default: a
    share of what is free), or the one given.
    """
    budget = int(SHARE_OF_FREE * free_memory(model.device)) if budget is None else budget
    n_prompts = len(prompts.lengths)
    width = int((prompts.lengths - first_difference(prompts)).max())
    kept, outputs, each = bytes_per_prompt(
        model, n_pos=width, n_past=int(prompts.lengths.max()) - width, steps=steps
    )
    reuse = n_prompts * (kept + outputs) <= budget / 2
    fixed = n_prompts * (kept + (outputs if reuse else 0))
    fitting = (budget - fixed) // each
    chosen = batch_size or max(1, min(LARGEST_BATCH, n_prompts, fitting))
    return Plan(chosen, reuse, fixed + min(chosen, n_prompts) * each)


def bytes_per_prompt(
    model: Transformer, *, n_pos: int, n_past: int, steps: int
) -> tuple[int, int, int]:
    """Of one prompt of which n_pos positions are computed behind n_past others, three numbers of
    bytes.

    Kept as long as the checkpoint is analysed; kept between circuits, if outputs are reused; needed
    while the prompt's batch is scored or evaluated.
    """
    d, layers = model.d_model, model.n_layers
    first = model.blocks[0]
    mlp, width = first.mlp, first.attention.W_Q.shape[2] * model.n_heads  # of all heads together
    hidden = mlp.W_in.shape[1] * (1 if mlp.W_gate is None else 3)
    senders = len(graph_of(model).senders)
    of_heads = 6 if first.attention.couples else 4  # queries, keys, values, z, and as projected
    streams = (4 if model.parallel else 5) * d
    kept = layers * (n_pos * (streams + of_heads * width) + n_past * 2 * width)
    outputs = senders * n_pos * d
    norms = 1 if model.parallel else 2
    graph_and_gradients = layers * (12 * d + hidden + 4 * d)
    gathered = layers * d * (4 + 2 * 2 + steps * norms)
    contraction = (
        senders + 4 * 2 * model.n_heads
    ) * d  # gradients, their maps, and a weighted copy
    each = n_pos * (gathered + max(graph_and_gradients, contraction)) + 4 * model.W_U.shape[1]
    size = OVERHEAD * model.W_E.element_size()
    return int(size * kept), int(size * outputs), int(size * each)


def with_smaller_batches(
    action: Callable[[int], Result], batch_size: int, on_retry: Callable[[int], None] | None = None
) -> Result:
    """Do `action(batch_size)`, with half the batch each time memory runs out.

    Raises UserError if one prompt is too many.
    """
    while True:
        try:
            return action(batch_size)
        except (RuntimeError, MemoryError) as error:
            if not is_out_of_memory(error):
                raise
        if batch_size == 1:
            raise UserError(
                "out of memory with one prompt at a time; use a machine or device with more, "
                "or device=cpu"
            )
        batch_size //= 2
        if torch.cuda.is_available():
            torch.cuda.empty_cache()
        if on_retry:
            on_retry(batch_size)


def is_out_of_memory(error: BaseException) -> bool:
    """Whether an exception says that a device, or the machine, has no memory left."""
    words = ("not enough memory", "can't allocate memory")
    return isinstance(error, MemoryError | torch.OutOfMemoryError) or (
        isinstance(error, RuntimeError) and any(word in str(error) for word in words)
    )
