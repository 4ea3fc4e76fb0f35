"""All four generators with the nano tokenizer, with Pythia's, and with small ones that have the
traps of published ones.
"""

from __future__ import annotations

import pytest
import torch
from tokenizers import Tokenizer, models
from transformers import PreTrainedTokenizerFast

from circuitwatch.catalogue import Task
from circuitwatch.errors import UserError
from circuitwatch.lexicon import EVENTS, FEMALE_NAMES, MALE_NAMES, NOUNS, held_out, held_out_pair
from circuitwatch.nano.check import TASKS
from circuitwatch.tasks import PromptSet, build_prompts
from support.tokenizers import BROKEN_NUMBERS, UNKNOWN, WHOLE_YEARS, tokenizer_named

N = 48


@pytest.fixture(params=["nano", "bpe", "pythia"])
def name(request: pytest.FixtureRequest) -> str:
    return request.param


def word(prompts: PromptSet, name: str, prompt: int, position: str) -> str:
    return tokenizer_named(name).decode(prompts.clean[prompt, prompts.positions[position][prompt]])


@pytest.mark.parametrize("task", TASKS)
@pytest.mark.parametrize("bos", [True, False])
def test_tensors_are_what_the_texts_say(task: str, name: str, bos: bool) -> None:
    tokenizer = tokenizer_named(name)
    prompts = build_prompts(task, tokenizer, n_prompts=N, seed=0, prepend_bos=bos)
    assert prompts.clean.shape == prompts.corrupted.shape and len(prompts.clean) == N
    for i, length in enumerate(prompts.lengths.tolist()):
        for tokens, text in (
            (prompts.clean[i], prompts.clean_text[i]),
            (prompts.corrupted[i], prompts.corrupted_text[i]),
        ):
            assert tokenizer.decode(tokens[int(bos) : length]) == text
            assert (tokens[length:] == 0).all()
            if bos:
                assert tokens[0] == tokenizer.bos_token_id
            if name == "nano":
                assert tokenizer.unk_token_id not in tokens
        assert not torch.equal(prompts.clean[i], prompts.corrupted[i])
    assert (prompts.positions["end"] == prompts.lengths - 1).all()
    signs = prompts.answer_signs
    assert ((signs == 1).sum(1) > 0).all() and ((signs == -1).sum(1) > 0).all()


@pytest.mark.parametrize("task", TASKS)
def test_the_seed_decides(task: str, name: str) -> None:
    one, same, other = (
        build_prompts(task, tokenizer_named(name), n_prompts=N, seed=seed) for seed in (1, 1, 2)
    )
    assert one.clean_text == same.clean_text and one.corrupted_text == same.corrupted_text
    assert one.clean_text != other.clean_text


@pytest.mark.parametrize("corruption", ["swap", "abc"])
def test_ioi(name: str, corruption: str) -> None:
    prompts = build_prompts(
        "ioi", tokenizer_named(name), n_prompts=N, seed=0, corruption=corruption
    )
    io_first = 0
    for i in range(N):
        io, s1, s2 = (word(prompts, name, i, position) for position in ("io", "s1", "s2"))
        assert s1 == s2 != io and held_out_pair(io.strip(), s1.strip())
        right, wrong = (tokenizer_named(name).decode(token) for token in prompts.answer_ids[i])
        assert (right, wrong) == (io, s1) and prompts.answer_signs[i].tolist() == [1, -1]
        io_first += int(prompts.positions["io"][i] < prompts.positions["s1"][i])
        changed = (prompts.clean[i] != prompts.corrupted[i]).nonzero().flatten().tolist()
        named = {position: int(prompts.positions[position][i]) for position in ("io", "s1", "s2")}
        assert changed == ([named["s2"]] if corruption == "swap" else sorted(named.values()))
        if corruption == "swap":
            assert prompts.corrupted[i, named["s2"]] == prompts.clean[i, named["io"]]
    assert io_first == N / 2


def test_greater_than(name: str) -> None:
    tokenizer = tokenizer_named(name)
    prompts = build_prompts("greater_than", tokenizer, n_prompts=N, seed=0)
    indifferent = 0.0
    for i in range(N):
        start, century = int(word(prompts, name, i, "year")), word(prompts, name, i, "century")
        assert held_out("year", century.strip(), str(start))
        assert word(prompts, name, i, "end") == century
        assert prompts.corrupted_text[i] == prompts.clean_text[i].replace(
            f"{century.strip()}{start:02}", f"{century.strip()}01"
        )
        for token, sign in zip(
            prompts.answer_ids[i].tolist(), prompts.answer_signs[i].tolist(), strict=True
        ):
            assert sign == (1 if int(tokenizer.decode(token)) > start else -1)
        indifferent += prompts.answer_signs[i].sum().item()
    assert (
        indifferent == 0
    )  # a model that spreads its probability evenly over the 100 numbers scores exactly 0


def test_gendered_pronoun(name: str) -> None:
    tokenizer = tokenizer_named(name)
    prompts = build_prompts("gendered_pronoun", tokenizer, n_prompts=N, seed=0)
    female = [word(prompts, name, i, "name").strip() in FEMALE_NAMES for i in range(N)]
    assert sum(female) == N / 2
    for i in range(N):
        assert [tokenizer.decode(token) for token in prompts.answer_ids[i]] == (
            [" she", " he"] if female[i] else [" he", " she"]
        )
    if name == "pythia":
        assert sorted(prompts.answer_ids[0].tolist()) == [344, 703]


def test_agreement(name: str) -> None:
    tokenizer = tokenizer_named(name)
    prompts = build_prompts("agreement", tokenizer, n_prompts=N, seed=0)
    plural = 0
    for i in range(N):
        right = {
            tokenizer.decode(t)
            for t, s in zip(prompts.answer_ids[i], prompts.answer_signs[i], strict=True)
            if s > 0
        }
        is_plural = word(prompts, name, i, "subject").endswith("s")
        assert (" walk" in right) == is_plural and (" walks" in right) != is_plural
        plural += is_plural
    assert plural == N / 2


@pytest.mark.parametrize("task", ["ioi", "gendered_pronoun", "agreement"])
def test_a_tokenizer_without_a_beginning_of_text(task: str) -> None:
    """Asked to begin with BOS, prompts begin with their text, and positions are those in it."""
    tokenizer = tokenizer_named("digits")
    assert tokenizer.bos_token_id is None
    prompts = build_prompts(task, tokenizer, n_prompts=N, seed=0, prepend_bos=True)
    for i, length in enumerate(prompts.lengths.tolist()):
        assert tokenizer.decode(prompts.clean[i, :length]) == prompts.clean_text[i]
        assert tokenizer.decode(prompts.corrupted[i, :length]) == prompts.corrupted_text[i]
    marked = {"ioi": "s2", "gendered_pronoun": "name", "agreement": "subject"}[task]
    changed = prompts.clean != prompts.corrupted
    assert changed[torch.arange(N), prompts.positions[marked]].all()


def test_words_that_are_no_single_tokens_are_left_out() -> None:
    """Of byte-level BPE: names in pieces, a noun of which one number is in pieces, years that do
    not end in a token of two digits.
    """
    tokenizer = tokenizer_named("bpe")
    prompts = {task: build_prompts(task, tokenizer, n_prompts=N, seed=0) for task in TASKS}
    counts = {task: of_task.lexicon_counts for task, of_task in prompts.items()}
    assert counts["ioi"]["names"] == len({*FEMALE_NAMES, *MALE_NAMES} - UNKNOWN)
    assert counts["gendered_pronoun"]["female names"] == len(set(FEMALE_NAMES) - UNKNOWN)
    assert counts["agreement"]["nouns"] == len([n for n in NOUNS if UNKNOWN.isdisjoint(n)])
    usable = {
        year
        for year in range(1100, 1800)
        if f"{year % 100:02}" not in BROKEN_NUMBERS
        and year // 10 not in {whole // 10 for whole in WHOLE_YEARS}
    }
    assert counts["greater_than"] == {
        "years": len(usable),
        "two-digit tokens": 100 - len(BROKEN_NUMBERS),
        "events": len(set(EVENTS) - UNKNOWN),
    }
    for of_task in prompts.values():
        words = set(" ".join(of_task.clean_text).replace(",", "").replace(".", "").split())
        assert not words & UNKNOWN
    years = {int(text.split("year ")[1].split()[0]) for text in prompts["greater_than"].clean_text}
    assert years <= usable


def test_usable_words_of_pythias_tokenizer() -> None:
    """Large enough for hundreds of distinct prompts; the numbers are those of the published
    tokenizer.
    """
    counts = {
        task: build_prompts(task, tokenizer_named("pythia"), n_prompts=4, seed=0).lexicon_counts
        for task in TASKS
    }
    assert counts["ioi"]["names"] >= 100
    assert (
        counts["greater_than"]["years"] >= 300 and counts["greater_than"]["two-digit tokens"] == 100
    )
    assert (
        min(counts["gendered_pronoun"]["female names"], counts["gendered_pronoun"]["male names"])
        >= 50
    )
    assert counts["agreement"]["nouns"] >= 25 and counts["agreement"]["verbs"] >= 25


def test_a_tokenizer_without_the_words() -> None:
    words = {"<|endoftext|>": 0, "a": 1}
    tokenizer = PreTrainedTokenizerFast(
        tokenizer_object=Tokenizer(models.WordLevel(words, unk_token="a")),
        bos_token="<|endoftext|>",
        unk_token="a",
    )
    for task in TASKS:
        with pytest.raises(UserError, match="single tokens in this model's tokenizer"):
            build_prompts(task, tokenizer, n_prompts=4, seed=0)


def test_unknown_task_and_corruption() -> None:
    with pytest.raises(UserError, match="choose one of ioi, greater_than"):
        build_prompts("chess", tokenizer_named("nano"), n_prompts=4, seed=0)
    with pytest.raises(UserError, match="swap and abc"):
        build_prompts("ioi", tokenizer_named("nano"), n_prompts=4, seed=0, corruption="none")


LEAST = {
    "ioi": {"names": 100, "places": 15, "objects": 15},
    "greater_than": {"events": 10, "years": 300},
    "gendered_pronoun": {"female names": 50, "male names": 50},
    "agreement": {"nouns": 25, "verbs": 25},
}


@pytest.mark.parametrize("task", TASKS)
def test_pythias_tokenizer_has_words_enough(task: str) -> None:
    tokenizer = tokenizer_named("pythia")
    assert tokenizer.encode(" she") == [703] and tokenizer.encode(" he") == [344]
    prompts = build_prompts(task, tokenizer, n_prompts=N, seed=0)
    print(task, prompts.lexicon_counts)
    for words, least in LEAST[task].items():
        assert prompts.lexicon_counts[words] >= least


def test_what_a_users_task_raises_names_it() -> None:
    def boom(*given: object, **options: object) -> PromptSet:
        raise KeyError("she")

    def nothing(*given: object, **options: object) -> None:
        """It forgets to return its prompts."""

    for make, message in (
        (boom, r"^task she_or_he: KeyError: 'she'$"),
        (nothing, r"^task she_or_he: make_prompts gives NoneType; it must give a PromptSet$"),
    ):
        task = Task("she_or_he", "she or he", "logit_diff", make)  # type: ignore[arg-type]
        with pytest.raises(UserError, match=message):
            build_prompts(task, tokenizer_named("nano"), n_prompts=4, seed=0)
