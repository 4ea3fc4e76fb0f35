"""The text of copy suppression: the corpus' held-out rows for any tokenizer, and what is wrong with a user's file."""

from __future__ import annotations

from pathlib import Path

import pytest

from circuitwatch.config import HeadsConfig
from circuitwatch.errors import UserError
from circuitwatch.heads.roles import role_probes
from circuitwatch.heads.text import SPARE, corpus_texts, text_pieces
from circuitwatch.nano.corpus import Corpus
from support.tokenizers import tokenizer_named


def test_the_nano_tokenizer_gets_the_corpus_own_tokens_back() -> None:
    tokenizer = tokenizer_named("nano")
    pieces = text_pieces(tokenizer, n_texts=10, length=20, path=None, seed=3)
    assert pieces.shape == (10, 21)
    rows = Corpus(tokenizer, seed=3, rows=SPARE * 10, context=1 + SPARE * 20).batch(-1)[:, :21].tolist()
    assert all(piece in rows for piece in pieces.tolist())
    assert len({tuple(piece) for piece in pieces.tolist()}) == 10


def test_the_text_is_none_that_training_reads() -> None:
    """Training takes batches from 1 on; a seed of its own and another step of it share no row."""
    tokenizer = tokenizer_named("nano")
    corpus = Corpus(tokenizer, seed=0, rows=64, context=33)
    trained = {tuple(row) for step in range(1, 20) for row in corpus.batch(step).tolist()}
    assert not trained & {tuple(row) for row in corpus.batch(-1).tolist()}


def test_another_tokenizer_gets_the_same_sentences() -> None:
    tokenizer = tokenizer_named("pythia")
    texts = corpus_texts(SPARE * 4, SPARE * 20, 0)
    pieces = text_pieces(tokenizer, n_texts=4, length=20, path=None, seed=0)
    assert all(
        text.startswith(tokenizer.decode(piece[1:])) for text, piece in zip(texts, pieces.tolist(), strict=False)
    )


def test_a_file_is_cut_into_pieces(tmp_path: Path) -> None:
    file = tmp_path / "text.txt"
    file.write_text(" ".join(corpus_texts(8, 60, 1)), encoding="utf-8")
    tokenizer = tokenizer_named("nano")
    pieces = text_pieces(tokenizer, n_texts=5, length=10, path=str(file), seed=0)
    assert pieces.shape == (5, 11) and (pieces[:, 0] == tokenizer.bos_token_id).all()
    start = file.read_text(encoding="utf-8")[:2000]
    assert pieces[:, 1:].flatten().tolist() == tokenizer.encode(start, add_special_tokens=False)[:50]


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (None, r"heads.text=.*text.txt: can't be read \(No such file or directory\)"),
        (b"\xff\xfe\x00caf\xe9" * 9, r"heads.text=.*text.txt: not plain text in UTF-8"),
        (
            b" The farmer said the drivers work today.",
            r"heads.text=.*text.txt: too short, it has 8 tokens; .* need 512",
        ),
        (b"zyx " * 2000, r"heads.text=.*text.txt: this model's tokenizer does not know 512 of its 512 tokens"),
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
