"""Tiny models of the `hf_olmo` package whose tensors follow from their names, the same with every
version of PyTorch; nothing of circuitwatch is imported, so that a script in another environment can
use it.
"""

from __future__ import annotations

import zlib
from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor

COMMON: dict[str, Any] = {
    "d_model": 24,
    "n_heads": 4,
    "n_layers": 2,
    "mlp_hidden_size": 80,
    "activation_type": "swiglu",
    "rope": True,
    "include_bias": False,
    "bias_for_layer_norm": False,
    "max_sequence_length": 32,
    "vocab_size": 50,
    "embedding_size": 64,
    "init_device": "cpu",
    "eos_token_id": 0,
    "pad_token_id": 1,
}
MODELS: dict[str, dict[str, Any]] = {
    # OLMo 1B and 7B as first released: norms without parameters; 1B's embeddings are tied.
    "olmo": {**COMMON, "layer_norm_with_affine": False, "weight_tying": False},
    "olmo tied": {
        **COMMON,
        "layer_norm_type": "low_precision",
        "layer_norm_with_affine": False,
        "weight_tying": True,
    },
    # OLMo 7B's second release.
    "olmo clipped": {
        **COMMON,
        "layer_norm_with_affine": False,
        "weight_tying": False,
        "clip_qkv": 0.5,
    },
    # DataDecide's kind: RMS norms with a weight.
    "datadecide": {
        **COMMON,
        "layer_norm_type": "rms",
        "layer_norm_with_affine": True,
        "layer_norm_eps": 1e-6,
        "weight_tying": False,
    },
    "grouped, by mlp_ratio": {
        **COMMON,
        "layer_norm_type": "rms",
        "layer_norm_with_affine": True,
        "mlp_hidden_size": None,
        "mlp_ratio": 2,
        "n_kv_heads": 2,
        "rope_theta": 500_000,
        "weight_tying": True,
    },
    "one key head": {
        **COMMON,
        "layer_norm_with_affine": False,
        "multi_query_attention": True,
        "weight_tying": True,
    },
}
TOKENS = [[3, 41, 7, 63, 0, 12, 12, 5, 29, 50, 1]]


def tensor_of(name: str, shape: Sequence[int]) -> Tensor:
    """A tensor whose numbers look random and follow from its name."""
    count = 1
    for size in shape:
        count *= size
    phase = zlib.crc32(name.encode()) % 10_000
    values = torch.sin(torch.arange(1, count + 1, dtype=torch.float64) * 12.9898 + phase)
    values = (values * 43758.5453).remainder(1.0) - 0.5
    return (1.0 + values if len(shape) == 1 else values).float().reshape(*shape)


def tensors_of(shapes: Mapping[str, Sequence[int]]) -> dict[str, Tensor]:
    """Name → tensor for all names."""
    return {name: tensor_of(name, shape) for name, shape in shapes.items()}
