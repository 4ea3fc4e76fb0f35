"""Falcon: parallel blocks behind one norm or two, or sequential ones; rotary positions or ALiBi;
one set of keys and values for all heads, for groups of them, or for each.
"""

from __future__ import annotations

from typing import Any

import torch

from circuitwatch.checkpoints.architectures.entry import Architecture
from circuitwatch.checkpoints.architectures.reading import (
    Weights,
    assembled,
    copied,
    heads,
    mlp,
    norm,
    positions_of,
    rotary,
    split_heads,
    weights,
)
from circuitwatch.components import Block
from circuitwatch.transformer import Transformer


def read(hf_model: Any) -> Transformer:
    """A Falcon."""
    from transformers.models.falcon.modeling_falcon import build_alibi_tensor

    config, body = hf_model.config, hf_model.transformer
    n_heads = config.num_attention_heads
    d_head, embedding = config.hidden_size // n_heads, body.word_embeddings.weight.detach()
    turn, alibi = None, None
    if config.alibi:
        every = torch.ones(1, positions_of(config), dtype=torch.long)
        alibi = build_alibi_tensor(every, n_heads, embedding.dtype)[:, 0] * d_head**-0.5
    else:
        turn = rotary(body.rotary_emb, config, embedding.dtype)
    blocks = []
    for layer in body.h:
        q, k, v = projections(weights(layer.self_attention.query_key_value), config, d_head)
        out = weights(layer.self_attention.dense)
        into, back = weights(layer.mlp.dense_h_to_4h), weights(layer.mlp.dense_4h_to_h)
        if hasattr(layer, "ln_attn"):
            first, second = norm(layer.ln_attn, embedding), norm(layer.ln_mlp, embedding)
        else:
            first = norm(layer.input_layernorm, embedding)
            second = (
                first if is_parallel(config) else norm(layer.post_attention_layernorm, embedding)
            )
        made = heads(q, k, v, out, d_head=d_head, scale=d_head**-0.5, rotary=turn, alibi=alibi)
        blocks.append(Block(first, made, second, mlp(into, back, config.activation)))
    return assembled(
        hf_model,
        blocks,
        copied(embedding),
        norm(body.ln_f, embedding),
        parallel=is_parallel(config),
    )


def projections(fused: Weights, config: Any, d_head: int) -> list[Weights]:
    """The maps to queries, keys and values, which lie side by side for each group of heads."""
    if not config.new_decoder_architecture and not config.multi_query:
        return split_heads(fused, 3, d_head)
    groups = config.num_kv_heads if config.new_decoder_architecture else 1
    shared = config.num_attention_heads // groups
    parts = split_heads(fused, shared + 2, d_head)  # of each place in a group: [group · d_head]
    weight = torch.stack([w.unflatten(0, (groups, d_head)) for w, _ in parts[:-2]], 1)
    bias = None
    if fused[1] is not None:
        given = [b.unflatten(0, (groups, d_head)) for _, b in parts[:-2] if b is not None]
        bias = torch.stack(given, 1).flatten()
    return [(weight.flatten(0, 2), bias), *parts[-2:]]


def is_parallel(config: Any) -> bool:
    """Whether the blocks are parallel."""
    return bool(config.new_decoder_architecture or config.parallel_attn)


ENTRIES = (Architecture("falcon", "FalconForCausalLM", read, is_parallel=is_parallel),)
