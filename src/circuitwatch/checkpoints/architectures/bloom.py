"""BLOOM: ALiBi for positions, a norm of the embedding, sequential blocks."""

from __future__ import annotations

from typing import Any

import torch

from circuitwatch.checkpoints.architectures.entry import Architecture
from circuitwatch.checkpoints.architectures.reading import (
    MAX_POSITIONS,
    assembled,
    copied,
    heads,
    mlp,
    norm,
    split_heads,
    weights,
)
from circuitwatch.components import Block
from circuitwatch.transformer import Transformer


def read(hf_model: Any) -> Transformer:
    """A BLOOM."""
    from transformers.models.bloom.modeling_bloom import bloom_gelu_forward

    config, body = hf_model.config, hf_model.transformer
    d_head = config.hidden_size // config.num_attention_heads
    embedding = body.word_embeddings.weight.detach()
    every = torch.ones(1, MAX_POSITIONS)
    alibi = body.build_alibi_tensor(every, config.num_attention_heads, embedding.dtype)[:, 0]
    blocks = []
    for layer in body.h:
        q, k, v = split_heads(weights(layer.self_attention.query_key_value), 3, d_head)
        out = weights(layer.self_attention.dense)
        blocks.append(
            Block(
                norm(layer.input_layernorm, embedding),
                heads(q, k, v, out, d_head=d_head, scale=d_head**-0.5, alibi=alibi),
                norm(layer.post_attention_layernorm, embedding),
                mlp(
                    weights(layer.mlp.dense_h_to_4h),
                    weights(layer.mlp.dense_4h_to_h),
                    bloom_gelu_forward,
                ),
            )
        )
    return assembled(
        hf_model,
        blocks,
        copied(embedding),
        norm(body.ln_f, embedding),
        embedding_norm=norm(body.word_embeddings_layernorm, embedding),
    )


def refuse(config: Any) -> str | None:
    """Why a BLOOM of this configuration can't be analysed."""
    if config.apply_residual_connection_post_layernorm:
        return (
            "apply_residual_connection_post_layernorm=true: a residual stream that is normalised "
            "is not supported"
        )
    return None


ENTRIES = (Architecture("bloom", "BloomForCausalLM", read, refuse),)
