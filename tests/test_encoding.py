"""Words behind other text: as a tokenizer writes them inside a sentence."""

from __future__ import annotations

from itertools import chain

import pytest

from circuitwatch import lexicon
from circuitwatch.encoding import ids_behind
from support.tokenizers import tokenizer_named

WORDS = [
    *lexicon.FEMALE_NAMES, *lexicon.MALE_NAMES, *lexicon.PLACES, *lexicon.EVENTS,
    *chain.from_iterable(lexicon.SUCCESSIONS.values()), "1732", "17", "isn't", "Zq☃",
]  # fmt: skip


@pytest.mark.parametrize("name", ["nano", "bpe", "digits", "words", "pythia"])
def test_tokenizers_without_a_space_of_their_own(name: str) -> None:
    """A word is what it is by itself, so that nothing changes for them."""
    tokenizer = tokenizer_named(name)
    for word in WORDS:
        alone = tokenizer.encode(f" {word}", add_special_tokens=False, verbose=False)
        assert ids_behind(tokenizer, f" {word}") == alone
