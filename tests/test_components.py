"""The parts of a model by themselves, and what the whole of it says of them."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
import torch

from circuitwatch.checkpoints.loading import load_model, moved
from circuitwatch.checkpoints.unusable import Unusable
from circuitwatch.components import HeadNorm
from circuitwatch.usable import require_room
from support.architectures import random_variant
from support.models import make_variant


def test_a_bias_before_the_norm_of_what_attention_adds_is_no_heads(tmp_path: Path) -> None:
    block = make_variant("olmo2", tmp_path).model.blocks[0]
    with pytest.raises(ValueError, match="a norm of what attention adds, and a bias in it"):
        replace(block, attention=replace(block.attention, b_O=torch.ones(24)))


def test_a_coupled_norm_of_some_heads_takes_the_layers_scale() -> None:
    raw = torch.randn(5, 4, 6, generator=torch.Generator().manual_seed(0))
    weight = torch.randn(4, 6, generator=torch.Generator().manual_seed(1))
    norm = HeadNorm(weight, None, eps=1e-6, coupled=True)
    flat = torch.nn.functional.rms_norm(raw.flatten(1), (24,), weight.flatten(), 1e-6)
    torch.testing.assert_close(norm(raw), flat.view_as(raw))
    some = norm(raw[:, [2, 0]], [2, 0], norm.scale(raw))
    torch.testing.assert_close(some, flat.view_as(raw)[:, [2, 0]])


@pytest.mark.parametrize(
    ("variant", "positions"),
    [("gpt2", 64), ("gemma3", 64), ("llama-dynamic", 64), ("llama-longrope", 32), ("bloom", 2048)],
)
def test_the_context_is_as_long_as_what_knows_positions(
    variant: str, positions: int, tmp_path: Path
) -> None:
    """Of longrope, as long as its frequencies stay those of short inputs."""
    model = make_variant(variant, tmp_path).model
    assert model.context_length == positions
    require_room(model, torch.zeros(1, positions, dtype=torch.long), "the prompts")
    with pytest.raises(Unusable, match=f"context of {positions} tokens is too short"):
        require_room(model, torch.zeros(1, positions + 1, dtype=torch.long), "the prompts")


def test_longrope_is_compared_as_far_as_it_goes(tmp_path: Path) -> None:
    """Behind that transformers takes other frequencies for all positions."""
    hf = random_variant("llama-longrope")
    hf.save_pretrained(tmp_path)
    model = load_model(tmp_path, check_length=64)
    for n, equal in ((32, True), (33, False)):
        tokens = torch.arange(n)[None]
        difference = (
            (
                hf(tokens).logits[:, :32]
                - model.unembed(model.run(model.embed(tokens[:, :32])).final)
            )
            .abs()
            .max()
        )
        assert (difference < 1e-4) == equal


@pytest.mark.parametrize("variant", ["gemma3", "bloom", "olmo2", "gpt_neox"])
def test_a_moved_model_is_the_same_and_shares_what_it_shared(variant: str, tmp_path: Path) -> None:
    model = make_variant(variant, tmp_path, 4).model
    other = moved(model, torch.device("cpu"))
    tokens = torch.arange(9)[None]
    assert other.run(other.embed(tokens)).final.equal(model.run(model.embed(tokens)).final)
    for name in ("rotary", "alibi"):
        mine, theirs = (
            [id(getattr(block.attention, name)) for block in m.blocks] for m in (model, other)
        )
        assert [mine.index(x) for x in mine] == [theirs.index(x) for x in theirs]
    assert len(set(map(id, other.whole(9).sights))) == (2 if variant == "gemma3" else 1)
