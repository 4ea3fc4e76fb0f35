"""GPT-2: learned positions, sequential blocks."""

from __future__ import annotations

from typing import Any

from circuitwatch.checkpoints.architectures.entry import Architecture
from circuitwatch.checkpoints.architectures.reading import (
    assembled,
    copied,
    heads,
    mlp,
    norm,
)
from circuitwatch.components import Block
from circuitwatch.transformer import Transformer


def read(hf_model: Any) -> Transformer:
    """A GPT-2, among them Stanford's, which divide attention scores by the layer's number."""
    config, body = hf_model.config, hf_model.transformer
    d_head = config.hidden_size // config.num_attention_heads
    blocks = []
    for number, layer in enumerate(body.h, 1):
        at, like = layer.attn, body.wte.weight
        qkv, out, into, back = map(turned, (at.c_attn, at.c_proj, layer.mlp.c_fc, layer.mlp.c_proj))
        third = config.hidden_size
        q, k, v = zip(qkv[0].split(third), qkv[1].split(third), strict=True)
        scale = d_head**-0.5 if config.scale_attn_weights else 1.0
        scale /= number if config.scale_attn_by_inverse_layer_idx else 1
        blocks.append(
            Block(
                norm(layer.ln_1, like),
                heads(q, k, v, out, d_head=d_head, scale=scale),
                norm(layer.ln_2, like),
                mlp(into, back, config.activation_function),
            )
        )
    return assembled(
        hf_model,
        blocks,
        copied(body.wte.weight),
        norm(body.ln_f, body.wte.weight),
        W_pos=copied(body.wpe.weight),
    )


def turned(module: Any) -> tuple[Any, Any]:
    """Of GPT-2's own kind of linear layer, whose weight is [in, out]."""
    return module.weight.detach().T, copied(module.bias)


def refuse(config: Any) -> str | None:
    """Why a GPT-2 of this configuration can't be analysed."""
    if config.add_cross_attention:
        return "add_cross_attention=true: attention to another model's states is not supported"
    return None


ENTRIES = (Architecture("gpt2", "GPT2LMHeadModel", read, refuse),)
