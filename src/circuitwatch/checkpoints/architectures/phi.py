"""Phi (1, 1.5, 2): parallel blocks behind one norm, biases everywhere, partly rotary."""

from __future__ import annotations

from typing import Any

from circuitwatch.checkpoints.architectures.entry import Architecture, always
from circuitwatch.checkpoints.architectures.reading import (
    assembled,
    copied,
    head_norms,
    heads,
    mlp,
    norm,
    rotary,
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
        norms = head_norms(at, config.num_attention_heads, called="layernorm")
        maps = map(weights, (at.q_proj, at.k_proj, at.v_proj, at.dense))
        made = heads(*maps, d_head=at.head_dim, scale=at.scaling, rotary=turn, **norms)
        into, back = weights(layer.mlp.fc1), weights(layer.mlp.fc2)
        blocks.append(Block(only, made, only, mlp(into, back, config.hidden_act)))
    return assembled(
        hf_model, blocks, copied(embedding), norm(body.final_layernorm, embedding), parallel=True
    )


ENTRIES = (Architecture("phi", "PhiForCausalLM", read, is_parallel=always),)
