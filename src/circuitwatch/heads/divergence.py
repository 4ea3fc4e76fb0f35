"""How far replacing a head's output in the final residual stream moves the output distribution, for
all heads at many positions.

Logits are not computed anew, only how much they change, δ: KL(clean ‖ replaced) = log Σ P e^δ − Σ P
δ, where P is the clean distribution. With δ measured from its mean under P this is log(1 + Σ P (e^δ
− 1)), which does not lose small effects to cancellation. The mean needs no pass over the
vocabulary, since δ is linear in what changes behind the final norm. The vocabulary is gone through
in parts, so that no more than `CHUNK` numbers of δ are in memory.

Where the model caps its logits, what changes in them is no longer linear: δ is then computed from
the logits before and behind the cap, and its mean under P is summed beside e^δ − 1.

Nearly all the cost is in the vocabulary. Where a rough answer is enough, Σ P (e^δ − 1 − δ), which
is the same sum since Σ P δ = 0, is estimated by its mean over tokens drawn from P: every term is at
least 0 and of second order, so small effects are as well known as large ones.
"""

from __future__ import annotations

import torch
from torch import Tensor

from circuitwatch.heads.copying import fixed_logits
from circuitwatch.transformer import Transformer

LARGEST = 88.0
"""Nats that stand for a KL beyond what e^δ in float32 can tell."""
CHUNK = 2**20
"""Numbers of δ at a time: enough for matrix products to be efficient, few enough not to leave the
cache between operations.
"""
SMALLEST_PART = 256
"""Tokens of the vocabulary at least at a time."""


class Clean:
    """The run as it was, at the destinations: what the final norm reads and the distribution that
    comes of it.
    """

    def __init__(self, model: Transformer, stream: Tensor) -> None:
        """With the residual stream after the last block [destination, d_model]."""
        norm, self.cap = model.final_norm, model.logit_cap
        self.W_U, self.weight, self.is_centred = model.W_U, norm.weight, norm.centred
        standard, scale = norm.standardise(stream)
        self.stream, self.scale = (standard * scale)[:, None], scale[:, None]
        self.probabilities = model.unembed(stream).softmax(-1)
        unembedding = (self.probabilities @ model.W_U.T) * norm.weight
        self.mean_unembedding = unembedding[..., None]  # under P: [destination, d_model, 1]
        # Without the biases, which no replacement changes, and measured from their mean under P:
        # [destination, d_vocab].
        self.mean_logit = (standard * unembedding).sum(-1, keepdim=True)  # [destination, 1]
        self.logits = (standard * norm.weight) @ model.W_U - self.mean_logit
        if self.cap is not None:
            uncapped = self.logits + self.mean_logit + fixed_logits(model)
            self.squashed = (uncapped / self.cap).tanh()  # [destination, d_vocab]

    def centred(self, change: Tensor) -> Tensor:
        """What the final norm sees of a change of the residual stream [..., d_model]."""
        return change - change.mean(-1, keepdim=True) if self.is_centred else change

    def behind_cap(self, delta: Tensor, others: Tensor, squashed: Tensor) -> Tensor:
        """How much logits behind the cap change: float64, of the shape of delta.

        Args:
            delta: How much those before it do, measured from the mean under P, [..., destination,
                head, token].
            others: `Replaced.others_mean` or `others_part`, [..., destination, head, 2 or more].
            squashed: tanh(logit / cap) of the clean logits, [destination, 1, token].
        """
        assert self.cap is not None
        mean = others[..., :1] * self.mean_logit[:, None] - others[..., 1:2]
        moved = ((delta + mean).double() / self.cap).tanh()
        # tanh(a + b) − tanh(a) without its cancellation, where moved is tanh(b)
        return self.cap * moved * (1 - squashed.square()) / (1 + squashed * moved)


class Replaced:
    """Some heads of one layer replaced by their mean, and by their mean and a sum of directions.

    δ = shrink · (change @ W_U) + stretch · (clean logits) − mean, with shrink = 1 / (new scale) and
    stretch = (old scale) / (new scale) − 1.
    """

    def __init__(
        self,
        clean: Clean,
        moved: Tensor,
        w_o: Tensor,
        coefficients: Tensor,
        tokens: Tensor,
        directions: Tensor,
    ) -> None:
        """Mean z − z is `moved` [destination, head, d_head]; w_o [head, d_head, d_model].

        coefficients [destination, head, pair] are on the rows `tokens` [destination, pair] of
        directions [token, d_model], which are centred.
        """
        self.moved, self.tokens = moved, tokens
        self.change = change = clean.centred(torch.einsum("dhe,hem->dhm", moved, w_o))
        # What multiplies the heads' change, and what the clean logits, 1 and the directions:
        # [destination, head, 1] and [destination, head, 2 (+ pair)].
        self.shrink_mean, self.others_mean = _factors(clean, change)
        self.shrink_part, others = _factors(clean, change + coefficients @ directions[tokens])
        self.others_part = torch.cat([others, coefficients * self.shrink_part], -1)
        (n_destinations, _, d_head), d_model = moved.shape, w_o.shape[2]
        # What heads write lies in the d_head dimensions of W_O: where that is less work than every
        # destination's output, they are unembedded.
        self.through_heads = d_head * (d_model + n_destinations) < n_destinations * d_model
        self.rows = ((clean.centred(w_o) if self.through_heads else change) * clean.weight).flatten(
            0, 1
        )

    def unembedded(self, W_U: Tensor) -> Tensor:
        """What replacing by the mean changes, unembedded with a part of W_U: [destination, head,
        token].
        """
        n_destinations, n_heads, d_head = self.moved.shape
        product = self.rows @ W_U
        if self.through_heads:
            moved = self.moved.transpose(0, 1).contiguous()
            return (
                torch.bmm(moved, product.unflatten(0, (n_heads, d_head)))
                .transpose(0, 1)
                .contiguous()
            )
        return product.unflatten(0, (n_destinations, n_heads))


def _factors(clean: Clean, change: Tensor) -> tuple[Tensor, Tensor]:
    """For a centred change of what the final norm reads [destination, head, d_model]: shrink;
    stretch and −mean.
    """
    growth = (change * (2 * clean.stream + change)).mean(-1, keepdim=True)  # of the squared scale
    scale = (clean.scale.square() + growth).clamp(min=0).sqrt()
    stretch = -growth / (
        scale * (clean.scale + scale)
    )  # without the cancellation of old scale / new scale − 1
    return 1 / scale, torch.cat([stretch, -(change @ clean.mean_unembedding) / scale], -1)


def sampled_divergences(
    clean: Clean, layers: list[Replaced], directions: Tensor, *, n_tokens: int, seed: int
) -> list[Tensor]:
    """As `divergences`, from `n_tokens` drawn from the clean distribution at each destination, the
    same for every head and both replacements.
    """
    generator = torch.Generator().manual_seed(seed)
    drawn = torch.multinomial(
        clean.probabilities.cpu(), n_tokens, replacement=True, generator=generator
    )
    drawn = drawn.to(clean.W_U.device)
    columns = clean.weight[:, None] * clean.W_U[:, drawn].transpose(
        0, 1
    )  # [destination, d_model, token]
    logits = clean.logits.gather(1, drawn)
    fixed = torch.stack([logits, torch.ones_like(logits)], 1)
    found = []
    for replaced in layers:
        sources = torch.cat([fixed, directions[replaced.tokens] @ columns], 1)
        written = replaced.change @ columns
        by_mean = torch.baddbmm(written * replaced.shrink_mean, replaced.others_mean, fixed)
        by_part = torch.baddbmm(written * replaced.shrink_part, replaced.others_part, sources)
        if clean.cap is not None:
            squashed = clean.squashed.gather(1, drawn)[:, None]
            by_mean = clean.behind_cap(by_mean, replaced.others_mean, squashed)
            by_part = clean.behind_cap(by_part, replaced.others_part, squashed)
            by_mean = by_mean - by_mean.mean(-1, keepdim=True)
            by_part = by_part - by_part.mean(-1, keepdim=True)
        delta = torch.stack([by_mean, by_part]).double()
        grown = (delta.expm1() - delta).mean(-1).log1p()
        found.append(grown.nan_to_num(nan=LARGEST, posinf=LARGEST).cpu())
    return found


def divergences(clean: Clean, layers: list[Replaced], directions: Tensor) -> list[Tensor]:
    """KL in nats of replacing by the mean [0], and by the mean and the directions [1]: of each
    layer float64 [2, destination, head] on the CPU.
    """
    grown = [torch.zeros(2, *replaced.moved.shape[:2], dtype=torch.float64) for replaced in layers]
    means = [torch.zeros_like(x) for x in grown]  # of δ under P, where it is not measured from it
    vocabulary, weighted = clean.W_U.shape[1], directions * clean.weight
    size = max(SMALLEST_PART, CHUNK // max(of_layer[0].numel() for of_layer in grown))
    for start in range(0, vocabulary, size):
        part = slice(start, min(start + size, vocabulary))
        W_U, logits, probabilities = (
            clean.W_U[:, part],
            clean.logits[:, part],
            clean.probabilities[:, None, part],
        )
        fixed = torch.stack([logits, torch.ones_like(logits)], 1)
        of_directions = weighted @ W_U
        for replaced, of_layer, mean in zip(layers, grown, means, strict=True):
            written = replaced.unembedded(W_U)
            with_directions = torch.cat([fixed, of_directions[replaced.tokens]], 1)
            for kind, (shrink, others, sources) in enumerate(
                (
                    (replaced.shrink_mean, replaced.others_mean, fixed),
                    (replaced.shrink_part, replaced.others_part, with_directions),
                )
            ):
                delta = (written * shrink).baddbmm_(others, sources)
                if clean.cap is not None:
                    delta = clean.behind_cap(delta, others, clean.squashed[:, None, part])
                    mean[kind] += (delta * probabilities).sum(-1).cpu()
                of_layer[kind] += delta.expm1_().mul_(probabilities).sum(-1).cpu()
    # Where e^δ was too large, and perhaps P too small, for a number, the sum is infinite or none.
    nats = [x.log1p() - mean for x, mean in zip(grown, means, strict=True)]
    return [x.clamp(min=0).nan_to_num(nan=LARGEST, posinf=LARGEST) for x in nats]
