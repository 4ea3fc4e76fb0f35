"""Loading a checkpoint: equal to Hugging Face and to TransformerLens, and refusals with one clear line."""

from __future__ import annotations

import gc
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file
from transformers import LlamaConfig, LlamaForCausalLM

from circuitwatch.checkpoints.loading import load_model, weights_sha256
from circuitwatch.errors import UserError
from circuitwatch.transformer import Transformer
from support.models import Case, random_model


def test_logits_equal_hugging_faces(case: Case) -> None:
    logits = case.model.unembed(case.model.run(case.model.embed(case.prompts.clean)).final)
    torch.testing.assert_close(logits, case.hf(case.prompts.clean).logits, rtol=1e-4, atol=1e-5)


def test_a_run_behind_a_shared_beginning_equals_the_whole(case: Case) -> None:
    model, tokens = case.model, case.prompts.clean
    whole = model.run(model.embed(tokens)).final
    past = model.run(model.embed(tokens[:, :4])).as_past()
    torch.testing.assert_close(model.run(model.embed(tokens[:, 4:], 4), past).final, whole[:, 4:], rtol=1e-4, atol=1e-5)


def test_nan_weights_are_named(tmp_path: Path) -> None:
    random_model("parallel").save_pretrained(tmp_path)
    weights = load_file(tmp_path / "model.safetensors")
    weights["gpt_neox.layers.1.mlp.dense_h_to_4h.bias"][3] = float("nan")
    save_file(weights, tmp_path / "model.safetensors", metadata={"format": "pt"})
    with pytest.raises(UserError, match=r"gpt_neox\.layers\.1\.mlp\.dense_h_to_4h\.bias holds NaN"):
        load_model(tmp_path)


def test_refusals(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="no such checkpoint folder"):
        load_model(tmp_path / "nowhere")
    with pytest.raises(UserError, match=r"no config\.json"):
        load_model(tmp_path)
    shape = {
        "hidden_size": 16,
        "num_hidden_layers": 1,
        "num_attention_heads": 2,
        "intermediate_size": 16,
        "vocab_size": 20,
    }
    LlamaForCausalLM(LlamaConfig(**shape, bos_token_id=0, eos_token_id=0)).save_pretrained(tmp_path)
    with pytest.raises(UserError, match="LlamaForCausalLM is not supported"):
        load_model(tmp_path)


def test_the_hash_depends_on_the_weights_alone(tmp_path: Path) -> None:
    model = random_model("parallel")
    for name in ("a", "b"):
        model.save_pretrained(tmp_path / name)
    (tmp_path / "b" / "README.md").write_text("other")
    assert weights_sha256(tmp_path / "a") == weights_sha256(tmp_path / "b")
    model.gpt_neox.embed_in.weight.data[0, 0] += 1
    model.save_pretrained(tmp_path / "c")
    assert weights_sha256(tmp_path / "a") != weights_sha256(tmp_path / "c")


def test_no_model_stays_behind(tmp_path: Path) -> None:
    """Ten loads leave no transformer, no bridge and no Hugging Face model alive."""
    random_model("parallel").save_pretrained(tmp_path)
    load_model(tmp_path)
    gc.collect()

    def alive() -> int:
        return sum(issubclass(type(thing), Transformer | torch.nn.Module) for thing in gc.get_objects())

    before = alive()
    for _ in range(10):
        load_model(tmp_path)
    gc.collect()
    assert alive() <= before
