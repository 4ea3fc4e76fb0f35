"""GPT-Neo: learned positions, layers in turn that attend to all and to a window, scores that are
not scaled.
"""

from __future__ import annotations

from typing import Any

from circuitwatch.checkpoints.architectures.entry import Architecture
from circuitwatch.checkpoints.architectures.reading import (
    assembled,
    copied,
    heads,
    mlp,
    norm,
    weights,
)
from circuitwatch.components import Block
from circuitwatch.transformer import Transformer


def read(hf_model: Any) -> Transformer:
    """A GPT-Neo."""
    config, body = hf_model.config, hf_model.transformer
    d_head = config.hidden_size // config.num_attention_heads
    embedding = body.wte.weight.detach()
    blocks = []
    for layer, kind in zip(body.h, config.attention_layers, strict=True):
        at = layer.attn.attention
        maps = map(weights, (at.q_proj, at.k_proj, at.v_proj, at.out_proj))
        window = config.window_size if kind == "local" else None
        blocks.append(
            Block(
                norm(layer.ln_1, embedding),
                heads(*maps, d_head=d_head, scale=1.0, window=window),
                norm(layer.ln_2, embedding),
                mlp(weights(layer.mlp.c_fc), weights(layer.mlp.c_proj), config.activation_function),
            )
        )
    return assembled(
        hf_model,
        blocks,
        copied(embedding),
        norm(body.ln_f, embedding),
        W_pos=copied(body.wpe.weight),
    )


ENTRIES = (Architecture("gpt_neo", "GPTNeoForCausalLM", read),)
