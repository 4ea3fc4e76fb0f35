"""Llama and its relatives: rotary positions, sequential blocks, gated MLPs.

They differ in where norms are, in layers that attend to a window or have no rotary embedding, and
in options that the modules themselves show.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import torch

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
    windows,
)
from circuitwatch.components import Attention, Block, Rotary
from circuitwatch.transformer import Transformer


def attention(
    module: Any,
    config: Any,
    turn: Rotary | None,
    window: int | None,
    *,
    offset: float = 0.0,
    **more: Any,
) -> Attention:
    """A layer's heads, with norms of queries and keys where the module has some; offset: of the
    norms' weights, as `norm` takes it; more: fields of `Attention`.
    """
    norms = head_norms(module, config.num_attention_heads, offset=offset)
    maps = (weights(getattr(module, f"{letter}_proj")) for letter in "qkvo")
    return heads(
        *maps,
        d_head=module.head_dim,
        scale=module.scaling,
        rotary=turn,
        window=window,
        **norms | more,
    )


def pre_norm(layer: Any, config: Any, heads_of_layer: Attention, like: Any) -> Block:
    """Norms before attention and MLP."""
    return Block(
        norm(layer.input_layernorm, like),
        heads_of_layer,
        norm(layer.post_attention_layernorm, like),
        gated_mlp(layer.mlp, config.hidden_act),
    )


def post_norm(layer: Any, config: Any, heads_of_layer: Attention, like: Any) -> Block:
    """Norms of what attention and MLP add (OLMo-2)."""
    return Block(
        None,
        heads_of_layer,
        None,
        gated_mlp(layer.mlp, config.hidden_act),
        norm(layer.post_attention_layernorm, like),
        norm(layer.post_feedforward_layernorm, like),
    )


def rotaries(body: Any, config: Any, dtype: torch.dtype) -> list[Rotary | None]:
    """The rotary embedding of each layer, of which kinds of layers may have their own, and some
    layers none; layers of the same share one.
    """
    n_layers, parameters = config.num_hidden_layers, config.rope_parameters
    kinds = getattr(config, "layer_types", None) or [None] * n_layers
    own = [kind if kind in parameters else None for kind in kinds]
    made = {kind: rotary(body.rotary_emb, config, dtype, kind=kind) for kind in set(own)}
    turned = getattr(config, "no_rope_layers", None) or [1] * n_layers  # 1 where there is one
    return [made[kind] if there else None for kind, there in zip(own, turned, strict=True)]


def read(hf_model: Any, block: Callable[..., Block] = pre_norm) -> Transformer:
    """A model of the family, with blocks as `block` makes them."""
    config, body = hf_model.config, hf_model.model
    embedding = body.embed_tokens.weight.detach()
    clip = getattr(config, "clip_qkv", None)
    blocks = []
    layers = zip(body.layers, windows(config), rotaries(body, config, embedding.dtype), strict=True)
    for layer, window, turn in layers:
        made = attention(layer.self_attn, config, turn, window, clip=clip)
        blocks.append(block(layer, config, made, embedding))
    return assembled(hf_model, blocks, copied(embedding), norm(body.norm, embedding))


def refuse_layers(config: Any) -> str | None:
    """By which kind of layer a model can't be analysed."""
    known = {"full_attention", "sliding_attention"}
    other = set(getattr(config, "layer_types", None) or []) - known
    if other:
        return f"layer_types: layers of the kind {min(other)} are not supported"
    return None


def refuse_output_bias(config: Any) -> str | None:
    """Why a model with a norm of what attention adds can't be analysed."""
    if config.attention_bias:
        return (
            "attention_bias=true: a bias in what attention adds, before its norm, would be no "
            "head's, and is not supported"
        )
    return refuse_layers(config)


read_post_norm = partial(read, block=post_norm)
ENTRIES = (
    Architecture("llama", "LlamaForCausalLM", read),
    Architecture("mistral", "MistralForCausalLM", read, refuse_layers),
    Architecture("olmo", "OlmoForCausalLM", read),
    Architecture("olmo2", "Olmo2ForCausalLM", read_post_norm, refuse_output_bias),
    Architecture("olmo3", "Olmo3ForCausalLM", read_post_norm, refuse_output_bias),
    Architecture("qwen2", "Qwen2ForCausalLM", read, refuse_layers),
    Architecture("qwen3", "Qwen3ForCausalLM", read, refuse_layers),
    Architecture("smollm3", "SmolLM3ForCausalLM", read, refuse_layers),
)
