"""Copy suppression: heads that write against tokens which the model predicts and the head attends
to (CSPA of McDougall et al., arXiv 2310.04625).

A head's output at a destination is replaced in the final residual stream, once by its mean, once by
its mean and that part of what it wrote that suppresses predicted tokens. The score is the share of
the mean ablation's effect on the output distribution that this part averts:

    1 − KL(clean ‖ copy suppression only) / KL(clean ‖ mean ablation), each summed over
    destinations, clipped to [0, 1].

The part is Σ_s P_s(r_s − μ): r_s is what the head moves from source s to the destination, μ its
mean output over the number of sources, and P_s keeps the negative components along the
orthonormalised unembeddings of those tokens of s's semantic set that are kept. Kept are, of all
pairs of a source and a token of its set, the `predicted_share` that the residual stream before the
head predicts most (logit lens; ties go to the earlier source). In the paper the set holds the
tokens that the head itself suppresses most when it attends to s; a set picked by the head would fit
any head that writes against anything, so here it is the same for all: the token of s and those with
the nearest unembeddings.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from math import ceil

import torch
from torch import Tensor

from circuitwatch.heads.checks import CUTOFFS
from circuitwatch.heads.divergence import Clean, Replaced, divergences, sampled_divergences
from circuitwatch.heads.intervals import Array, bootstrap_interval
from circuitwatch.heads.measuring import Inputs, Measuring, NotMeasurable, Score
from circuitwatch.heads.text import SHORTEST_TEXT, pieces
from circuitwatch.transformer import ActivationCache, Norm, Transformer

SCREENING = 1024
"""Tokens of the vocabulary at each destination that are enough to tell a head without any copy
suppression.
"""
NO_EFFECT = 1e-10
"""Nats a destination: a mean ablation with a smaller effect is rounding, and the score 0."""
DEPENDENT = 1e-4
"""Squared length of what orthogonalisation leaves of a unit vector, below which it adds no
direction.
"""
LOWEST_CUTOFF = CUTOFFS[0]
"""The lowest score from which a head is ever said to hold a role: the beginning of the band of
cut-offs.
"""
SCREENED_OUT = LOWEST_CUTOFF / 5
"""Score below which the estimate from some tokens of the vocabulary is left as it is."""
WORTH_IT = 8
"""Times as many tokens as are drawn that a vocabulary must have for the estimate to save anything.
"""
COSINES = 2**24
"""Cosines between unembeddings that are in memory at a time."""


@dataclass(frozen=True)
class SuppressionProbe:
    """What copy suppression is measured on: pieces [piece, pos], the first half for the means; the
    options are those of `HeadsConfig`.

    n_screen: the scores of all heads are first estimated from so many tokens of the vocabulary at
    each destination (`sampled_divergences`), and taken from all tokens only for heads that reach
    `SCREENED_OUT`; 0, or a vocabulary less than `WORTH_IT` times as large: from all tokens at once.
    The destinations are the same: what few destinations would miss is not missed.
    """

    pieces: Tensor
    has_bos: bool
    n_destinations: int
    semantic_set: int
    predicted_share: float
    seed: int
    n_screen: int = 0

    def cut(self, context: int | None) -> SuppressionProbe:
        """The same with pieces that fit into a model's context."""
        return self if context is None else replace(self, pieces=self.pieces[:, :context])

    def destinations(self) -> tuple[Tensor, Tensor]:
        """Pieces and positions [destination] where the effect is measured, drawn from the second
        half; BOS is none of them.
        """
        n_mean, first = len(self.pieces) // 2, int(self.has_bos)
        width = self.pieces.shape[1] - first
        total = (len(self.pieces) - n_mean) * width
        drawn = torch.randperm(total, generator=torch.Generator().manual_seed(self.seed))[
            : self.n_destinations
        ]
        drawn = drawn.sort().values
        return n_mean + drawn // width, first + drawn % width


@dataclass(frozen=True)
class Averted:
    """KLs in nats of every head, summed over the destinations of each piece of text: float64
    [layer, head, piece], 0 for a head without any effect.

    ablated: of replacing the head by its mean; averted: how much less it is with the part that
    suppresses predicted tokens.
    """

    ablated: Tensor
    averted: Tensor

    def scores(self) -> Tensor:
        """[layer, head] in [0, 1]; 0 for a head whose mean ablation changes nothing."""
        total = self.ablated.sum(-1)
        share = self.averted.sum(-1) / total.where(total > 0, torch.ones_like(total))
        return share.clamp(0, 1).float()

    def interval(self, *, n_bootstrap: int, seed: int) -> tuple[Array, Array]:
        """Its 95 % interval over pieces, the means taken as they are: [layer, head] each."""
        low, high = bootstrap_interval(
            self.averted, n_bootstrap=n_bootstrap, seed=seed, over=self.ablated
        )
        return low.clip(0, 1), high.clip(0, 1)


def suppression_probe(inputs: Inputs) -> SuppressionProbe:
    """What the role is measured on: the pieces of `text.pieces`, which raises if there are none."""
    text, heads = inputs.of(pieces), inputs.heads
    return SuppressionProbe(
        text.tokens,
        has_bos=text.has_bos,
        n_destinations=heads.n_destinations,
        semantic_set=heads.semantic_set,
        predicted_share=heads.predicted_share,
        seed=inputs.seed,
        n_screen=SCREENING,
    )


def score(measuring: Measuring, probe: SuppressionProbe) -> Score:
    """Scores of the role with their intervals, on texts that are cut to the model's context."""
    if measuring.context is not None and measuring.context <= SHORTEST_TEXT:
        raise NotMeasurable(
            f"the model's context of {measuring.context} tokens is too short for a piece of text"
        )
    averted = copy_suppression(measuring.model, probe.cut(measuring.context))
    low, high = averted.interval(
        n_bootstrap=measuring.inputs.n_bootstrap, seed=measuring.inputs.seed
    )
    return Score(averted.scores().double().numpy(), low, high)


@torch.no_grad()
def copy_suppression(model: Transformer, probe: SuppressionProbe) -> Averted:
    """What every head averts, piece by piece of those that the effect is measured on."""
    cache = model.run(model.embed(probe.pieces.to(model.device)))
    piece, place = (index.to(model.device) for index in probe.destinations())
    every = {
        layer: torch.arange(model.n_heads, device=model.device) for layer in range(model.n_layers)
    }
    if not 0 < WORTH_IT * probe.n_screen <= model.W_U.shape[1]:
        return _averted(model, probe, cache, piece, place, every)
    rough = _averted(model, probe, cache, piece, place, every, n_tokens=probe.n_screen)
    reach = (rough.scores() >= SCREENED_OUT).to(model.device)
    again = {layer: reach[layer].nonzero()[:, 0] for layer in every if reach[layer].any()}
    if not again:
        return rough
    whole = _averted(model, probe, cache, piece, place, again)
    chosen = reach.cpu()[:, :, None]
    return Averted(
        rough.ablated.where(~chosen, whole.ablated), rough.averted.where(~chosen, whole.averted)
    )


def _averted(
    model: Transformer,
    probe: SuppressionProbe,
    cache: ActivationCache,
    piece: Tensor,
    place: Tensor,
    heads: Mapping[int, Tensor],
    *,
    n_tokens: int | None = None,
) -> Averted:
    """Of some heads, layer → [head], at destinations piece, place [destination]; 0 for all others.

    n_tokens: estimated from so many; None: from all.
    """
    pieces = probe.pieces.to(model.device)
    clean = Clean(model, cache.final[piece, place])
    pairs = Pairs(model, pieces[piece], place, probe)
    kept_pairs = [
        pairs.kept(model.final_norm(cache.attention_in[layer][piece, place])) for layer in heads
    ]
    # Most tokens are kept nowhere; their directions need not be unembedded.
    somewhere, rows = torch.stack([kept.tokens for kept in kept_pairs]).unique(return_inverse=True)
    directions = pairs.directions[somewhere]
    replaced = []
    for (layer, chosen), kept, tokens in zip(heads.items(), kept_pairs, rows, strict=True):
        mean_z = cache.z[layer][: len(pieces) // 2, int(probe.has_bos) :].mean((0, 1))[chosen]
        coefficients = suppression(
            model, layer, chosen, cache, mean_z, kept, tokens, directions, piece, place
        )
        moved = mean_z - cache.z[layer][piece, place][:, chosen]
        w_o = model.blocks[layer].attention.W_O[chosen]
        replaced.append(Replaced(clean, moved, w_o, coefficients, tokens, directions))
    units, unit_of = piece.cpu().unique(return_inverse=True)
    summed = torch.zeros(2, model.n_layers, model.n_heads, len(units), dtype=torch.float64)
    if n_tokens is None:
        every = divergences(clean, replaced, directions)
    else:
        every = sampled_divergences(clean, replaced, directions, n_tokens=n_tokens, seed=probe.seed)
    for (layer, chosen), nats in zip(heads.items(), every, strict=True):
        nats[:, :, nats[0].sum(0) <= NO_EFFECT * len(place)] = 0
        of_piece = torch.zeros(2, len(units), len(chosen), dtype=torch.float64).index_add(
            1, unit_of, nats
        )
        summed[:, layer, chosen.cpu()] = of_piece.mT
    ablated, suppressing = summed
    return Averted(ablated, ablated - suppressing)


@dataclass(frozen=True)
class Kept:
    """The pairs of a source and a token that are kept at each destination of one layer, the most
    predicted first.

    sources, tokens [destination, pair]: position of the source, row of the token in
    `Pairs.directions`. basis [destination, pair, pair]: row j holds, as coefficients on the pairs'
    directions, the j-th orthonormal direction, which pair j adds to those of its source; zeros
    where there is none.
    """

    sources: Tensor
    tokens: Tensor
    basis: Tensor


class Pairs:
    """All pairs of a source and a token of its semantic set, for every destination; directions
    [token, d_model] are of length 1, or 0.
    """

    def __init__(
        self, model: Transformer, tokens: Tensor, place: Tensor, probe: SuppressionProbe
    ) -> None:
        """Of the destinations' pieces, tokens [destination, pos], and places in them
        [destination].
        """
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
        counts = [
            ceil(probe.predicted_share * self.size * (index + 1) - 1e-9) for index in place.tolist()
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


def suppression(
    model: Transformer,
    layer: int,
    heads: Tensor,
    cache: ActivationCache,
    mean_z: Tensor,
    kept: Kept,
    tokens: Tensor,
    directions: Tensor,
    piece: Tensor,
    place: Tensor,
) -> Tensor:
    """Σ_s P_s(r_s − μ) of some heads [head] of a layer, as coefficients on the kept pairs'
    directions: [destination, head, pair].

    mean_z [head, d_head]; tokens [destination, pair]: rows of the kept tokens in directions [token,
    d_model]; piece, place [destination] index the cache.
    """
    q, keys = cache.q[layer][piece, place][:, heads], cache.keys[layer][:, :, heads][piece]
    values = cache.values[layer][:, :, heads]
    scores = torch.einsum("dhe,dkhe->dhk", q, keys) * model.attention_scale
    ahead = torch.arange(keys.shape[1], device=place.device) > place[:, None, None]
    attention = scores.masked_fill(ahead, float("-inf")).softmax(-1)
    attended = attention.gather(2, kept.sources[:, None].expand(-1, attention.shape[1], -1)).mT[
        ..., None
    ]
    moved = (
        attended * values[piece[:, None], kept.sources] - mean_z / (place + 1)[:, None, None, None]
    )
    through = torch.einsum("tm,hem->the", directions, model.blocks[layer].attention.W_O[heads])
    components = (moved * through[tokens]).sum(-1).mT  # [destination, head, pair]
    return (components @ kept.basis.mT).clamp(max=0) @ kept.basis
