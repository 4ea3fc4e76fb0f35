"""Why a model of an architecture that has no entry can't be analysed, by what kind of model it is.

Only its configuration is looked at, so that nobody downloads weights to be told.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

EXPERTS = (
    "num_local_experts",
    "num_experts",
    "n_routed_experts",
    "moe_num_experts",
    "num_moe_experts",
    "moe_num_primary_experts",
)
"""Options whose number of experts a mixture of experts has above 1."""
STATES = (
    "state_size",
    "ssm_state_size",
    "ssm_cfg",
    "d_state",
    "mamba_d_state",
    "mamba_expand",
    "linear_conv_kernel_dim",
    "conv_L_cache",
    "lru_width",
)
"""Options that only models have of which some layers are no attention but a recurrence."""
RECURRENT = ("mamba", "rwkv", "recurrent_gemma", "xlstm", "retnet", "hyena", "kimi_linear")
"""What the model types of recurrent models contain."""
MIXTURES = ("moe", "mixtral", "dbrx")
"""What those of mixtures of experts contain."""


def kind_refused(config: Mapping[str, Any]) -> str | None:
    """What a model is that is no transformer of plain blocks, from its configuration as a mapping:
    a line, or None if it may be one.
    """
    model_type = str(config.get("model_type") or "")
    called = f"model_type={model_type}" if model_type else "config.json"
    experts = next((name for name in EXPERTS if _above_one(config.get(name))), None)
    state = next((name for name in STATES if config.get(name) not in (None, False, 0)), None)
    if state or any(name in model_type for name in RECURRENT):
        which = f" ({state}={_short(config[state])})" if state else ""
        return f"{called}: a state-space or recurrent model{which} is not supported"
    if experts or any(name in model_type for name in MIXTURES):
        which = f" ({experts}={_short(config[experts])})" if experts else ""
        return f"{called}: a mixture of experts{which} is not supported"
    if config.get("is_encoder_decoder"):
        return (
            f"{called}: an encoder-decoder model is not supported, only models "
            f"that predict the next token"
        )
    if isinstance(config.get("text_config"), Mapping):
        return (
            f"{called}: a model of text and other inputs is not supported; save "
            f"its language model by itself"
        )
    return None


def quantisation_refused(config: Mapping[str, Any]) -> str | None:
    """By which quantisation a model can't be analysed: a line, or None."""
    quantised = config.get("quantization_config")
    if not quantised:
        return None
    method = quantised.get("quant_method") if isinstance(quantised, Mapping) else None
    how = f" ({method})" if method else ""
    return (
        f"quantization_config{how}: quantised weights are not supported; dequantise the model and "
        f"save that"
    )


def _above_one(value: Any) -> bool:
    """Whether an option says that there are several: a number, or a list of one for each layer."""
    numbers = value if isinstance(value, list | tuple) else [value]
    return any(isinstance(n, int) and not isinstance(n, bool) and n > 1 for n in numbers)


def _short(value: Any) -> str:
    words = str(value)
    return words if len(words) <= 20 else f"{words[:19]}…"
