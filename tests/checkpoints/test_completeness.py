"""When a checkpoint's folder counts as whole: at each moment of its being written, what is still
missing.
"""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file
from transformers import PreTrainedModel

from circuitwatch.checkpoints.completeness import (
    files_of,
    fingerprint,
    has_tokenizer,
    unfinished,
)
from support.models import random_model


@pytest.fixture(scope="module")
def model() -> PreTrainedModel:
    return random_model("parallel")


@pytest.fixture
def single(model: PreTrainedModel, tmp_path: Path) -> Path:
    model.save_pretrained(tmp_path / "single")
    return tmp_path / "single"


@pytest.fixture
def sharded(model: PreTrainedModel, tmp_path: Path) -> Path:
    model.save_pretrained(tmp_path / "sharded", max_shard_size="20kB")
    assert len(list((tmp_path / "sharded").glob("model-*.safetensors"))) > 2
    return tmp_path / "sharded"


def shards_of(folder: Path) -> list[Path]:
    return sorted(folder.glob("model-*.safetensors"))


def test_what_transformers_writes_is_whole(single: Path, sharded: Path) -> None:
    assert unfinished(single) is None and unfinished(sharded) is None


def test_every_truncation_is_noticed(single: Path) -> None:
    """Of the header's length, the header, the tensors; the last byte decides."""
    file = single / "model.safetensors"
    content = file.read_bytes()
    header = 8 + int.from_bytes(content[:8], "little")
    for length in (0, 5, 8, header - 1):
        file.write_bytes(content[:length])
        assert unfinished(single) == f"{file} has no whole header", length
    for length in (header, header + 1, len(content) - 1):
        file.write_bytes(content[:length])
        assert unfinished(single) == f"{file} has {length} of {len(content)} bytes"
    file.write_bytes(content)
    assert unfinished(single) is None


def test_room_that_is_taken_before_it_is_written(single: Path) -> None:
    """Zeros as long as the file is going to be."""
    file = single / "model.safetensors"
    file.write_bytes(bytes(file.stat().st_size))
    assert unfinished(single) == f"{file} has no whole header"


def test_a_file_without_tensors_is_whole(single: Path) -> None:
    save_file({}, single / "model.safetensors", metadata={"format": "pt"})
    assert unfinished(single) is None


def test_shards_that_appear_one_after_another_then_the_index(sharded: Path, tmp_path: Path) -> None:
    """As transformers writes them."""
    growing = tmp_path / "growing"
    growing.mkdir()
    assert unfinished(growing) == f"no config.json and weights in {growing}"
    shutil.copy(sharded / "config.json", growing)
    assert unfinished(growing) == f"no weights in {growing}"
    for shard in shards_of(sharded):
        shutil.copy(shard, growing)
        assert unfinished(growing) == f"no model.safetensors.index.json in {growing}"
    shutil.copy(sharded / "model.safetensors.index.json", growing)
    assert unfinished(growing) is None


def test_the_index_before_its_shards(sharded: Path, tmp_path: Path) -> None:
    growing = tmp_path / "growing"
    growing.mkdir()
    for name in ("config.json", "model.safetensors.index.json"):
        shutil.copy(sharded / name, growing)
    shards = shards_of(sharded)
    for there, shard in enumerate(shards):
        lacking = unfinished(growing)
        assert lacking is not None and lacking.startswith(
            f"{len(shards) - there} of the {len(shards)} files that model.safetensors.index.json "
            f"names are not in {growing} ({shard.name})"
        )
        shutil.copy(shard, growing)
    assert unfinished(growing) is None
    last = growing / shards[-1].name
    last.write_bytes(last.read_bytes()[:-1])
    lacking = unfinished(growing)
    assert lacking is not None and lacking.startswith(f"{last} has ")


def test_half_a_configuration_and_half_an_index(sharded: Path) -> None:
    for name, words in (
        ("config.json", "is not a whole JSON file"),
        ("model.safetensors.index.json", "is not a whole index"),
    ):
        content = (sharded / name).read_text()
        for part in ("", content[: len(content) // 2], "[]"):
            (sharded / name).write_text(part)
            assert unfinished(sharded) == f"{sharded / name} {words}"
        (sharded / name).write_text(content)
    assert unfinished(sharded) is None
    (sharded / "model.safetensors.index.json").write_text(json.dumps({"metadata": {}}))
    assert unfinished(sharded) is not None


@pytest.mark.parametrize("zipped", [True, False])
def test_bin_files(single: Path, zipped: bool) -> None:
    """An archive has its table of contents at the end; of the older kind no more is known than that
    it is empty.
    """
    weights = load_file(single / "model.safetensors")
    (single / "model.safetensors").unlink()
    file = single / "pytorch_model.bin"
    torch.save(weights, file, _use_new_zipfile_serialization=zipped)
    content = file.read_bytes()
    assert unfinished(single) is None
    file.write_bytes(b"")
    assert unfinished(single) == f"{file} is not whole"
    file.write_bytes(content[: len(content) // 2])
    assert (unfinished(single) == f"{file} is not whole") is zipped


def test_shards_of_bin_files_need_their_own_index(single: Path) -> None:
    weights = load_file(single / "model.safetensors")
    (single / "model.safetensors").unlink()
    torch.save(weights, single / "pytorch_model-00001-of-00001.bin")
    assert unfinished(single) == f"no pytorch_model.bin.index.json in {single}"
    index = {"weight_map": dict.fromkeys(weights, "pytorch_model-00001-of-00001.bin")}
    (single / "pytorch_model.bin.index.json").write_text(json.dumps(index))
    assert unfinished(single) is None


def test_a_folder_that_is_gone(single: Path, tmp_path: Path) -> None:
    shutil.rmtree(single)
    assert unfinished(single) == f"{single} is no longer there"
    assert files_of(single) == {}
    (tmp_path / "links").mkdir()
    (tmp_path / "links/config.json").write_text("{}")
    (tmp_path / "links/model.safetensors").symlink_to(single / "model.safetensors")
    assert unfinished(tmp_path / "links") is not None  # what it points to is gone


def test_a_fingerprint_is_of_what_is_read(single: Path) -> None:
    seen = {fingerprint(files_of(single))}
    for name in ("optimizer.pt", "trainer_state.json", "rng_state.pth"):
        (single / name).write_bytes(b"of the trainer")
    assert {fingerprint(files_of(single))} == seen
    file = single / "model.safetensors"
    content = file.read_bytes()
    for change in (b"", content[:-1], content + b"x"):
        file.write_bytes(change)
        seen.add(fingerprint(files_of(single)))
    (single / "tokenizer.json").write_text("{}")
    seen.add(fingerprint(files_of(single)))
    assert len(seen) == 5


def test_the_same_size_at_another_time_is_another_fingerprint(single: Path) -> None:
    import os

    file = single / "config.json"
    before = fingerprint(files_of(single))
    os.utime(file, ns=(0, file.stat().st_mtime_ns + 1))
    assert fingerprint(files_of(single)) != before


def test_tokenizers(single: Path, trained_suite: Path) -> None:
    assert not has_tokenizer(single) and has_tokenizer(trained_suite / "step0")
