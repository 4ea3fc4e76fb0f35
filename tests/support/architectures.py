"""A tiny random model of every architecture that can be analysed, written with transformers itself,
and of the variants that their options make.

Every parameter is random, those of norms and biases included, so that one that is ignored shows.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import nn
from transformers import CONFIG_MAPPING, MODEL_FOR_CAUSAL_LM_MAPPING, PreTrainedModel

VOCABULARY = 50
WINDOW = 4
"""Tokens that layers with a window attend to: fewer than any prompt of the tests has."""
SHAPE = {
    "hidden_size": 24,
    "num_attention_heads": 4,
    "intermediate_size": 40,
    "max_position_embeddings": 64,
}
GROUPED = {**SHAPE, "num_key_value_heads": 2}
SLIDING = {"sliding_window": WINDOW}
OF_GEMMA = {**GROUPED, "head_dim": 8}
PARTLY_ROTARY = {
    "rope_parameters": {
        "rope_type": "default",
        "rope_theta": 10000.0,
        "partial_rotary_factor": 0.67,
    }
}
FALCON = {"hidden_size": 24, "num_attention_heads": 4, "ffn_hidden_size": 40}
LOCAL_THEN_ALL = {"layer_types": ["sliding_attention", "full_attention"]}

VARIANTS: dict[str, tuple[str, dict[str, Any]]] = {
    "gpt_neox": ("gpt_neox", {**SHAPE, "rotary_pct": 0.5}),
    "gpt_neox-no-bias": ("gpt_neox", {**SHAPE, "attention_bias": False}),
    "gpt_neox-sequential": ("gpt_neox", {**SHAPE, "use_parallel_residual": False}),
    "gpt2": ("gpt2", {"n_embd": 24, "n_head": 4, "n_inner": 40, "n_positions": 64}),
    "gpt2-unscaled": ("gpt2", {"n_embd": 24, "n_head": 4, "scale_attn_weights": False}),
    "gpt2-by-layer": ("gpt2", {"n_embd": 24, "n_head": 4, "scale_attn_by_inverse_layer_idx": True}),
    "llama": ("llama", GROUPED),
    "llama-biases": ("llama", {**GROUPED, "attention_bias": True, "mlp_bias": True}),
    "llama-longrope": (
        "llama",
        {
            **GROUPED,
            "rope_parameters": {
                "rope_type": "longrope",
                "rope_theta": 10000.0,
                "original_max_position_embeddings": 32,
                "short_factor": [1.0, 1.1, 1.3],
                "long_factor": [2.0, 3.0, 4.0],
            },
        },
    ),
    "llama-dynamic": (
        "llama",
        {
            **GROUPED,
            "rope_parameters": {"rope_type": "dynamic", "rope_theta": 10000.0, "factor": 2.0},
        },
    ),
    "llama-yarn": (
        "llama",
        {
            **GROUPED,
            "rope_parameters": {
                "rope_type": "yarn",
                "rope_theta": 10000.0,
                "factor": 4.0,
                "original_max_position_embeddings": 16,
            },
        },
    ),
    "mistral": ("mistral", {**GROUPED, **SLIDING}),
    "qwen2": (
        "qwen2",
        {**GROUPED, **SLIDING, "use_sliding_window": True, "max_window_layers": 1},
    ),
    "qwen3": ("qwen3", {**GROUPED, "head_dim": 8}),
    "qwen3-windows": (
        "qwen3",
        {
            **GROUPED,
            **SLIDING,
            "head_dim": 8,
            "use_sliding_window": True,
            "max_window_layers": 1,
            "attention_bias": True,
        },
    ),
    "olmo": ("olmo", GROUPED),
    "olmo-clipped": ("olmo", {**SHAPE, "clip_qkv": 0.4}),
    "olmo2": ("olmo2", SHAPE),
    "olmo2-grouped": ("olmo2", GROUPED),
    "olmo3": ("olmo3", {**GROUPED, **SLIDING, **LOCAL_THEN_ALL}),
    "smollm3": ("smollm3", {**GROUPED, "no_rope_layers": [1, 0]}),
    "smollm3-windows": (
        "smollm3",
        {**GROUPED, **SLIDING, "use_sliding_window": True, "no_rope_layers": [0, 1]},
    ),
    "gemma": ("gemma", OF_GEMMA),
    "gemma2": (
        "gemma2",
        {
            **OF_GEMMA,
            **SLIDING,
            "query_pre_attn_scalar": 11,
            "attn_logit_softcapping": 2.0,
            "final_logit_softcapping": 3.0,
        },
    ),
    "gemma3": (
        "gemma3_text",
        {
            **OF_GEMMA,
            **SLIDING,
            **LOCAL_THEN_ALL,
            "query_pre_attn_scalar": 11,
            "rope_parameters": {
                "sliding_attention": {"rope_type": "default", "rope_theta": 100.0},
                "full_attention": {"rope_type": "linear", "rope_theta": 10000.0, "factor": 8.0},
            },
        },
    ),
    "gptj": (
        "gptj",
        {"n_embd": 24, "n_head": 4, "n_inner": 40, "n_positions": 64, "rotary_dim": 4},
    ),
    "gpt_neo": (
        "gpt_neo",
        {
            "hidden_size": 24,
            "num_heads": 4,
            "intermediate_size": 40,
            "max_position_embeddings": 64,
            "window_size": WINDOW,
            "attention_types": [[["global", "local"], 1]],
        },
    ),
    "phi": ("phi", {**GROUPED, **PARTLY_ROTARY}),
    "phi-norms": ("phi", {**GROUPED, **PARTLY_ROTARY, "qk_layernorm": True}),
    "opt": (
        "opt",
        {
            "hidden_size": 24,
            "num_attention_heads": 4,
            "ffn_dim": 40,
            "word_embed_proj_dim": 24,
            "max_position_embeddings": 64,
        },
    ),
    "opt-bare": (
        "opt",
        {
            "hidden_size": 24,
            "num_attention_heads": 4,
            "ffn_dim": 40,
            "word_embed_proj_dim": 24,
            "max_position_embeddings": 64,
            "enable_bias": False,
            "layer_norm_elementwise_affine": False,
        },
    ),
    "bloom": ("bloom", {"hidden_size": 24, "n_head": 4}),
    "bloom-odd": ("bloom", {"hidden_size": 24, "n_head": 3}),
    "falcon": ("falcon", FALCON),
    "falcon-new": (
        "falcon",
        {**FALCON, "new_decoder_architecture": True, "num_kv_heads": 2, "bias": True},
    ),
    "falcon-new-one-norm": (
        "falcon",
        {
            **FALCON,
            "new_decoder_architecture": True,
            "num_kv_heads": 2,
            "num_ln_in_parallel_attn": 1,
        },
    ),
    "falcon-alibi": (
        "falcon",
        {**FALCON, "alibi": True, "multi_query": False, "parallel_attn": False, "bias": True},
    ),
    "stablelm": ("stablelm", {**GROUPED, **PARTLY_ROTARY, "use_qkv_bias": True}),
    "stablelm-parallel": (
        "stablelm",
        {**GROUPED, **PARTLY_ROTARY, "use_parallel_residual": True, "qk_layernorm": True},
    ),
}
"""By name: model type and options; two layers each."""


def config_of(variant: str, n_layers: int = 2) -> Any:
    """The configuration of a variant; what is said layer by layer is repeated for more of them."""
    model_type, options = VARIANTS[variant]
    options = dict(options)
    for name in ("layer_types", "no_rope_layers"):
        if name in options:
            options[name] = [options[name][i % 2] for i in range(n_layers)]
    if model_type == "gpt_neo":
        kinds, _ = options["attention_types"][0]
        options["attention_types"] = [[kinds, n_layers // 2]]
    kind = CONFIG_MAPPING[model_type]
    depth = kind.attribute_map.get("num_hidden_layers", "num_hidden_layers")
    ids = {"bos_token_id": 0, "eos_token_id": 0, "pad_token_id": None}
    return kind(**options, **{depth: n_layers}, vocab_size=VOCABULARY, **ids)


def random_variant(variant: str, n_layers: int = 2) -> PreTrainedModel:
    """A model of a variant whose every parameter is random."""
    torch.manual_seed(1)
    config = config_of(variant, n_layers)
    model = MODEL_FOR_CAUSAL_LM_MAPPING[type(config)](config)
    embeddings = {id(m.weight) for m in model.modules() if isinstance(m, nn.Embedding)}
    # Gemma multiplies what is embedded by the root of its width.
    small = 0.25 / 24**0.5 if config.model_type.startswith("gemma") else 0.25
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            parameter.normal_(std=small if id(parameter) in embeddings else 0.25)
            if parameter.ndim == 1 and name.endswith("weight") and "gemma" not in config.model_type:
                parameter.add_(1)
    return model.eval().requires_grad_(False)
