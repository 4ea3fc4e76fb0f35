"""Attention sinks: against transformers' own attention, a head made to be one, and heads that are
none.
"""

from __future__ import annotations

import pytest
import torch

from circuitwatch import catalogue
from circuitwatch.config import HeadsConfig
from circuitwatch.heads.measuring import Inputs, Measuring
from circuitwatch.heads.text import Pieces
from circuitwatch.roles.attention_sink import ROLE, TEXTS_AT_A_TIME, score
from circuitwatch.transformer import Transformer
from support.built import (
    Space,
    assemble,
    copying_head,
    head,
    noise_mlp,
    previous_token_head,
)
from support.models import VOCABULARY, Case
from support.tokenizers import tokenizer_named

WORDS, LENGTH = 40, 16


def measuring(model: Transformer) -> Measuring:
    return Measuring(model, Inputs(tokenizer_named("nano"), HeadsConfig(), seed=0))


def texts(words: int, length: int, n: int = TEXTS_AT_A_TIME + 3) -> Pieces:
    """More than are taken at a time."""
    generator = torch.Generator().manual_seed(0)
    tokens = torch.randint(1, words, (n, length), generator=generator)
    tokens[:, 0] = 0
    return Pieces(tokens, has_bos=True)


def test_scores_equal_hugging_faces_attention(case: Case) -> None:
    probe = texts(VOCABULARY, 9)
    case.hf.set_attn_implementation("eager")
    attentions = case.hf(probe.tokens, output_attentions=True).attentions
    scores = score(measuring(case.model), probe)
    assert scores.shape == (case.model.n_layers, case.model.n_heads, len(probe.tokens))
    for layer, attention in enumerate(attentions):
        looks = torch.stack([attention[:, :, i, 0] for i in range(1, 9)])
        torch.testing.assert_close(scores[layer], looks.mean(0).T, atol=1e-6, rtol=0)


def test_a_head_that_looks_at_the_first_token_is_one_and_others_are_none() -> None:
    """The others look everywhere alike, and at the token before."""
    space, generator = Space(WORDS, LENGTH), torch.Generator().manual_seed(1)
    nothing = torch.zeros(space.d_model, space.d_head)
    bias = torch.zeros(space.d_head)
    bias[space.words] = 30.0
    sink = head(space, nothing, space.reads("PLACE"), nothing, nothing.T, bias)
    everywhere = copying_head(space, "TOKEN", 0.1)
    heads = [sink, everywhere, previous_token_head(space)]
    model = assemble(space, [(heads, noise_mlp(space, generator))])
    (scores,) = score(measuring(model), texts(WORDS, LENGTH)).mean(-1)
    assert scores[0] > 0.99 > ROLE.threshold
    alike = sum(1 / i for i in range(2, LENGTH + 1)) / (LENGTH - 1)
    assert scores[1] == pytest.approx(alike, abs=1e-6) and alike < ROLE.threshold
    assert scores[2] == pytest.approx(1 / (LENGTH - 1), abs=1e-3)


def test_it_is_in_the_catalogue_and_no_task_confirms_it() -> None:
    role = catalogue.roles()["attention_sink"]
    assert role.threshold == HeadsConfig().threshold("attention_sink") == 0.3
    assert "2410.10781" in role.source and not role.confirmed_on
    assert role.quantity.of == "model" and role.quantity.rise == 0.3
