"""The synthetic corpus of the nano suite: sentences from which the four tasks, induction, successions and name copying can be learnt.

A row begins with the end-of-text token and is filled with sentences of random families; the last is cut off. Patterns are encoded once,
so a sentence costs a few draws and a list; a batch is a function of (seed, step) alone. Combinations for which the lexicon's
`held_out` holds (pairs of names, years, a name with a role, a subject with its companion) are never produced.
"""

from __future__ import annotations

import random
import re
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
from transformers import PreTrainedTokenizerFast

from circuitwatch import lexicon
from circuitwatch.nano import templates

CORPUS_VERSION = 1
"""To be raised with every change of what is sampled, so that weights trained on another corpus are not reused."""

MIXTURE = {
    "ioi": 0.22,
    "conversation": 0.18,
    "pronoun": 0.08,
    "years": 0.10,
    "agreement": 0.10,
    "succession": 0.06,
    "filler": 0.03,
    "repeated": 0.23,
}
"""Share of each family among sentences."""

SINGULAR, PLURAL = 0, 1

Words = Mapping[str, int]


class Pattern:
    """An encoded pattern: token ids with the names of fields between them."""

    def __init__(self, text: str, tokenizer: PreTrainedTokenizerFast) -> None:
        self.items: list[int | str] = []
        for literal, field in re.findall(r"([^{}]*?)(?: ?\{(\w+)\}|$)", text):
            self.items += tokenizer.encode(literal, add_special_tokens=False)
            if field:
                self.items.append(field)

    def fill(self, words: Words) -> list[int]:
        """The sentence's token ids."""
        return [item if isinstance(item, int) else words[item] for item in self.items]


class Corpus:
    """Batches of token ids for the tokenizer of `nano.vocabulary`."""

    def __init__(self, tokenizer: PreTrainedTokenizerFast, *, seed: int, rows: int, context: int) -> None:
        self.seed, self.rows, self.context = seed, rows, context
        self.bos: int = tokenizer.bos_token_id
        ids = tokenizer.get_vocab()
        # A row's first word has no space before it.
        self.opening = {ids[f" {piece}"]: index for piece, index in ids.items() if f" {piece}" in ids}
        self.ordinary = [index for index in ids.values() if index not in tokenizer.all_special_ids]

        def encode(patterns: Sequence[str], space: str = " ") -> list[Pattern]:
            return [Pattern(space + pattern, tokenizer) for pattern in patterns]

        def spaced(words: Sequence[str]) -> list[int]:
            return [ids[f" {word}"] for word in words]

        self.lists = {
            "place": spaced(lexicon.PLACES[: lexicon.NANO_PLACES]),
            "object": spaced(lexicon.OBJECTS[: lexicon.NANO_OBJECTS]),
            "other_object": spaced(lexicon.OBJECTS[: lexicon.NANO_OBJECTS]),
            "event": spaced(lexicon.EVENTS[: lexicon.NANO_EVENTS]),
            "past": spaced(lexicon.PAST_VERBS),
        }
        self.ids = ids
        self.names = lexicon.nano_names()
        self.name_ids = spaced(self.names)
        self.pairs = [(a, b) for a in self.names for b in self.names if a != b and not lexicon.held_out_pair(a, b)]
        self.years = [
            (century, year)
            for century in lexicon.CENTURIES
            for year in range(99)
            if not lexicon.held_out("year", str(century), str(year))
        ]
        self.successions = [(spaced(words), name in lexicon.CYCLIC_SUCCESSIONS) for name, words in lexicon.SUCCESSIONS.items()]

        self.openings, self.closings = encode(templates.IOI_OPENINGS), encode(templates.IOI_CLOSINGS)
        self.conversation, self.pronoun = encode(templates.CONVERSATION), encode(templates.PRONOUN)
        self.year_ranges, self.filler = encode(templates.YEARS), encode(templates.FILLER)
        self.subjects = [(kind, encode(patterns)) for kind, patterns in templates.AGREEMENT_SUBJECTS.items()]
        self.tails, self.copula_tails = encode(templates.AGREEMENT_TAILS, ""), encode(templates.COPULA_TAILS, "")
        self.separators = [tokenizer.encode(text, add_special_tokens=False) for text in templates.SUCCESSION_SEPARATORS]
        self.stop = ids["."]
        self.families = [
            (share, getattr(self, f"_{family}")) for family, share in MIXTURE.items()
        ]

    def batch(self, step: int) -> np.ndarray:
        """The rows of a step, int64 [row, pos]; the same for the same seed and step."""
        rng = random.Random(f"{self.seed}/{step}")
        return np.array([self._row(rng) for _ in range(self.rows)], dtype=np.int64)
