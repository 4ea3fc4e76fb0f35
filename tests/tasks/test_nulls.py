"""What models say that have no behaviour: none of them may be above chance.

(a) A fixed taste: random logits for every token, the same for every prompt. (b) Such a taste and
noise that depends on the whole text of the prompt, so on nothing that could be called the deciding
word. (c) Untrained models. (d) Copies: the last name of the prompt, or always the first one.

The metric's value is not 0 under (a), (b) and (c): a taste for late years is worth something in
greater-than. What the deciding word does is 0 under (a) and of no particular sign under (b). Random
weights do respond to it, see `behaviour`.
"""

from __future__ import annotations

import hashlib
from functools import cache

import numpy as np
import pytest
import torch
from torch import Tensor
from transformers import GPTNeoXForCausalLM

from circuitwatch.behaviour import Behaviour, measure
from circuitwatch.lexicon import nano_names
from circuitwatch.nano.check import TASKS
from circuitwatch.nano.model import SIZES, build_model
from circuitwatch.tasks import PromptSet, build_prompts
from support.tokenizers import tokenizer_named

SEEDS = range(200)


@cache
def prompts_of(task: str, seed: int) -> PromptSet:
    return build_prompts(task, tokenizer_named("nano"), n_prompts=64, seed=seed)


@cache
def untrained(seed: int) -> GPTNeoXForCausalLM:
    vocabulary = len(tokenizer_named("nano"))
    return build_model(
        SIZES["nano-100k"], vocabulary=vocabulary, context=48, initial_std=0.1, seed=seed
    )


def taste(seed: int) -> Tensor:
    """One logit a token [1, d_vocab], of scale 1."""
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(1, len(tokenizer_named("nano")), generator=generator)


def noise(texts: tuple[str, ...], seed: int) -> Tensor:
    """Logits [prompt, d_vocab] of scale 1 that are a function of the prompt's text."""
    digests = [hashlib.sha256(f"{seed} {text}".encode()).digest() for text in texts]
    generators = [np.random.default_rng(int.from_bytes(digest[:8], "big")) for digest in digests]
    rows = [generator.normal(size=len(tokenizer_named("nano"))) for generator in generators]
    return torch.from_numpy(np.stack(rows)).float()


def behaviour(clean: Tensor, corrupted: Tensor, prompts: PromptSet, seed: int) -> Behaviour:
    shape = (len(prompts.lengths), -1)
    both = [logits.expand(shape) for logits in (clean, corrupted)]
    return measure(both[0], both[1], prompts, n_bootstrap=200, seed=seed)


@pytest.mark.parametrize("task", TASKS)
def test_a_fixed_taste_is_no_behaviour(task: str) -> None:
    found = [behaviour(taste(s), taste(s), prompts_of(task, s), s) for s in SEEDS]
    assert not any(b.above_chance for b in found)
    assert all(b.effect == 0 for b in found)


def test_the_metric_alone_takes_a_taste_for_a_behaviour() -> None:
    """The null that the effect is for: a taste for late years is worth something for every draw of
    prompts.
    """
    tokenizer = tokenizer_named("nano")
    late = torch.zeros(1, len(tokenizer))
    for year in range(60, 100):
        late[0, tokenizer.convert_tokens_to_ids(f"{year:02}")] = 5.0
    found = [behaviour(late, late, prompts_of("greater_than", s), s) for s in SEEDS[:20]]
    assert all(b.low > 0.2 for b in found)
    assert all(b.not_above_chance == "effect" for b in found)


@pytest.mark.parametrize("task", TASKS)
def test_noise_of_the_prompts_is_seldom_a_behaviour(task: str) -> None:
    """At most 5 %: the intervals are of 95 %, and one of their two sides counts."""
    found = []
    for seed in SEEDS:
        prompts = prompts_of(task, seed)
        texts = (prompts.clean_text, prompts.corrupted_text)
        clean, corrupted = (taste(seed) + noise(each, seed) for each in texts)
        found.append(behaviour(clean, corrupted, prompts, seed))
    assert np.mean([b.above_chance for b in found]) <= 0.05


@pytest.mark.parametrize("task", TASKS)
@torch.no_grad()
def test_untrained_models_have_no_behaviour(task: str) -> None:
    for seed in SEEDS:
        prompts, rows = prompts_of(task, seed), torch.arange(64)
        clean, corrupted = (
            untrained(seed)(tokens).logits[rows, prompts.lengths - 1]
            for tokens in (prompts.clean, prompts.corrupted)
        )
        found = behaviour(clean, corrupted, prompts, seed)
        assert not found.above_chance, (seed, found.value, found.effect)


@pytest.mark.parametrize("task", TASKS)
@pytest.mark.parametrize("which", [0, -1])
def test_copies_of_a_name_are_no_behaviour(task: str, which: int) -> None:
    """Logit 5 for the first or the last name of the prompt."""
    tokenizer = tokenizer_named("nano")
    names = set(tokenizer.convert_tokens_to_ids([f" {name}" for name in nano_names()]))
    names |= set(tokenizer.convert_tokens_to_ids(nano_names()))  # at the beginning of a text

    def copy(tokens: Tensor) -> Tensor:
        logits = torch.zeros(len(tokens), len(tokenizer))
        for row, prompt in enumerate(tokens.tolist()):
            own = [token for token in prompt if token in names]
            if own:
                text = tokenizer.decode([own[which]]).strip()
                logits[row, tokenizer.convert_tokens_to_ids(f" {text}")] = 5.0
        return logits

    for seed in SEEDS:
        prompts = prompts_of(task, seed)
        found = behaviour(copy(prompts.clean), copy(prompts.corrupted), prompts, seed)
        assert not found.above_chance, (seed, found.value, found.effect)
