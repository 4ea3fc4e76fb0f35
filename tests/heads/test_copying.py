"""Name-mover and successor scores: against a naive loop on Hugging Face modules, and on heads built
to hold or lack the role.
"""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch

from circuitwatch.components import Norm
from circuitwatch.heads.copying import among_top, head_writes, name_mover_scores
from circuitwatch.heads.successor import Succession, successor_scores
from circuitwatch.transformer import Transformer
from support.models import Case

TOKENS = torch.tensor([[5, 9, 5, 11, 30], [7, 6, 6, 20, 31]])
POSITIONS = torch.tensor([[0, 1, 2], [0, 1, 2]])


def with_head(model: Transformer, layer: int, head: int, through: torch.Tensor) -> Transformer:
    """The model with one head's values and output replaced by a linear map [d_model, d_model] in
    two factors of full rank.
    """
    blocks = list(model.blocks)
    d_model = model.d_model
    attention = blocks[layer].attention
    padded = {
        name: torch.zeros(model.n_heads, d_model, d_model) for name in ("W_Q", "W_K", "W_V", "W_O")
    }
    d_head = attention.W_Q.shape[-1]
    for name in ("W_Q", "W_K", "W_V"):
        padded[name][:, :, :d_head] = (
            attention.of_each_head(getattr(attention, name)) if name != "W_Q" else attention.W_Q
        )
    padded["W_O"][:, :d_head] = attention.W_O
    padded["W_V"][head], padded["W_O"][head] = torch.eye(d_model), through
    biases = {name: torch.zeros(model.n_heads, d_model) for name in ("b_Q", "b_K", "b_V")}
    blocks[layer] = replace(blocks[layer], attention=replace(attention, **padded, **biases))
    return replace(model, blocks=tuple(blocks))


def test_head_writes_equals_hugging_faces_attention_to_one_position(case: Case) -> None:
    """A prompt of one token: every head attends to it alone, so the layer's output is the sum of
    what its heads write, and a bias.
    """
    stream = case.textbook.embed(torch.tensor([[13]]))
    outputs = case.textbook.run(stream)[1]
    written = head_writes(case.model, 0, stream[0])
    for head in range(case.model.n_heads):
        torch.testing.assert_close(
            written[head], outputs[f"a0.h{head}"][0] + 0 * written[head], rtol=1e-4, atol=1e-5
        )


@pytest.mark.parametrize("vocabulary", [40, 3000])
def test_the_top_is_that_of_the_whole_vocabulary(case: Case, vocabulary: int) -> None:
    """Numbers are small integers, so products are exact and ties many; a vocabulary of several
    slices, and tokens whose rows the others are rivals of.
    """
    generator = torch.Generator().manual_seed(1)
    norm = Norm(torch.ones(16), None, eps=0.0, centred=False)
    W_U = torch.randint(-2, 3, (16, vocabulary), generator=generator).float()
    W_U[:, : vocabulary // 2] /= 2
    model = replace(case.model, final_norm=norm, W_U=W_U)
    fixed = torch.randint(-1, 2, (vocabulary,), generator=generator).float()
    written = (
        torch.randint(0, 2, (500, 16), generator=generator) * 2.0 - 1
    )  # the norm leaves these as they are
    for best in (False, True):
        tokens = torch.randint(0, vocabulary, (500,), generator=generator)
        if best:  # a token near the top, of one sign in half of the rows
            signs = torch.ones(500, 1).index_fill(0, torch.arange(0, 500, 2), -1)
            tokens = (
                (fixed + signs * (written @ W_U))
                .topk(9)
                .indices.gather(1, torch.arange(500)[:, None] % 9)[:, 0]
            )
        expected = []
        for sign in (1, -1):
            logits = fixed + sign * (written @ W_U)
            expected.append((logits > logits.gather(1, tokens[:, None])).sum(1) < 5)
        found = among_top(model, fixed, written, tokens, 5)
        assert torch.equal(found, torch.stack(expected))
        assert not best or 100 < found.sum() < 900


def test_a_head_that_writes_nothing_copies_nothing(case: Case) -> None:
    """All its logits are equal but for the biases, and no token is above the name's."""
    attention = case.model.blocks[1].attention
    blocks = (
        case.model.blocks[0],
        replace(case.model.blocks[1], attention=replace(attention, W_O=0 * attention.W_O)),
    )
    scores = name_mover_scores(replace(case.model, blocks=blocks), TOKENS, POSITIONS, top=5)
    assert all(table[1].eq(0).all() for table in scores.values())


def test_a_copying_head_is_a_name_mover_and_its_negative_is_not(case: Case) -> None:
    """A head that maps the embedding of each name onto the direction of its unembedding scores 1;
    negated, it is the negative name mover.
    """
    model = case.model
    stream = model.run(model.embed(TOKENS)).attention_in[1]
    rows = torch.arange(2)[:, None]
    normalised = model.blocks[1].attention_norm(stream[rows, POSITIONS].flatten(0, 1))
    wanted = model.W_U.T[TOKENS[rows, POSITIONS].flatten()] * 50 / model.final_norm.weight
    through = torch.linalg.lstsq(normalised, wanted).solution
    for sign, role, other in (
        (1, "name_mover", "negative_name_mover"),
        (-1, "negative_name_mover", "name_mover"),
    ):
        scores = name_mover_scores(with_head(model, 1, 1, sign * through), TOKENS, POSITIONS, top=1)
        assert (
            scores[role][1, 1].mean() >= 5 / 6
        )  # tokens whose unembeddings are nearly parallel may swap places
        assert scores[other][1, 1].eq(0).all()


def test_a_successor_head(case: Case) -> None:
    model = case.model
    targets = torch.arange(10, 17)
    lists = [Succession(targets, targets[:-1], torch.arange(1, 7))]
    block = model.blocks[0]
    enriched = block.mlp(block.mlp_norm(model.W_E[targets[:-1]]))
    normalised = model.blocks[1].attention_norm(enriched)
    wanted = model.W_U.T[targets[1:]] * 50 / model.final_norm.weight
    built = with_head(model, 1, 2, torch.linalg.lstsq(normalised, wanted).solution)
    scores = successor_scores(built, lists)
    assert scores.shape == (model.n_layers, model.n_heads, 6)
    assert scores[1, 2].mean() >= 5 / 6
    assert set(scores.unique().tolist()) <= {0.0, 1.0}
    backwards = [Succession(targets, targets[1:], torch.arange(0, 6))]
    assert successor_scores(built, backwards)[1, 2].mean() < 0.5


def test_no_lists(case: Case) -> None:
    with pytest.raises(ValueError, match="no list"):
        successor_scores(case.model, [])
