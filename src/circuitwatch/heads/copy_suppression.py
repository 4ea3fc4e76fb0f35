"""Copy suppression: heads that write against tokens which the model predicts and the head attends to (CSPA of McDougall et al., arXiv 2310.04625).

A head's output at a destination is replaced in the final residual stream, once by its mean, once by its mean and that part of what it wrote that suppresses
predicted tokens. The score is the share of the mean ablation's effect on the output distribution that this part averts:

    1 − KL(clean ‖ copy suppression only) / KL(clean ‖ mean ablation), each summed over destinations, clipped to [0, 1].

The part is Σ_s P_s(r_s − μ): r_s is what the head moves from source s to the destination, μ its mean output over the number of sources, and P_s keeps the
negative components along the orthonormalised unembeddings of those tokens of s's semantic set that are kept. Kept are, of all pairs of a source and a token
of its set, the `predicted_share` that the residual stream before the head predicts most (logit lens; ties go to the earlier source). In the paper the set
holds the tokens that the head itself suppresses most when it attends to s; a set picked by the head would fit any head that writes against anything, so
here it is the same for all: the token of s and those with the nearest unembeddings.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from math import ceil

import torch
from torch import Tensor

from circuitwatch.heads.divergence import Clean, Replaced, divergences
from circuitwatch.transformer import Norm, Trace, Transformer

NO_EFFECT = 1e-10
"""Nats a destination: a mean ablation with a smaller effect is rounding, and the score 0."""
DEPENDENT = 1e-4
"""Squared length of what orthogonalisation leaves of a unit vector, below which it adds no direction."""
COSINES = 2**24
"""Cosines between unembeddings that are in memory at a time."""


@dataclass(frozen=True)
class SuppressionProbe:
    """What copy suppression is measured on: pieces [piece, pos], the first half for the means; the options are those of `HeadsConfig`."""

    pieces: Tensor
    has_bos: bool
    n_destinations: int
    semantic_set: int
    predicted_share: float
    seed: int

    def cut(self, context: int | None) -> SuppressionProbe:
        """The same with pieces that fit into a model's context."""
        return self if context is None else replace(self, pieces=self.pieces[:, :context])

    def destinations(self) -> tuple[Tensor, Tensor]:
        """Pieces and positions [destination] where the effect is measured, drawn from the second half; BOS is none of them."""
        n_mean, first = len(self.pieces) // 2, int(self.has_bos)
        width = self.pieces.shape[1] - first
        total = (len(self.pieces) - n_mean) * width
        drawn = torch.randperm(total, generator=torch.Generator().manual_seed(self.seed))[: self.n_destinations]
        drawn = drawn.sort().values
        return n_mean + drawn // width, first + drawn % width


@torch.no_grad()
def copy_suppression_scores(model: Transformer, probe: SuppressionProbe) -> Tensor:
    """Scores [layer, head] in [0, 1] on the CPU; 0 for a head whose mean ablation changes nothing."""
    pieces = probe.pieces.to(model.device)
    piece, place = (index.to(model.device) for index in probe.destinations())
    trace = model.run(model.embed(pieces))
    clean = Clean(model, trace.final[piece, place])
    pairs = Pairs(model, pieces[piece], place, probe)
    kept_pairs = [pairs.kept(model.final_norm(stream[piece, place])) for stream in trace.attention_in]
    # Most tokens are kept nowhere; their directions need not be unembedded.
    somewhere, rows = torch.stack([kept.tokens for kept in kept_pairs]).unique(return_inverse=True)
    directions = pairs.directions[somewhere]
    replaced = []
    for layer, (kept, tokens) in enumerate(zip(kept_pairs, rows, strict=True)):
        mean_z = trace.z[layer][: len(pieces) // 2, int(probe.has_bos) :].mean((0, 1))
        coefficients = suppression(model, layer, trace, mean_z, kept, tokens, directions, piece, place)
        moved = mean_z - trace.z[layer][piece, place]
        replaced.append(Replaced(clean, moved, model.blocks[layer].attention.W_O, coefficients, tokens, directions))
    ablated, suppressing = divergences(clean, replaced, directions)
    effective = ablated > NO_EFFECT * len(place)
    averted = 1 - suppressing / ablated.where(effective, torch.ones_like(ablated))
    return averted.where(effective, torch.zeros_like(averted)).clamp(0, 1).float()


@dataclass(frozen=True)
class Kept:
    """The pairs of a source and a token that are kept at each destination of one layer, the most predicted first.

    sources, tokens [destination, pair]: position of the source, row of the token in `Pairs.directions`. basis [destination, pair, pair]: row j holds, as
    coefficients on the pairs' directions, the j-th orthonormal direction, which pair j adds to those of its source; zeros where there is none.
    """

    sources: Tensor
    tokens: Tensor
    basis: Tensor


class Pairs:
    """All pairs of a source and a token of its semantic set, for every destination; directions [token, d_model] are of length 1, or 0."""

    def __init__(self, model: Transformer, tokens: Tensor, place: Tensor, probe: SuppressionProbe) -> None:
        """Of the destinations' pieces, tokens [destination, pos], and places in them [destination]."""
        present, which = tokens.unique(return_inverse=True)
        sets = semantic_sets(model, present, probe.semantic_set)
        members, rows = sets.unique(return_inverse=True)
        self.directions = unit(unembeddings(model.final_norm, model.W_U[:, members].T))
        self.size = sets.shape[1]
        self.tokens = rows[which].flatten(1)  # [destination, pos · member]
        self.W_U = model.W_U[:, members]
        self.b_U = None if model.b_U is None else model.b_U[members]
        before = torch.arange(tokens.shape[1], device=place.device) <= place[:, None]
        self.allowed = before.repeat_interleave(self.size, 1)
        # A share like 0.05 has no exact binary form: 7 of 140 must not become 8.
        counts = [ceil(probe.predicted_share * self.size * (index + 1) - 1e-9) for index in place.tolist()]
        self.counts = torch.tensor(counts, device=place.device)

    def kept(self, normalised: Tensor) -> Kept:
        """By the logit lens on the residual stream before a layer's heads behind the final norm [destination, d_model]."""
        logits = normalised @ self.W_U
        logits = logits if self.b_U is None else logits + self.b_U
        lens = logits.gather(1, self.tokens).masked_fill(~self.allowed, float("-inf"))
        best = lens.sort(dim=1, descending=True, stable=True).indices[:, : int(self.counts.max())]
        sources, tokens = best // self.size, self.tokens.gather(1, best)
        used = torch.arange(best.shape[1], device=best.device) < self.counts[:, None]
        return Kept(sources, tokens, orthonormal(self.directions[tokens], sources, used))


def unembeddings(norm: Norm, columns: Tensor) -> Tensor:
    """Directions in the residual stream before the final norm that raise tokens' logits, from their columns [..., d_model] of W_U."""
    weighted = columns * norm.weight
    return weighted - weighted.mean(-1, keepdim=True) if norm.centred else weighted


def unit(vectors: Tensor) -> Tensor:
    """Vectors [..., d_model] at length 1; those of length 0 stay."""
    length = vectors.norm(dim=-1, keepdim=True)
    return vectors / length.where(length > 0, torch.ones_like(length))


def semantic_sets(model: Transformer, tokens: Tensor, size: int) -> Tensor:
    """Each token [token] itself, then those whose unembeddings have the largest cosines with its own: [token, size], fewer where the vocabulary is smaller."""
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
    """Gram–Schmidt on unit directions [destination, pair, d_model] in their order, among the used pairs [destination, pair] of each source: `Kept.basis`."""
    together = (sources[:, :, None] == sources[:, None]) & used[:, :, None] & used[:, None]
    products = (directions @ directions.mT) * together
    basis = torch.zeros_like(products)
    for pair in range(products.shape[1]):
        along = basis @ products[:, :, pair, None]  # the components along the directions found so far
        rest = -(along * basis).sum(1)
        rest[:, pair] += 1
        squared = products[:, pair, pair] - along.square().sum((1, 2))
        new = squared > DEPENDENT
        basis[:, pair] = (
            rest * torch.where(new, squared.clamp(min=DEPENDENT).rsqrt(), torch.zeros_like(squared))[:, None]
        )
    return basis


def suppression(
    model: Transformer,
    layer: int,
    trace: Trace,
    mean_z: Tensor,
    kept: Kept,
    tokens: Tensor,
    directions: Tensor,
    piece: Tensor,
    place: Tensor,
) -> Tensor:
    """Σ_s P_s(r_s − μ) of every head of a layer, as coefficients on the kept pairs' directions: [destination, head, pair].

    mean_z [head, d_head]; tokens [destination, pair]: rows of the kept tokens in directions [token, d_model]; piece, place [destination] index the trace.
    """
    q, keys, values = trace.q[layer][piece, place], trace.keys[layer][piece], trace.values[layer]
    scores = torch.einsum("dhe,dkhe->dhk", q, keys) * model.attention_scale
    ahead = torch.arange(keys.shape[1], device=place.device) > place[:, None, None]
    attention = scores.masked_fill(ahead, float("-inf")).softmax(-1)
    attended = attention.gather(2, kept.sources[:, None].expand(-1, attention.shape[1], -1)).mT[..., None]
    moved = attended * values[piece[:, None], kept.sources] - mean_z / (place + 1)[:, None, None, None]
    through = torch.einsum("tm,hem->the", directions, model.blocks[layer].attention.W_O)
    components = (moved * through[tokens]).sum(-1).mT  # [destination, head, pair]
    return (components @ kept.basis.mT).clamp(max=0) @ kept.basis
