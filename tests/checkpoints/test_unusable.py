"""Checkpoints that can't be used: whatever is wrong with one, it is skipped with the reason and the
next one goes on, also where it is the first; what is wrong with all of them is one error.
"""

from __future__ import annotations

import json
import re
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file

from circuitwatch.analysis import Seen
from circuitwatch.checkpoints.shape import read_config
from circuitwatch.checkpoints.tokenizers import load_tokenizer
from circuitwatch.checkpoints.unusable import DamagedWeights, Unusable, reading
from circuitwatch.cli import main
from circuitwatch.errors import UserError
from circuitwatch.monitor import watch_cell
from circuitwatch.records import Cell
from support.growing import Run, arguments, watching

WEIGHTS = "model.safetensors"


@pytest.fixture
def run(trained_suite: Path, tmp_path: Path) -> Run:
    return Run(trained_suite, tmp_path / "run")


def with_config(**values: Any) -> Callable[[Path], None]:
    """Write values into config.json."""

    def change(folder: Path) -> None:
        path = folder / "config.json"
        path.write_text(json.dumps(json.loads(path.read_text()) | values))

    return change


def with_weights(change: Callable[[dict[str, torch.Tensor]], object]) -> Callable[[Path], None]:
    """Change the tensors of the weights."""

    def changed(folder: Path) -> None:
        tensors = load_file(folder / WEIGHTS)
        change(tensors)
        save_file({k: v.contiguous() for k, v in tensors.items()}, folder / WEIGHTS)

    return changed


def cut(name: str, share: float = 0.5) -> Callable[[Path], None]:
    """Leave a part of a file."""

    def change(folder: Path) -> None:
        content = (folder / name).read_bytes()
        (folder / name).write_bytes(content[: int(share * len(content))])

    return change


def replaced(name: str, content: bytes) -> Callable[[Path], None]:
    return lambda folder: (folder / name).write_bytes(content) and None


def as_folder(name: str) -> Callable[[Path], None]:
    """A directory where a file is meant."""

    def change(folder: Path) -> None:
        (folder / name).unlink()
        (folder / name).mkdir()

    return change


def as_loop(name: str) -> Callable[[Path], None]:
    """A link to itself."""

    def change(folder: Path) -> None:
        (folder / name).unlink()
        (folder / name).symlink_to(name)

    return change


def scaled(factor: float) -> Callable[[dict[str, torch.Tensor]], object]:
    """All weights much larger: finite, and what is computed of them is not."""
    return lambda tensors: [tensor.mul_(factor) for tensor in tensors.values()]


def shard_missing(folder: Path) -> None:
    tensors = load_file(folder / WEIGHTS)
    names = sorted(tensors)
    (folder / WEIGHTS).unlink()
    shards = {n: f"model-0000{1 + i % 2}-of-00002.safetensors" for i, n in enumerate(names)}
    first = min(shards.values())
    save_file({n: tensors[n] for n in names if shards[n] == first}, folder / first)
    index = {"metadata": {}, "weight_map": shards}
    (folder / f"{WEIGHTS}.index.json").write_text(json.dumps(index))


def narrower(tensors: dict[str, torch.Tensor]) -> None:
    name = next(name for name in tensors if name.endswith("attention.dense.weight"))
    tensors[name] = tensors[name][:, :-1]


def not_finite(tensors: dict[str, torch.Tensor]) -> None:
    next(iter(tensors.values())).view(-1)[0] = torch.nan


def layer_left_out(folder: Path) -> None:
    """config.json of a smaller model: transformers would read the rest and say nothing."""
    with_config(num_hidden_layers=1)(folder)


def smaller_vocabulary(folder: Path) -> None:
    def fewer(tensors: dict[str, torch.Tensor]) -> None:
        words = len(tensors["gpt_neox.embed_in.weight"])
        for name in [name for name, tensor in tensors.items() if len(tensor) == words]:
            tensors[name] = tensors[name][:40].clone()

    with_weights(fewer)(folder)
    with_config(vocab_size=40)(folder)


FAULTS: dict[str, tuple[Callable[[Path], None], str]] = {
    "config empty": (replaced("config.json", b""), "not a whole JSON"),
    "config cut": (cut("config.json"), "not a whole JSON"),
    "config a list": (replaced("config.json", b"[1]"), "not a whole JSON"),
    "config a folder": (as_folder("config.json"), "config.json"),
    "config a loop": (as_loop("config.json"), "config.json"),
    "unknown model_type": (with_config(model_type="nonesuch"), "nonesuch"),
    "no language model": (with_config(model_type="vit"), "vit"),
    "no layers": (with_config(num_hidden_layers=0), "num_hidden_layers"),
    "no heads": (with_config(num_attention_heads=0), "num_attention_heads|can't be read"),
    "no width": (with_config(hidden_size=0), "hidden_size"),
    "negative vocabulary": (with_config(vocab_size=-1), "vocab_size"),
    "layers a word": (with_config(num_hidden_layers="two"), "num_hidden_layers"),
    "width a list": (with_config(hidden_size=[32]), "hidden_size"),
    "activation unknown": (with_config(hidden_act="nonesuch"), "nonesuch"),
    "huge width": (with_config(hidden_size=1 << 40), "hidden_size|shape"),
    "a million layers": (with_config(num_hidden_layers=10**6), "num_hidden_layers"),
    "a layer more": (with_config(num_hidden_layers=3), "layers.2|3"),
    "a layer less": (layer_left_out, "2 layers, config.json says 1"),
    "shapes don't fit": (with_weights(narrower), "in the file"),
    "weights NaN": (with_weights(not_finite), "NaN or infinite"),
    "diverged to NaN": (with_weights(scaled(1e30)), "diverged"),
    "diverged, then finite": (with_weights(scaled(1e12)), "diverged"),
    "weights empty": (replaced(WEIGHTS, b""), "no whole header"),
    "header of 2^60 bytes": (replaced(WEIGHTS, (1 << 60).to_bytes(8, "little") * 3), "header"),
    "weights cut": (cut(WEIGHTS), "of \\d+ bytes"),
    "weights a folder": (as_folder(WEIGHTS), WEIGHTS),
    "weights a loop": (as_loop(WEIGHTS), "model.safetensors|weights"),
    "a shard missing": (shard_missing, "model-00002-of-00002"),
    "context too short": (with_config(max_position_embeddings=4), "context of 4 tokens"),
    "vocabulary too small": (smaller_vocabulary, "vocabulary has 40 tokens"),
}


@pytest.mark.parametrize("fault", FAULTS)
def test_one_is_skipped_and_the_next_goes_on(
    fault: str, run: Run, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """The first is the bad one, from which the model would be described."""
    spoil, words = FAULTS[fault]
    run.write(0, 128)
    spoil(run.at(0))
    cell = watch_cell(watching(run.folder), tmp_path / "cell")
    assert cell.is_done() and cell.steps_done() == [128]
    (skipped,) = cell.skipped().values()
    assert skipped["revision"] == "checkpoint-0" and "\n" not in skipped["reason"]
    assert len(skipped["reason"]) < 600
    assert re.search(words, skipped["reason"]), skipped["reason"]
    assert cell.header["model"]["n_layers"] == 2
    capsys.readouterr()


@pytest.mark.parametrize(
    ("spoil", "words"),
    [
        (with_config(model_type="vit"), "model_type=vit: not a language model"),
        (cut("config.json"), "config.json: can't be read"),
        (layer_left_out, "the weights have 2 layers, config.json says 1"),
        (cut("tokenizer.json"), "tokenizer.json: is not a whole JSON file"),
    ],
)
def test_doctor_says_that_a_model_cant_be_analysed(
    spoil: Callable[[Path], None],
    words: str,
    run: Run,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """In one line, if it is so of all checkpoints; below the table of their weights' hashes where
    it is not the architecture.
    """
    run.write(0, 128)
    spoil(run.at(0))
    main(["doctor", *arguments(run.folder, tmp_path / "out")])
    assert "can be analysed: GPTNeoXForCausalLM, 2 layers of 2 heads" in capsys.readouterr().out
    spoil(run.at(128))
    with pytest.raises(SystemExit) as exited:
        main(["doctor", *arguments(run.folder, tmp_path / "out")])
    assert exited.value.code == 2
    printed = capsys.readouterr()
    errors = [line for line in printed.err.splitlines() if "circuitwatch: error" in line]
    assert len(errors) == 1 and words in errors[0] and "Traceback" not in printed.err
    assert ("2 checkpoints" in printed.out) == ("model_type" not in words)
    assert "can be analysed" not in printed.out


@pytest.mark.parametrize(
    ("spoil", "words"),
    [
        (cut("tokenizer.json"), r"tokenizer\.json: is not a whole JSON file"),
        (replaced("tokenizer.json", b'{"version": "1.0"}'), "no tokenizer can be read"),
        (replaced("tokenizer_config.json", b"{"), r"tokenizer_config\.json: is not a whole"),
    ],
)
def test_a_tokenizer_that_is_cut(
    spoil: Callable[[Path], None], words: str, run: Run, tmp_path: Path
) -> None:
    """The next one's serves, and the weights beside the cut one are as good as ever; where every
    one is cut nothing is begun.
    """
    run.write(0, 128)
    spoil(run.at(0))
    with pytest.raises(Unusable, match=words):
        load_tokenizer(run.at(0))
    assert watch_cell(watching(run.folder), tmp_path / "cell").steps_done() == [0, 128]
    spoil(run.at(128))
    with pytest.raises(UserError, match=words):
        watch_cell(watching(run.folder), tmp_path / "other")
    assert not (tmp_path / "other").exists()


def test_a_tokenizer_without_a_token_for_what_it_does_not_know(run: Run) -> None:
    run.write(0)
    path = run.at(0) / "tokenizer.json"
    content = json.loads(path.read_text())
    unknown = content["model"]["unk_token"]
    content["model"]["vocab"].pop(unknown)
    content["added_tokens"] = [t for t in content["added_tokens"] if t["content"] != unknown]
    path.write_text(json.dumps(content))
    config = run.at(0) / "tokenizer_config.json"
    settings = json.loads(config.read_text())
    config.write_text(json.dumps({k: v for k, v in settings.items() if k != "unk_token"}))
    with pytest.raises(Unusable, match="no token for words that it does not know"):
        load_tokenizer(run.at(0))


def test_nothing_usable_is_no_cell_that_is_done(
    run: Run, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Every checkpoint skipped: an error with the reasons, exit code 2, no done.json; the same
    command looks at them again.
    """
    run.write(0, 128)
    for step in (0, 128):
        with_weights(scaled(1e30))(run.at(step))
    for _ in range(2):
        with pytest.raises(SystemExit) as exited:
            main(arguments(run.folder, tmp_path / "out"))
        assert exited.value.code == 2
        printed = capsys.readouterr()
        errors = [line for line in printed.err.splitlines() if "circuitwatch: error" in line]
        assert len(errors) == 1 and "Traceback" not in printed.err
        assert "nothing is recorded: none of the 2 checkpoints can be used" in printed.err
        assert "diverged" in printed.err and "skipped as before" not in printed.out
    (folder,) = (path.parent for path in (tmp_path / "out").glob("*/*/*/*/cell.json"))
    assert not (folder / "done.json").exists() and not Cell.open(folder).is_done()
    run.delete(128)
    run.write(128)
    main(arguments(run.folder, tmp_path / "out"))
    assert Cell.open(folder).steps_done() == [128] and Cell.open(folder).is_done()


def test_a_fault_of_ours_is_not_taken_for_the_checkpoints(
    run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run.write(0)

    def wrong(*_: object) -> None:
        raise ValueError("ours")

    monkeypatch.setattr(Seen, "of", wrong)
    with pytest.raises(ValueError, match="ours"):
        watch_cell(watching(run.folder), tmp_path / "cell")


def test_no_memory_is_no_fault_of_the_file(tmp_path: Path) -> None:
    for error in (MemoryError(), RuntimeError("DefaultCPUAllocator: can't allocate memory: 9")):
        with pytest.raises(type(error)), reading(tmp_path, "can't be read"):
            raise error
    with (
        pytest.raises(DamagedWeights, match=r"can't be read \(odd\)"),
        reading("x", "can't be read"),
    ):
        raise Exception("odd")


def test_a_checkpoint_of_another_model(run: Run, tmp_path: Path) -> None:
    """One of fewer layers among the others is whole, and not theirs."""
    run.write(0, 128)

    def first_layer(tensors: dict[str, torch.Tensor]) -> None:
        for name in [name for name in tensors if ".layers.1." in name]:
            del tensors[name]

    with_weights(first_layer)(run.at(128))
    with_config(num_hidden_layers=1)(run.at(128))
    cell = watch_cell(watching(run.folder), tmp_path / "cell")
    assert cell.steps_done() == [0]
    assert "1 layers of 2 heads, the cell's model 2 of 2" in cell.skipped()["128"]["reason"]


def test_what_config_json_says_is_read_before_any_model_is_made(run: Run) -> None:
    run.write(0)
    shutil.rmtree(run.at(0), ignore_errors=True)
    with pytest.raises(Unusable, match="no such checkpoint folder"):
        read_config(run.at(0))
