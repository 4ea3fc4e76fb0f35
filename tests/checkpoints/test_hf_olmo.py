"""Models of the hf_olmo package, against logits that ai2-olmo computed (tests/data/hf_olmo, written
by tests/e2e/hf_olmo_logits.py), and what they lack or have beyond what transformers computes.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import save_file
from torch import Tensor

from circuitwatch.checkpoints.describing import facts_that_fit
from circuitwatch.checkpoints.loading import load_model, model_facts
from circuitwatch.checkpoints.unusable import DamagedWeights, Unsupported
from support.hf_olmo import MODELS, TOKENS, tensors_of

NUMBERS = json.loads((Path(__file__).parents[1] / "data/hf_olmo/logits.json").read_text())


def tensors(name: str) -> dict[str, Tensor]:
    """As the package saves them, behind `model.`."""
    return {f"model.{key}": tensor for key, tensor in tensors_of(NUMBERS[name]["shapes"]).items()}


def write(folder: Path, name: str, stored: dict[str, Tensor] | None = None, **other: Any) -> Path:
    folder.mkdir(exist_ok=True)
    (folder / "config.json").write_text(json.dumps({**NUMBERS[name]["config"], **other}))
    save_file(tensors(name) if stored is None else stored, folder / "model.safetensors")
    return folder


def logits_of(folder: Path) -> Tensor:
    model = load_model(folder)
    return model.unembed(model.run(model.embed(torch.tensor(TOKENS))).final)[0]


@pytest.mark.parametrize("name", MODELS)
def test_logits_are_those_of_the_package(name: str, tmp_path: Path) -> None:
    """To the fifth decimal, which is as they are written; or what is not analysed is named."""
    expected = torch.tensor(NUMBERS[name]["logits"])
    assert expected.abs().max() > 1
    try:
        logits = logits_of(write(tmp_path, name))
    except Unsupported as error:
        logits, said = None, str(error)
    if logits is None:
        assert name == "olmo clipped" and "clip_qkv=0.5" in said
        return
    torch.testing.assert_close(logits, expected, rtol=1e-5, atol=2e-5)


def test_names_without_model_and_behind_a_wrapper(tmp_path: Path) -> None:
    """As in the trainer's own files, and as torch.compile leaves them."""
    expected = logits_of(write(tmp_path / "a", "datadecide"))
    plain = {key.removeprefix("model."): value for key, value in tensors("datadecide").items()}
    wrapped = {f"_orig_mod.{key}": value for key, value in tensors("datadecide").items()}
    for number, stored in enumerate((plain, wrapped)):
        folder = write(tmp_path / str(number), "datadecide", stored)
        torch.testing.assert_close(logits_of(folder), expected)


def test_separate_projections(tmp_path: Path) -> None:
    """block_type=llama has a matrix each for queries, keys and values."""
    name = "grouped, by mlp_ratio"
    expected = logits_of(write(tmp_path / "fused", name))
    stored = {}
    for key, value in tensors(name).items():
        if "att_proj" in key:
            for part, rows in zip("qkv", value.split((24, 12, 12)), strict=True):
                stored[key.replace("att_proj", f"{part}_proj")] = rows.contiguous()
        else:
            stored[key] = value
    folder = write(tmp_path / "llama", name, stored, block_type="llama")
    torch.testing.assert_close(logits_of(folder), expected)


def test_facts_are_told_without_weights(tmp_path: Path) -> None:
    folder = write(tmp_path, "datadecide")
    facts = facts_that_fit(folder)
    assert (facts["n_layers"], facts["n_heads"], facts["d_model"]) == (2, 4, 24)
    assert facts["params_total"] == sum(t.numel() for t in tensors("datadecide").values())
    assert facts["architecture"] == "LlamaForCausalLM"
    (folder / "model.safetensors").unlink()
    assert model_facts(folder) == facts


@pytest.mark.parametrize(
    ("name", "option", "value"),
    [
        ("datadecide", "alibi", True),
        ("datadecide", "rope", False),
        ("datadecide", "include_bias", True),
        ("datadecide", "attention_layer_norm", True),
        ("datadecide", "clip_qkv", 8.0),
        ("datadecide", "block_type", "moe"),
        ("datadecide", "block_group_size", 2),
        ("datadecide", "activation_type", "gelu"),
        ("datadecide", "bias_for_layer_norm", True),
        ("datadecide", "scale_logits", True),
        ("datadecide", "norm_after", True),
        ("datadecide", "embedding_layer_norm", True),
        ("olmo", "layer_norm_with_affine", True),
        ("olmo", "layer_norm_eps", 1e-6),
        ("olmo", "layer_norm_type", "amd_compatible"),
    ],
)
def test_what_neither_model_computes_is_refused_by_name(
    name: str, option: str, value: Any, tmp_path: Path
) -> None:
    with pytest.raises(Unsupported, match=option) as caught:
        load_model(write(tmp_path, name, **{option: value}))
    assert "\n" not in str(caught.value) and "remote code" not in str(caught.value)


def test_damage_is_named_as_in_the_file(tmp_path: Path) -> None:
    stored = tensors("datadecide")
    gone = "model.transformer.blocks.1.att_proj.weight"
    narrow = "model.transformer.blocks.0.ff_proj.weight"
    del stored[gone]
    stored[narrow] = stored[narrow][:, :-1].contiguous()
    with pytest.raises(DamagedWeights, match="missing") as caught:
        load_model(write(tmp_path / "a", "datadecide", stored))
    assert gone in str(caught.value) and f"{narrow} is [80, 23] in the file" in str(caught.value)
    with pytest.raises(DamagedWeights, match=r"2 layers, config\.json says 1"):
        load_model(write(tmp_path / "b", "datadecide", n_layers=1))
    with pytest.raises(DamagedWeights, match="n_heads is 0"):
        load_model(write(tmp_path / "c", "datadecide", n_heads=0))
