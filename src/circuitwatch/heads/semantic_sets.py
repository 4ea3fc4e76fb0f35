"""Which directions count as suppressing a token in copy suppression: those of its semantic set, the
token itself and those with the nearest unembeddings (CSPA of McDougall et al., arXiv 2310.04625).

Of all pairs of a source and a token of its set those are kept that the residual stream before a
head predicts most, by the logit lens; their directions are made orthonormal source by source.
"""

from __future__ import annotations

from dataclasses import dataclass
from math import ceil

import torch
from torch import Tensor

from circuitwatch.components import Norm
from circuitwatch.transformer import Transformer

DEPENDENT = 1e-4
"""Squared length of what orthogonalisation leaves of a unit vector, below which it adds no
direction.
"""
COSINES = 2**24
"""Cosines between unembeddings that are in memory at a time."""


@dataclass(frozen=True)
class Kept:
    """The pairs of a source and a token that are kept at each destination of one layer, the most
    predicted first.

    sources, tokens [destination, pair]: position of the source, row of the token in directions
    [token, d_model], at first `Pairs.directions`. basis [destination, pair, pair]: row j holds, as
    coefficients on the pairs' directions, the j-th orthonormal direction, which pair j adds to
    those of its source; zeros where there is none.
    """

    sources: Tensor
    tokens: Tensor
    basis: Tensor


class Pairs:
    """All pairs of a source and a token of its semantic set, for every destination; directions
    [token, d_model] are of length 1, or 0.
    """

    def __init__(
        self,
        model: Transformer,
        tokens: Tensor,
        place: Tensor,
        *,
        semantic_set: int,
        predicted_share: float,
    ) -> None:
        """Of the destinations' pieces, tokens [destination, pos], and places in them
        [destination]; the options are those of `HeadsConfig`.
        """
        present, which = tokens.unique(return_inverse=True)
        sets = semantic_sets(model, present, semantic_set)
        members, rows = sets.unique(return_inverse=True)
        self.directions = unit(unembeddings(model.final_norm, model.W_U[:, members].T))
        self.size = sets.shape[1]
        self.tokens = rows[which].flatten(1)  # [destination, pos · member]
        self.W_U = model.W_U[:, members]
        self.b_U = None if model.b_U is None else model.b_U[members]
        before = torch.arange(tokens.shape[1], device=place.device) <= place[:, None]
        self.allowed = before.repeat_interleave(self.size, 1)
        # A share like 0.05 has no exact binary form: 7 of 140 must not become 8.
        counts = [
            ceil(predicted_share * self.size * (index + 1) - 1e-9) for index in place.tolist()
        ]
        self.counts = torch.tensor(counts, device=place.device)

    def kept(self, normalised: Tensor) -> Kept:
        """By the logit lens on the residual stream before a layer's heads behind the final norm
        [destination, d_model].
        """
        logits = normalised @ self.W_U
        logits = logits if self.b_U is None else logits + self.b_U
        lens = logits.gather(1, self.tokens).masked_fill(~self.allowed, float("-inf"))
        best = lens.sort(dim=1, descending=True, stable=True).indices[:, : int(self.counts.max())]
        sources, tokens = best // self.size, self.tokens.gather(1, best)
        used = torch.arange(best.shape[1], device=best.device) < self.counts[:, None]
        return Kept(sources, tokens, orthonormal(self.directions[tokens], sources, used))


def unembeddings(norm: Norm, columns: Tensor) -> Tensor:
    """Directions in the residual stream before the final norm that raise tokens' logits, from their
    columns [..., d_model] of W_U.
    """
    weighted = columns * norm.weight
    return weighted - weighted.mean(-1, keepdim=True) if norm.centred else weighted


def unit(vectors: Tensor) -> Tensor:
    """Vectors [..., d_model] at length 1; those of length 0 stay."""
    length = vectors.norm(dim=-1, keepdim=True)
    return vectors / length.where(length > 0, torch.ones_like(length))


def semantic_sets(model: Transformer, tokens: Tensor, size: int) -> Tensor:
    """Each token [token] itself, then those whose unembeddings have the largest cosines with its
    own: [token, size], fewer where the vocabulary is smaller.
    """
    vocabulary = model.W_U.shape[1]
    own = unit(unembeddings(model.final_norm, model.W_U[:, tokens].T))
    cosines, members = (
        own.new_empty(len(tokens), 0),
        torch.empty(len(tokens), 0, dtype=torch.long, device=tokens.device),
    )
    step = max(size, COSINES // max(len(tokens), model.d_model))
    for start in range(0, vocabulary, step):
        others = torch.arange(start, min(start + step, vocabulary), device=tokens.device)
        found = own @ unit(unembeddings(model.final_norm, model.W_U[:, others].T)).T
        found[others == tokens[:, None]] = torch.inf
        cosines = torch.cat([cosines, found], 1)
        members = torch.cat([members, others.expand(len(tokens), -1)], 1)
        cosines, best = cosines.topk(min(size, cosines.shape[1]), dim=1)
        members = members.gather(1, best)
    return members


def orthonormal(directions: Tensor, sources: Tensor, used: Tensor) -> Tensor:
    """Gram–Schmidt on unit directions [destination, pair, d_model] in their order, among the used
    pairs [destination, pair] of each source: `Kept.basis`.
    """
    together = (sources[:, :, None] == sources[:, None]) & used[:, :, None] & used[:, None]
    products = (directions @ directions.mT) * together
    basis = torch.zeros_like(products)
    for pair in range(products.shape[1]):
        along = (
            basis @ products[:, :, pair, None]
        )  # the components along the directions found so far
        rest = -(along * basis).sum(1)
        rest[:, pair] += 1
        squared = products[:, pair, pair] - along.square().sum((1, 2))
        new = squared > DEPENDENT
        basis[:, pair] = (
            rest
            * torch.where(new, squared.clamp(min=DEPENDENT).rsqrt(), torch.zeros_like(squared))[
                :, None
            ]
        )
    return basis
