"""Llama and its relatives: rotary positions, sequential blocks, gated MLPs."""

from __future__ import annotations

from typing import Any

from circuitwatch.checkpoints.architectures.entry import Architecture


def clips(config: Any) -> str | None:
    """Why an OLMo of this configuration can't be analysed."""
    if config.clip_qkv is not None:
        return f"clip_qkv={config.clip_qkv}: clipped queries, keys and values are not supported"
    return None


LLAMA = Architecture("llama", "LlamaForCausalLM")
MISTRAL = Architecture("mistral", "MistralForCausalLM")
OLMO = Architecture("olmo", "OlmoForCausalLM", refuse=clips)
QWEN2 = Architecture("qwen2", "Qwen2ForCausalLM")
