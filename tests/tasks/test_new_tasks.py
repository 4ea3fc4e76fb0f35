"""The tasks that are templates, and the two generators beside them: each is solved from the text of
its prompts alone, and what ignores the deciding word has no behaviour.
"""

from __future__ import annotations

import hashlib
import re
from collections import Counter
from functools import cache

import numpy as np
import pytest
import torch
from torch import Tensor

from circuitwatch import catalogue
from circuitwatch.behaviour import measure
from circuitwatch.errors import UserError
from circuitwatch.tasks import PromptSet, build_prompts
from support.tokenizers import tokenizer_named

N = 48
CAPITALS = {"France": "Paris", "Japan": "Tokyo", "Chile": "Santiago", "Canada": "Ottawa"}
STEREOTYPES = {"nurse": "she", "maid": "she", "soldier": "he", "mechanic": "he"}


def induction(text: str) -> str:
    words = text.split()
    return words[words.index(words[-1]) + 1]


def docstring(text: str) -> str:
    arguments = re.search(r"\(self, (.*)\)", text)
    assert arguments is not None
    described = re.findall(r":param (\w+):", text)
    names = arguments[1].split(", ")
    assert names[: len(described)] == described
    return names[len(described)]


def coloured_objects(text: str) -> str:
    colors = {thing: color for color, thing in re.findall(r"a (\w+) (\w+)(?=[,. ])", text)}
    asked = re.search(r"What color is the (\w+)\? The (\w+) is$", text)
    assert asked is not None and asked[1] == asked[2]
    return colors[asked[1]]


def mcqa(text: str) -> str:
    thing, color, asked = re.search(
        r"The (\w+) is (\w+)\. What color is the (\w+)\?", text
    ).groups()  # type: ignore[union-attr]
    assert thing == asked
    return {text: letter for letter, text in re.findall(r"([A-D])\. (\w+)", text)}[color]


def arithmetic(text: str) -> str:
    return str(sum(map(int, re.findall(r"\d+", text))))


def known(facts: dict[str, str], text: str) -> str | None:
    return next((answer for word, answer in facts.items() if word in text.split()), None)


SOLVERS = {
    "word_induction": induction,
    "docstring": docstring,
    "coloured_objects": coloured_objects,
    "mcqa": mcqa,
    "arithmetic": arithmetic,
    "capitals": lambda text: known(CAPITALS, text),
    "gender_bias": lambda text: known(STEREOTYPES, text),
}
TASKS = tuple(SOLVERS)


@cache
def prompts_of(task: str, tokenizer: str, seed: int, n: int = N) -> PromptSet:
    return build_prompts(task, tokenizer_named(tokenizer), n_prompts=n, seed=seed)


def test_all_of_them_are_in_the_catalogue() -> None:
    assert {"ioi", "greater_than", "gendered_pronoun", "agreement", *TASKS} == set(
        catalogue.tasks()
    )
    for task in catalogue.tasks().values():
        assert set(task.roles) <= set(catalogue.roles())


@pytest.mark.parametrize("tokenizer", ["words", "pythia"])
@pytest.mark.parametrize("task", TASKS)
def test_the_answers_are_what_the_text_says(task: str, tokenizer: str) -> None:
    prompts, words = prompts_of(task, tokenizer, 0), tokenizer_named(tokenizer)
    solved = 0
    for i in range(N):
        length = int(prompts.lengths[i])
        right, wrong = (words.decode([token]).strip() for token in prompts.answer_ids[i])
        assert prompts.answer_signs[i].tolist() == [1, -1] and right != wrong
        for tokens, text, answer in (
            (prompts.clean[i], prompts.clean_text[i], right),
            (prompts.corrupted[i], prompts.corrupted_text[i], wrong),
        ):
            assert words.decode(tokens[1:length]) == text
            solution = SOLVERS[task](text)
            assert solution in (answer, None)
            solved += solution is not None
        assert not torch.equal(prompts.clean[i], prompts.corrupted[i])
    assert solved >= (4 if task in ("capitals", "gender_bias") else 2 * N)


@pytest.mark.parametrize("task", TASKS)
def test_the_seed_decides(task: str) -> None:
    one, other = prompts_of(task, "words", 1), prompts_of(task, "words", 2)
    same = build_prompts(task, tokenizer_named("words"), n_prompts=N, seed=1)
    assert (one.clean_text, one.corrupted_text) == (same.clean_text, same.corrupted_text)
    assert one.clean_text != other.clean_text


@pytest.mark.parametrize("task", TASKS)
def test_every_answer_is_right_as_often_as_wrong(task: str) -> None:
    for seed in range(5):
        prompts = prompts_of(task, "words", seed)
        right, wrong = (Counter(prompts.answer_ids[:, i].tolist()) for i in (0, 1))
        assert right == wrong and len(right) > 1


@pytest.mark.parametrize("task", TASKS)
def test_a_fixed_taste_scores_nothing(task: str) -> None:
    """0 exactly, but for the rounding of sums: it is worth as much here as it costs there."""
    tokenizer = tokenizer_named("words")
    for seed in range(20):
        prompts = prompts_of(task, "words", seed)
        taste = torch.randn(1, len(tokenizer), generator=torch.Generator().manual_seed(seed))
        logits = taste.expand(N, -1)
        found = measure(logits, logits, prompts, n_bootstrap=50, seed=seed)
        assert found.effect == 0 and found.value == pytest.approx(0, abs=1e-6)
        assert not found.above_chance


def noise(texts: tuple[str, ...], seed: int, size: int) -> Tensor:
    """Logits [prompt, d_vocab] of scale 1 that are a function of the prompt's text."""
    digests = [hashlib.sha256(f"{seed} {text}".encode()).digest() for text in texts]
    rows = [np.random.default_rng(list(digest)).normal(size=size) for digest in digests]
    return torch.from_numpy(np.stack(rows)).float()


@pytest.mark.parametrize("task", TASKS)
def test_noise_of_the_prompts_is_seldom_a_behaviour(task: str) -> None:
    """At most 5 % of draws are expected; that more than 10 of 100 are has a chance of 1 %."""
    size, above = len(tokenizer_named("words")), 0
    for seed in range(100):
        prompts = prompts_of(task, "words", seed)
        clean, corrupted = (
            noise(texts, seed, size) for texts in (prompts.clean_text, prompts.corrupted_text)
        )
        above += measure(clean, corrupted, prompts, n_bootstrap=200, seed=seed).above_chance
    assert above <= 10


@pytest.mark.parametrize("task", ["word_induction", "coloured_objects", "mcqa"])
@pytest.mark.parametrize("which", [0, -1])
def test_where_a_candidate_stands_does_not_give_it_away(task: str, which: int) -> None:
    """Logit 5 for the first, or the last, of the two answers in the prompt."""
    size = len(tokenizer_named("words"))
    for seed in range(10):
        prompts = prompts_of(task, "words", seed)

        def copy(tokens: Tensor, prompts: PromptSet = prompts) -> Tensor:
            logits = torch.zeros(N, size)
            for i, row in enumerate(tokens.tolist()):
                candidates = set(prompts.answer_ids[i].tolist())
                if there := [token for token in row if token in candidates]:
                    logits[i, there[which]] = 5.0
            return logits

        found = measure(
            copy(prompts.clean), copy(prompts.corrupted), prompts, n_bootstrap=200, seed=0
        )
        assert abs(found.value) <= 1 and not found.above_chance


@pytest.mark.parametrize("task", TASKS)
def test_nanos_tokenizer_lacks_their_words(task: str) -> None:
    with pytest.raises(UserError, match=rf"^task={task}: ") as error:
        build_prompts(task, tokenizer_named("nano"), n_prompts=N, seed=0)
    assert "\n" not in str(error.value)


def test_numbers_that_are_split_cannot_be_added() -> None:
    with pytest.raises(UserError, match="task=arithmetic: only 0 of 90 two-digit numbers"):
        build_prompts("arithmetic", tokenizer_named("digits"), n_prompts=N, seed=0)


def test_letters_of_a_multiple_choice_are_equally_often_right() -> None:
    tokenizer = tokenizer_named("words")
    prompts = prompts_of("mcqa", "words", 0)
    assert Counter(tokenizer.decode([token]) for token in prompts.answer_ids[:, 0]) == {
        f" {letter}": N / 4 for letter in "ABCD"
    }
