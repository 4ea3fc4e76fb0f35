"""The synthetic corpus of the nano suite: sentences from which the four tasks, induction,
successions and name copying can be learnt.

A row begins with the end-of-text token and is filled with sentences of random families; the last is
cut off. Patterns are encoded once, so a sentence costs a few draws and a list; a batch is a
function of (seed, step) alone. Combinations for which the lexicon's `held_out` holds (pairs of
names, start years, a name with a role, a subject with its companion) are never produced.
"""

from __future__ import annotations

import random
import re
from collections.abc import Mapping, Sequence
from itertools import accumulate
from typing import TypeVar

import numpy as np
from transformers import PreTrainedTokenizerFast

from circuitwatch import lexicon
from circuitwatch.nano import templates

CORPUS_VERSION = 6
"""To be raised with every change of what is sampled, so that weights trained on another corpus are
not reused.
"""

MIXTURE = {
    "ioi": 0.25,
    "conversation": 0.13,
    "pronoun": 0.06,
    "years": 0.20,
    "agreement": 0.17,
    "succession": 0.04,
    "filler": 0.01,
    "repeated": 0.14,
}
"""Share of each family among sentences."""

SHORT_IOI = 0.6
"""Share of IOI passages that are short sentences."""
LONGEST_EXCHANGE = 4
"""Sentences in the longest passage in which the same two people act on each other in turn."""
LONGEST_RANGE = 10
"""Years from the start of a range to its end at most."""
LONGEST_SEGMENT = 12
"""Tokens in the longest random segment that is repeated."""
REPEATED_LENGTH = 16
"""Tokens that a repeated segment fills at least, as far as whole copies go: short ones come many
times.
"""

T = TypeVar("T")


class Pattern:
    """An encoded pattern: token ids with the names of fields between them."""

    def __init__(self, text: str, tokenizer: PreTrainedTokenizerFast) -> None:
        self.items: list[int | str] = []
        for index, part in enumerate(re.split(r" ?\{(\w+)\}", text)):
            self.items += (
                [part]
                if index % 2
                else tokenizer.encode(part, add_special_tokens=False, verbose=False)
            )

    def fill(self, words: Mapping[str, int]) -> list[int]:
        """The sentence's token ids."""
        return [item if isinstance(item, int) else words[item] for item in self.items]


class Corpus:
    """Batches of token ids for the tokenizer of `nano.vocabulary`."""

    def __init__(
        self, tokenizer: PreTrainedTokenizerFast, *, seed: int, rows: int, context: int
    ) -> None:
        self.seed, self.rows, self.context = seed, rows, context
        self.bos: int = tokenizer.bos_token_id
        self.ids: dict[str, int] = tokenizer.get_vocab()
        # A row's first word has no space before it.
        self.unspaced = {
            self.ids[f" {word}"]: index
            for word, index in self.ids.items()
            if f" {word}" in self.ids
        }
        self.ordinary = sorted(set(self.ids.values()) - set(tokenizer.all_special_ids))

        def encode(patterns: Sequence[str]) -> list[Pattern]:
            return [Pattern(pattern, tokenizer) for pattern in patterns]

        def sentences(patterns: Sequence[str]) -> list[Pattern]:
            return encode([f" {pattern}" for pattern in patterns])

        self.lists = {
            "place": lexicon.PLACES[: lexicon.NANO_PLACES],
            "object": lexicon.OBJECTS[: lexicon.NANO_OBJECTS],
            "other_object": lexicon.OBJECTS[: lexicon.NANO_OBJECTS],
            "event": lexicon.EVENTS[: lexicon.NANO_EVENTS],
            "adjective": lexicon.ADJECTIVES,
            "role": lexicon.ROLES,
            "past": lexicon.PAST_VERBS,
            "name": lexicon.nano_names(),
        }
        names = lexicon.nano_names()
        self.pairs = [
            (a, b) for a in names for b in names if a != b and not lexicon.held_out_pair(a, b)
        ]
        self.females = set(names[: lexicon.NANO_NAMES])
        self.nouns, self.verbs = (
            lexicon.NOUNS[: lexicon.NANO_NOUNS],
            lexicon.VERBS[: lexicon.NANO_VERBS],
        )
        self.start_years = [
            (century, year)
            for century in lexicon.CENTURIES
            for year in range(99)
            if not lexicon.held_out("year", str(century), str(year))
        ]
        self.successions = [
            ([self.spaced(word) for word in words], name in lexicon.CYCLIC_SUCCESSIONS)
            for name, words in lexicon.SUCCESSIONS.items()
        ]
        self.openings, self.closings = (
            sentences(templates.IOI_OPENINGS),
            sentences(templates.IOI_CLOSINGS),
        )
        self.short_openings, self.short_closings = (
            sentences(templates.SHORT_OPENINGS),
            sentences(templates.SHORT_CLOSINGS),
        )
        self.conversations, self.pronouns = (
            sentences(templates.CONVERSATION),
            sentences(templates.PRONOUN),
        )
        self.year_ranges, self.fillers = sentences(templates.YEARS), sentences(templates.FILLER)
        self.subjects = [
            (kind, sentences(patterns)) for kind, patterns in templates.AGREEMENT_SUBJECTS.items()
        ]
        self.tails, self.copula_tails = (
            encode(templates.AGREEMENT_TAILS),
            encode(templates.COPULA_TAILS),
        )
        self.separators = [pattern.fill({}) for pattern in encode(templates.SUCCESSION_SEPARATORS)]
        self.families = list(
            zip(
                accumulate(MIXTURE.values()),
                (
                    self.ioi,
                    self.conversation,
                    self.pronoun,
                    self.year_range,
                    self.agreement,
                    self.succession,
                    self.filler,
                    self.repeated,
                ),
                strict=True,
            )
        )

    def batch(self, step: int) -> np.ndarray:
        """The rows of a step, int64 [row, pos]; the same for the same seed and step."""
        rng = random.Random(f"{self.seed}/{step}")
        return np.array([self._row(rng) for _ in range(self.rows)], dtype=np.int64)

    def _row(self, rng: random.Random) -> list[int]:
        row = [self.bos]
        while len(row) < self.context:
            draw = rng.random()
            family = next(
                (family for threshold, family in self.families if draw < threshold), self.repeated
            )
            sentence = family(rng)
            if len(row) == 1:
                sentence[0] = self.unspaced.get(sentence[0], sentence[0])
            row += sentence
        return row[: self.context]

    def spaced(self, word: str) -> int:
        """The id of a word inside a sentence."""
        return self.ids[f" {word}"]

    def words(self, rng: random.Random) -> dict[str, int]:
        """A random word for every field that can hold any word of its list."""
        return {field: self.spaced(choose(rng, words)) for field, words in self.lists.items()}

    def ioi(self, rng: random.Random) -> list[int]:
        """Two names, then one of them acts on the other; in short sentences several times, each
        time either of them.

        Many decisions between two names in few tokens are what makes the behaviour emerge reliably:
        without them some training runs still copied either name at random after two million tokens.
        """
        words = self._two_names(rng)

        def act(closings: Sequence[Pattern]) -> list[int]:
            actor, other = ("A", "B") if rng.random() < 0.5 else ("B", "A")
            return choose(rng, closings).fill({**words, "S": words[actor], "R": words[other]})

        if rng.random() >= SHORT_IOI:
            return choose(rng, self.openings).fill(words) + act(self.closings)
        passage = choose(rng, self.short_openings).fill(words)
        for _ in range(1 + int(rng.random() * LONGEST_EXCHANGE)):
            passage += act(self.short_closings)
        return passage

    def conversation(self, rng: random.Random) -> list[int]:
        """Two names that come up again."""
        return choose(rng, self.conversations).fill(self._two_names(rng))

    def pronoun(self, rng: random.Random) -> list[int]:
        """A name, then the pronoun of its gender."""
        while True:
            name, role = choose(rng, self.lists["name"]), choose(rng, self.lists["role"])
            if not lexicon.held_out(name, role):
                break
        she = self.spaced("she" if name in self.females else "he")
        words = {
            **self.words(rng),
            "name": self.spaced(name),
            "role": self.spaced(role),
            "she": she,
        }
        return choose(rng, self.pronouns).fill(words)

    def year_range(self, rng: random.Random) -> list[int]:
        """Two years of a century, the second soon after the first; each of the next years that the
        century has is as likely.

        If any later year may follow, a small model learns only that late years are likely, whatever
        the first one is.
        """
        century, start = choose(rng, self.start_years)
        end = start + 1 + int(rng.random() * min(LONGEST_RANGE, 99 - start))
        years = {
            "century": self.spaced(str(century)),
            "from": self.ids[f"{start:02}"],
            "to": self.ids[f"{end:02}"],
        }
        return choose(rng, self.year_ranges).fill({**self.words(rng), **years})

    def agreement(self, rng: random.Random) -> list[int]:
        """A subject of either number in one of six constructions, and a verb that agrees."""
        kind, patterns = choose(rng, self.subjects)
        while True:
            subject, other = choose(rng, self.nouns), choose(rng, self.nouns)
            first, verb = choose(rng, self.verbs), choose(rng, self.verbs)
            adjective = choose(rng, self.lists["adjective"])
            companion = {"simple": adjective, "verb phrase coordination": first[0]}.get(
                kind, other[0]
            )
            # An adjective may stand before the subject in any construction, and is then the
            # companion of a simple one.
            if subject != other and not any(
                lexicon.held_out(*parts)
                for parts in ((kind, subject[0], companion), ("simple", subject[0], adjective))
            ):
                break
        number = int(rng.random() < 0.5)
        words = self.words(rng) | {
            "subject": self.spaced(subject[number]),
            "other": self.spaced(choose(rng, other)),
            "verb": self.spaced(first[number]),
            "adjective": self.spaced(adjective),
        }
        tails = self.copula_tails if verb[0] == "is" else self.tails
        return [
            *choose(rng, patterns).fill(words),
            self.spaced(verb[number]),
            *choose(rng, tails).fill(words),
        ]

    def succession(self, rng: random.Random) -> list[int]:
        """Three to seven consecutive items of an ordered list."""
        items, cyclic = choose(rng, self.successions)
        count = 3 + int(rng.random() * 5)
        start = int(rng.random() * (len(items) if cyclic else len(items) + 1 - count))
        separator = choose(rng, self.separators)
        sentence: list[int] = []
        for offset in range(count):
            sentence += [*(separator if offset else []), items[(start + offset) % len(items)]]
        return [*sentence, self.ids["."]]

    def filler(self, rng: random.Random) -> list[int]:
        """Stock phrases, whose next word is mostly decided by the last."""
        return choose(rng, self.fillers).fill(self.words(rng))

    def repeated(self, rng: random.Random) -> list[int]:
        """A random segment of the whole vocabulary, at least twice; short segments are likelier."""
        length = 2 + int(rng.random() ** 2 * (LONGEST_SEGMENT - 1))
        segment = [choose(rng, self.ordinary) for _ in range(length)]
        return segment * max(2, REPEATED_LENGTH // length)

    def _two_names(self, rng: random.Random) -> dict[str, int]:
        a, b = choose(rng, self.pairs)
        return {**self.words(rng), "A": self.spaced(a), "B": self.spaced(b)}


def choose(rng: random.Random, items: Sequence[T]) -> T:
    """One item.

    `random.choice` may change between Python versions; `random.random` is documented not to.
    """
    return items[int(rng.random() * len(items))]
