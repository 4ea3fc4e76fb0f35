"""How many tokens a Trainer has seen: as it counts them itself, or from its steps where all of
them have the same number.
"""

from __future__ import annotations

import random
from collections.abc import Sized
from typing import Any

import numpy as np
import torch

from circuitwatch.errors import UserError

SAMPLED = 16
"""Items of the training data whose length is looked at."""
GENERATORS = (random.Random, np.random.Generator, np.random.RandomState, torch.Generator)


def tokens_per_step(args: Any, state: Any, train_dataloader: Any) -> int:
    """Training tokens of one optimiser step, from the batch size and the length that all items of
    the training data have.

    Args:
        args: the Trainer's TrainingArguments.
        state: its TrainerState.
        train_dataloader: its training data.

    Raises:
        UserError: the length can't be known, or isn't the same for all.
    """
    batch = state.train_batch_size or args.train_batch_size
    length = _block_length(getattr(train_dataloader, "dataset", None))
    if length is None:
        raise UserError(
            "how many tokens a training step has can't be seen in the training data: give "
            "CircuitwatchCallback(tokens_per_step=…), or TrainingArguments("
            "include_num_input_tokens_seen='all')"
        )
    return int(batch * args.gradient_accumulation_steps * args.world_size * length)


def _block_length(data: Any) -> int | None:
    """Tokens of every item; None where that can't be known, or where looking at items could change
    what the training gets.
    """
    if not isinstance(data, Sized) or not hasattr(data, "__getitem__") or not len(data):
        return None
    if any(isinstance(part, GENERATORS) for part in getattr(data, "__dict__", {}).values()):
        return None
    places = np.unique(np.linspace(0, len(data) - 1, min(SAMPLED, len(data))).astype(int))
    try:
        lengths = {_length(data[int(place)]) for place in places}
    except (LookupError, TypeError, ValueError):
        return None
    return lengths.pop() if len(lengths) == 1 else None


def _length(item: Any) -> int | None:
    """Tokens of an item: a dictionary with input_ids, or a tuple or tensor of them."""
    if isinstance(item, dict):
        item = item["input_ids"]
    elif isinstance(item, tuple):
        item = item[0]
    return len(item) if isinstance(item, Sized) else None
