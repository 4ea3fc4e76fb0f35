"""Tokenizers that tests build prompts with: the nano suite's, Pythia's, and small ones of our own,
two with the traps that published ones have, one with every word of our tasks.

`bpe` is byte-level BPE as GPT-2's and Pythia's: words carry the space before them, a word that it
doesn't know falls into pieces, a year is its century and a two-digit number, but some years are
one token, and some two-digit numbers are two. `digits` has the same words, splits every number
into its digits, and has no beginning of text, as Qwen's has none. `words` is word-level as nano's.
"""

from __future__ import annotations

import re
from functools import cache
from itertools import chain
from pathlib import Path

import pytest
from tokenizers import Regex, Tokenizer, decoders, models, pre_tokenizers
from transformers import PreTrainedTokenizerBase, PreTrainedTokenizerFast

from circuitwatch import lexicon, tasks
from circuitwatch.nano.vocabulary import build_tokenizer

PUBLISHED = Path(__file__).parents[3] / "shared" / "data"
"""Published data to test against; tests that need it are skipped where it is absent."""
UNKNOWN = frozenset(
    "Mary Tom Veronica Jesse Alexandra hospital basketball snack siege judges scientists".split()
)
"""Words of the lexicon that `bpe` and `digits` don't have as one token; of two nouns one number."""
WHOLE_YEARS = (1600, 1750, 1776)
"""Years that `bpe` has as one token, and the others of their decade as three digits and one: none
of them ends in a token of two digits.
"""
BROKEN_NUMBERS = ("47", "52")
"""Two-digit numbers that are two tokens of `bpe`, so no answers; as many late as early ones."""
END_OF_TEXT = "<|endoftext|>"


@cache
def tokenizer_named(name: str) -> PreTrainedTokenizerBase:
    """`nano`, `bpe`, `digits`, `words`, or `pythia` if its file is there (else the test is
    skipped).
    """
    match name:
        case "nano":
            return build_tokenizer()
        case "bpe":
            special = dict.fromkeys(("bos_token", "eos_token", "unk_token"), END_OF_TEXT)
            return PreTrainedTokenizerFast(tokenizer_object=byte_level(), **special)
        case "digits":
            return PreTrainedTokenizerFast(
                tokenizer_object=byte_level(split_digits=True), eos_token=END_OF_TEXT
            )
        case "words":
            return _word_level()
    path = PUBLISHED / "gpt_neox_tokenizer.json"
    if not path.exists():
        pytest.skip("Pythia's tokenizer is not here")
    special = dict.fromkeys(("bos_token", "eos_token", "pad_token", "unk_token"), END_OF_TEXT)
    return PreTrainedTokenizerFast(tokenizer_object=Tokenizer.from_file(str(path)), **special)


def known_words() -> list[str]:
    """The words that `bpe` and `digits` have as one token behind a space."""
    words = [
        *lexicon.FEMALE_NAMES, *lexicon.MALE_NAMES, *lexicon.PLACES, *lexicon.OBJECTS,
        *lexicon.EVENTS, *lexicon.ADJECTIVES, *lexicon.ROLES, *lexicon.PAST_VERBS,
        *chain.from_iterable([*lexicon.NOUNS, *lexicon.VERBS]),
        *chain.from_iterable(lexicon.SUCCESSIONS.values()), "she", "he",
        *chain.from_iterable(pattern.split() for pattern in lexicon.evaluation_patterns()),
    ]  # fmt: skip
    return [word for word in dict.fromkeys(words) if word.isalpha() and word not in UNKNOWN]


def byte_level(*, split_digits: bool = False) -> Tokenizer:
    """Byte-level BPE whose merges make up the known words, letter by letter from the left, and
    numbers.
    """
    numbers = [f"{number:02}" for number in range(100)]
    spaced = [*map(str, lexicon.CENTURIES), *map(str, range(1, 13)), *map(str, WHOLE_YEARS)]
    words = [f"Ġ{word}" for word in known_words()]
    if not split_digits:
        words += [f"Ġ{number}" for number in spaced]
        words += [number for number in numbers if number not in BROKEN_NUMBERS]
    merges = dict.fromkeys((word[:end], word[end]) for word in words for end in range(1, len(word)))
    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    tokens = [END_OF_TEXT, *alphabet, *dict.fromkeys(map("".join, merges))]
    vocabulary = {token: index for index, token in enumerate(tokens)}
    tokenizer = Tokenizer(models.BPE(vocabulary, list(merges)))
    byte_pairs = pre_tokenizers.ByteLevel(add_prefix_space=False)
    digits = pre_tokenizers.Digits(individual_digits=True)
    tokenizer.pre_tokenizer = (
        pre_tokenizers.Sequence([digits, byte_pairs]) if split_digits else byte_pairs
    )
    tokenizer.decoder = decoders.ByteLevel()
    tokenizer.add_special_tokens([END_OF_TEXT])
    return tokenizer


def with_digits_split(tokenizer: PreTrainedTokenizerBase) -> PreTrainedTokenizerBase:
    """The same tokenizer, but for numbers, of which every digit is a token, as in SmolLM."""
    backend = Tokenizer.from_str(tokenizer.backend_tokenizer.to_str())
    digits = pre_tokenizers.Digits(individual_digits=True)
    backend.pre_tokenizer = pre_tokenizers.Sequence([digits, backend.pre_tokenizer])
    special = dict.fromkeys(("bos_token", "eos_token", "pad_token", "unk_token"), END_OF_TEXT)
    return PreTrainedTokenizerFast(tokenizer_object=backend, **special)


def _word_level() -> PreTrainedTokenizerBase:
    """The words in the source of our tasks, each with a space before it and without; two digits."""
    piece = r" ?[A-Za-z]+|'[a-z]+| ?[0-9]{1,2}| ?[^A-Za-z0-9\s]|\s"
    folder = Path(tasks.__path__[0])
    files = [*folder.glob("*.yaml"), *folder.glob("*.py"), folder.parent / "lexicon.py"]
    words = {word for path in files for word in re.findall("[A-Za-z]+", path.read_text("utf-8"))}
    words |= {f"{number:02}" for number in range(100)} | set("0123456789" + "()[]:+=-,.?!'\"_/#*")
    known = [f"{space}{word}" for word in sorted(words) for space in ("", " ")]
    known += ["'t", "'s", " ", "\n"]
    ids = {piece: i for i, piece in enumerate([END_OF_TEXT, "<|unknown|>", *known])}
    backend = Tokenizer(models.WordLevel(ids, unk_token="<|unknown|>"))
    backend.pre_tokenizer = pre_tokenizers.Split(Regex(piece), behavior="isolated")
    backend.decoder = decoders.Fuse()
    special = dict.fromkeys(("bos_token", "eos_token", "pad_token"), END_OF_TEXT)
    return PreTrainedTokenizerFast(
        tokenizer_object=backend,
        unk_token="<|unknown|>",
        clean_up_tokenization_spaces=False,
        **special,
    )
