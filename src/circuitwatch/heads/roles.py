"""Every role of every head at one checkpoint, as one tidy table."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import pandas as pd
import torch
from torch import Tensor

from circuitwatch.heads.attention import attention_scores, repeated_segments
from circuitwatch.heads.copying import name_mover_scores
from circuitwatch.heads.successor import Succession, successions, successor_scores
from circuitwatch.tasks import build_prompts
from circuitwatch.transformer import Transformer

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

NAMES = ("io", "s1", "s2")


@dataclass(frozen=True)
class RoleProbes:
    """The inputs that roles are measured on; the same at every checkpoint.

    repeated [sequence, pos] ends in two copies of `length` tokens; names [prompt, pos] are IOI prompts with names at `name_positions` [prompt, 3].
    """

    repeated: Tensor
    length: int
    names: Tensor
    name_positions: Tensor
    lists: Sequence[Succession]


def role_probes(
    tokenizer: PreTrainedTokenizerBase, *, length: int, n_sequences: int, n_prompts: int, seed: int
) -> RoleProbes:
    """Make the inputs with a model's tokenizer. Raises UserError where its vocabulary lacks the words."""
    special = set(tokenizer.all_special_ids)
    ordinary = torch.tensor([token for token in range(len(tokenizer)) if token not in special])
    repeated = repeated_segments(
        ordinary, length=length, n_sequences=n_sequences, bos_id=tokenizer.bos_token_id, seed=seed
    )
    prompts = build_prompts("ioi", tokenizer, n_prompts=n_prompts, seed=seed)
    positions = torch.stack([prompts.positions[name] for name in NAMES], dim=1)
    return RoleProbes(repeated, length, prompts.clean, positions, successions(tokenizer))


def role_scores(model: Transformer, probes: RoleProbes) -> pd.DataFrame:
    """One row a role and head, columns role, layer, head, score."""
    scores = attention_scores(model, probes.repeated, length=probes.length)
    scores["successor"] = successor_scores(model, probes.lists)
    scores |= name_mover_scores(model, probes.names, probes.name_positions)
    rows = [
        (role, layer, head, float(table[layer, head]))
        for role, table in scores.items()
        for layer in range(model.n_layers)
        for head in range(model.n_heads)
    ]
    return pd.DataFrame(rows, columns=["role", "layer", "head", "score"])
