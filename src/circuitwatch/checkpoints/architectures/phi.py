"""Phi (1, 1.5, 2): parallel blocks behind one norm, biases everywhere, partly rotary."""

from __future__ import annotations

from typing import Any

from circuitwatch.checkpoints.architectures.entry import Architecture
from circuitwatch.checkpoints.architectures.reading import (
    copied,
    head_norm,
    heads,
    mlp,
    norm,
    rotary,
    unembedding,
    weights,
)
from circuitwatch.components import Block
from circuitwatch.transformer import Transformer


def read(hf_model: Any) -> Transformer:
    """A Phi."""
    config, body = hf_model.config, hf_model.model
    embedding = body.embed_tokens.weight.detach()
    turn = rotary(body.rotary_emb, config, embedding.dtype)
    blocks = []
    for layer in body.layers:
        at, only = layer.self_attn, norm(layer.input_layernorm, embedding)
        q_norm, k_norm = (
            head_norm(module, config.num_attention_heads, at.head_dim)
            if config.qk_layernorm
            else None
            for module in (getattr(at, "q_layernorm", None), getattr(at, "k_layernorm", None))
        )
        maps = map(weights, (at.q_proj, at.k_proj, at.v_proj, at.dense))
        made = heads(
            *maps, d_head=at.head_dim, scale=at.scaling, rotary=turn, q_norm=q_norm, k_norm=k_norm
        )
        into, back = weights(layer.mlp.fc1), weights(layer.mlp.fc2)
        blocks.append(Block(only, made, only, mlp(into, back, config.hidden_act)))
    w_u, b_u = unembedding(hf_model)
    return Transformer(
        blocks=tuple(blocks),
        W_E=copied(embedding),
        W_pos=None,
        final_norm=norm(body.final_layernorm, embedding),
        W_U=w_u,
        b_U=b_u,
        parallel=True,
    )


def is_parallel(_: Any) -> bool:
    """All are."""
    return True


ENTRIES = (Architecture("phi", "PhiForCausalLM", read, is_parallel=is_parallel),)
