"""What is refused from the configuration alone, and by which name."""

from __future__ import annotations

from typing import Any

import pytest
from transformers import CONFIG_MAPPING

from circuitwatch.checkpoints.architectures import ARCHITECTURES, refusal


@pytest.mark.parametrize("model_type", sorted(ARCHITECTURES))
def test_an_architecture_with_an_entry_is_not_refused(model_type: str) -> None:
    """Whether its configuration is what config.json holds, or transformers' own."""
    config = CONFIG_MAPPING[model_type]()
    assert refusal(config) is None
    assert refusal(config.to_dict()) is None
    assert refusal({"model_type": model_type}) is None


@pytest.mark.parametrize(
    ("said", "named"),
    [
        ({"model_type": "mixtral"}, "mixture of experts"),
        ({"model_type": "qwen3_moe", "num_experts": 128}, "mixture of experts (num_experts=128)"),
        ({"model_type": "unheard_of", "n_routed_experts": 64}, "(n_routed_experts=64)"),
        ({"model_type": "mamba", "state_size": 16}, "state-space or recurrent model"),
        ({"model_type": "rwkv"}, "state-space or recurrent model"),
        ({"d_model": 768, "ssm_cfg": {}}, "config.json: a state-space"),
        ({"model_type": "t5", "is_encoder_decoder": True}, "encoder-decoder"),
        ({"model_type": "gemma3", "text_config": {"hidden_size": 8}}, "text and other inputs"),
        ({"model_type": "bert"}, "model_type=bert is not supported; supported are"),
        ({}, "names no model_type"),
        ({"model_type": "llama", "hidden_size": "large"}, "hidden_size"),
        (
            {"model_type": "llama", "quantization_config": {"quant_method": "gptq", "bits": 4}},
            "quantization_config (gptq)",
        ),
        ({"model_type": "gpt2", "add_cross_attention": True}, "add_cross_attention=true"),
        ({"model_type": "olmo", "clip_qkv": 8.0}, "clip_qkv=8.0"),
    ],
)
def test_what_is_in_the_way_is_named_in_one_line(said: dict[str, Any], named: str) -> None:
    line = refusal(said)
    assert line is not None and named in line and "\n" not in line and len(line) < 300


def test_a_configuration_of_transformers_is_refused_as_what_it_was_read_from() -> None:
    for model_type in ("mixtral", "mamba", "t5", "bert"):
        config = CONFIG_MAPPING[model_type]()
        assert refusal(config) == refusal(config.to_dict())
