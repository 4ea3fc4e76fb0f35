"""The text that copy suppression, attention sinks and the loss are measured on: a file of the
user's, English prose of our own, or, for nano models, their corpus.

Copy suppression shows in real text, where names and nouns come back; nano models know no such text,
so they get sentences of the corpus' kind that no nano model was trained on. Training takes the
corpus' batches from step 1 on; the text is batch −1. Rows that do not survive the nano tokenizer's
own round trip (random segments may glue two words together) are left out.

The prose (`prose.txt`, some 2,400 words) was written for this purpose. It is encoded whole and cut
into pieces; the seed says which pieces are taken, so that both halves, that for the means and that
for the effect, come from all over the text.

There are pieces of `heads.text_length` tokens for heads, and pieces of `heads.loss_length` for the
loss, which falls further the more there is to read. Of the long ones there are as many as the text
has, up to `heads.n_texts`.
"""

from __future__ import annotations

from dataclasses import dataclass
from importlib import resources
from pathlib import Path
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from circuitwatch.errors import UserError
from circuitwatch.heads.measuring import Inputs, NotMeasurable
from circuitwatch.nano.corpus import Corpus
from circuitwatch.nano.vocabulary import build_tokenizer, vocabulary

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

HELD_OUT_STEP = -1
SPARE = 4
"""Rows of the corpus made for each piece, and nano tokens made for each token of a piece: other
tokenizers may need fewer tokens, or not know a word.
"""
SPARE_LONG = 9 / 8
"""The same for tokens of a long piece: of rows four times as long hardly any is encodable whole."""
LONGEST_TOKEN = 64
"""Characters read from a file for each token that is needed; no more of a long file is looked at.
"""
SHORTEST_TEXT = 8
"""Tokens of a piece of text below which nothing is measured on it, as for heads.text_length."""
FEWEST_LONG = 2
"""Long pieces that there must be at least: one has no interval."""
NANO_SHARE = 0.9
"""Share of a tokenizer's words that a nano tokenizer has from this vocabulary: all, or nearly all
if another version made it.
"""


@dataclass(frozen=True, eq=False)
class Pieces:
    """Pieces of text: tokens [piece, pos], the first of each BOS if `has_bos`."""

    tokens: Tensor
    has_bos: bool

    def fitting(self, context: int | None) -> Pieces:
        """The same text in pieces that a model's context has room for: longer ones are cut into as
        many as they give, and what is left over is dropped. Raises NotMeasurable for a context
        that has no room for SHORTEST_TEXT tokens and BOS.
        """
        if context is None or self.tokens.shape[1] <= context:
            return self
        if context <= SHORTEST_TEXT:
            raise NotMeasurable(
                f"the model's context of {context} tokens is too short for a piece of text"
            )
        first = int(self.has_bos)
        length, text = context - first, self.tokens[:, first:]
        cut = text[:, : text.shape[1] // length * length].reshape(-1, length)
        return Pieces(_behind(self.tokens[0, 0], cut) if first else cut, self.has_bos)


@dataclass(frozen=True)
class _Wanted:
    """Pieces that are asked for: n of `length` tokens, but `fewest` will do; option: what the
    length is called in the configuration; made: nano tokens made for each token.
    """

    n: int
    length: int
    fewest: int
    option: str
    made: float

    def __str__(self) -> str:
        return f"heads.n_texts={self.n} pieces of {self.option}={self.length} tokens"


def pieces(inputs: Inputs) -> Pieces:
    """Pieces of `heads.text_length` tokens. Raises as `text_pieces`."""
    heads = inputs.heads
    tokens = text_pieces(
        inputs.tokenizer,
        n_texts=heads.n_texts,
        length=heads.text_length,
        path=heads.text,
        seed=inputs.seed,
    )
    return Pieces(tokens, inputs.tokenizer.bos_token_id is not None)


def long_pieces(inputs: Inputs) -> Pieces:
    """Pieces of `heads.loss_length` tokens. Raises NotMeasurable where the text has not two."""
    heads = inputs.heads
    wanted = _Wanted(heads.n_texts, heads.loss_length, FEWEST_LONG, "heads.loss_length", SPARE_LONG)
    try:
        tokens = _pieces(inputs.tokenizer, wanted, heads.text, inputs.seed)
    except UserError as error:
        raise NotMeasurable(str(error)) from error
    return Pieces(tokens, inputs.tokenizer.bos_token_id is not None)


def text_pieces(
    tokenizer: PreTrainedTokenizerBase, *, n_texts: int, length: int, path: str | None, seed: int
) -> Tensor:
    """Pieces of `length` tokens behind BOS where the tokenizer has one: [piece, (1 +) length].

    Raises UserError where `path` is missing, not UTF-8 or too short, or the prose is too short for
    so many pieces; NotMeasurable where this tokenizer allows no default text.
    """
    wanted = _Wanted(n_texts, length, n_texts, "heads.text_length", SPARE)
    return _pieces(tokenizer, wanted, path, seed)


def _pieces(
    tokenizer: PreTrainedTokenizerBase, wanted: _Wanted, path: str | None, seed: int
) -> Tensor:
    if path is not None:
        rows = _of_file(tokenizer, wanted, path)
    elif is_nano(tokenizer):
        rows = _of_corpus(tokenizer, wanted, seed)
    else:
        rows = _of_prose(tokenizer, wanted, seed)
    bos = tokenizer.bos_token_id
    return torch.tensor(rows) if bos is None else _behind(torch.tensor(bos), torch.tensor(rows))


def _behind(bos: Tensor, rows: Tensor) -> Tensor:
    """Rows [row, pos] behind one token []: [row, 1 + pos]."""
    return torch.cat([bos.expand(len(rows), 1), rows], dim=1)


def is_nano(tokenizer: PreTrainedTokenizerBase) -> bool:
    """Whether the tokenizer is a nano suite's, wherever its folder lies: its words are those of the
    nano vocabulary.
    """
    words = set(tokenizer.get_vocab())
    return len(words & set(vocabulary())) >= NANO_SHARE * len(words)


def text_used(tokenizer: PreTrainedTokenizerBase, path: str | None) -> str:
    """Which text is taken: the file's path, `nano corpus` or `prose`."""
    return path or ("nano corpus" if is_nano(tokenizer) else "prose")


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


def _of_corpus(tokenizer: PreTrainedTokenizerBase, wanted: _Wanted, seed: int) -> list[list[int]]:
    encoded = [
        tokenizer.encode(text, add_special_tokens=False, verbose=False)[: wanted.length]
        for text in corpus_texts(SPARE * wanted.n, round(wanted.made * wanted.length), seed)
    ]
    usable = [row for row in encoded if len(row) == wanted.length and not _unknown(tokenizer, row)]
    if len(usable) < wanted.fewest:
        raise NotMeasurable(_too_few(len(usable), wanted, "the nano corpus' text"))
    return usable[: wanted.n]


def _of_prose(tokenizer: PreTrainedTokenizerBase, wanted: _Wanted, seed: int) -> list[list[int]]:
    ids, length = tokenizer.encode(prose(), add_special_tokens=False, verbose=False), wanted.length
    cut = [ids[start : start + length] for start in range(0, len(ids) - length + 1, length)]
    usable = [piece for piece in cut if not _unknown(tokenizer, piece)]
    if len(usable) < wanted.fewest and len(usable) == len(cut):
        raise UserError(
            f"{wanted} need {wanted.n * length}; the prose that comes with circuitwatch has "
            f"{len(ids)} of this model's: choose fewer, or heads.text=<file>"
        )
    if len(usable) < wanted.fewest:
        raise NotMeasurable(_too_few(len(usable), wanted, "English prose"))
    drawn = torch.randperm(len(usable), generator=torch.Generator().manual_seed(seed))[: wanted.n]
    return [usable[index] for index in drawn.tolist()]


def _too_few(usable: int, wanted: _Wanted, text: str) -> str:
    return (
        f"this model's tokenizer can encode only {usable} of {wanted.n} pieces of {text}; "
        f"heads.text=<file> gives it another"
    )


def _of_file(tokenizer: PreTrainedTokenizerBase, wanted: _Wanted, path: str) -> list[list[int]]:
    try:
        with Path(path).expanduser().open(encoding="utf-8") as file:
            text = file.read(wanted.n * wanted.length * LONGEST_TOKEN)
    except UnicodeDecodeError as error:
        raise UserError(f"heads.text={path}: not plain text in UTF-8") from error
    except OSError as error:
        raise UserError(f"heads.text={path}: can't be read ({error.strerror})") from error
    ids = tokenizer.encode(text, add_special_tokens=False, verbose=False)
    n = min(wanted.n, len(ids) // wanted.length)
    if n < wanted.fewest:
        raise UserError(
            f"heads.text={path}: too short, it has {len(ids)} tokens; {wanted} need "
            f"{wanted.n * wanted.length}"
        )
    used = ids[: n * wanted.length]
    unknown = _unknown(tokenizer, used)
    if 2 * unknown > len(used):
        raise UserError(
            f"heads.text={path}: this model's tokenizer does not know {unknown} of its "
            f"{len(used)} tokens"
        )
    return [used[start : start + wanted.length] for start in range(0, len(used), wanted.length)]


def _unknown(tokenizer: PreTrainedTokenizerBase, ids: list[int]) -> int:
    """How many tokens are the unknown one, or 0 for a tokenizer without one."""
    return 0 if tokenizer.unk_token_id is None else ids.count(tokenizer.unk_token_id)
