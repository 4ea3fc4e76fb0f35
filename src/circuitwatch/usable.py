"""Whether a model that is loaded can be measured: that it has room for the inputs, and that nothing
in it overflows.

Weights that have diverged may be finite all the same, and what is computed of them not. Where that
happens differs from one to the next, and they raise whatever numpy and PyTorch raise of NaN. So
only when something has gone wrong the model is asked whether it has diverged; if it has not, the
fault is ours and stays one.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor

from circuitwatch.checkpoints.unusable import DamagedWeights, Unusable
from circuitwatch.circuits.memory import is_out_of_memory
from circuitwatch.errors import UserError
from circuitwatch.record_files import CheckpointRecord
from circuitwatch.transformer import Transformer

if TYPE_CHECKING:
    from circuitwatch.tasks import PromptSet

BEYOND = 1e9
"""Activations that no model has which computes anything: float32 knows them to 64 only, and their
squares and products soon overflow.
"""
ROWS = 64
"""Inputs that a model is run on to see whether it has diverged."""


def require_room_for(model: Transformer, prompts: PromptSet, what: str) -> None:
    """`require_room` of prompts and of their corrupted twins."""
    require_room(model, prompts.clean, what)
    require_room(model, prompts.corrupted, what)


def require_room(model: Transformer, tokens: Tensor, what: str) -> None:
    """Raise Unusable if a model has no room for tokens [row, pos], or has not so many words; what:
    they are called so, in the plural.
    """
    known, largest = len(model.W_E), int(tokens.max())
    if largest >= known:
        raise Unusable(
            f"its vocabulary has {known} tokens, and the tokenizer gives number {largest} to one "
            f"of {what}: the tokenizer is of another model"
        )
    context, length = model.context_length, tokens.shape[1]
    if context is not None and length > context:
        raise Unusable(
            f"its context of {context} tokens is too short for {what}, of up to {length}; choose "
            f"a task with shorter ones"
        )


def require_shape(model: Transformer, shape: tuple[int, int]) -> None:
    """Raise Unusable for a model that has not so many layers, and heads a layer, as the others."""
    own = (model.n_layers, model.n_heads)
    if own != shape:
        raise Unusable(
            f"it has {own[0]} layers of {own[1]} heads, the cell's model {shape[0]} of {shape[1]}: "
            f"it is a checkpoint of another model"
        )


@contextmanager
def unless_diverged(model: Transformer, tokens: Tensor) -> Iterator[None]:
    """Turn what is raised inside into DamagedWeights where the model has diverged on tokens [row,
    pos]; else it stays what it is.
    """
    try:
        yield
    except UserError:
        raise
    except Exception as error:
        if is_out_of_memory(error):
            raise
        if (reached := largest_activation(model, tokens[:ROWS])) <= BEYOND:
            raise
        much = f"reach {reached:.2g}" if math.isfinite(reached) else "overflow to infinity"
        raise DamagedWeights(
            f"its activations {much}, though its weights are finite: the training has diverged"
        ) from error


@torch.no_grad()
def largest_activation(model: Transformer, tokens: Tensor) -> float:
    """The largest magnitude in the residual stream, of what is added to it, and of the logits;
    infinite where any is no number.
    """
    cache = model.run(model.embed(tokens.to(model.device)))
    streams = [*cache.attention_in, *cache.mlp_in, *cache.mlp_out, *cache.z, cache.final]
    largest = [float(stream.abs().max()) for stream in [*streams, model.unembed(cache.final)]]
    return max(value if math.isfinite(value) else math.inf for value in largest)


def require_finite(record: CheckpointRecord) -> None:
    """Raise FloatingPointError if a record says what is no number: a scalar, a prompt's metric, or
    an edge's score.
    """
    for name, value in record.scalars.items():
        if isinstance(value, float) and not math.isfinite(value):
            raise FloatingPointError(f"{name} at step {record.step} is {value}")
    for column in ("value", "corrupted"):
        if not np.isfinite(record.prompts[column].to_numpy(dtype=float)).all():
            raise FloatingPointError(f"{column} of a prompt at step {record.step} is no number")
    if record.scores is not None and not np.isfinite(record.scores).all():
        raise FloatingPointError(f"an edge's score at step {record.step} is no number")
