"""The text that copy suppression is measured on: a file of the user's, English prose of our own,
or, for nano models, their corpus.

Copy suppression shows in real text, where names and nouns come back; nano models know no such text,
so they get sentences of the corpus' kind that no nano model was trained on. Training takes the
corpus' batches from step 1 on; the text is batch −1. Rows that do not survive the nano tokenizer's
own round trip (random segments may glue two words together) are left out.

The prose (`prose.txt`, some 2,400 words) was written for this purpose. It is encoded whole and cut
into pieces; the seed says which pieces are taken, so that both halves, that for the means and that
for the effect, come from all over the text.
"""

from __future__ import annotations

from importlib import resources
from pathlib import Path
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from circuitwatch.errors import UserError
from circuitwatch.nano.corpus import Corpus
from circuitwatch.nano.vocabulary import build_tokenizer, vocabulary

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

HELD_OUT_STEP = -1
SPARE = 4
"""Rows of the corpus made for each piece, and nano tokens made for each token of a piece: other
tokenizers may need fewer tokens, or not know a word.
"""
LONGEST_TOKEN = 64
"""Characters read from a file for each token that is needed; no more of a long file is looked at.
"""
NANO_SHARE = 0.9
"""Share of a tokenizer's words that a nano tokenizer has from this vocabulary: all, or nearly all
if another version made it.
"""


class Unencodable(Exception):
    """The model's tokenizer can't encode enough of the text; the message is the reason."""


def is_nano(tokenizer: PreTrainedTokenizerBase) -> bool:
    """Whether the tokenizer is a nano suite's, wherever its folder lies: its words are those of the
    nano vocabulary.
    """
    words = set(tokenizer.get_vocab())
    return len(words & set(vocabulary())) >= NANO_SHARE * len(words)


def text_used(tokenizer: PreTrainedTokenizerBase, path: str | None) -> str:
    """Which text `text_pieces` takes: the file's path, `nano corpus` or `prose`."""
    return path or ("nano corpus" if is_nano(tokenizer) else "prose")


def text_pieces(
    tokenizer: PreTrainedTokenizerBase, *, n_texts: int, length: int, path: str | None, seed: int
) -> Tensor:
    """Pieces of `length` tokens behind BOS where the tokenizer has one: [piece, (1 +) length].

    Raises UserError where `path` is missing, not UTF-8 or too short, or the prose is too short for
    so many pieces; Unencodable where the default text can't be had with this tokenizer.
    """
    if path is not None:
        rows = _of_file(tokenizer, n_texts, length, path)
    elif is_nano(tokenizer):
        rows = _of_corpus(tokenizer, n_texts, length, seed)
    else:
        rows = _of_prose(tokenizer, n_texts, length, seed)
    pieces = torch.tensor(rows)
    if tokenizer.bos_token_id is None:
        return pieces
    return torch.cat([torch.full((n_texts, 1), tokenizer.bos_token_id), pieces], dim=1)


def prose() -> str:
    """The prose that comes with circuitwatch."""
    return resources.files("circuitwatch.heads").joinpath("prose.txt").read_text(encoding="utf-8")


# `verbose=False`: a text longer than the model's context is cut to pieces, so nothing is to be
# warned of.


def corpus_texts(n_rows: int, length: int, seed: int) -> list[str]:
    """Plain text of the nano corpus' held-out rows, `length` nano tokens each: up to `n_rows` of
    them, those that survive decoding and encoding.
    """
    nano = build_tokenizer()
    batch = Corpus(nano, seed=seed, rows=n_rows, context=1 + length).batch(HELD_OUT_STEP)
    rows = [row[1:].tolist() for row in batch]
    texts = [nano.decode(row) for row in rows]
    encoded = [nano.encode(text, add_special_tokens=False, verbose=False) for text in texts]
    return [text for row, text, again in zip(rows, texts, encoded, strict=True) if again == row]


def _of_corpus(
    tokenizer: PreTrainedTokenizerBase, n_texts: int, length: int, seed: int
) -> list[list[int]]:
    encoded = [
        tokenizer.encode(text, add_special_tokens=False, verbose=False)[:length]
        for text in corpus_texts(SPARE * n_texts, SPARE * length, seed)
    ]
    usable = [row for row in encoded if len(row) == length and not _unknown(tokenizer, row)]
    if len(usable) < n_texts:
        raise Unencodable(_too_few(len(usable), n_texts, "the nano corpus' text"))
    return usable[:n_texts]


def _of_prose(
    tokenizer: PreTrainedTokenizerBase, n_texts: int, length: int, seed: int
) -> list[list[int]]:
    ids = tokenizer.encode(prose(), add_special_tokens=False, verbose=False)
    pieces = [ids[start : start + length] for start in range(0, len(ids) - length + 1, length)]
    usable = [piece for piece in pieces if not _unknown(tokenizer, piece)]
    if len(usable) < n_texts and len(usable) == len(pieces):
        raise UserError(
            f"heads.n_texts={n_texts} pieces of heads.text_length={length} tokens need "
            f"{n_texts * length}; the prose that "
            f"comes with circuitwatch has {len(ids)} of this model's: choose fewer, or "
            f"heads.text=<file>"
        )
    if len(usable) < n_texts:
        raise Unencodable(_too_few(len(usable), n_texts, "English prose"))
    drawn = torch.randperm(len(usable), generator=torch.Generator().manual_seed(seed))[:n_texts]
    return [usable[index] for index in drawn.tolist()]


def _too_few(usable: int, n_texts: int, text: str) -> str:
    return (
        f"this model's tokenizer can encode only {usable} of {n_texts} pieces of {text}; "
        f"heads.text=<file> gives it another"
    )


def _of_file(
    tokenizer: PreTrainedTokenizerBase, n_texts: int, length: int, path: str
) -> list[list[int]]:
    needed = n_texts * length
    try:
        with Path(path).expanduser().open(encoding="utf-8") as file:
            text = file.read(needed * LONGEST_TOKEN)
    except UnicodeDecodeError as error:
        raise UserError(f"heads.text={path}: not plain text in UTF-8") from error
    except OSError as error:
        raise UserError(f"heads.text={path}: can't be read ({error.strerror})") from error
    ids = tokenizer.encode(text, add_special_tokens=False, verbose=False)
    if len(ids) < needed:
        raise UserError(
            f"heads.text={path}: too short, it has {len(ids)} tokens; "
            f"heads.n_texts={n_texts} pieces of "
            f"heads.text_length={length} tokens need {needed}"
        )
    unknown = _unknown(tokenizer, ids[:needed])
    if 2 * unknown > needed:
        raise UserError(
            f"heads.text={path}: this model's tokenizer does not know {unknown} of its "
            f"{needed} tokens"
        )
    return [ids[start : start + length] for start in range(0, needed, length)]


def _unknown(tokenizer: PreTrainedTokenizerBase, ids: list[int]) -> int:
    """How many tokens are the unknown one, or 0 for a tokenizer without one."""
    return 0 if tokenizer.unk_token_id is None else ids.count(tokenizer.unk_token_id)
