"""Inputs are made once a cell, and what several roles read once a checkpoint."""

from __future__ import annotations

from dataclasses import dataclass

import pytest
import torch

from circuitwatch.catalogue import later
from circuitwatch.config import HeadsConfig
from circuitwatch.heads import text
from circuitwatch.heads.measuring import Inputs, Measuring, NotMeasurable
from support.built import induction_model
from support.tokenizers import tokenizer_named


@dataclass(frozen=True, eq=False)
class Tokens:
    """An input with tokens."""

    tokens: torch.Tensor


@pytest.fixture
def inputs() -> Inputs:
    return Inputs(tokenizer_named("nano"), HeadsConfig(n_texts=4), seed=0)


def test_a_function_is_the_same_by_its_path(inputs: Inputs) -> None:
    first = inputs.of(later("circuitwatch.heads.text:pieces"))
    assert first is inputs.of(text.pieces) is inputs.of(later("circuitwatch.heads.text:pieces"))
    assert first is not Inputs(inputs.tokenizer, inputs.heads, seed=0).of(text.pieces)


def test_what_cannot_be_made_is_tried_once(inputs: Inputs) -> None:
    tried = []

    def make(inputs: Inputs) -> None:
        tried.append(inputs)
        raise NotMeasurable("why")

    for _ in range(2):
        with pytest.raises(NotMeasurable, match="why"):
            inputs.of(make)
    assert tried == [inputs]


def test_a_checkpoint_computes_once_for_each_input(inputs: Inputs) -> None:
    computed = []

    def compute(measuring: Measuring, tokens: Tokens) -> int:
        computed.append(tokens)
        return len(computed)

    one, other = Tokens(torch.zeros(1, 2)), Tokens(torch.zeros(1, 2))
    checkpoint = Measuring(induction_model(20, 12), inputs)
    assert [checkpoint.of(compute, tokens) for tokens in (one, other, one)] == [1, 2, 1]
    assert Measuring(checkpoint.model, inputs).of(compute, one) == 3


def test_the_longest_input(inputs: Inputs) -> None:
    assert inputs.longest == 0
    for length in (7, 30, 11):
        inputs.of(lambda inputs, length=length: Tokens(torch.zeros(2, length)))
    assert inputs.of(lambda inputs: "no tokens") and inputs.longest == 30


def test_room_in_the_context(inputs: Inputs) -> None:
    checkpoint = Measuring(induction_model(20, 12), inputs)
    assert checkpoint.context == 12
    checkpoint.require_room(torch.zeros(3, 12), "prompts")
    with pytest.raises(NotMeasurable, match=r"prompts take 13 tokens, more than .* context of 12"):
        checkpoint.require_room(torch.zeros(3, 13), "prompts")
