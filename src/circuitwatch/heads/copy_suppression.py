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

import torch
from torch import Tensor

from circuitwatch.heads.checks import CUTOFFS
from circuitwatch.heads.divergence import Clean, Replaced, divergences, sampled_divergences
from circuitwatch.heads.intervals import Array, bootstrap_interval
from circuitwatch.heads.measuring import Inputs, Measuring, NotMeasurable, Score
from circuitwatch.heads.semantic_sets import Kept, Pairs
from circuitwatch.heads.text import SHORTEST_TEXT, pieces
from circuitwatch.transformer import ActivationCache, Transformer

SCREENING = 1024
"""Tokens of the vocabulary at each destination that are enough to tell a head without any copy
suppression.
"""
NO_EFFECT = 1e-10
"""Nats a destination: a mean ablation with a smaller effect is rounding, and the score 0."""
LOWEST_CUTOFF = CUTOFFS[0]
"""The lowest score from which a head is ever said to hold a role: the beginning of the band of
cut-offs.
"""
SCREENED_OUT = LOWEST_CUTOFF / 5
"""Score below which the estimate from some tokens of the vocabulary is left as it is."""
WORTH_IT = 8
"""Times as many tokens as are drawn that a vocabulary must have for the estimate to save anything.
"""


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


@dataclass(frozen=True)
class Run:
    """A checkpoint's pass over the pieces; piece, place [destination] index its cache."""

    model: Transformer
    cache: ActivationCache
    piece: Tensor
    place: Tensor


@torch.no_grad()
def copy_suppression(model: Transformer, probe: SuppressionProbe) -> Averted:
    """What every head averts, piece by piece of those that the effect is measured on."""
    cache = model.run(model.embed(probe.pieces.to(model.device)))
    run = Run(model, cache, *(index.to(model.device) for index in probe.destinations()))
    every = {
        layer: torch.arange(model.n_heads, device=model.device) for layer in range(model.n_layers)
    }
    if not 0 < WORTH_IT * probe.n_screen <= model.W_U.shape[1]:
        return _averted(run, probe, every)
    rough = _averted(run, probe, every, n_tokens=probe.n_screen)
    reach = (rough.scores() >= SCREENED_OUT).to(model.device)
    again = {layer: reach[layer].nonzero()[:, 0] for layer in every if reach[layer].any()}
    if not again:
        return rough
    whole = _averted(run, probe, again)
    chosen = reach.cpu()[:, :, None]
    return Averted(
        rough.ablated.where(~chosen, whole.ablated), rough.averted.where(~chosen, whole.averted)
    )


def _averted(
    run: Run, probe: SuppressionProbe, heads: Mapping[int, Tensor], *, n_tokens: int | None = None
) -> Averted:
    """Of some heads, layer → [head]; 0 for all others.

    n_tokens: estimated from so many; None: from all.
    """
    model, cache, piece, place = run.model, run.cache, run.piece, run.place
    pieces = probe.pieces.to(model.device)
    clean = Clean(model, cache.final[piece, place])
    pairs = Pairs(
        model,
        pieces[piece],
        place,
        semantic_set=probe.semantic_set,
        predicted_share=probe.predicted_share,
    )
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
            run, layer, chosen, mean_z, replace(kept, tokens=tokens), directions
        )
        moved = mean_z - cache.z[layer][piece, place][:, chosen]
        w_o = model.blocks[layer].writes[chosen]
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


def suppression(
    run: Run, layer: int, heads: Tensor, mean_z: Tensor, kept: Kept, directions: Tensor
) -> Tensor:
    """Σ_s P_s(r_s − μ) of some heads of a layer, as coefficients on the kept pairs' directions.

    Args:
        run: the pass over the pieces.
        layer: the layer.
        heads: which of its heads, [head].
        mean_z: the mean of what each one moves, [head, d_head].
        kept: the pairs at each destination; its tokens are rows of `directions`.
        directions: [token, d_model].

    Returns:
        [destination, head, pair].
    """
    cache, piece, place, block = run.cache, run.piece, run.place, run.model.blocks[layer]
    q, keys = cache.q[layer][piece, place][:, heads], cache.keys[layer][:, :, heads][piece]
    values = cache.values[layer][:, :, heads]
    products = torch.einsum("dhe,dkhe->dhk", q, keys)[:, :, None]
    sight = run.model.whole(keys.shape[1]).sights[layer].of_tokens(place)
    attention = block.attention.weigh(products, sight, heads)[:, :, 0]
    scale = cache.z_scale[layer]
    if scale is not None:  # what a head moves is divided as its output is
        attention = attention / scale[piece, place]
    attended = attention.gather(2, kept.sources[:, None].expand(-1, attention.shape[1], -1)).mT[
        ..., None
    ]
    moved = (
        attended * values[piece[:, None], kept.sources] - mean_z / (place + 1)[:, None, None, None]
    )
    through = torch.einsum("tm,hem->the", directions, block.writes[heads])
    components = (moved * through[kept.tokens]).sum(-1).mT  # [destination, head, pair]
    return (components @ kept.basis.mT).clamp(max=0) @ kept.basis
