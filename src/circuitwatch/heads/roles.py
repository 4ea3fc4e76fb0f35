"""Every role of every head at one checkpoint, as one tidy table; the one place that knows which roles are seen by observation, without a task's circuit.

A role that can't be measured with a tokenizer or a model is left out, with the reason: a score of 0 would say that it was.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import pandas as pd
import torch
from torch import Tensor

from circuitwatch.config import HeadsConfig
from circuitwatch.errors import UserError
from circuitwatch.heads.attention import attention_scores, repeated_pairs, repeated_segments
from circuitwatch.heads.copy_suppression import SuppressionProbe, copy_suppression_scores
from circuitwatch.heads.copying import name_mover_scores
from circuitwatch.heads.successor import Succession, successions, successor_scores
from circuitwatch.heads.text import Unencodable, text_pieces
from circuitwatch.tasks import PromptSet, build_prompts
from circuitwatch.transformer import Transformer

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

ATTENTION_ROLES = ("previous_token", "induction", "duplicate_token")
COPYING_ROLES = ("name_mover", "negative_name_mover")
ROLES = (*ATTENTION_ROLES, "successor", *COPYING_ROLES, "copy_suppression")
"""In the order of the table."""
NAMES = ("io", "s1", "s2")
SCREENING = 8
"""Destinations that are enough to tell a head without any copy suppression."""
SHORTEST_TEXT = 8
"""Tokens of a piece of text below which copy suppression is not measured, as for heads.text_length."""


@dataclass(frozen=True)
class RoleProbes:
    """The inputs that roles are measured on; the same at every checkpoint.

    repeated [sequence, pos] ends in two copies of `length` tokens; names [prompt, pos] are IOI prompts with names at `name_positions` [prompt, 3], both
    None where there are none; lists may be empty; text is None where there is none. left_out: role → why this tokenizer does not allow it. pairs: prompts
    that the effect of previous-token heads is measured on, None where there are too few tokens.
    """

    repeated: Tensor
    length: int
    names: Tensor | None
    name_positions: Tensor | None
    lists: Sequence[Succession]
    text: SuppressionProbe | None
    left_out: dict[str, str]
    pairs: PromptSet | None = None

    @property
    def longest(self) -> int:
        """Tokens of the longest input; a model with a shorter context leaves roles out, or cuts texts."""
        inputs = [self.repeated, self.names, None if self.text is None else self.text.pieces]
        return max(tokens.shape[1] for tokens in inputs if tokens is not None)


@dataclass(frozen=True)
class RoleScores:
    """table: one row a role and head, columns role, layer, head, score in [0, 1]; left_out: role → the reason why it has no rows."""

    table: pd.DataFrame
    left_out: dict[str, str]


def role_probes(tokenizer: PreTrainedTokenizerBase, heads: HeadsConfig, *, seed: int) -> RoleProbes:
    """Make the inputs with a model's tokenizer; words that it lacks leave roles out.

    Raises UserError for heads.length above the vocabulary's size, and a heads.text that is missing, not UTF-8 or too short.
    """
    left_out: dict[str, str] = {}
    special = set(tokenizer.all_special_ids)
    ordinary = torch.tensor([token for token in range(len(tokenizer)) if token not in special])
    repeated = repeated_segments(
        ordinary, length=heads.length, n_sequences=heads.n_sequences, bos_id=tokenizer.bos_token_id, seed=seed
    )
    names = positions = text = None
    try:
        prompts = build_prompts("ioi", tokenizer, n_prompts=heads.n_prompts, seed=seed)
        names, positions = prompts.clean, torch.stack([prompts.positions[name] for name in NAMES], dim=1)
    except UserError as error:
        left_out |= dict.fromkeys(COPYING_ROLES, str(error).removeprefix("task=ioi: "))
    lists = successions(tokenizer)
    if not lists:
        left_out["successor"] = "no list has two items in succession that are single tokens in this model's tokenizer"
    try:
        pieces = text_pieces(tokenizer, n_texts=heads.n_texts, length=heads.text_length, path=heads.text, seed=seed)
        text = SuppressionProbe(
            pieces,
            has_bos=tokenizer.bos_token_id is not None,
            n_destinations=heads.n_destinations,
            semantic_set=heads.semantic_set,
            predicted_share=heads.predicted_share,
            seed=seed,
            n_screen=SCREENING,
        )
    except Unencodable as error:
        left_out["copy_suppression"] = str(error)
    pairs = repeated_pairs(repeated, ordinary, length=heads.length, seed=seed)
    return RoleProbes(repeated, heads.length, names, positions, lists, text, left_out, pairs)


def context_length(model: Transformer) -> int | None:
    """Positions that the model has, None where there is no bound."""
    if model.W_pos is not None:
        return len(model.W_pos)
    return None if model.rotary is None else len(model.rotary.cos)


def role_scores(model: Transformer, probes: RoleProbes) -> RoleScores:
    """Every role that this model and tokenizer allow."""
    left_out = dict(probes.left_out)
    scores: dict[str, Tensor] = {}
    context = context_length(model)

    def fits(tokens: Tensor, what: str, *roles: str) -> bool:
        if context is None or tokens.shape[1] <= context:
            return True
        reason = f"{what} take {tokens.shape[1]} tokens, more than the model's context of {context}"
        left_out.update(dict.fromkeys(roles, reason))
        return False

    if fits(probes.repeated, "the repeated segments", *ATTENTION_ROLES):
        scores |= attention_scores(model, probes.repeated, length=probes.length)
    if probes.lists:
        if model.blocks[0].mlp.W_in.shape[1]:
            scores["successor"] = successor_scores(model, probes.lists)
        else:
            left_out["successor"] = "the first block has no MLP"
    names, positions = probes.names, probes.name_positions
    if names is not None and positions is not None and fits(names, "the prompts with names", *COPYING_ROLES):
        scores |= name_mover_scores(model, names, positions)
    if probes.text is not None:
        if context is None or context > SHORTEST_TEXT:
            scores["copy_suppression"] = copy_suppression_scores(model, probes.text.cut(context))
        else:
            left_out["copy_suppression"] = f"the model's context of {context} tokens is too short for a piece of text"
    rows = [
        (role, layer, head, float(scores[role][layer, head]))
        for role in ROLES
        if role in scores
        for layer in range(model.n_layers)
        for head in range(model.n_heads)
    ]
    table = pd.DataFrame(rows, columns=["role", "layer", "head", "score"])
    return RoleScores(table, {role: left_out[role] for role in ROLES if role in left_out})
