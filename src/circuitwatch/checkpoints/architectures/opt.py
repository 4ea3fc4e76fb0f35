"""OPT: learned positions, of which the first two stand for none, and sequential blocks."""

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
    """An OPT."""
    config, body = hf_model.config, hf_model.model.decoder
    d_head = config.hidden_size // config.num_attention_heads
    embedding = body.embed_tokens.weight.detach()
    blocks = []
    for layer in body.layers:
        at = layer.self_attn
        maps = map(weights, (at.q_proj, at.k_proj, at.v_proj, at.out_proj))
        blocks.append(
            Block(
                norm(layer.self_attn_layer_norm, embedding),
                heads(*maps, d_head=d_head, scale=at.scaling),
                norm(layer.final_layer_norm, embedding),
                mlp(weights(layer.fc1), weights(layer.fc2), config.activation_function),
            )
        )
    return assembled(
        hf_model,
        blocks,
        copied(embedding),
        norm(body.final_layer_norm, embedding),
        W_pos=copied(body.embed_positions.weight[body.embed_positions.offset :]),
    )


def refuse(config: Any) -> str | None:
    """Why an OPT of this configuration can't be analysed; the one of 350M parameters is such."""
    if config.word_embed_proj_dim != config.hidden_size:
        return (
            f"word_embed_proj_dim={config.word_embed_proj_dim}: embeddings of another width than "
            f"hidden_size={config.hidden_size} are not supported"
        )
    if not config.do_layer_norm_before:
        return "do_layer_norm_before=false: norms of the residual stream itself are not supported"
    if config._remove_final_layer_norm:
        return "_remove_final_layer_norm=true: a model without a final norm is not supported"
    return None


ENTRIES = (Architecture("opt", "OPTForCausalLM", read, refuse),)
