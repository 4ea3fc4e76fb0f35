"""Loading a checkpoint: equal to Hugging Face and to TransformerLens, and refusals with one clear
line.
"""

from __future__ import annotations

import gc
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file
from torch import Tensor
from transformers import (
    GPT2Config,
    GPT2LMHeadModel,
    GPTNeoXConfig,
    GPTNeoXForCausalLM,
    MistralConfig,
    MistralForCausalLM,
    Olmo2Config,
    Olmo2ForCausalLM,
    OlmoConfig,
    OlmoForCausalLM,
    PreTrainedModel,
    Qwen2Config,
    Qwen2ForCausalLM,
    Qwen3Config,
    Qwen3ForCausalLM,
)

from circuitwatch.checkpoints.files import weights_sha256
from circuitwatch.checkpoints.loading import load_model
from circuitwatch.checkpoints.unusable import DamagedWeights
from circuitwatch.errors import UserError
from circuitwatch.transformer import Transformer
from support.models import Case, random_model, same_logits


def test_logits_equal_hugging_faces(case: Case) -> None:
    logits = case.model.unembed(case.model.run(case.model.embed(case.prompts.clean)).final)
    torch.testing.assert_close(logits, case.hf(case.prompts.clean).logits, rtol=1e-4, atol=1e-5)


def test_runs_that_leave_out_what_is_known_equal_the_whole(case: Case) -> None:
    """Behind a shared beginning, from a mixture of embeddings, with the first layer taken over and
    the last one at the end only.
    """
    rows, ends = torch.arange(8), case.prompts.lengths - 1
    for batch_size in (1, 3, 8):
        for values, tokens in zip(
            case.prepared(batch_size).end_logits(),
            (case.prompts.clean, case.prompts.corrupted),
            strict=True,
        ):
            torch.testing.assert_close(
                values, case.hf(tokens).logits[rows, ends], rtol=1e-4, atol=1e-5
            )


def assert_loaded_as_it_is(model: PreTrainedModel, folder: Path, std: float = 0.25) -> None:
    """Give every parameter a random value, write the model, and compare the logits of what is
    loaded with its own.
    """
    for parameter in model.parameters():
        parameter.data.normal_(std=std)
    model.save_pretrained(folder)
    tokens = torch.arange(12)[None]
    ours = load_model(folder)
    logits = ours.unembed(ours.run(ours.embed(tokens)).final)
    torch.testing.assert_close(logits, model.eval()(tokens).logits, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize(
    ("config", "kind"),
    [
        (Qwen2Config, Qwen2ForCausalLM),
        (MistralConfig, MistralForCausalLM),
        (OlmoConfig, OlmoForCausalLM),
    ],
)
def test_relatives_of_llama(config: type, kind: type, tmp_path: Path) -> None:
    """With biases on queries, keys and values (Qwen2), and norms without parameters (OLMo).

    Loading compares the logits itself.
    """
    torch.manual_seed(0)
    shape = {
        "hidden_size": 24,
        "num_hidden_layers": 2,
        "num_attention_heads": 4,
        "intermediate_size": 40,
    }
    model = kind(
        config(
            **shape,
            num_key_value_heads=2,
            vocab_size=50,
            bos_token_id=0,
            eos_token_id=0,
            pad_token_id=0,
        )
    )
    assert_loaded_as_it_is(model, tmp_path)


def test_stanfords_gpt2_scales_attention_by_layer(tmp_path: Path) -> None:
    """Loading compares the logits with Hugging Face's, which divide by the layer's number."""
    torch.manual_seed(0)
    config = GPT2Config(
        n_layer=3,
        n_embd=24,
        n_head=3,
        vocab_size=50,
        n_positions=16,
        scale_attn_by_inverse_layer_idx=True,
        bos_token_id=0,
        eos_token_id=0,
    )
    model = GPT2LMHeadModel(config)
    assert_loaded_as_it_is(model, tmp_path, std=0.4)


def test_bfloat16_on_disk_is_analysed_in_float32(tmp_path: Path) -> None:
    shape = {
        "hidden_size": 16,
        "num_hidden_layers": 1,
        "num_attention_heads": 2,
        "intermediate_size": 16,
        "vocab_size": 20,
    }
    common = {"bos_token_id": 0, "eos_token_id": 0, "pad_token_id": 0}
    for name, model in (
        ("a", GPTNeoXForCausalLM(GPTNeoXConfig(**shape, **common))),
        ("b", OlmoForCausalLM(OlmoConfig(**shape, **common))),
    ):
        model.to(torch.bfloat16).save_pretrained(tmp_path / name)
        loaded = load_model(tmp_path / name)
        assert {loaded.W_E.dtype, loaded.W_U.dtype, loaded.blocks[0].attention.W_Q.dtype} == {
            torch.float32
        }


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
    common = {**shape, "bos_token_id": 0, "eos_token_id": 0, "pad_token_id": 0}
    Olmo2ForCausalLM(Olmo2Config(**common)).save_pretrained(tmp_path)
    with pytest.raises(UserError, match="model_type=olmo2 is not supported"):
        load_model(tmp_path)
    Qwen3ForCausalLM(Qwen3Config(**common)).save_pretrained(tmp_path)
    with pytest.raises(UserError, match="model_type=qwen3 is not supported; supported are"):
        load_model(tmp_path)
    OlmoForCausalLM(OlmoConfig(**common, clip_qkv=2.0)).save_pretrained(tmp_path)
    with pytest.raises(UserError, match="clip_qkv"):
        load_model(tmp_path)


def windowed(kind: str, **more: Any) -> PreTrainedModel:
    """A model that attends to no more than 12 tokens."""
    torch.manual_seed(0)
    shape = {
        "hidden_size": 24,
        "num_hidden_layers": 2,
        "num_attention_heads": 4,
        "intermediate_size": 40,
        "num_key_value_heads": 2,
    }
    if kind == "mistral":
        model = MistralForCausalLM(
            MistralConfig(
                **shape,
                sliding_window=12,
                bos_token_id=0,
                eos_token_id=0,
                pad_token_id=0,
                vocab_size=50,
                **more,
            )
        )
    else:
        window = {"use_sliding_window": True, "sliding_window": 12, "max_window_layers": 0}
        model = Qwen2ForCausalLM(
            Qwen2Config(
                **shape,
                **{**window, **more},
                bos_token_id=0,
                eos_token_id=0,
                pad_token_id=0,
                vocab_size=50,
            )
        )
    for parameter in model.parameters():
        parameter.data.normal_(std=0.25)
    return model.eval().requires_grad_(False)


@pytest.mark.parametrize("kind", ["mistral", "qwen2"])
def test_a_sliding_window_shorter_than_the_inputs_is_refused(kind: str, tmp_path: Path) -> None:
    model = windowed(kind)
    model.save_pretrained(tmp_path)
    for length in (None, 13, 40):
        with pytest.raises(
            UserError, match=r"differs .* by 0\.\d+ .*token 13 .*sliding_window=12"
        ) as caught:
            load_model(tmp_path, check_length=length)
        assert "\n" not in str(caught.value) and not isinstance(caught.value, DamagedWeights)
    same_logits(tmp_path, model, check_length=12)  # 12 tokens fit into the window


def test_a_window_that_no_layer_uses_is_no_reason(tmp_path: Path) -> None:
    model = windowed("qwen2", max_window_layers=2)
    model.save_pretrained(tmp_path)
    same_logits(tmp_path, model, check_length=40)


def test_the_comparison_takes_tokens_of_the_whole_vocabulary(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As many as asked for, as far as the context goes, and the same ones each time."""
    random_model("parallel").save_pretrained(tmp_path)
    seen: list[Tensor] = []
    embed = Transformer.embed
    monkeypatch.setattr(
        Transformer, "embed", lambda self, tokens: (seen.append(tokens), embed(self, tokens))[1]
    )
    for length in (None, 9, 9, 99):
        load_model(tmp_path, check_length=length)
    assert [tokens.shape for tokens in seen] == [(1, 32), (1, 9), (1, 9), (1, 32)]
    assert seen[1].equal(seen[2]) and seen[0].unique().numel() > 16 and seen[0].max() > 40


def test_a_difference_in_one_late_token_is_seen(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A position that inputs of fewer tokens never touch."""
    random_model("sequential").save_pretrained(tmp_path)
    table = Transformer.__init__

    def spoiled(self: Transformer, **fields: Any) -> None:
        fields["W_pos"] = fields["W_pos"].clone()
        fields["W_pos"][30, 0] += 1
        table(self, **fields)

    monkeypatch.setattr(Transformer, "__init__", spoiled)
    with pytest.raises(UserError, match=r"differs .* from token 31 of 32 on; not analysed"):
        load_model(tmp_path)
    load_model(tmp_path, check_length=30)


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
        return sum(
            issubclass(type(thing), Transformer | torch.nn.Module) for thing in gc.get_objects()
        )

    before = alive()
    for _ in range(10):
        load_model(tmp_path)
    gc.collect()
    assert alive() <= before
