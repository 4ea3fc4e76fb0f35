"""Checkpoints' folders that went wrong for others, each as it was reported: the weights that are
meant, or one line with the cause. The kinds behind them are tested beside what handles them.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file
from tokenizers import Tokenizer, decoders, models, normalizers
from torch import Tensor
from transformers import (
    AutoConfig,
    AutoModelForCausalLM,
    GPT2Config,
    GPTNeoXConfig,
    LlamaConfig,
    MistralConfig,
    PreTrainedModel,
    PreTrainedTokenizerBase,
    Qwen2Config,
)

from circuitwatch import lexicon
from circuitwatch.checkpoints.folder import FolderSource
from circuitwatch.checkpoints.kinds import adapter_line
from circuitwatch.checkpoints.loading import load_model
from circuitwatch.checkpoints.settings import tokenizer_place
from circuitwatch.checkpoints.tokenizers import load_tokenizer
from circuitwatch.checkpoints.unusable import DamagedWeights, Unsupported, Unusable
from circuitwatch.errors import UserError
from circuitwatch.monitor import tokenizer_of, watch_cell
from circuitwatch.tasks import build_prompts
from circuitwatch.tasks.prompts import single_tokens
from support.growing import Run, watching
from support.tokenizers import tokenizer_named

WEIGHTS = "model.safetensors"
NAME = "org/tiny"
SHAPE: dict[str, Any] = {
    "hidden_size": 24,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "intermediate_size": 40,
    "max_position_embeddings": 64,
    "bos_token_id": 0,
    "eos_token_id": 0,
}


@pytest.fixture(scope="module")
def tokenizer() -> PreTrainedTokenizerBase:
    return tokenizer_named("bpe")


@pytest.fixture(scope="module")
def prompts(tokenizer: PreTrainedTokenizerBase) -> list[list[int]]:
    """Ours, one unpadded prompt at a time."""
    found = build_prompts("ioi", tokenizer, n_prompts=4, seed=0)
    return [row[:n].tolist() for row, n in zip(found.clean, found.lengths, strict=True)]


def made(config: Any, std: float = 0.2) -> PreTrainedModel:
    """A model whose every parameter is random, always the same."""
    torch.manual_seed(0)
    model = AutoModelForCausalLM.from_config(config)
    for name, parameter in model.named_parameters():
        parameter.data.normal_(std=std)
        if parameter.ndim == 1 and name.endswith("weight"):
            parameter.data.add_(1)
    return model.eval().requires_grad_(False)


def neox(tokenizer: PreTrainedTokenizerBase, **more: Any) -> PreTrainedModel:
    return made(GPTNeoXConfig(vocab_size=len(tokenizer), **{**SHAPE, **more}))


def llama(tokenizer: PreTrainedTokenizerBase, kind: type = LlamaConfig, **more: Any) -> Any:
    more = {"num_key_value_heads": 2, "pad_token_id": 0, **more}
    return made(kind(vocab_size=len(tokenizer), **{**SHAPE, **more}))


def require_exact(folder: Path, model: PreTrainedModel, prompts: list[list[int]]) -> None:
    """The logits of every prompt by itself are those of transformers."""
    ours = load_model(folder, check_length=max(map(len, prompts)))
    for prompt in prompts:
        tokens = torch.tensor([prompt])
        logits = ours.unembed(ours.run(ours.embed(tokens)).final)
        torch.testing.assert_close(logits, model(tokens).logits, rtol=1e-4, atol=1e-4)


def rewritten(folder: Path, change: Callable[[dict[str, Tensor]], dict[str, Tensor]]) -> None:
    save_file(change(load_file(folder / WEIGHTS)), folder / WEIGHTS, metadata={"format": "pt"})


def with_config(folder: Path, **values: Any) -> None:
    path = folder / "config.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | values))


def one_line(error: BaseException) -> str:
    assert "\n" not in str(error) and len(str(error)) < 700
    return str(error)


@pytest.mark.parametrize("prefix", ["_orig_mod.", "module.", "base_model.model."])
def test_every_key_behind_a_prefix(
    prefix: str, tmp_path: Path, tokenizer: PreTrainedTokenizerBase, prompts: list[list[int]]
) -> None:
    model = neox(tokenizer)
    model.save_pretrained(tmp_path)
    rewritten(tmp_path, lambda tensors: {f"{prefix}{name}": t for name, t in tensors.items()})
    require_exact(tmp_path, model, prompts)
    said: list[str] = []
    load_model(tmp_path, on_prefix=said.append)
    assert said == [prefix]


@pytest.mark.parametrize(
    "gone",
    [
        "embed_out.weight",
        "gpt_neox.final_layer_norm.weight",
        "gpt_neox.layers.1.attention.dense.weight",
    ],
)
def test_one_tensor_missing(gone: str, tmp_path: Path, tokenizer: PreTrainedTokenizerBase) -> None:
    neox(tokenizer).save_pretrained(tmp_path)
    rewritten(tmp_path, lambda tensors: {k: t for k, t in tensors.items() if k != gone})
    with pytest.raises(DamagedWeights, match=f"damaged: {gone} is missing"):
        load_model(tmp_path)


def test_unexpected_keys_stay_allowed(
    tmp_path: Path, tokenizer: PreTrainedTokenizerBase, prompts: list[list[int]]
) -> None:
    """Old Pythia's buffers."""
    model = neox(tokenizer)
    model.save_pretrained(tmp_path)
    old = {"gpt_neox.layers.0.attention.masked_bias": torch.tensor(-1e9)}
    rewritten(tmp_path, lambda tensors: {**tensors, **old})
    require_exact(tmp_path, model, prompts)


def test_empty_tensors_of_zero_3(tmp_path: Path, tokenizer: PreTrainedTokenizerBase) -> None:
    neox(tokenizer).save_pretrained(tmp_path)
    name = "gpt_neox.layers.0.attention.dense.weight"
    rewritten(tmp_path, lambda tensors: {**tensors, name: torch.empty(0)})
    with pytest.raises(DamagedWeights) as caught:
        load_model(tmp_path)
    said = one_line(caught.value)
    assert f"{name} is [0] in the file, [24, 24] in the model" in said
    assert "consolidated" in said and "zero_to_fp32.py" in said and "ignore_mismatched" not in said


def test_a_shard_of_three_missing(tmp_path: Path, tokenizer: PreTrainedTokenizerBase) -> None:
    """The next goes on."""
    for step in (1, 2):
        neox(tokenizer).save_pretrained(tmp_path / f"checkpoint-{step}", max_shard_size="30KB")
    shards = sorted((tmp_path / "checkpoint-1").glob("model-*.safetensors"))
    assert len(shards) >= 3
    shards[1].unlink()
    source = FolderSource(tmp_path, tokens_per_step=10)
    audit = source.audit(source.available(), lambda _: None)
    assert list(audit.weights) == [2] and shards[1].name in one_line(UserError(audit.missing[1]))
    load_model(tmp_path / "checkpoint-2")


def test_a_tokenizer_in_the_runs_root(tmp_path: Path, tokenizer: PreTrainedTokenizerBase) -> None:
    folder = tmp_path / "checkpoint-5"
    neox(tokenizer).save_pretrained(folder)
    with pytest.raises(Unusable, match=r"no tokenizer in this folder or above .*model\.tokenizer="):
        load_tokenizer(folder)
    tokenizer.save_pretrained(tmp_path)
    found = load_tokenizer(folder)
    text = "Then, Mary and John went to the store."
    assert found.encode(text) == tokenizer.encode(text)
    names = [*lexicon.FEMALE_NAMES, *lexicon.MALE_NAMES]
    assert single_tokens(found, names) == single_tokens(tokenizer, names)


def test_bos_beyond_the_embedding(tmp_path: Path, tokenizer: PreTrainedTokenizerBase) -> None:
    neox(tokenizer).save_pretrained(tmp_path)
    tokenizer.save_pretrained(tmp_path)
    path = tmp_path / "tokenizer_config.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | {"bos_token": "<s>"}))
    with pytest.raises(Unusable) as caught:
        load_tokenizer(tmp_path)
    said = one_line(caught.value)
    assert f"'<s>' has id {len(tokenizer)}" in said and f"of {len(tokenizer)} tokens" in said


@pytest.mark.parametrize(
    "config",
    [
        {"quant_method": "bitsandbytes", "load_in_4bit": True},
        {"quant_method": "gptq", "bits": 4},
    ],
)
def test_quantised(config: Any, tmp_path: Path, tokenizer: PreTrainedTokenizerBase) -> None:
    llama(tokenizer).save_pretrained(tmp_path)
    with_config(tmp_path, quantization_config=config)
    with pytest.raises(Unsupported, match=r"quantization_config .*dequantise") as caught:
        load_model(tmp_path)
    assert "pip install" not in one_line(caught.value)


@pytest.mark.parametrize("kind", [MistralConfig, Qwen2Config])
def test_a_window_shorter_than_prompts(
    kind: type, tmp_path: Path, tokenizer: PreTrainedTokenizerBase, prompts: list[list[int]]
) -> None:
    window = {"sliding_window": 12}
    if kind is Qwen2Config:
        window |= {"use_sliding_window": True, "max_window_layers": 0}
    assert max(map(len, prompts)) > 12
    model = llama(tokenizer, kind, **window)
    model.save_pretrained(tmp_path)
    require_exact(tmp_path, model, prompts)


@pytest.mark.parametrize(
    ("kind", "options"),
    [
        (GPTNeoXConfig, {"attention_bias": False}),
        (LlamaConfig, {"mlp_bias": True, "num_key_value_heads": 2}),
        (GPT2Config, {"scale_attn_weights": False}),
        (GPT2Config, {"scale_attn_by_inverse_layer_idx": True}),
    ],
)
def test_options_that_change_what_is_computed(
    kind: type,
    options: dict[str, Any],
    tmp_path: Path,
    tokenizer: PreTrainedTokenizerBase,
    prompts: list[list[int]],
) -> None:
    model = made(kind(vocab_size=len(tokenizer), pad_token_id=0, **SHAPE, **options))
    model.save_pretrained(tmp_path)
    require_exact(tmp_path, model, prompts)


def test_longrope_is_exact_up_to_its_original_context(
    tmp_path: Path, tokenizer: PreTrainedTokenizerBase, prompts: list[list[int]]
) -> None:
    """Beyond it transformers takes other frequencies for the whole text, also for its beginning."""
    factors = [1.0 + 0.5 * i for i in range(3)]
    rope = {"rope_type": "longrope", "short_factor": factors, "long_factor": factors[::-1]}
    rope |= {"original_max_position_embeddings": 32, "rope_theta": 10000.0, "factor": 2.0}
    model = llama(tokenizer, rope_parameters=rope)
    model.save_pretrained(tmp_path)
    assert max(map(len, prompts)) <= 32
    require_exact(tmp_path, model, prompts)
    assert load_model(tmp_path).context_length == 32


def test_an_adapter_beside_full_weights(
    tmp_path: Path,
    tokenizer: PreTrainedTokenizerBase,
    prompts: list[list[int]],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """As without it, whether peft is installed or not."""
    model = neox(tokenizer)
    model.save_pretrained(tmp_path)
    assert adapter_line(tmp_path) == ""
    config = {"peft_type": "LORA", "base_model_name_or_path": "org/other", "r": 1}
    (tmp_path / "adapter_config.json").write_text(json.dumps(config))
    save_file({"base_model.model.x": torch.ones(1)}, tmp_path / "adapter_model.safetensors")
    require_exact(tmp_path, model, prompts)
    for module in ("models.auto.auto_factory", "integrations.peft"):
        monkeypatch.setattr(f"transformers.{module}.is_peft_available", lambda: True)
    require_exact(tmp_path, model, prompts)
    assert "these are taken, without the adapter" in adapter_line(tmp_path)


def test_an_adapter_alone(tmp_path: Path) -> None:
    folder = tmp_path / "checkpoint-5"
    folder.mkdir()
    (folder / "adapter_config.json").write_text('{"peft_type": "LORA"}')
    save_file({"base_model.model.x": torch.ones(1)}, folder / "adapter_model.safetensors")
    wanted = "a LoRA adapter; merge it into its base first"
    with pytest.raises(DamagedWeights, match=wanted):
        load_model(folder)
    source = FolderSource(tmp_path, tokens_per_step=10)
    assert wanted in source.audit(source.available(), lambda _: None).missing[5]


def test_a_t5(tmp_path: Path) -> None:
    AutoConfig.for_model("t5").save_pretrained(tmp_path)
    with pytest.raises(Unsupported, match="model_type=t5: an encoder-decoder model") as caught:
        load_model(tmp_path)
    one_line(caught.value)


@pytest.mark.parametrize(
    ("files", "command"),
    [
        (
            ["pytorch_model_fsdp_0/__0_0.distcp", "pytorch_model_fsdp_0/.metadata"],
            "accelerate merge-weights {0}/pytorch_model_fsdp_0 {0}",
        ),
        ([".metadata", "__0_0.distcp"], "accelerate merge-weights {0} {0}"),
        (
            ["latest", "zero_to_fp32.py", "global_step5/mp_rank_00_model_states.pt"],
            "python {0}/zero_to_fp32.py {0} {0} --safe_serialization",
        ),
    ],
)
def test_shards_that_are_not_merged(files: list[str], command: str, tmp_path: Path) -> None:
    """Skipped with the command that merges them, with config.json beside them and without."""
    folder = tmp_path / "checkpoint-5"
    for name in files:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).touch()
    source = FolderSource(tmp_path, tokens_per_step=10)
    for has_config in (False, True):
        if has_config:
            GPTNeoXConfig(**SHAPE).save_pretrained(folder)
        (reason,) = source.audit(source.available(), lambda _: None).missing.values()
        assert command.format(folder) in reason and "not merged" in reason
        with pytest.raises(DamagedWeights, match="not merged"):
            load_model(folder)
    with pytest.raises(UserError, match="not merged"):
        FolderSource(folder, tokens_per_step=10).available()


def test_fsdps_weights_in_one_file(
    tmp_path: Path, tokenizer: PreTrainedTokenizerBase, prompts: list[list[int]]
) -> None:
    """Named as transformers does not read it; renamed as the line says they are the model's."""
    folder, model = tmp_path / "checkpoint-5", neox(tokenizer)
    model.config.save_pretrained(folder)
    torch.save(model.state_dict(), folder / "pytorch_model_fsdp.bin")
    source = FolderSource(tmp_path, tokens_per_step=10)
    (reason,) = source.audit(source.available(), lambda _: None).missing.values()
    assert "rename it to pytorch_model.bin" in reason
    (folder / "pytorch_model_fsdp.bin").rename(folder / "pytorch_model.bin")
    require_exact(folder, model, prompts)


def llama_2s(model_type: str, folder: Path) -> None:
    """A tokenizer.json as Llama 2's: the normaliser puts "▁" before every text."""
    names = [*lexicon.FEMALE_NAMES, *lexicon.MALE_NAMES][:127]
    words = [f"▁{word}" for word in [*names, "Then", "and"]]
    merges = dict.fromkeys((w[:end], w[end]) for w in words for end in range(1, len(w)))
    letters = sorted({letter for word in words for letter in word} | set("▁abc,."))
    tokens = ["<unk>", "<s>", "</s>", *(f"<0x{i:02X}>" for i in range(256)), *letters]
    tokens += [t for t in dict.fromkeys(map("".join, merges)) if t not in letters]
    vocabulary = {token: index for index, token in enumerate(tokens)}
    bpe = models.BPE(vocabulary, list(merges), unk_token="<unk>", fuse_unk=True, byte_fallback=True)
    backend = Tokenizer(bpe)
    space = normalizers.Replace(" ", "▁")
    backend.normalizer = normalizers.Sequence([normalizers.Prepend("▁"), space])
    back = [decoders.Replace("▁", " "), decoders.ByteFallback(), decoders.Fuse()]
    backend.decoder = decoders.Sequence([*back, decoders.Strip(" ", 1, 0)])
    backend.add_special_tokens(["<unk>", "<s>", "</s>"])
    folder.mkdir(parents=True, exist_ok=True)
    backend.save(str(folder / "tokenizer.json"))
    special = {"bos_token": "<s>", "eos_token": "</s>", "unk_token": "<unk>"}
    settings = {**special, "tokenizer_class": "LlamaTokenizer"}
    (folder / "tokenizer_config.json").write_text(json.dumps(settings))
    kind = {"llama": LlamaConfig, "mistral": MistralConfig}[model_type]
    kind(vocab_size=len(tokens)).save_pretrained(folder)


@pytest.mark.parametrize("model_type", ["llama", "mistral"])
def test_words_of_llama_2s_tokenizer(model_type: str, tmp_path: Path) -> None:
    llama_2s(model_type, tmp_path)
    tokenizer = load_tokenizer(tmp_path)
    found = single_tokens(tokenizer, [*lexicon.FEMALE_NAMES, *lexicon.MALE_NAMES])
    assert len(found) == 127
    ids = tokenizer.encode("Then Mary and", add_special_tokens=False)
    assert ids[1] == found["Mary"]


def test_a_run_that_grows(
    trained_suite: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """A checkpoint that comes after the cell was done is watched; one half written is tried again
    once it is whole. What prompts begin with stands in the table and in cell.json.
    """
    run = Run(trained_suite, tmp_path / "run")
    run.write(0)
    cell = watch_cell(watching(run.folder), tmp_path / "cell")
    assert cell.is_done() and cell.steps_done() == [0]
    assert json.loads((cell.folder / "cell.json").read_text())["bos"] == "<|endoftext|>"
    assert "every prompt begins with <|endoftext|>" in capsys.readouterr().out
    run.write(128, 300)
    run.truncate(300, 10_000)
    cell = watch_cell(watching(run.folder), tmp_path / "cell")
    assert cell.steps_done() == [0, 128] and "10000 of" in cell.skipped()["300"]["reason"]
    run.repair(300)
    cell = watch_cell(watching(run.folder), tmp_path / "cell")
    assert cell.steps_done() == [0, 128, 300] and not cell.skipped()
    config = watching(run.folder)
    config.task.prepend_bos = False
    capsys.readouterr()
    cell = watch_cell(config, tmp_path / "bare")
    assert cell.header["bos"] is None
    assert "no token is put before the prompts" in capsys.readouterr().out


def test_two_folders_of_one_step(tmp_path: Path) -> None:
    for name in ("step5", "checkpoint-5"):
        (tmp_path / name).mkdir()
    with pytest.raises(UserError, match="checkpoint-5 and step5 are both of step 5"):
        FolderSource(tmp_path, tokens_per_step=10).available()


def test_where_a_tokenizer_can_be(tmp_path: Path, tokenizer: PreTrainedTokenizerBase) -> None:
    tokenizer.save_pretrained(tmp_path / "words")
    for place in (str(tmp_path / "words"), "org/name"):
        tokenizer_place(place, "model.tokenizer")
    for place, words in (
        (str(tmp_path), r"no tokenizer\.json or tokenizer\.model in it"),
        ("nowhere", "no such folder; give one"),
    ):
        with pytest.raises(UserError, match=rf"model\.tokenizer=.*{words}"):
            tokenizer_place(place, "model.tokenizer")


def test_a_tokenizer_that_is_named_is_taken(
    trained_suite: Path, tmp_path: Path, tokenizer: PreTrainedTokenizerBase
) -> None:
    """Not the one beside the checkpoint."""
    run = Run(trained_suite, tmp_path / "run")
    run.write(0)
    tokenizer.save_pretrained(tmp_path / "words")
    config = watching(run.folder)
    own = tokenizer_of(config)
    config.model.tokenizer = str(tmp_path / "words")
    assert len(tokenizer_of(config)) == len(tokenizer) != len(own)
