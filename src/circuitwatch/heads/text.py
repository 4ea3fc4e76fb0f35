"""The text that copy suppression is measured on: a file of the user's, or sentences of the nano corpus' kind that no nano model was trained on.

Training takes the corpus' batches from step 1 on; the text is batch −1, decoded to plain text and encoded again with the model's own tokenizer,
so that every tokenizer gets the same sentences. Rows that do not survive the nano tokenizer's own round trip
(random segments may glue two words together) are left out.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from circuitwatch.errors import UserError
from circuitwatch.nano.corpus import Corpus
from circuitwatch.nano.vocabulary import build_tokenizer

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

HELD_OUT_STEP = -1
SPARE = 4
"""Rows of the corpus made for each piece, and nano tokens made for each token of a piece: other tokenizers may need fewer tokens, or not know a word."""
LONGEST_TOKEN = 64
"""Characters read from a file for each token that is needed; no more of a long file is looked at."""


class Unencodable(Exception):
    """The model's tokenizer can't encode enough of the text; the message is the reason."""


def text_pieces(
    tokenizer: PreTrainedTokenizerBase, *, n_texts: int, length: int, path: str | None, seed: int
) -> Tensor:
    """Pieces of `length` tokens behind BOS where the tokenizer has one: [piece, (1 +) length].

    Raises UserError where `path` is missing, not UTF-8 or too short, Unencodable where the corpus' text can't be had with this tokenizer.
    """
    rows = _of_corpus(tokenizer, n_texts, length, seed) if path is None else _of_file(tokenizer, n_texts, length, path)
    pieces = torch.tensor(rows)
    if tokenizer.bos_token_id is None:
        return pieces
    return torch.cat([torch.full((n_texts, 1), tokenizer.bos_token_id), pieces], dim=1)


def corpus_texts(n_rows: int, length: int, seed: int) -> list[str]:
    """Plain text of the nano corpus' held-out rows, `length` nano tokens each: up to `n_rows` of them, those that survive decoding and encoding."""
    nano = build_tokenizer()
    batch = Corpus(nano, seed=seed, rows=n_rows, context=1 + length).batch(HELD_OUT_STEP)
    rows = [row[1:].tolist() for row in batch]
    texts = [nano.decode(row) for row in rows]
    return [text for row, text in zip(rows, texts, strict=True) if nano.encode(text, add_special_tokens=False) == row]


def _of_corpus(tokenizer: PreTrainedTokenizerBase, n_texts: int, length: int, seed: int) -> list[list[int]]:
    encoded = [
        tokenizer.encode(text, add_special_tokens=False)[:length]
        for text in corpus_texts(SPARE * n_texts, SPARE * length, seed)
    ]
    usable = [row for row in encoded if len(row) == length and not _unknown(tokenizer, row)]
    if len(usable) < n_texts:
        raise Unencodable(
            f"this model's tokenizer can encode only {len(usable)} of {n_texts} pieces of the nano corpus' text; "
            "heads.text=<file> gives it another"
        )
    return usable[:n_texts]


def _of_file(tokenizer: PreTrainedTokenizerBase, n_texts: int, length: int, path: str) -> list[list[int]]:
    needed = n_texts * length
    try:
        with Path(path).expanduser().open(encoding="utf-8") as file:
            text = file.read(needed * LONGEST_TOKEN)
    except UnicodeDecodeError as error:
        raise UserError(f"heads.text={path}: not plain text in UTF-8") from error
    except OSError as error:
        raise UserError(f"heads.text={path}: can't be read ({error.strerror})") from error
    # `verbose=False`: a text longer than the model's context is cut to pieces, so nothing is to be warned of.
    ids = tokenizer.encode(text, add_special_tokens=False, verbose=False)
    if len(ids) < needed:
        raise UserError(
            f"heads.text={path}: too short, it has {len(ids)} tokens; heads.n_texts={n_texts} pieces of "
            f"heads.text_length={length} tokens need {needed}"
        )
    unknown = _unknown(tokenizer, ids[:needed])
    if 2 * unknown > needed:
        raise UserError(f"heads.text={path}: this model's tokenizer does not know {unknown} of its {needed} tokens")
    return [ids[start : start + length] for start in range(0, needed, length)]


def _unknown(tokenizer: PreTrainedTokenizerBase, ids: list[int]) -> int:
    """How many tokens are the unknown one, or 0 for a tokenizer without one."""
    return 0 if tokenizer.unk_token_id is None else ids.count(tokenizer.unk_token_id)
