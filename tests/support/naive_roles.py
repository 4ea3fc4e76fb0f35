"""Head roles straight from their definitions, one head, position and source at a time: the oracle
of `circuitwatch.heads`.
"""

from __future__ import annotations

from math import ceil
from typing import Any

import torch
from torch import Tensor

from circuitwatch.heads.copy_suppression import SuppressionProbe
from circuitwatch.heads.successor import Succession
from circuitwatch.transformer import Transformer


def in_double(value: Any) -> Any:
    """A model (or any part of it) in float64."""
    if isinstance(value, Tensor):
        return value.double()
    if isinstance(value, tuple):
        return tuple(in_double(part) for part in value)
    if hasattr(value, "__dataclass_fields__"):
        return type(value)(
            **{
                name: in_double(getattr(value, name))
                for name, field in value.__dataclass_fields__.items()
                if field.init
            }
        )
    return value


def values_and_output(model: Transformer, layer: int, head: int) -> tuple[Tensor, Tensor, Tensor]:
    """W_V [d_model, d_head], b_V [d_head] and W_O [d_head, d_model] of one head, times the weight
    of the norm of what attention adds.
    """
    block = model.blocks[layer]
    attention, post = block.attention, block.attention_post
    group = head // attention.heads_per_group
    w_o = attention.W_O[head] if post is None else attention.W_O[head] * post.weight
    return attention.W_V[group], attention.b_V[group], w_o


def value_of(model: Transformer, layer: int, head: int, stream: Tensor) -> Tensor:
    """What one head moves from a place where the stream [d_model] is."""
    block = model.blocks[layer]
    w_v, b_v, _ = values_and_output(model, layer, head)
    norm, clip = block.attention_norm, block.attention.clip
    value = (stream if norm is None else norm(stream)) @ w_v + b_v
    return value if clip is None else value.clamp(-clip, clip)


def attention_score(
    model: Transformer, sequences: Tensor, length: int, distance: int, layer: int, head: int
) -> float:
    """Mean attention from each position of the second copy to the one `distance` before it."""
    pattern = model.attention_patterns(sequences)[layer, :, head]
    positions = range(sequences.shape[1] - length, sequences.shape[1])
    looks = [
        float(pattern[row, i, i - distance]) for row in range(len(sequences)) for i in positions
    ]
    return sum(looks) / len(looks)


def attention_sink(model: Transformer, pieces: Tensor, layer: int, head: int) -> float:
    """Mean attention from each later position to the first."""
    pattern = model.attention_patterns(pieces)[layer, :, head]
    looks = [float(row[i, 0]) for row in pattern for i in range(1, pieces.shape[1])]
    return sum(looks) / len(looks)


def name_mover(
    model: Transformer,
    tokens: Tensor,
    positions: Tensor,
    layer: int,
    head: int,
    sign: int,
    top: int = 5,
) -> float:
    """Share of names that are among the top tokens of what the head writes about them, times
    `sign`.
    """
    _, _, w_o = values_and_output(model, layer, head)
    cache = model.run(model.embed(tokens))
    stream = cache.attention_in[1] if model.n_layers > 1 else cache.final
    hits = []
    for prompt, places in enumerate(positions.tolist()):
        for place in places:
            value = value_of(model, layer, head, stream[prompt, place])
            logits = model.unembed(sign * (value @ w_o))
            hits.append(int((logits > logits[tokens[prompt, place]]).sum() < top))
    return sum(hits) / len(hits)


def successor(model: Transformer, lists: list[Succession], layer: int, head: int) -> float:
    """Share of items whose successor has the largest logit among the items of their list."""
    _, _, w_o = values_and_output(model, layer, head)
    first, right = model.blocks[0], []
    for succession in lists:
        for item, after in zip(succession.inputs, succession.successors, strict=True):
            word = model.W_E[item]
            word = word if model.embedding_norm is None else model.embedding_norm(word)
            read = word if first.mlp_norm is None else first.mlp_norm(word)
            enriched = first.mlp(read[None])[0]
            enriched = enriched if first.mlp_post is None else first.mlp_post(enriched)
            logits = model.unembed(value_of(model, layer, head, enriched) @ w_o)
            best = max(
                range(len(succession.targets)), key=lambda i: float(logits[succession.targets[i]])
            )
            right.append(best == int(after))
    return sum(right) / len(right)


def copy_suppression(
    model: Transformer, probe: SuppressionProbe, layer: int, head: int
) -> tuple[float, float, float]:
    """Score of one head, and the two KLs in nats that it comes from; in the precision of the
    model.
    """
    pieces, n_mean, first = probe.pieces, len(probe.pieces) // 2, int(probe.has_bos)
    cache, patterns = model.run(model.embed(pieces)), model.attention_patterns(pieces)
    _, _, w_o = values_and_output(model, layer, head)
    mean = torch.stack(
        [
            cache.z[layer][p, i, head] @ w_o
            for p in range(n_mean)
            for i in range(first, pieces.shape[1])
        ]
    ).mean(0)

    def direction(token: int) -> Tensor:
        u = model.W_U[:, token] * model.final_norm.weight
        u = u - u.mean() if model.final_norm.centred else u
        return u / u.norm()

    every = torch.stack([direction(token) for token in range(model.W_U.shape[1])])

    def semantic_set(token: int) -> list[int]:
        cosines = every @ every[token]
        others = sorted(
            (t for t in range(len(every)) if t != token), key=lambda t: -float(cosines[t])
        )
        return [token, *others[: probe.semantic_set - 1]]

    total_ablated, total_kept = 0.0, 0.0
    scales = cache.z_scale[layer]
    for p, d in zip(*(index.tolist() for index in probe.destinations()), strict=True):
        scale = 1.0 if scales is None else scales[p, d, 0]
        lens = model.unembed(cache.attention_in[layer][p, d])
        pairs = [(s, token) for s in range(d + 1) for token in semantic_set(int(pieces[p, s]))]
        pairs.sort(key=lambda pair: -float(lens[pair[1]]))  # a stable sort, as Python's is
        kept = pairs[: ceil(round(probe.predicted_share * len(pairs), 9))]
        suppressed = torch.zeros_like(mean)
        for s in range(d + 1):
            moved = patterns[layer, p, head, d, s] * (
                cache.values[layer][p, s, head] @ w_o / scale
            ) - mean / (d + 1)
            basis: list[Tensor] = []
            for token in [token for source, token in kept if source == s]:
                rest = every[token] - sum((every[token] @ q) * q for q in basis)
                if rest.norm() > 0.01:
                    basis.append(rest / rest.norm())
            for q in basis:
                suppressed = suppressed + torch.clamp(moved @ q, max=0) * q
        final, output = cache.final[p, d], cache.z[layer][p, d, head] @ w_o
        clean = model.unembed(final).log_softmax(-1)
        for replacement in (mean, mean + suppressed):
            changed = model.unembed(final - output + replacement).log_softmax(-1)
            divergence = float((clean.exp() * (clean - changed)).sum())
            if replacement is mean:
                total_ablated += divergence
            else:
                total_kept += divergence
    return max(0.0, min(1.0, 1 - total_kept / total_ablated)), total_ablated, total_kept
