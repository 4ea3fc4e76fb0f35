"""The text of copy suppression: prose, the corpus' held-out rows for nano models, and what is wrong
with a user's file.
"""

from __future__ import annotations

import re
from pathlib import Path

import pytest
import torch
from tokenizers import Tokenizer, models, pre_tokenizers
from transformers import PreTrainedTokenizerFast

from circuitwatch.config import HeadsConfig
from circuitwatch.errors import UserError
from circuitwatch.heads.measuring import Inputs, NotMeasurable
from circuitwatch.heads.roles import role_probes
from circuitwatch.heads.text import (
    SPARE,
    Pieces,
    corpus_texts,
    is_nano,
    long_pieces,
    prose,
    text_pieces,
    text_used,
)
from circuitwatch.nano.corpus import Corpus
from circuitwatch.nano.vocabulary import vocabulary
from support.tokenizers import tokenizer_named


def words_tokenizer(words: list[str]) -> PreTrainedTokenizerFast:
    """Words and punctuation, without a beginning of text."""
    ids = {word: index for index, word in enumerate(dict.fromkeys(["<unk>", *words]))}
    tokenizer = Tokenizer(models.WordLevel(ids, unk_token="<unk>"))
    tokenizer.pre_tokenizer = pre_tokenizers.Whitespace()
    return PreTrainedTokenizerFast(tokenizer_object=tokenizer, unk_token="<unk>")


def test_the_nano_tokenizer_gets_the_corpus_own_tokens_back() -> None:
    tokenizer = tokenizer_named("nano")
    pieces = text_pieces(tokenizer, n_texts=10, length=20, path=None, seed=3)
    assert pieces.shape == (10, 21)
    rows = (
        Corpus(tokenizer, seed=3, rows=SPARE * 10, context=1 + SPARE * 20)
        .batch(-1)[:, :21]
        .tolist()
    )
    assert all(piece in rows for piece in pieces.tolist())
    assert len({tuple(piece) for piece in pieces.tolist()}) == 10


def test_the_text_is_none_that_training_reads() -> None:
    """Training takes batches from 1 on; a seed of its own and another step of it share no row."""
    tokenizer = tokenizer_named("nano")
    corpus = Corpus(tokenizer, seed=0, rows=64, context=33)
    trained = {tuple(row) for step in range(1, 20) for row in corpus.batch(step).tolist()}
    assert not trained & {tuple(row) for row in corpus.batch(-1).tolist()}


@pytest.mark.parametrize("name", ["bpe", "pythia"])
def test_another_tokenizer_gets_english_prose(name: str) -> None:
    """Whole pieces of the prose, none twice, and others with another seed; nothing of the nano
    corpus.
    """
    tokenizer = tokenizer_named(name)
    settings, drawn = HeadsConfig(), []
    for seed in (0, 1):
        pieces = text_pieces(
            tokenizer, n_texts=settings.n_texts, length=settings.text_length, path=None, seed=seed
        )
        assert pieces.shape == (settings.n_texts, 1 + settings.text_length)
        texts = [tokenizer.decode(piece[1:]) for piece in pieces.tolist()]
        assert all(text in prose() for text in texts)
        assert len(set(texts)) == settings.n_texts
        drawn.append(set(texts))
    assert drawn[0] != drawn[1]
    assert text_used(tokenizer, None) == "prose" and text_used(tokenizer, "my.txt") == "my.txt"


def test_the_prose_is_long_enough_and_repeats_its_nouns() -> None:
    """Copy suppression needs tokens that come back: more than half of the words stand within the
    100 words before.
    """
    words = re.findall(r"[A-Za-z']+", prose().lower())
    assert len(words) >= 2000
    again = [word in words[max(0, at - 100) : at] for at, word in enumerate(words)]
    assert sum(again) / len(again) > 0.5


def test_more_prose_than_there_is() -> None:
    """Word by word: a tokenizer that knows every word of it."""
    tokenizer = words_tokenizer(sorted(set(re.findall(r"\w+|[^\w\s]+", prose()))))
    assert text_pieces(tokenizer, n_texts=40, length=32, path=None, seed=0).shape == (40, 32)
    with pytest.raises(
        UserError,
        match=r"heads.n_texts=200 pieces of heads.text_length=64 tokens need 12800; "
        r"the prose .* has 2",
    ):
        text_pieces(tokenizer, n_texts=200, length=64, path=None, seed=0)


def test_a_nano_tokenizer_is_known_by_its_words(tmp_path: Path) -> None:
    """Saved beside a model in any folder, and if another version had a few words more; another
    tokenizer is none.
    """
    nano = tokenizer_named("nano")
    nano.save_pretrained(tmp_path)
    saved = PreTrainedTokenizerFast.from_pretrained(tmp_path)
    assert is_nano(saved) and text_used(saved, None) == "nano corpus"
    assert is_nano(
        words_tokenizer([*vocabulary(), *(f"w{i}" for i in range(len(vocabulary()) // 20))])
    )
    assert not is_nano(words_tokenizer([f"w{i}" for i in range(40)]))


@pytest.mark.parametrize("name", ["bpe", "digits", "pythia"])
def test_a_large_tokenizer_is_no_nano_one(name: str) -> None:
    assert not is_nano(tokenizer_named(name))


def test_a_file_is_cut_into_pieces(tmp_path: Path) -> None:
    file = tmp_path / "text.txt"
    file.write_text(" ".join(corpus_texts(8, 60, 1)), encoding="utf-8")
    tokenizer = tokenizer_named("nano")
    pieces = text_pieces(tokenizer, n_texts=5, length=10, path=str(file), seed=0)
    assert pieces.shape == (5, 11) and (pieces[:, 0] == tokenizer.bos_token_id).all()
    start = file.read_text(encoding="utf-8")[:2000]
    assert (
        pieces[:, 1:].flatten().tolist() == tokenizer.encode(start, add_special_tokens=False)[:50]
    )


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (None, r"heads.text=.*text.txt: can't be read \(No such file or directory\)"),
        (b"\xff\xfe\x00caf\xe9" * 9, r"heads.text=.*text.txt: not plain text in UTF-8"),
        (
            b" The farmer said the drivers work today.",
            r"heads.text=.*text.txt: too short, it has 8 tokens; .* need 512",
        ),
        (
            b"zyx " * 2000,
            r"heads.text=.*text.txt: this model's tokenizer does not know 512 of its 512 tokens",
        ),
    ],
)
def test_wrong_files(tmp_path: Path, content: bytes | None, message: str) -> None:
    file = tmp_path / "text.txt"
    if content is not None:
        file.write_bytes(content)
    with pytest.raises(UserError, match=message):
        role_probes(tokenizer_named("nano"), HeadsConfig(text=str(file)), seed=0)


def test_a_folder_is_no_file(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="can't be read"):
        role_probes(tokenizer_named("nano"), HeadsConfig(text=str(tmp_path)), seed=0)


def test_long_pieces_are_as_many_as_the_text_has(tmp_path: Path) -> None:
    """A file of 180 tokens has three of 50, although 16 are asked for; of its first 90 there is
    one, which is too few, and no reason to stop.
    """
    file, tokenizer = tmp_path / "text.txt", tokenizer_named("nano")
    ids = tokenizer.encode(" ".join(corpus_texts(8, 60, 1)), add_special_tokens=False)
    for length, expected in ((180, 3), (90, None)):
        file.write_text(tokenizer.decode(ids[:length]), encoding="utf-8")
        known = tokenizer.encode(file.read_text(encoding="utf-8"), add_special_tokens=False)
        assert len(known) == length
        inputs = Inputs(tokenizer, HeadsConfig(text=str(file), loss_length=50), seed=0)
        if expected is None:
            with pytest.raises(
                NotMeasurable, match=r"it has 90 tokens; .* pieces of heads.loss_length=50 tokens"
            ):
                inputs.of(long_pieces)
        else:
            tokens = inputs.of(long_pieces).tokens
            assert tokens.shape == (expected, 51)
            assert tokens[:, 1:].flatten().tolist() == known[: 50 * expected]


def test_long_pieces_of_the_corpus_and_of_prose() -> None:
    """Word by word the prose has 21 pieces of 128 tokens, of which some are drawn; of 1000 it has
    two.
    """
    inputs = Inputs(tokenizer_named("nano"), HeadsConfig(), seed=0)
    long = inputs.of(long_pieces)
    assert long.tokens.shape == (16, 129) and long.has_bos
    words = words_tokenizer(sorted(set(re.findall(r"\w+|[^\w\s]+", prose()))))
    for length, n in ((128, 16), (1000, 2)):
        of_prose = Inputs(words, HeadsConfig(loss_length=length), seed=0).of(long_pieces)
        assert of_prose.tokens.shape == (n, length) and not of_prose.has_bos
    with pytest.raises(NotMeasurable, match=r"heads.loss_length=3000 tokens need 48000"):
        Inputs(words, HeadsConfig(loss_length=3000), seed=0).of(long_pieces)


@pytest.mark.parametrize("has_bos", [True, False])
def test_pieces_that_fit_a_context(has_bos: bool) -> None:
    text = torch.arange(1, 61).view(2, 30)
    tokens = torch.cat([torch.zeros(2, 1, dtype=torch.long), text], 1) if has_bos else text
    pieces = Pieces(tokens, has_bos)
    assert pieces.fitting(None) is pieces and pieces.fitting(tokens.shape[1]) is pieces
    short = pieces.fitting(12 + has_bos)
    assert short.has_bos == has_bos and short.tokens.shape == (4, 12 + has_bos)
    assert short.tokens[:, has_bos:].tolist() == [
        list(range(start, start + 12)) for start in (1, 13, 31, 43)
    ]
    assert not has_bos or (short.tokens[:, 0] == 0).all()
    with pytest.raises(NotMeasurable, match="context of 8 tokens is too short for a piece"):
        pieces.fitting(8)
