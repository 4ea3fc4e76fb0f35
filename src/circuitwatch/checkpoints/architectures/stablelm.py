"""StableLM: partly rotary, gated MLPs, sequential blocks or parallel ones behind one norm."""

from __future__ import annotations

from typing import Any

from circuitwatch.checkpoints.architectures.entry import Architecture
from circuitwatch.checkpoints.architectures.reading import (
    assembled,
    copied,
    gated_mlp,
    head_norms,
    heads,
    norm,
    rotary,
    weights,
)
from circuitwatch.components import Block
from circuitwatch.transformer import Transformer


def read(hf_model: Any) -> Transformer:
    """A StableLM."""
    config, body = hf_model.config, hf_model.model
    embedding = body.embed_tokens.weight.detach()
    turn = rotary(body.rotary_emb, config, embedding.dtype)
    blocks = []
    for layer in body.layers:
        at, first = layer.self_attn, norm(layer.input_layernorm, embedding)
        norms = head_norms(at, config.num_attention_heads, called="layernorm")
        maps = map(weights, (at.q_proj, at.k_proj, at.v_proj, at.o_proj))
        made = heads(*maps, d_head=at.head_dim, scale=at.scaling, rotary=turn, **norms)
        second = first if is_parallel(config) else norm(layer.post_attention_layernorm, embedding)
        blocks.append(Block(first, made, second, gated_mlp(layer.mlp, config.hidden_act)))
    return assembled(
        hf_model,
        blocks,
        copied(embedding),
        norm(body.norm, embedding),
        parallel=is_parallel(config),
    )


def is_parallel(config: Any) -> bool:
    """Whether the blocks are parallel."""
    return bool(config.use_parallel_residual)


ENTRIES = (Architecture("stablelm", "StableLmForCausalLM", read, is_parallel=is_parallel),)
