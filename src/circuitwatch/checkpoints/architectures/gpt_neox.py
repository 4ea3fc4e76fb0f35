"""GPT-NeoX, and with it Pythia: rotary positions, parallel blocks unless configured otherwise."""

from __future__ import annotations

from typing import Any

from circuitwatch.checkpoints.architectures.entry import Architecture


def is_parallel(config: Any) -> bool:
    """Whether the blocks are parallel."""
    return bool(config.use_parallel_residual)


GPT_NEOX = Architecture("gpt_neox", "GPTNeoXForCausalLM", is_parallel=is_parallel)
