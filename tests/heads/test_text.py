"""The text of copy suppression: prose, the corpus' held-out rows for nano models, and what is wrong
with a user's file.
"""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from tokenizers import Tokenizer, models, pre_tokenizers
from transformers import PreTrainedTokenizerFast

from circuitwatch.config import HeadsConfig
from circuitwatch.errors import UserError
from circuitwatch.heads.roles import role_probes
from circuitwatch.heads.text import SPARE, corpus_texts, is_nano, prose, text_pieces, text_used
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
