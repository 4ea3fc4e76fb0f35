"""The word-level tokenizer of the nano suite.

Its pieces carry their leading space, as those of a byte-pair encoding do (" Mary", " 17", "32",
"."), so one prompt generator serves it and Pythia's tokenizer, and text survives encoding and
decoding unchanged. The vocabulary is closed: the words of the lexicon's nano subset and of the
corpus templates.
"""

from __future__ import annotations

import re
from collections.abc import Iterable

from tokenizers import Regex, Tokenizer, decoders, models, pre_tokenizers
from transformers import PreTrainedTokenizerFast

from circuitwatch import lexicon
from circuitwatch.nano import templates

END_OF_TEXT = "<|endoftext|>"
UNKNOWN = "<|unknown|>"

# A word, a contraction's tail, one or two digits, or one other character; words, digits and
# punctuation keep the space before them.
PIECE = r" ?[A-Za-z]+|'[a-z]+| ?[0-9]{1,2}| ?[^A-Za-z0-9\s]|\s"


def pieces(text: str) -> list[str]:
    """Split `text` as the tokenizer does; joining the pieces gives the text back."""
    return re.findall(PIECE, text)


def vocabulary() -> list[str]:
    """All pieces in the order of their ids: the two special tokens, then what texts consist of,
    sorted.

    A word that can begin a text is there without a space too.
    """
    return [END_OF_TEXT, UNKNOWN, *sorted(set(_pieces_of_texts()))]


def _pieces_of_texts() -> Iterable[str]:
    for word in lexicon.nano_words():
        yield from pieces(f" {word}")
    yield from lexicon.nano_names()
    for pattern in [*templates.texts(), *lexicon.evaluation_patterns()]:
        bare = re.sub(r" ?\{\w+\}", "", pattern)
        yield from pieces(bare)
        yield from pieces(f" {bare}")


def build_tokenizer() -> PreTrainedTokenizerFast:
    """The tokenizer; `<|endoftext|>` begins, ends and pads texts."""
    ids = {piece: index for index, piece in enumerate(vocabulary())}
    tokenizer = Tokenizer(models.WordLevel(ids, unk_token=UNKNOWN))
    tokenizer.pre_tokenizer = pre_tokenizers.Split(Regex(PIECE), behavior="isolated")
    tokenizer.decoder = decoders.Fuse()
    return PreTrainedTokenizerFast(
        tokenizer_object=tokenizer,
        bos_token=END_OF_TEXT,
        eos_token=END_OF_TEXT,
        pad_token=END_OF_TEXT,
        unk_token=UNKNOWN,
        clean_up_tokenization_spaces=False,
        model_max_length=48,
    )
