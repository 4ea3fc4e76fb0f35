"""The architectures that can be analysed, and of any configuration why its model can't be.

One entry each, in the file of its family; what distinguishes a model from others is in the fields
of `transformer.Transformer` that the entry fills. A new architecture is one more entry.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from circuitwatch.checkpoints.architectures.entry import Architecture
from circuitwatch.checkpoints.architectures.gpt2 import GPT2
from circuitwatch.checkpoints.architectures.gpt_neox import GPT_NEOX
from circuitwatch.checkpoints.architectures.llama import LLAMA, MISTRAL, OLMO, QWEN2
from circuitwatch.checkpoints.architectures.refusing import kind_refused, quantisation_refused

ARCHITECTURES = {entry.model_type: entry for entry in (GPT_NEOX, GPT2, LLAMA, MISTRAL, OLMO, QWEN2)}
"""By `model_type`."""


def architecture_of(config: Any) -> Architecture | None:
    """The entry for a configuration, a mapping or one of transformers, if there is one."""
    model_type = config.get("model_type") if isinstance(config, Mapping) else config.model_type
    return ARCHITECTURES.get(str(model_type))


def supported() -> str:
    """The architectures that can be analysed, by their model types, for messages."""
    return ", ".join(sorted(ARCHITECTURES))


def refusal(config: Any) -> str | None:
    """Why the model of a configuration can't be analysed: one line that names what is in the way,
    or None. No weights are looked at, so it can be asked before any are there.

    Args:
        config: What config.json holds, as a mapping, or a configuration of transformers.

    Returns:
        The line, without the name of the checkpoint, or None for a model that can be analysed.
    """
    from transformers import CONFIG_MAPPING

    said: Mapping[str, Any] = config if isinstance(config, Mapping) else config.to_dict()
    entry = architecture_of(config)
    if entry is None:
        if line := kind_refused(said):
            return line
        if not said.get("model_type"):
            return "config.json names no model_type, so it can't be told what the model computes"
        return f"model_type={said['model_type']} is not supported; supported are {supported()}"
    if line := quantisation_refused(said):
        return line
    if not isinstance(config, Mapping):
        return entry.refuse(config)
    try:
        # With the defaults of what config.json leaves out.
        whole = CONFIG_MAPPING[entry.model_type].from_dict(dict(config))
    except Exception as error:  # of whatever kind: transformers checks each option in its own way
        return f"config.json can't be that of a model ({' '.join(str(error).split())[:160]})"
    return entry.refuse(whole)
