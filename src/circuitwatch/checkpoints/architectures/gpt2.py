"""GPT-2: learned positions, sequential blocks."""

from __future__ import annotations

from typing import Any

from circuitwatch.checkpoints.architectures.entry import Architecture


def refuse(config: Any) -> str | None:
    """Why a GPT-2 of this configuration can't be analysed."""
    if config.add_cross_attention:
        return "add_cross_attention=true: attention to another model's states is not supported"
    return None


GPT2 = Architecture("gpt2", "GPT2LMHeadModel", refuse=refuse)
