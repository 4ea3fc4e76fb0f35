"""Training a suite: the schedule, what is on disk, reuse, and that an interruption changes no
bit.
"""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from circuitwatch.checkpoints.folder import list_checkpoints
from circuitwatch.checkpoints.loading import load_model
from circuitwatch.checkpoints.tokenizers import load_tokenizer
from circuitwatch.errors import UserError
from circuitwatch.nano.model import SIZES, NanoSize, build_model, count_parameters, nano_size
from circuitwatch.nano.training import Recipe, checkpoint_steps, ensure_trained, train_suite
from circuitwatch.nano.vocabulary import build_tokenizer

SIZE = NanoSize("tiny", n_layers=1, d_model=32, n_heads=2, n_steps=12)
RECIPE = Recipe(warmup=2, every=5, batch=4)


class Stopped(Exception):
    """Stands in for a kill."""


def weights(folder: Path) -> dict[str, bytes]:
    return {
        str(path.relative_to(folder)): path.read_bytes()
        for path in sorted(folder.glob("step*/model.safetensors"))
    }


def test_schedule_is_pythias() -> None:
    assert checkpoint_steps(300, 50) == [0, 1, 2, 4, 8, 16, 32, 64, 128, 150, 200, 250, 300]
    assert checkpoint_steps(12, 5) == [0, 1, 2, 4, 8, 12]


def test_an_interrupted_training_ends_with_the_same_bits(tmp_path: Path) -> None:
    whole = train_suite(SIZE, RECIPE, seed=0, folder=tmp_path / "whole")
    for stop in (3, 7, 11):
        folder = tmp_path / f"stopped{stop}"

        def interrupt(step: int, _: int, stop: int = stop) -> None:
            if step == stop:
                raise Stopped

        with pytest.raises(Stopped):
            train_suite(SIZE, RECIPE, seed=0, folder=folder, progress=interrupt)
        assert not (folder / "suite.json").exists()
        (folder / "step99.building").mkdir()
        train_suite(SIZE, RECIPE, seed=0, folder=folder)
        assert weights(folder) == weights(whole)
    assert weights(train_suite(SIZE, RECIPE, seed=1, folder=tmp_path / "other")) != weights(whole)


def test_the_first_step_of_adam_is_the_scheduled_learning_rate(tmp_path: Path) -> None:
    """Kingma & Ba (arXiv 1412.6980): lr · g / |g|. Half of the warm-up's two steps is done then."""
    folder = train_suite(SIZE, RECIPE, seed=0, folder=tmp_path / "suite")
    before, after = (load_file(folder / f"step{n}/model.safetensors") for n in (0, 1))
    name = "gpt_neox.final_layer_norm.bias"
    moved = (after[name] - before[name]).abs()
    assert torch.allclose(moved, torch.full_like(moved, RECIPE.adam_lr / 2), rtol=1e-3)


def test_the_suite_is_a_folder_of_hugging_face_checkpoints(tmp_path: Path) -> None:
    folder = train_suite(SIZE, RECIPE, seed=0, folder=tmp_path / "suite")
    manifest = json.loads((folder / "suite.json").read_text())
    found = list_checkpoints(folder)
    assert [c.step for c in found] == manifest["steps"] == [0, 1, 2, 4, 8, 12]
    assert found[-1].tokens == 12 * 48 * 4
    assert len(load_tokenizer(folder / found[0].revision)) == len(build_tokenizer())
    model = load_model(folder / found[-1].revision)
    rotary = model.blocks[0].attention.rotary
    assert model.parallel and model.n_layers == 1
    assert rotary is not None and rotary.cos.shape[1] == 4


def test_a_trained_suite_is_reused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(SIZES, "tiny", SIZE)
    threads, calls = torch.get_num_threads(), []
    first = ensure_trained(
        "tiny", seed=0, cache=tmp_path, progress=lambda step, n: calls.append(step)
    )
    assert calls == list(range(1, 13)) and torch.get_num_threads() == threads
    assert (
        ensure_trained(
            "tiny", seed=0, cache=tmp_path, progress=lambda *_: pytest.fail("trained again")
        )
        == first
    )
    for version in ("CORPUS_VERSION", "VERSION"):  # weights of another are not reused
        with monkeypatch.context() as patch:
            patch.setattr(f"circuitwatch.nano.training.{version}", 1)
            calls.clear()
            earlier = ensure_trained(
                "tiny", seed=0, cache=tmp_path, progress=lambda step, n: calls.append(step)
            )
            assert earlier != first and calls == list(range(1, 13))
    monkeypatch.setitem(SIZES, "tiny", NanoSize("tiny", 1, 32, 2, n_steps=2))
    assert ensure_trained("tiny", seed=0, cache=tmp_path) != first


def test_sizes_are_named_by_their_parameters() -> None:
    """Within a third: nano-400k may have from 300k to 530k."""
    for name, size in SIZES.items():
        model = build_model(
            size, vocabulary=len(build_tokenizer()), context=48, initial_std=0.1, seed=0
        )
        total, non_embedding = count_parameters(model)
        number, unit = float(name.removeprefix("nano-")[:-1]), {"k": 1e3, "m": 1e6}[name[-1]]
        assert 0.7 < total / (number * unit) < 1.34, (name, total)
        assert 0 < non_embedding < total


def test_an_unknown_size() -> None:
    with pytest.raises(UserError, match="known sizes: nano-100k"):
        nano_size("nano-7b")
