"""Name-mover and successor scores: against a naive loop on Hugging Face modules, and on heads built to hold or lack the role."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch

from circuitwatch.heads.copying import head_writes, name_mover_scores
from circuitwatch.heads.successor import Succession, successor_scores
from circuitwatch.transformer import Transformer
from support.models import Case

TOKENS = torch.tensor([[5, 9, 5, 11, 30], [7, 6, 6, 20, 31]])
POSITIONS = torch.tensor([[0, 1, 2], [0, 1, 2]])


def with_head(model: Transformer, layer: int, head: int, through: torch.Tensor) -> Transformer:
    """The model with one head's values and output replaced by a linear map [d_model, d_model] in two factors of full rank."""
    blocks = list(model.blocks)
    d_model = model.d_model
    attention = blocks[layer].attention
    padded = {name: torch.zeros(model.n_heads, d_model, d_model) for name in ("W_Q", "W_K", "W_V", "W_O")}
    d_head = attention.W_Q.shape[-1]
    for name in ("W_Q", "W_K", "W_V"):
        padded[name][:, :, :d_head] = (
            attention.of_each_head(getattr(attention, name)) if name != "W_Q" else attention.W_Q
        )
    padded["W_O"][:, :d_head] = attention.W_O
    padded["W_V"][head], padded["W_O"][head] = torch.eye(d_model), through
    biases = {name: torch.zeros(model.n_heads, d_model) for name in ("b_Q", "b_K", "b_V")}
    blocks[layer] = replace(blocks[layer], attention=type(attention)(**padded, **biases, b_O=attention.b_O))
    return replace(model, blocks=tuple(blocks))


def test_head_writes_equals_hugging_faces_attention_to_one_position(case: Case) -> None:
    """A prompt of one token: every head attends to it alone, so the layer's output is the sum of what its heads write, and a bias."""
    stream = case.textbook.embed(torch.tensor([[13]]))
    outputs = case.textbook.run(stream)[1]
    written = head_writes(case.model, 0, stream[0])
    for head in range(case.model.n_heads):
        torch.testing.assert_close(written[head], outputs[f"a0.h{head}"][0] + 0 * written[head], rtol=1e-4, atol=1e-5)


def test_name_movers_equal_a_naive_loop(case: Case) -> None:
    scores = name_mover_scores(case.model, TOKENS, POSITIONS, top=5)
    stream = case.model.run(case.model.embed(TOKENS)).attention_in[1]
    for layer in range(case.model.n_layers):
        block = case.model.blocks[layer]
        for head in range(case.model.n_heads):
            for role, sign in (("name_mover", 1), ("negative_name_mover", -1)):
                hits = 0
                for prompt in range(2):
                    for position in POSITIONS[prompt].tolist():
                        value = (
                            block.attention_norm(stream[prompt, position])
                            @ block.attention.of_each_head(block.attention.W_V)[head]
                            + block.attention.of_each_head(block.attention.b_V)[head]
                        )
                        logits = case.model.unembed(sign * (value @ block.attention.W_O[head]))
                        hits += int(TOKENS[prompt, position] in logits.argsort(descending=True)[:5])
                assert scores[role][layer, head] == pytest.approx(hits / 6)


def test_a_copying_head_is_a_name_mover_and_its_negative_is_not(case: Case) -> None:
    """A head that maps the embedding of each name onto the direction of its unembedding scores 1; negated, it is the negative name mover."""
    model = case.model
    stream = model.run(model.embed(TOKENS)).attention_in[1]
    rows = torch.arange(2)[:, None]
    normalised = model.blocks[1].attention_norm(stream[rows, POSITIONS].flatten(0, 1))
    wanted = model.W_U.T[TOKENS[rows, POSITIONS].flatten()] * 50 / model.final_norm.weight
    through = torch.linalg.lstsq(normalised, wanted).solution
    for sign, role, other in ((1, "name_mover", "negative_name_mover"), (-1, "negative_name_mover", "name_mover")):
        scores = name_mover_scores(with_head(model, 1, 1, sign * through), TOKENS, POSITIONS, top=1)
        assert scores[role][1, 1] >= 5 / 6  # tokens whose unembeddings are nearly parallel may swap places
        assert scores[other][1, 1] == 0


def test_a_successor_head(case: Case) -> None:
    model = case.model
    targets = torch.arange(10, 17)
    lists = [Succession(targets, targets[:-1], torch.arange(1, 7))]
    block = model.blocks[0]
    enriched = block.mlp(block.mlp_norm(model.W_E[targets[:-1]]))
    normalised = model.blocks[1].attention_norm(enriched)
    wanted = model.W_U.T[targets[1:]] * 50 / model.final_norm.weight
    built = with_head(model, 1, 2, torch.linalg.lstsq(normalised, wanted).solution)
    assert successor_scores(built, lists)[1, 2] >= 5 / 6
    assert successor_scores(built, lists).max() <= 1
    backwards = [Succession(targets, targets[1:], torch.arange(0, 6))]
    assert successor_scores(built, backwards)[1, 2] < 0.5


def test_no_lists(case: Case) -> None:
    with pytest.raises(ValueError, match="no list"):
        successor_scores(case.model, [])
