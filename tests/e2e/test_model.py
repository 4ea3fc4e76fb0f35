"""The real model is loaded as it is, and it does what is said of it."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from transformers import (
    AutoModelForCausalLM,
    LlamaConfig,
    LlamaForCausalLM,
    PreTrainedTokenizerBase,
)

from circuitwatch.behaviour import measure
from circuitwatch.circuits.prompts import Prepared
from circuitwatch.config import HeadsConfig
from circuitwatch.records import Cell
from circuitwatch.tasks import build_prompts
from circuitwatch.transformer import Transformer
from support import smollm

pytestmark = pytest.mark.e2e


def test_our_logits_are_hugging_faces(real_model: Transformer, real_folder: Path) -> None:
    """512 random tokens of the whole vocabulary.

    1e-3 on logits of order 10: float32 sums in another order, over 30 layers.
    """
    tokens = torch.randint(
        real_model.W_E.shape[0], (1, 512), generator=torch.Generator().manual_seed(0)
    )
    hf = AutoModelForCausalLM.from_pretrained(str(real_folder), dtype=torch.float32).eval()
    with torch.no_grad():
        expected = hf(tokens).logits
        ours = real_model.unembed(real_model.run(real_model.embed(tokens)).final)
    difference = (ours - expected).abs().max().item()
    print(
        f"largest difference of logits {difference:.2g}, largest logit {expected.abs().max():.1f}"
    )
    assert difference < 1e-3


def test_the_folder_is_the_wheels_model(real_folder: Path) -> None:
    """Nothing was lost or renamed on the way, the tied unembedding included: the same logits to the
    last bit.
    """
    tokens = torch.randint(49152, (1, 32), generator=torch.Generator().manual_seed(0))
    gguf = smollm.gguf()
    with torch.no_grad():
        kept, original = (
            AutoModelForCausalLM.from_pretrained(str(place), dtype=torch.float32, **where)
            .eval()(tokens)
            .logits
            for place, where in ((real_folder, {}), (gguf.parent, {"gguf_file": gguf.name}))
        )
    assert torch.equal(kept, original)


@pytest.mark.parametrize("task", ["gendered_pronoun", "agreement"])
def test_it_answers(
    task: str, real_model: Transformer, real_tokenizer: PreTrainedTokenizerBase
) -> None:
    """64 prompts, of which most are answered right, because of the deciding word; IOI is in
    test_heads.
    """
    prompts = build_prompts(task, real_tokenizer, n_prompts=64, seed=0)
    behaviour = measure(
        *Prepared(real_model, prompts).end_logits(), prompts, n_bootstrap=1000, seed=0
    )
    print(task, {name: value for name, value in vars(behaviour).items() if name != "per_prompt"})
    assert behaviour.above_chance and behaviour.accuracy >= 0.8
    assert behaviour.corrupted < 0 < behaviour.value


def test_greater_than_is_asked_by_tens(
    real_model: Transformer, real_tokenizer: PreTrainedTokenizerBase
) -> None:
    """Its tokenizer takes years digit by digit."""
    prompts = build_prompts("greater_than", real_tokenizer, n_prompts=64, seed=0)
    behaviour = measure(
        *Prepared(real_model, prompts).end_logits(), prompts, n_bootstrap=1000, seed=0
    )
    print(behaviour.value, behaviour.corrupted, behaviour.accuracy)
    assert prompts.variant == "tens" and behaviour.above_chance


@pytest.mark.parametrize("seed", range(3))
def test_an_untrained_model_does_nothing(
    seed: int, real_folder: Path, real_tokenizer: PreTrainedTokenizerBase
) -> None:
    """The same shape with the weights that training starts from."""
    torch.manual_seed(seed)
    hf = LlamaForCausalLM(LlamaConfig.from_pretrained(str(real_folder))).eval()
    for task in ("ioi", "gendered_pronoun", "agreement"):
        prompts = build_prompts(task, real_tokenizer, n_prompts=64, seed=0)
        with torch.no_grad():
            ends = torch.arange(64), prompts.lengths - 1
            logits, twins = (
                hf.lm_head(hf.model(t).last_hidden_state[ends])
                for t in (prompts.clean, prompts.corrupted)
            )
        behaviour = measure(logits, twins, prompts, n_bootstrap=1000, seed=0)
        print(task, seed, behaviour.value, behaviour.effect, behaviour.not_above_chance)
        assert not behaviour.above_chance


def test_the_program_finds_nothing_in_an_untrained_model(
    watch: Callable[..., Cell],
    real_folder: Path,
    real_tokenizer: PreTrainedTokenizerBase,
    tmp_path: Path,
) -> None:
    """No behaviour, so no circuit, and nothing confirmed.

    No head attends or copies as a role asks; of 270 heads one may write against names by chance.
    """
    torch.manual_seed(0)
    folder = tmp_path / "untrained" / "step0"
    LlamaForCausalLM(LlamaConfig.from_pretrained(str(real_folder))).save_pretrained(folder)
    real_tokenizer.save_pretrained(folder)
    own = (f"model.path={folder.parent}", "model.name=untrained", "model.tokens_per_step=1")
    record = watch(*own, "task=ioi", "task.n_prompts=16").read(0)
    print(record.scalars)
    assert not record.scalars["behaviour/above_chance"]
    assert str(record.scalars["circuit/status"]).startswith("none: ")
    assert record.mask is None and not record.roles["confirmed"].fillna(False).any()
    best = record.roles.groupby("role")["score"].max()
    for role in (
        "induction",
        "previous_token",
        "duplicate_token",
        "successor",
        "name_mover",
        "s_inhibition",
    ):
        assert best[role] < HeadsConfig().threshold(role), role
