"""Successor heads: heads that write the next item of an ordered list, Monday → Tuesday (Gould et
al., arXiv 2312.09230).

Each item's embedding goes through the first MLP, then through the head's values and output and the
unembedding. Among the tokens of the item's own list, is the largest logit that of its successor?
The score is the share of items for which it is.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from circuitwatch.encoding import ids_behind
from circuitwatch.heads.copying import head_writes
from circuitwatch.heads.measuring import Inputs, Measuring, NotMeasurable
from circuitwatch.lexicon import CYCLIC_SUCCESSIONS, SUCCESSIONS
from circuitwatch.transformer import Transformer

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase


@dataclass(frozen=True)
class Succession:
    """One list in token ids: `targets` [item] are its items, `inputs` [pair] those with a
    successor, whose place in `targets` is `successors` [pair].
    """

    targets: Tensor
    inputs: Tensor
    successors: Tensor


def lists(inputs: Inputs) -> tuple[Succession, ...]:
    """What the role is measured on. Raises NotMeasurable where there is no list."""
    found = tuple(successions(inputs.tokenizer))
    if not found:
        raise NotMeasurable(
            "no list has two items in succession that are single tokens in this model's tokenizer"
        )
    return found


def successor(measuring: Measuring, probe: Sequence[Succession]) -> Tensor:
    """Score of the role for each item: [layer, head, item]."""
    if not measuring.model.blocks[0].mlp.W_in.shape[1]:
        raise NotMeasurable("the first block has no MLP")
    return successor_scores(measuring.model, probe)


def successions(tokenizer: PreTrainedTokenizerBase) -> list[Succession]:
    """The lists of the lexicon as far as their items, with a leading space, are single tokens;
    lists with fewer than two pairs are left out.

    Days and months are cyclic: Sunday is followed by Monday.
    """
    found = []
    for name, words in SUCCESSIONS.items():
        encoded = [ids_behind(tokenizer, f" {word}") for word in words]
        single = [
            ids[0] if len(ids) == 1 and ids[0] != tokenizer.unk_token_id else None
            for ids in encoded
        ]
        follower = [*single[1:], single[0] if name in CYCLIC_SUCCESSIONS else None]
        pairs = [
            (item, after)
            for item, after in zip(single, follower, strict=True)
            if item is not None and after is not None
        ]
        targets = [item for item in single if item is not None]
        if len(pairs) >= 2:
            places = torch.tensor([targets.index(after) for _, after in pairs])
            found.append(
                Succession(torch.tensor(targets), torch.tensor([item for item, _ in pairs]), places)
            )
    return found


@torch.no_grad()
def successor_scores(model: Transformer, lists: Sequence[Succession]) -> Tensor:
    """Whether the head favours each item's successor, all lists one after another: 0 or 1 [layer,
    head, item] on the CPU; a head's score is their mean.

    Raises ValueError without lists.
    """
    if not lists:
        raise ValueError("no list has two single-token items that follow each other")
    first, device = model.blocks[0], model.device
    right = []
    for succession in lists:
        targets, successors = succession.targets.to(device), succession.successors.to(device)
        enriched = first.mlp(first.mlp_norm(model.W_E[succession.inputs.to(device)]))
        of_list = torch.zeros(model.n_layers, model.n_heads, len(successors))
        for layer in range(model.n_layers):
            written = model.final_norm(head_writes(model, layer, enriched))
            logits = written @ model.W_U[:, targets]  # [head, pair, target]
            logits = logits if model.b_U is None else logits + model.b_U[targets]
            of_list[layer] = (logits.argmax(-1) == successors).float().cpu()
        right.append(of_list)
    return torch.cat(right, 2)
