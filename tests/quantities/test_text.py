"""Loss on text and the in-context-learning score: against transformers' own loss, and on models
whose score is known.
"""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from torch import Tensor

from circuitwatch.catalogue import HALF_RISE
from circuitwatch.config import HeadsConfig
from circuitwatch.heads.attention import repeated_segments
from circuitwatch.heads.measuring import Inputs, Measuring, NotMeasurable, Score
from circuitwatch.heads.text import Pieces, long_pieces
from circuitwatch.quantities import in_context_learning, text_loss
from circuitwatch.transformer import Transformer
from support.built import induction_model
from support.models import VOCABULARY, Case
from support.tokenizers import tokenizer_named

WORDS, SEGMENT = 60, 20


def measuring(model: Transformer, pieces: Pieces) -> Measuring:
    """A checkpoint with pieces of text made by hand."""
    inputs = Inputs(tokenizer_named("nano"), HeadsConfig(), seed=0)
    inputs._once.made[long_pieces,] = pieces
    return Measuring(model, inputs)


def random_texts(words: int, length: int, n: int = 12, has_bos: bool = True) -> Pieces:
    tokens = torch.randint(1, words, (n, length), generator=torch.Generator().manual_seed(3))
    if has_bos:
        tokens[:, 0] = 0
    return Pieces(tokens, has_bos)


def reference_loss(case: Case, tokens: list[int]) -> float:
    """Of the last token, by transformers."""
    logits = case.hf(torch.tensor([tokens[:-1]])).logits[0, -1]
    return float(torch.nn.functional.cross_entropy(logits, torch.tensor(tokens[-1])))


def without_attention(model: Transformer) -> Transformer:
    """The same, but for what heads write, and for places: each token is predicted from the one
    before it alone.
    """
    blocks = [
        replace(block, attention=replace(block.attention, W_O=0 * block.attention.W_O))
        for block in model.blocks
    ]
    places = None if model.W_pos is None else 0 * model.W_pos
    return replace(model, blocks=tuple(blocks), W_pos=places)


def test_the_loss_is_hugging_faces(case: Case, monkeypatch: pytest.MonkeyPatch) -> None:
    """For batches of one text, and of several."""
    pieces = random_texts(VOCABULARY, 21)
    expected = [float(case.hf(row[None], labels=row[None]).loss) for row in pieces.tokens]
    for at_a_time in (1, text_loss.LOGITS_AT_A_TIME):
        monkeypatch.setattr(text_loss, "LOGITS_AT_A_TIME", at_a_time)
        found = text_loss.measure(measuring(case.model, pieces))
        torch.testing.assert_close(found, torch.tensor(expected), atol=1e-4, rtol=0)


@pytest.mark.parametrize("has_bos", [True, False])
@pytest.mark.parametrize(("n", "width"), [(20, 2), (29, 2), (30, 3)])
def test_the_score_is_late_less_early_loss_of_the_same_tokens(
    case: Case, n: int, width: int, has_bos: bool
) -> None:
    """A tenth of a piece's tokens, the last: after all the piece, and after `width` tokens for the
    first of them; BOS comes first both times, where there is one.
    """
    pieces = random_texts(VOCABULARY, n + has_bos, n=3, has_bos=has_bos)
    found = in_context_learning.measure(measuring(case.model, pieces))
    for score, row in zip(found.tolist(), pieces.tokens.tolist(), strict=True):
        bos, text = row[:has_bos], row[has_bos:]
        differences = [
            reference_loss(case, bos + text[: i + 1])
            - reference_loss(case, bos + text[n - 2 * width : i + 1])
            for i in range(n - width, n)
        ]
        assert score == pytest.approx(sum(differences) / width, abs=1e-4)


def score_of(model: Transformer, pieces: Pieces) -> Score:
    checkpoint = measuring(model, pieces)
    return Score.of(in_context_learning.measure(checkpoint), checkpoint.inputs)


def test_a_model_that_ignores_the_context_scores_0(case: Case) -> None:
    """On texts that begin otherwise than they end, too: early and late tokens are the same."""
    tokens = random_texts(VOCABULARY, 30).tokens
    tokens[:, 1:15] = tokens[:, 1:15] % 5 + 1
    found = score_of(without_attention(case.model), Pieces(tokens, True))
    assert found.low - 1e-6 <= 0 <= found.high + 1e-6
    assert float(found.score) == pytest.approx(0, abs=1e-5)
    assert abs(float(score_of(case.model, Pieces(tokens, True)).score)) > 1e-3  # which one does not


def copier(places: int) -> Transformer:
    model = induction_model(WORDS, places)
    return replace(model, final_norm=replace(model.final_norm, weight=4 * model.final_norm.weight))


def repeated_texts() -> Tensor:
    return repeated_segments(
        torch.arange(1, WORDS), length=SEGMENT, n_sequences=12, bos_id=0, seed=0
    )


def test_a_copier_learns_from_text_that_repeats_itself_and_not_from_other_text() -> None:
    """The last tokens of a second copy are known from the first, which the early piece lacks."""
    model = copier(1 + 2 * SEGMENT)
    learnt = score_of(model, Pieces(repeated_texts(), True))
    assert learnt.high < -1 and learnt.low <= learnt.score <= learnt.high
    generator = torch.Generator().manual_seed(5)
    others = torch.stack([torch.randperm(WORDS - 1, generator=generator) + 1 for _ in range(12)])
    nothing = score_of(model, Pieces(others[:, : 2 * SEGMENT], False))
    assert nothing.high > -0.3


def test_longer_pieces_are_cut_to_the_context_and_short_contexts_say_so() -> None:
    """A piece of 40 tokens in a context of 21: one of 20 of BOS and 20 tokens each; in one of 20:
    19, which are too few.
    """
    pieces = Pieces(repeated_texts(), True)
    checkpoint = measuring(copier(21), pieces)
    assert text_loss.text_losses(checkpoint).shape == (24, 20)
    assert in_context_learning.measure(checkpoint).shape == (24,)
    short = measuring(copier(20), pieces)
    assert text_loss.measure(short).shape == (24,)
    with pytest.raises(NotMeasurable, match=r"room for pieces of 19 tokens of text; 20 are needed"):
        in_context_learning.measure(short)
    with pytest.raises(NotMeasurable, match=r"the model's context of 8 tokens is too short"):
        text_loss.measure(measuring(copier(8), pieces))


def test_one_pass_over_the_text_serves_both(monkeypatch: pytest.MonkeyPatch) -> None:
    seen = []
    real = text_loss.next_token_losses
    for module in (text_loss, in_context_learning):
        monkeypatch.setattr(
            module,
            "next_token_losses",
            lambda model, tokens: seen.append(tuple(tokens.shape)) or real(model, tokens),
        )
    checkpoint = measuring(copier(1 + 2 * SEGMENT), Pieces(repeated_texts(), True))
    text_loss.measure(checkpoint)
    in_context_learning.measure(checkpoint)
    assert seen == [(12, 41), (12, 9)]


def test_both_fall_and_are_the_models() -> None:
    for quantity in (text_loss.QUANTITY, in_context_learning.QUANTITY):
        assert quantity.falls and quantity.rise == HALF_RISE and quantity.unit == "nats"
        assert quantity.of == "model" and quantity.panel == "text"
    assert "late − early" in in_context_learning.QUANTITY.label
