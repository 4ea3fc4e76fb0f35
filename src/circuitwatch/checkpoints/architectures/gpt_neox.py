"""GPT-NeoX, and with it Pythia: rotary positions, parallel blocks unless configured otherwise."""

from __future__ import annotations

from typing import Any

from circuitwatch.checkpoints.architectures.entry import Architecture
from circuitwatch.checkpoints.architectures.reading import (
    assembled,
    copied,
    heads,
    mlp,
    norm,
    rotary,
    split_heads,
    weights,
)
from circuitwatch.components import Block
from circuitwatch.transformer import Transformer


def read(hf_model: Any) -> Transformer:
    """A GPT-NeoX."""
    config, body = hf_model.config, hf_model.gpt_neox
    d_head = config.hidden_size // config.num_attention_heads
    embedding = body.embed_in.weight.detach()
    turn = rotary(body.rotary_emb, config, embedding.dtype)
    blocks = []
    for layer in body.layers:
        q, k, v = split_heads(weights(layer.attention.query_key_value), 3, d_head)
        out = weights(layer.attention.dense)
        blocks.append(
            Block(
                norm(layer.input_layernorm, embedding),
                heads(q, k, v, out, d_head=d_head, scale=d_head**-0.5, rotary=turn),
                norm(layer.post_attention_layernorm, embedding),
                mlp(
                    weights(layer.mlp.dense_h_to_4h),
                    weights(layer.mlp.dense_4h_to_h),
                    config.hidden_act,
                ),
            )
        )
    return assembled(
        hf_model,
        blocks,
        copied(embedding),
        norm(body.final_layer_norm, embedding),
        parallel=is_parallel(config),
    )


def is_parallel(config: Any) -> bool:
    """Whether the blocks are parallel."""
    return bool(config.use_parallel_residual)


ENTRIES = (Architecture("gpt_neox", "GPTNeoXForCausalLM", read, is_parallel=is_parallel),)
