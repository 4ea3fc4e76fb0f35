"""Attention scores against Hugging Face's own attention weights."""

from __future__ import annotations

import pytest
import torch

from circuitwatch.errors import UserError
from circuitwatch.heads.attention import attention_scores, repeated_segments
from support.models import VOCABULARY, Case

LENGTH = 7


def test_segments_are_written_twice_behind_bos() -> None:
    tokens = torch.arange(1, VOCABULARY)
    sequences = repeated_segments(tokens, length=LENGTH, n_sequences=5, bos_id=0, seed=3)
    assert sequences.shape == (5, 1 + 2 * LENGTH)
    assert (sequences[:, 0] == 0).all() and (
        sequences[:, 1 : 1 + LENGTH] == sequences[:, 1 + LENGTH :]
    ).all()
    assert all(len(set(row.tolist())) == LENGTH for row in sequences[:, 1 + LENGTH :])
    assert (
        sequences == repeated_segments(tokens, length=LENGTH, n_sequences=5, bos_id=0, seed=3)
    ).all()


def test_too_few_tokens() -> None:
    with pytest.raises(UserError, match="only 3 tokens"):
        repeated_segments(torch.arange(3), length=4, n_sequences=1, bos_id=None, seed=0)


@pytest.mark.parametrize("bos_id", [0, None])
def test_scores_equal_hugging_faces_attention(case: Case, bos_id: int | None) -> None:
    sequences = repeated_segments(
        torch.arange(1, VOCABULARY), length=LENGTH, n_sequences=4, bos_id=bos_id, seed=1
    )
    case.hf.set_attn_implementation("eager")
    attentions = case.hf(sequences, output_attentions=True).attentions
    first = sequences.shape[1] - LENGTH
    scores = attention_scores(case.model, sequences, length=LENGTH, batch_size=3)
    assert scores["induction"].shape == (case.model.n_layers, case.model.n_heads, 4)
    for role, distance in (
        ("induction", LENGTH - 1),
        ("previous_token", 1),
        ("duplicate_token", LENGTH),
    ):
        for layer, attention in enumerate(attentions):
            for head in range(attention.shape[1]):
                looks = [
                    attention[:, head, i, i - distance] for i in range(first, sequences.shape[1])
                ]
                of_each = torch.stack(looks, 1).mean(1)  # one number a sequence
                torch.testing.assert_close(scores[role][layer, head], of_each, atol=1e-6, rtol=0)
