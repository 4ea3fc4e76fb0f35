"""Gemma, three generations: Llama's blocks with an embedding scale and norms that multiply by 1 +
weight; the second and third have norms before and behind attention and MLP, and layers that attend
to a window in turn with those that attend to all; the second caps scores and logits softly, the
third normalises queries and keys.
"""

from __future__ import annotations

from typing import Any

import torch

from circuitwatch.checkpoints.architectures.entry import Architecture
from circuitwatch.checkpoints.architectures.llama import (
    attention,
    refuse_output_bias,
    rotaries,
)
from circuitwatch.checkpoints.architectures.reading import assembled, gated_mlp, norm, windows
from circuitwatch.components import Block, Norm
from circuitwatch.transformer import Transformer


def read(hf_model: Any) -> Transformer:
    """A Gemma of any of the generations."""
    config, body = hf_model.config, hf_model.model
    embedding = body.embed_tokens.weight.detach()

    def one_more(module: Any) -> Norm:
        return norm(module, embedding, offset=1.0)

    softcap = getattr(config, "attn_logit_softcapping", None)
    # The third generation has the option in its configuration, and does not use it.
    softcap = softcap if config.model_type == "gemma2" else None
    activation = getattr(config, "hidden_activation", None) or config.hidden_act
    blocks = []
    layers = zip(body.layers, windows(config), rotaries(body, config, embedding.dtype), strict=True)
    for layer, window, turn in layers:
        at = attention(layer.self_attn, config, turn, window, offset=1.0, softcap=softcap)
        mlp = gated_mlp(layer.mlp, activation)
        first, second = one_more(layer.input_layernorm), one_more(layer.post_attention_layernorm)
        if config.model_type == "gemma":
            blocks.append(Block(first, at, second, mlp))
            continue
        before = one_more(layer.pre_feedforward_layernorm)
        behind = one_more(layer.post_feedforward_layernorm)
        blocks.append(Block(first, at, before, mlp, second, behind))
    return assembled(
        hf_model,
        blocks,
        embedding * torch.tensor(config.hidden_size**0.5).to(embedding.dtype),
        one_more(body.norm),
        logit_cap=getattr(config, "final_logit_softcapping", None),
    )


def refuse(config: Any) -> str | None:
    """Why a Gemma of this configuration can't be analysed."""
    if getattr(config, "use_bidirectional_attention", None):
        return "use_bidirectional_attention=true: the model does not predict the next token"
    return None if config.model_type == "gemma" else refuse_output_bias(config)


ENTRIES = (
    Architecture("gemma", "GemmaForCausalLM", read, refuse),
    Architecture("gemma2", "Gemma2ForCausalLM", read, refuse),
    Architecture("gemma3_text", "Gemma3ForCausalLM", read, refuse),
)
