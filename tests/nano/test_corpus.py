"""The corpus is a function of seed and step, and keeps from the model what the tasks test."""

from __future__ import annotations

import hashlib
import itertools
import re

import numpy as np
import pytest

from circuitwatch import lexicon
from circuitwatch.nano.check import TASKS
from circuitwatch.nano.corpus import CORPUS_VERSION, LONGEST_RANGE, MIXTURE, Corpus
from circuitwatch.nano.vocabulary import build_tokenizer, vocabulary
from circuitwatch.tasks import build_prompts

TOKENIZER = build_tokenizer()


@pytest.fixture(scope="module")
def corpus() -> Corpus:
    return Corpus(TOKENIZER, seed=0, rows=21, context=48)


@pytest.fixture(scope="module")
def sentences(corpus: Corpus) -> list[str]:
    """The sentences, or what is left of them at a row's end, of some 200,000 tokens."""
    rows = np.concatenate([corpus.batch(step) for step in range(1, 201)])
    texts = TOKENIZER.batch_decode(rows[:, 1:])
    return [sentence.strip() for text in texts for sentence in re.split(r"(?<=[.?!])", text)]


def test_batches_depend_on_seed_and_step_alone(corpus: Corpus) -> None:
    again = Corpus(TOKENIZER, seed=0, rows=21, context=48)
    assert (corpus.batch(7) == again.batch(7)).all() and (corpus.batch(3) == again.batch(3)).all()
    assert (corpus.batch(7) != corpus.batch(8)).any()
    assert (corpus.batch(7) != Corpus(TOKENIZER, seed=1, rows=21, context=48).batch(7)).any()


def test_what_is_sampled_has_a_version_of_its_own(corpus: Corpus) -> None:
    """Whoever changes what is sampled changes the digest and must raise CORPUS_VERSION, or weights
    of another corpus are reused.
    """
    rows = np.concatenate([corpus.batch(step) for step in range(1, 21)])
    assert (CORPUS_VERSION, hashlib.sha256(rows.astype("<i8").tobytes()).hexdigest()[:16]) == (
        6,
        "c23e24c3b43902d2",
    )


def test_rows(corpus: Corpus) -> None:
    batch = corpus.batch(1)
    assert batch.shape == (21, 48) and (batch[:, 0] == TOKENIZER.bos_token_id).all()
    assert TOKENIZER.unk_token_id not in batch
    assert sum(MIXTURE.values()) == pytest.approx(1)


def test_text_survives_encoding_and_every_piece_is_one_token() -> None:
    for text in (
        "Then, Mary and John went to the park. John gave a ring to",
        "So Anna is such a good cook, isn't",
        "The war lasted from the year 1732 to the year 17",
    ):
        ids = TOKENIZER.encode(text, add_special_tokens=False)
        assert TOKENIZER.unk_token_id not in ids and TOKENIZER.decode(ids) == text
    assert len(set(vocabulary())) == len(vocabulary()) == len(TOKENIZER)
    assert TOKENIZER.encode(" unheard", add_special_tokens=False) == [TOKENIZER.unk_token_id]


def test_held_out_names_never_meet_in_a_sentence(sentences: list[str]) -> None:
    """Two names that are held out as a pair never stand in one sentence of two names.

    Random segments may hold anything: they are no sentences.
    """
    names, met = set(lexicon.nano_names()), 0
    for sentence in sentences:
        words = re.findall(r"[A-Za-z]+", sentence)
        present = sorted(set(words) & names)
        if len(present) == 2 and " and " in sentence and "to" in words:
            met += 1
            assert not lexicon.held_out_pair(*present), sentence
    assert met > 500


def test_held_out_years_never_start_a_range(sentences: list[str]) -> None:
    starts = [
        found
        for sentence in sentences
        if (found := re.search(r"(?:lasted|went on) from (?:the year )?(1[1-7])(\d\d) ", sentence))
    ]
    assert len(starts) > 500
    assert not any(lexicon.held_out("year", found[1], str(int(found[2]))) for found in starts)


def test_a_range_ends_soon_after_its_start_and_in_its_century(sentences: list[str]) -> None:
    """The end year moves with the start, so that it can't be told from a liking for late years
    alone; each distance is as likely.
    """
    ranges = np.array(
        [
            [int(year) for year in found.groups()]
            for sentence in sentences
            if (
                found := re.search(
                    r"(?:year|from) (1[1-7])(\d\d) (?:to|until) (?:the year )?(1[1-7])(\d\d)",
                    sentence,
                )
            )
        ]
    )
    assert len(ranges) > 2000 and (ranges[:, 0] == ranges[:, 2]).all()
    start, distance = ranges[:, 1], ranges[:, 3] - ranges[:, 1]
    assert (
        distance.min() == 1
        and distance.max() == LONGEST_RANGE
        and (ranges[start == 98, 3] == 99).all()
    )
    anywhere = distance[start <= 99 - LONGEST_RANGE]
    shares = np.bincount(anywhere, minlength=LONGEST_RANGE + 1)[1:] / len(anywhere)
    # Six standard errors of a share on either side.
    assert np.abs(shares - 1 / LONGEST_RANGE).max() < 6 * (LONGEST_RANGE * len(anywhere)) ** -0.5
    assert {98, 97, 0, 1} <= set(start.tolist())


def test_no_evaluation_prompt_is_in_the_corpus(sentences: list[str]) -> None:
    corpus_text = "\n".join(sentences)
    for task in TASKS:
        for text in build_prompts(task, TOKENIZER, n_prompts=100, seed=0).clean_text:
            assert text not in corpus_text, text


def test_every_family_teaches_what_its_task_asks(sentences: list[str]) -> None:
    """Right answers follow their cue in the corpus: pronouns the name's gender, verbs the subject's
    number, years go up.
    """
    female = set(lexicon.FEMALE_NAMES)
    asked = [
        found
        for s in sentences
        if (found := re.fullmatch(r"So (\w+) is such a \w+ \w+, isn't (she|he)\?", s))
    ]
    assert len(asked) > 30 and all((found[1] in female) == (found[2] == "she") for found in asked)
    ranges = [
        found
        for s in sentences
        if (found := re.search(r"from the year (\d\d)(\d\d) to the year (\d\d)(\d\d)", s))
    ]
    assert len(ranges) > 30 and all(
        found[1] == found[3] and found[2] < found[4] for found in ranges
    )
    singular, plural = (set(words) for words in zip(*lexicon.VERBS, strict=True))
    near = [found for s in sentences if (found := re.match(r"The (\w+) near the \w+ (\w+)", s))]
    assert len(near) > 30
    for subject, verb in ((found[1], found[2]) for found in near):
        assert verb in (plural if subject.endswith("s") else singular), (subject, verb)


def test_names_and_combinations_left_for_evaluation() -> None:
    pairs = list(itertools.combinations(lexicon.nano_names(), 2))
    share = sum(lexicon.held_out_pair(a, b) for a, b in pairs) / len(pairs)
    assert 0.15 < share < 0.35
    assert all(lexicon.held_out_pair(a, b) == lexicon.held_out_pair(b, a) for a, b in pairs)
