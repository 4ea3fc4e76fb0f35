"""Which live models can be copied, and what is said of those that can't."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn
from transformers import GPT2LMHeadModel, MptConfig, MptForCausalLM

from circuitwatch.checkpoints.loading import load_model
from circuitwatch.errors import UserError
from circuitwatch.live.weights import load_state, sha256_of, state_of, unwrapped
from support.models import random_model
from support.trainings import TASKS, small_gpt2, watcher


@pytest.mark.parametrize("architecture", ["parallel", "sequential", "llama"])
def test_a_copy_is_the_model_that_a_folder_would_give(architecture: str, tmp_path: Path) -> None:
    model = random_model(architecture)
    model.save_pretrained(tmp_path)
    tokens = torch.arange(12)[None]
    copied = load_state(
        state_of(model), tmp_path, "x", like=type(model), device="cpu",
        dtype=torch.float32, check_length=12,
    )  # fmt: skip
    ours, theirs = (
        one.unembed(one.run(one.embed(tokens)).final) for one in (copied, load_model(tmp_path))
    )
    assert torch.equal(ours, theirs)


def test_a_copy_shares_nothing_with_the_model(tmp_path: Path) -> None:
    model = small_gpt2()
    model.config.save_pretrained(tmp_path)
    state = state_of(model)
    live = {parameter.data_ptr() for parameter in model.parameters()}
    assert not live & {tensor.data_ptr() for tensor in state.values()}
    copied = load_state(
        state, tmp_path, "x", like=type(model), device="cpu",
        dtype=torch.float32, check_length=12,
    )  # fmt: skip
    before = copied.W_E.clone()
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.zero_()
    assert torch.equal(copied.W_E, before) and before.abs().max() > 0


def test_the_hash_is_of_names_types_shapes_and_values() -> None:
    state = state_of(small_gpt2())
    own = sha256_of(state)
    assert own == sha256_of(dict(reversed(state.items()))) == sha256_of(state_of(small_gpt2()))
    name = "transformer.wpe.weight"
    changed = state[name].clone()
    changed[3, 3] += 1e-6
    others = [
        {**state, name: changed},
        {**state, name: state[name].double()},
        {**state, name: state[name].T},
        {**{n: t for n, t in state.items() if n != name}, "wpe": state[name]},
    ]
    assert len({own, *map(sha256_of, others)}) == 5


@pytest.mark.filterwarnings("ignore:.torch.jit:DeprecationWarning")  # importing torch.compile
def test_only_wrappers_are_taken_off() -> None:
    model = small_gpt2()
    assert unwrapped(torch.compile(nn.DataParallel(model))) is model
    holder = nn.Module()
    holder.module, holder.head = model, nn.Linear(2, 2)
    assert unwrapped(holder) is holder


class Valued(GPT2LMHeadModel):
    """A model with a part of its own."""


def with_a_part(model: Any, name: str) -> Any:
    model.transformer.register_module(name, nn.Linear(2, 2))
    return model


def with_an_empty_tensor(model: Any) -> Any:
    model.transformer.wpe.weight = nn.Parameter(torch.empty(0))
    return model


def with_integers(model: Any) -> Any:
    model.transformer.wpe.weight = nn.Parameter(
        torch.zeros(48, 48, dtype=torch.int8), requires_grad=False
    )
    return model


class FullyShardedDataParallel(nn.Module):
    """What FSDP's wrapper is called."""

    def __init__(self, model: nn.Module) -> None:
        super().__init__()
        self._fsdp_wrapped_module = model


def mpt() -> MptForCausalLM:
    config = MptConfig(vocab_size=60, d_model=16, n_layers=1, n_heads=2, max_seq_len=64)
    return MptForCausalLM(config)


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (lambda: nn.Linear(2, 2), "Linear is no model of transformers"),
        (mpt, "model_type=mpt is not supported; supported are"),
        (lambda: Valued(small_gpt2().config), "not supported"),
        (lambda: with_a_part(small_gpt2(), "value"), "value.bias is no tensor of GPT2LMHeadModel"),
        (lambda: with_a_part(small_gpt2(), "lora_A"), "an adapter is being trained"),
        (lambda: with_an_empty_tensor(small_gpt2()), "sharded .DeepSpeed's ZeRO-3"),
        (lambda: FullyShardedDataParallel(small_gpt2()), "sharded .FSDP"),
        (lambda: small_gpt2().to("meta"), "sharded .offloading"),
        (lambda: with_integers(small_gpt2()), "wpe.weight is int8; quantised"),
    ],
)
def test_what_cant_be_watched_is_refused_in_one_line(make: Any, words: str, tmp_path: Path) -> None:
    with pytest.raises(UserError, match=words) as error:
        watcher(tmp_path, TASKS[:1]).step(make(), 0)
    assert "\n" not in str(error.value)
    assert not (tmp_path / "multirun").exists()
