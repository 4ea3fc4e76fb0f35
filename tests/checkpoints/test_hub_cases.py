"""Repositories that went wrong for others, on a hub on loopback: what can't be analysed is refused
before any weights are fetched, and a tokenizer is found wherever it is.
"""

from __future__ import annotations

import io
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import sentencepiece
import torch
from safetensors.torch import save_file
from transformers import AutoConfig

from circuitwatch import lexicon
from circuitwatch.checkpoints.describing import first_usable
from circuitwatch.checkpoints.settings import CheckpointsConfig, ModelConfig
from circuitwatch.checkpoints.shape import read_config
from circuitwatch.checkpoints.stream import HubSource, tokenizer_folder
from circuitwatch.checkpoints.tokenizers import load_tokenizer
from circuitwatch.checkpoints.unusable import Unsupported, Unusable
from circuitwatch.cli import main
from circuitwatch.errors import UserError
from circuitwatch.tasks.prompts import single_tokens
from support.hub import Hub, running_hub
from support.tokenizers import tokenizer_named

NAME = "org/tiny"
NAMES = [*lexicon.FEMALE_NAMES, *lexicon.MALE_NAMES]


@pytest.fixture
def root(tmp_path: Path) -> Path:
    return tmp_path / "hub"


@pytest.fixture
def hub(root: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Hub]:
    root.mkdir()
    with running_hub(root) as hub:
        place = f"{hub.url}/{{repo_id}}/resolve/{{revision}}/{{filename}}"
        monkeypatch.setattr("huggingface_hub.constants.ENDPOINT", hub.url)
        monkeypatch.setattr("huggingface_hub.constants.HUGGINGFACE_CO_URL_TEMPLATE", place)
        yield hub


def write(root: Path, revision: str, config: dict[str, Any], repository: str = NAME) -> Path:
    """A revision that says so of its model, with weights of a megabyte."""
    folder = root / repository / revision
    folder.mkdir(parents=True)
    (folder / "config.json").write_text(json.dumps(config))
    save_file({"x": torch.zeros(1 << 18)}, folder / "model.safetensors")
    return folder


def source_of(tmp_path: Path, **model: Any) -> HubSource:
    given = {"name": "tiny", "revisions": "step{step}", "tokens_per_step": 8, **model}
    config = CheckpointsConfig(folder=str(tmp_path / "store"))
    return HubSource(ModelConfig(source="hub", hub_id=NAME, **given), config)


def arguments(tmp_path: Path, *more: str) -> list[str]:
    return [
        *("model=hub", f"model.hub_id={NAME}", "model.name=tiny", "model.tokens_per_step=8"),
        *("task=ioi", "tracking=off", "device=cpu", f"out={tmp_path / 'out'}"),
        *(f"checkpoints.folder={tmp_path / 'store'}", *more),
    ]


def of_type(model_type: str, **more: Any) -> dict[str, Any]:
    return AutoConfig.for_model(model_type).to_dict() | more


REFUSED = {
    "t5": (of_type("t5"), "model_type=t5: an encoder-decoder"),
    "mixtral": (of_type("mixtral"), "a mixture of experts"),
    "mamba": (of_type("mamba"), "a state-space or recurrent model"),
    "unheard of": ({"model_type": "nonesuch"}, "model_type=nonesuch is not supported"),
    "4 bits": (
        of_type("llama", quantization_config={"quant_method": "bitsandbytes"}),
        r"quantization_config \(bitsandbytes\).*dequantise",
    ),
    "hf_olmo with ALiBi": ({"model_type": "hf_olmo", "alibi": True}, "alibi=True"),
}


@pytest.mark.parametrize("kind", REFUSED)
def test_what_is_refused_costs_no_download(kind: str, root: Path, hub: Hub, tmp_path: Path) -> None:
    """Not even its tokenizer's."""
    config, words = REFUSED[kind]
    for step in (0, 1, 2):
        tokenizer_named("bpe").save_pretrained(write(root, f"step{step}", config))
    source = source_of(tmp_path)
    for read in (read_config, load_tokenizer):
        with pytest.raises(Unsupported, match=words) as caught:
            first_usable(source, source.available(), read)
        assert "\n" not in str(caught.value) and "remote code" not in str(caught.value)
    assert not hub.served
    assert not [path for path in hub.asked if "tokenizer" in path or "safetensors" in path]
    assert sum("resolve" in path for path in hub.asked) == 1  # of equal config.json one is enough


@pytest.mark.parametrize("command", [[], ["doctor"]])
def test_watch_and_doctor_say_so(
    command: list[str],
    root: Path,
    hub: Hub,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    for step in (0, 1):
        write(root, f"step{step}", of_type("mixtral"))
    with pytest.raises(SystemExit) as exited:
        main([*command, *arguments(tmp_path)])
    printed = capsys.readouterr()
    assert exited.value.code == 2 and "Traceback" not in printed.err
    (line,) = (line for line in printed.err.splitlines() if "circuitwatch: error" in line)
    assert f"{NAME} step0/config.json: model_type=mixtral: a mixture of experts" in line
    assert str(tmp_path) not in line
    assert not hub.served and not list(tmp_path.glob("out/**/cell.json"))


def sentencepiece_model() -> bytes:
    """As Llama's: BPE, with bytes for what it does not know."""
    text = [f"Then, {a} and {b} went." for a in NAMES[:60] for b in NAMES[:60]]
    written = io.BytesIO()
    sentencepiece.SentencePieceTrainer.train(
        sentence_iterator=iter(text),
        model_writer=written,
        vocab_size=900,
        model_type="bpe",
        byte_fallback=True,
        hard_vocab_limit=False,
        minloglevel=2,
        num_threads=1,
        pad_id=-1,
    )
    return written.getvalue()


def test_tokenizer_model_alone(root: Path, hub: Hub, tmp_path: Path) -> None:
    """Fetched and read, whatever the model's type would have."""
    content = sentencepiece_model()
    expected = sentencepiece.SentencePieceProcessor(model_proto=content)
    for step, kind in enumerate(("llama", "mistral", "olmo")):
        config = of_type(kind, vocab_size=1000)
        (write(root, f"step{step}", config) / "tokenizer.model").write_bytes(content)
    source = source_of(tmp_path)
    for checkpoint in source.available():
        tokenizer = first_usable(source, [checkpoint], load_tokenizer)
        for text in ("Then, Mary and John", "Anna went."):
            assert tokenizer.encode(text, add_special_tokens=False) == expected.encode(text)
        found = single_tokens(tokenizer, NAMES)
        assert len(found) > 30 and found["Mary"] == expected.piece_to_id("▁Mary")
        assert tokenizer.bos_token == "<s>" and tokenizer.bos_token_id == 1
    assert not hub.served


def test_a_tokenizer_of_another_repository(root: Path, hub: Hub, tmp_path: Path) -> None:
    """Of model.tokenizer, also where the checkpoints have one; offline as it was fetched."""
    write(root, "step0", of_type("gpt_neox"))
    other = root / "org/words/main"
    other.mkdir(parents=True)
    expected = tokenizer_named("words")
    expected.save_pretrained(other)
    source = source_of(tmp_path)
    with pytest.raises(Unusable, match="no tokenizer in this folder"):
        first_usable(source, source.available(), load_tokenizer)
    config = CheckpointsConfig(folder=str(tmp_path / "store"))
    folder = tokenizer_folder("org/words", config)
    found = first_usable(source, source.available(), lambda at: load_tokenizer(at, folder))
    assert found.encode("Mary went") == expected.encode("Mary went")
    hub.faults.down = True
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("circuitwatch.checkpoints.stream.offline", lambda: True)
        assert tokenizer_folder("org/words", config) == folder
        with pytest.raises(UserError, match=r"model\.tokenizer=org/none: .*HF_HUB_OFFLINE"):
            tokenizer_folder("org/none", config)
    assert tokenizer_folder(str(other), config) == other


def test_one_listing_tells_all_revisions(root: Path, hub: Hub, tmp_path: Path) -> None:
    for step in range(5):
        write(root, f"step{step}", of_type("gpt_neox"))
    source = source_of(tmp_path)
    assert [c.step for c in source.available()] == [0, 1, 2, 3, 4]
    source.audit(source.available(), lambda _: None)
    assert hub.asked[f"GET api/models/{NAME}/refs"] == 1
    # Files of a revision take a call each, made once: a commit does not change.
    again = source_of(tmp_path)
    again.audit(again.available(), lambda _: None)
    assert sum("revision" in path for path in hub.asked) == 5
    assert all(n == 1 for path, n in hub.asked.items() if "revision" in path)


def test_an_adapter_alone_in_a_repository(root: Path, hub: Hub, tmp_path: Path) -> None:
    folder = root / NAME / "step0"
    folder.mkdir(parents=True)
    (folder / "adapter_config.json").write_text('{"peft_type": "LORA"}')
    save_file({"x": torch.zeros(1 << 18)}, folder / "adapter_model.safetensors")
    source = source_of(tmp_path)
    wanted = "a LoRA adapter; merge it into its base first"
    assert wanted in source.audit(source.available(), lambda _: None).missing[0]
    with pytest.raises(Unusable, match=wanted):
        first_usable(source, source.available(), load_tokenizer)
    assert not hub.served


def test_doctor_questions_a_chats_beginning_of_text(
    root: Path, hub: Hub, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    tokenizer = tokenizer_named("bpe")
    sizes = {"num_hidden_layers": 1, "hidden_size": 16, "intermediate_size": 16}
    folder = write(root, "step0", of_type("gpt_neox", **sizes, num_attention_heads=2))
    tokenizer.save_pretrained(folder)
    said = {}
    for step, bos in enumerate(("<|endoftext|>", "<|im_start|>")):
        path = folder / "tokenizer_config.json"
        path.write_text(json.dumps(json.loads(path.read_text()) | {"bos_token": bos}))
        main(["doctor", *arguments(tmp_path / str(step))])
        said[bos] = capsys.readouterr().out
    assert "beginning of text: <|endoftext|>\n" in said["<|endoftext|>"]
    assert "<|im_start|> looks like the beginning of a turn in a chat" in said["<|im_start|>"]
    assert "task.prepend_bos=false" in said["<|im_start|>"]
    assert "can be analysed: GPTNeoXForCausalLM, 1 layers of 2 heads" in said["<|im_start|>"]
    assert not hub.served
