"""Every role of every head at one checkpoint, as one tidy table; the one place that knows which
roles are seen by observation, without a task's circuit.

A role that can't be measured with a tokenizer or a model is left out, with the reason: a score of 0
would say that it was.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd
import torch
from torch import Tensor

from circuitwatch.config import HeadsConfig
from circuitwatch.errors import UserError
from circuitwatch.heads.attention import attention_scores, repeated_pairs, repeated_segments
from circuitwatch.heads.copy_suppression import SuppressionProbe, copy_suppression
from circuitwatch.heads.copying import name_mover_scores
from circuitwatch.heads.intervals import Array, bootstrap_interval
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
SCREENING = 1024
"""Tokens of the vocabulary at each destination that are enough to tell a head without any copy
suppression.
"""
SHORTEST_TEXT = 8
"""Tokens of a piece of text below which copy suppression is not measured, as for heads.text_length.
"""


@dataclass(frozen=True)
class RoleProbes:
    """The inputs that roles are measured on; the same at every checkpoint.

    repeated [sequence, pos] ends in two copies of `length` tokens; names [prompt, pos] are IOI
    prompts with names at `name_positions` [prompt, 3], both None where there are none; lists may be
    empty; text is None where there is none. left_out: role → why this tokenizer does not allow it.
    pairs: prompts that the effect of previous-token heads is measured on, None where there are too
    few tokens. n_bootstrap, seed: of the scores' intervals.
    """

    repeated: Tensor
    length: int
    names: Tensor | None
    name_positions: Tensor | None
    lists: Sequence[Succession]
    text: SuppressionProbe | None
    left_out: dict[str, str]
    pairs: PromptSet | None = None
    n_bootstrap: int = 1000
    seed: int = 0

    @property
    def longest(self) -> int:
        """Tokens of the longest input; a model with a shorter context leaves roles out, or cuts
        texts.
        """
        inputs = [self.repeated, self.names, None if self.text is None else self.text.pieces]
        return max(tokens.shape[1] for tokens in inputs if tokens is not None)


@dataclass(frozen=True)
class RoleScores:
    """table: one row a role and head, columns role, layer, head, score in [0, 1], low and high;
    left_out: role → why it has no rows.

    low, high: the score's 95 % interval over sequences, items, prompts or pieces of text; missing
    where there is one of them only.
    """

    table: pd.DataFrame
    left_out: dict[str, str]


def role_probes(
    tokenizer: PreTrainedTokenizerBase, heads: HeadsConfig, *, seed: int, n_bootstrap: int = 1000
) -> RoleProbes:
    """Make the inputs with a model's tokenizer; words that it lacks leave roles out.

    Raises UserError for heads.length above the vocabulary's size, a heads.text that is missing, not
    UTF-8 or too short, and more text than the prose that comes with circuitwatch has.
    """
    left_out: dict[str, str] = {}
    special = set(tokenizer.all_special_ids)
    ordinary = torch.tensor([token for token in range(len(tokenizer)) if token not in special])
    repeated = repeated_segments(
        ordinary,
        length=heads.length,
        n_sequences=heads.n_sequences,
        bos_id=tokenizer.bos_token_id,
        seed=seed,
    )
    names = positions = text = None
    try:
        prompts = build_prompts("ioi", tokenizer, n_prompts=heads.n_prompts, seed=seed)
        names, positions = (
            prompts.clean,
            torch.stack([prompts.positions[name] for name in NAMES], dim=1),
        )
    except UserError as error:
        left_out |= dict.fromkeys(COPYING_ROLES, str(error).removeprefix("task=ioi: "))
    lists = successions(tokenizer)
    if not lists:
        left_out["successor"] = (
            "no list has two items in succession that are single tokens in this model's tokenizer"
        )
    try:
        pieces = text_pieces(
            tokenizer, n_texts=heads.n_texts, length=heads.text_length, path=heads.text, seed=seed
        )
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
    return RoleProbes(
        repeated, heads.length, names, positions, lists, text, left_out, pairs, n_bootstrap, seed
    )


def context_length(model: Transformer) -> int | None:
    """Positions that the model has, None where there is no bound."""
    if model.W_pos is not None:
        return len(model.W_pos)
    return None if model.rotary is None else len(model.rotary.cos)


def role_scores(model: Transformer, probes: RoleProbes) -> RoleScores:
    """Every role that this model and tokenizer allow."""
    left_out = dict(probes.left_out)
    scores: dict[str, Array] = {}
    intervals: dict[str, tuple[Array, Array]] = {}
    context = context_length(model)

    def fits(tokens: Tensor, what: str, *roles: str) -> bool:
        if context is None or tokens.shape[1] <= context:
            return True
        reason = f"{what} take {tokens.shape[1]} tokens, more than the model's context of {context}"
        left_out.update(dict.fromkeys(roles, reason))
        return False

    def mean(role: str, of_each: Tensor) -> None:
        """A score that is the mean of of_each [layer, head, unit]."""
        values = of_each.double().numpy()
        scores[role] = values.mean(-1)
        intervals[role] = bootstrap_interval(
            values, n_bootstrap=probes.n_bootstrap, seed=probes.seed
        )

    if fits(probes.repeated, "the repeated segments", *ATTENTION_ROLES):
        for role, of_each in attention_scores(model, probes.repeated, length=probes.length).items():
            mean(role, of_each)
    if probes.lists:
        if model.blocks[0].mlp.W_in.shape[1]:
            mean("successor", successor_scores(model, probes.lists))
        else:
            left_out["successor"] = "the first block has no MLP"
    names, positions = probes.names, probes.name_positions
    if (
        names is not None
        and positions is not None
        and fits(names, "the prompts with names", *COPYING_ROLES)
    ):
        for role, of_each in name_mover_scores(model, names, positions).items():
            mean(role, of_each)
    if probes.text is not None:
        if context is None or context > SHORTEST_TEXT:
            averted = copy_suppression(model, probes.text.cut(context))
            scores["copy_suppression"] = averted.scores().double().numpy()
            intervals["copy_suppression"] = averted.interval(
                n_bootstrap=probes.n_bootstrap, seed=probes.seed
            )
        else:
            left_out["copy_suppression"] = (
                f"the model's context of {context} tokens is too short for a piece of text"
            )
    layers, heads = np.divmod(np.arange(model.n_layers * model.n_heads), model.n_heads)
    tables = [
        pd.DataFrame(
            {
                "role": role,
                "layer": layers,
                "head": heads,
                "score": scores[role].flatten(),
                "low": intervals[role][0].flatten(),
                "high": intervals[role][1].flatten(),
            }
        )
        for role in ROLES
        if role in scores
    ]
    table = pd.concat(tables, ignore_index=True)
    return RoleScores(table, {role: left_out[role] for role in ROLES if role in left_out})
