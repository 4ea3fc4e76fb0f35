"""The weights are those of the files: prefixes of wrappers are taken off and said, and a tensor
that is missing or of another shape is damage by name.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file
from torch import Tensor
from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedModel

from circuitwatch.checkpoints.loading import load_model
from circuitwatch.checkpoints.unusable import DamagedWeights
from support.models import VOCABULARY, random_model, same_logits


def tied_llama() -> LlamaForCausalLM:
    """Llama's kind with one matrix for embedding and unembedding."""
    torch.manual_seed(3)
    shape = {
        "hidden_size": 24,
        "num_hidden_layers": 2,
        "num_attention_heads": 4,
        "intermediate_size": 40,
    }
    model = LlamaForCausalLM(
        LlamaConfig(
            **shape,
            tie_word_embeddings=True,
            max_position_embeddings=32,
            bos_token_id=0,
            eos_token_id=0,
            vocab_size=VOCABULARY,
        )
    )
    for parameter in model.parameters():
        parameter.data.normal_(std=0.25)
    return model.eval().requires_grad_(False)


def saved(model: PreTrainedModel) -> dict[str, Tensor]:
    """A model's tensors under the names that files have (transformers may call the unembedding
    otherwise).
    """
    with TemporaryDirectory() as folder:
        model.save_pretrained(folder)
        return load_file(Path(folder) / "model.safetensors")


def write(
    folder: Path, model: PreTrainedModel, tensors: Mapping[str, Tensor], files: str = "safetensors"
) -> Path:
    """A checkpoint with other tensors than the model's own, in one file of either kind, or in
    three.
    """
    model.config.save_pretrained(folder)
    tensors = {name: tensor.clone() for name, tensor in tensors.items()}
    if files == "bin":
        torch.save(tensors, folder / "pytorch_model.bin")
    elif files == "safetensors":
        save_file(tensors, folder / "model.safetensors", metadata={"format": "pt"})
    else:
        index = {
            name: f"model-0000{n % 3 + 1}-of-00003.safetensors" for n, name in enumerate(tensors)
        }
        for file in set(index.values()):
            shard = {name: tensors[name] for name in tensors if index[name] == file}
            save_file(shard, folder / file, metadata={"format": "pt"})
        (folder / "model.safetensors.index.json").write_text(
            json.dumps({"metadata": {}, "weight_map": index})
        )
    return folder


def without(tensors: Mapping[str, Tensor], name: str) -> dict[str, Tensor]:
    """All but one, which must be there."""
    assert name in tensors
    return {key: tensor for key, tensor in tensors.items() if key != name}


@pytest.mark.parametrize("files", ["safetensors", "sharded", "bin"])
@pytest.mark.parametrize(
    "prefix",
    [
        "_orig_mod.",
        "module.",
        "base_model.model.",
        "module._orig_mod.",
        "_orig_mod.module.base_model.model.",
    ],
)
def test_known_prefixes_are_taken_off_and_said(prefix: str, files: str, tmp_path: Path) -> None:
    """The logits are the unprefixed model's, twice the same; what was taken off is said."""
    model, said = random_model("parallel"), []
    write(tmp_path, model, {prefix + name: t for name, t in saved(model).items()}, files)
    first, again = (same_logits(tmp_path, model, on_prefix=said.append) for _ in range(2))
    assert first.equal(again) and said == [prefix, prefix]


@pytest.mark.parametrize("architecture", ["sequential", "llama"])
def test_prefixes_on_a_part_of_the_model(architecture: str, tmp_path: Path) -> None:
    """torch.compile layer by layer, or of the model without its head: the wrapper's name stands
    inside the tensors' names.
    """
    model, said = random_model(architecture), []
    parts = [
        {"transformer.": "transformer._orig_mod.", "model.": "model._orig_mod."},
        {"h.0.": "h.0._orig_mod.", "s.0.": "s.0._orig_mod."},
    ]
    for number, changed in enumerate(parts):
        tensors = dict(saved(model))
        for old, new in changed.items():
            tensors = {name.replace(old, new): t for name, t in tensors.items()}
        assert tensors.keys() != saved(model).keys()
        same_logits(write(tmp_path / str(number), model, tensors), model, on_prefix=said.append)
    assert said == ["_orig_mod.", "_orig_mod."]


def test_nothing_is_said_or_renamed_where_the_names_fit(tmp_path: Path) -> None:
    """A second copy under a prefix (a moving average, say) is no reason to leave the names that
    fit.
    """
    model, said = random_model("llama"), []
    own = saved(model)
    copy = {f"module.{name}": torch.zeros_like(t) for name, t in own.items()}
    same_logits(write(tmp_path, model, {**copy, **own}), model, on_prefix=said.append)
    assert said == []


@pytest.mark.parametrize("files", ["safetensors", "sharded", "bin"])
@pytest.mark.parametrize(
    ("architecture", "name"),
    [
        ("parallel", "embed_out.weight"),
        ("parallel", "gpt_neox.final_layer_norm.bias"),
        ("parallel", "gpt_neox.layers.1.attention.query_key_value.weight"),
        ("sequential", "transformer.wpe.weight"),
        ("sequential", "transformer.h.0.ln_1.weight"),
        ("llama", "lm_head.weight"),
        ("llama", "model.norm.weight"),
        ("llama", "model.layers.1.mlp.down_proj.weight"),
    ],
)
def test_a_missing_tensor_is_damage(
    architecture: str, name: str, files: str, tmp_path: Path
) -> None:
    model = random_model(architecture)
    write(tmp_path, model, without(saved(model), name), files)
    with pytest.raises(
        DamagedWeights, match=rf"the weights are damaged: {re.escape(name)} is missing"
    ) as caught:
        load_model(tmp_path)
    assert "\n" not in str(caught.value)


def test_many_missing_tensors_are_counted(tmp_path: Path) -> None:
    model = random_model("parallel")
    write(tmp_path, model, {"gpt_neox.embed_in.weight": saved(model)["gpt_neox.embed_in.weight"]})
    missing = len(saved(model)) - 1
    with pytest.raises(
        DamagedWeights, match=rf"embed_out\.weight, .* and {missing - 3} more tensors are missing"
    ):
        load_model(tmp_path)


@pytest.mark.parametrize("prefix", ["", "module.", "_orig_mod."])
def test_a_base_model_without_its_head(prefix: str, tmp_path: Path) -> None:
    """Untied it lacks the unembedding; tied it lacks nothing."""
    untied, tied = random_model("parallel"), tied_llama()
    write(
        tmp_path / "untied",
        untied,
        {prefix + name: t for name, t in untied.gpt_neox.state_dict().items()},
    )
    with pytest.raises(DamagedWeights, match=r"damaged: embed_out\.weight is missing"):
        load_model(tmp_path / "untied")
    write(
        tmp_path / "tied", tied, {prefix + name: t for name, t in tied.model.state_dict().items()}
    )
    same_logits(tmp_path / "tied", tied)


def test_tied_weights_may_be_written_once_under_either_name(tmp_path: Path) -> None:
    model = tied_llama()
    for name in ("lm_head.weight", "model.embed_tokens.weight"):
        same_logits(write(tmp_path / name, model, without(model.state_dict(), name)), model)
    neither = without(without(model.state_dict(), "lm_head.weight"), "model.embed_tokens.weight")
    with pytest.raises(
        DamagedWeights,
        match=r"model\.embed_tokens\.weight are missing|model\.embed_tokens\.weight is missing",
    ):
        load_model(write(tmp_path / "neither", model, neither))


@pytest.mark.parametrize("files", ["safetensors", "sharded", "bin"])
def test_zero3s_empty_tensors(files: str, tmp_path: Path) -> None:
    """DeepSpeed's ZeRO-3 leaves a tensor of shape [0] for each that the other processes hold; some
    stay whole.
    """
    model = random_model("llama")
    name = "model.layers.0.self_attn.q_proj.weight"
    tensors = {key: torch.empty(0) if t.ndim == 2 else t for key, t in saved(model).items()}
    with pytest.raises(DamagedWeights, match=r"damaged: .* and \d+ more .*ZeRO-3.*consolidated"):
        load_model(write(tmp_path / "all", model, tensors, files))
    one = {**saved(model), name: torch.empty(0)}
    with pytest.raises(
        DamagedWeights, match=rf"{re.escape(name)} is \[0\] in the file, \[24, 24\] in the model"
    ):
        load_model(write(tmp_path / "one", model, one, files))


def test_a_tensor_of_another_shape(tmp_path: Path) -> None:
    model = random_model("sequential")
    tensors = {**saved(model), "transformer.wpe.weight": torch.zeros(16, 24)}
    with pytest.raises(
        DamagedWeights, match=r"wpe\.weight is \[16, 24\] in the file, \[32, 24\] in the model"
    ) as caught:
        load_model(write(tmp_path, model, tensors))
    assert "ignore_mismatched_sizes" not in str(caught.value) and "ZeRO" not in str(caught.value)


@pytest.mark.parametrize("prefix", ["", "_orig_mod."])
def test_old_pythias_buffers_are_allowed(prefix: str, tmp_path: Path) -> None:
    model = random_model("parallel")
    buffers = {}
    for layer in range(2):
        attention = f"gpt_neox.layers.{layer}.attention"
        buffers |= {
            f"{attention}.bias": torch.ones(1, 1, 32, 32).tril().bool(),
            f"{attention}.masked_bias": torch.tensor(-1e9),
        }
        buffers[f"{attention}.rotary_emb.inv_freq"] = torch.zeros(2)
    tensors = {**saved(model), **buffers}
    same_logits(write(tmp_path, model, {prefix + name: t for name, t in tensors.items()}), model)


@pytest.mark.parametrize("base", ["q_proj.base_layer.weight", "q_proj.weight"])
@pytest.mark.parametrize("prefix", ["base_model.model.", ""])
def test_lora_layers_are_not_left_out_in_silence(base: str, prefix: str, tmp_path: Path) -> None:
    """As newer and older peft name the matrix that a LoRA layer adds to."""
    model = random_model("llama")
    tensors = {name.replace("q_proj.weight", base): t for name, t in saved(model).items()}
    tensors["model.layers.0.self_attn.q_proj.lora_A.default.weight"] = torch.zeros(2, 24)
    write(tmp_path, model, {prefix + name: t for name, t in tensors.items()})
    with pytest.raises(
        DamagedWeights, match=r"LoRA.*not merged.*q_proj\.(base_layer|lora_A)"
    ) as caught:
        load_model(tmp_path)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    "content", [[torch.zeros(2)], {"model": {"a": torch.zeros(2)}, "step": 5}, {7: torch.zeros(2)}]
)
def test_a_bin_file_that_holds_something_else(content: Any, tmp_path: Path) -> None:
    model = random_model("llama")
    model.config.save_pretrained(tmp_path)
    torch.save(content, tmp_path / "pytorch_model.bin")
    with pytest.raises(DamagedWeights, match=r"can't be read as tensors|are missing"):
        load_model(tmp_path)
