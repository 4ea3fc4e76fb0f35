"""Copy suppression: small effects, heads without effect, and the choices that its definition leaves
to us.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from torch import Tensor

from circuitwatch.heads.copy_suppression import (
    LOWEST_CUTOFF,
    SCREENED_OUT,
    SCREENING,
    WORTH_IT,
    SuppressionProbe,
    copy_suppression,
)
from circuitwatch.heads.divergence import Clean, Replaced, divergences, sampled_divergences
from circuitwatch.heads.intervals import bootstrap_interval
from circuitwatch.heads.semantic_sets import orthonormal, semantic_sets, unembeddings, unit
from circuitwatch.transformer import Transformer
from support import naive_roles as naive
from support.built import BUILT, roles_model
from support.models import VOCABULARY, Case
from support.naive_roles import in_double

WORDS = 40


def made_probe(n_destinations: int = 12) -> SuppressionProbe:
    pieces = torch.randint(1, VOCABULARY, (6, 12), generator=torch.Generator().manual_seed(5))
    pieces[:, 0] = 0
    return SuppressionProbe(
        pieces, True, n_destinations, semantic_set=3, predicted_share=0.2, seed=0
    )


def with_outputs(model: Transformer, scale: float) -> Transformer:
    """The model with everything that heads write made smaller."""
    blocks = [
        replace(block, attention=replace(block.attention, W_O=block.attention.W_O * scale))
        for block in model.blocks
    ]
    return replace(model, blocks=tuple(blocks))


@pytest.mark.parametrize("scale", [1.0, 1e-2, 1e-3])
def test_small_effects_survive_float32(case: Case, scale: float) -> None:
    """At scale 1e-3 KLs are around 1e-8 nats a destination, below float32's resolution of 1: as
    differences of log-probabilities they would be noise. Scores stay within 0.002 of those in
    float64."""
    model = with_outputs(case.model, scale)
    scores = copy_suppression(model, made_probe()).scores()
    exact = copy_suppression(in_double(model), made_probe()).scores()
    assert exact.max() > 0.02  # else there is nothing to compare
    torch.testing.assert_close(scores, exact, atol=2e-3, rtol=0)


def test_divergences_equal_naive_ones(case: Case) -> None:
    """KLs of replacing a head by something of any size, from 1e-9 to 10 nats a destination, within
    1 % in float32.
    """
    model, generator = case.model, torch.Generator().manual_seed(6)
    stream = torch.randn(5, model.d_model, generator=generator)
    w_o = model.blocks[0].attention.W_O
    directions = unit(unembeddings(model.final_norm, model.W_U[:, :4].T))
    tokens = torch.randint(0, 4, (5, 3), generator=generator)
    double = in_double(model)
    for size in (1e-4, 1e-2, 1.0, 10.0):
        moved = torch.randn(5, len(w_o), w_o.shape[1], generator=generator) * size
        coefficients = torch.randn(5, len(w_o), 3, generator=generator) * size
        clean = Clean(model, stream)
        (found,) = divergences(
            clean, [Replaced(clean, moved, w_o, coefficients, tokens, directions)], directions
        )

        def naive(change: Tensor) -> Tensor:
            before, after = (
                double.unembed(x.double()).log_softmax(-1)
                for x in (stream[:, None], stream[:, None] + change)
            )
            return (before.exp() * (before - after)).sum(-1).sum(0)

        change = torch.einsum("dhe,hem->dhm", moved.double(), w_o.double())
        torch.testing.assert_close(found[0].sum(0), naive(change), rtol=0.01, atol=0)
        change = change + coefficients.double() @ directions.double()[tokens]
        torch.testing.assert_close(found[1].sum(0), naive(change), rtol=0.01, atol=0)


def test_changes_too_large_for_numbers_are_large_and_not_missing(case: Case) -> None:
    model = case.model
    stream, w_o = (
        torch.randn(3, model.d_model, generator=torch.Generator().manual_seed(7)),
        model.blocks[0].attention.W_O,
    )
    norm = replace(model.final_norm, weight=model.final_norm.weight * 1e4)
    clean = Clean(replace(model, final_norm=norm), stream)
    moved = torch.randn(3, len(w_o), w_o.shape[1], generator=torch.Generator().manual_seed(8)) * 10
    none = torch.zeros(3, len(w_o), 1)
    tokens, directions = torch.zeros(3, 1, dtype=torch.long), torch.zeros(1, model.d_model)
    ((by_mean, by_part),) = divergences(
        clean, [Replaced(clean, moved, w_o, none, tokens, directions)], directions
    )
    assert by_mean.isfinite().all() and (by_mean > 80).all()
    assert torch.equal(by_mean, by_part)


def test_a_head_whose_output_never_changes_scores_nothing(case: Case) -> None:
    silent = with_outputs(case.model, 0.0)
    assert copy_suppression(silent, made_probe()).scores().eq(0).all()
    constant = list(case.model.blocks)
    attention = constant[1].attention
    constant[1] = replace(
        constant[1], attention=replace(attention, W_V=torch.zeros_like(attention.W_V))
    )
    scores = copy_suppression(replace(case.model, blocks=tuple(constant)), made_probe()).scores()
    assert scores[1].eq(0).all() and scores[0].gt(0).any()


def test_a_part_worse_than_the_mean_scores_nothing(case: Case) -> None:
    model = in_double(with_outputs(case.model, 0.01))
    scores = copy_suppression(model, made_probe()).scores()
    below = [
        (layer, head)
        for layer in range(model.n_layers)
        for head in range(model.n_heads)
        if (found := naive.copy_suppression(model, made_probe(), layer, head))[2] > found[1]
    ]
    assert below
    assert all(scores[place] == 0 for place in below)
    assert scores.min() >= 0 and scores.max() <= 1


def test_destinations_are_in_the_second_half_behind_bos() -> None:
    piece, place = made_probe(1000).destinations()
    assert len(piece) == 3 * 11  # all there are
    assert set(piece.tolist()) == {3, 4, 5} and set(place.tolist()) == set(range(1, 12))
    piece, place = made_probe(7).destinations()
    assert len(set(zip(piece.tolist(), place.tolist(), strict=True))) == 7


def test_a_token_is_the_first_of_its_semantic_set(
    case: Case, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Also where another has the same unembedding, or its own is 0, and whatever part of the
    vocabulary is looked at at a time.
    """
    W_U = case.model.W_U.clone()
    W_U[:, 3], W_U[:, 9] = W_U[:, 7], 0
    model, tokens = replace(case.model, W_U=W_U), torch.tensor([3, 7, 9, 20])
    sets = semantic_sets(model, tokens, 4)
    assert sets[:, 0].tolist() == tokens.tolist()
    assert sets[0, 1] == 7 and sets[1, 1] == 3
    monkeypatch.setattr("circuitwatch.heads.semantic_sets.COSINES", 7 * model.d_model)
    assert torch.equal(semantic_sets(model, tokens, 4)[[0, 1, 3]], sets[[0, 1, 3]])
    assert semantic_sets(model, tokens, 1000).shape == (4, VOCABULARY)


def test_directions_are_orthonormal_within_a_source_and_dependent_ones_are_dropped() -> None:
    directions = unit(
        torch.randn(1, 5, 16, generator=torch.Generator().manual_seed(9), dtype=torch.float64)
    )
    directions[0, 4] = -directions[0, 0]
    sources, used = torch.tensor([[0, 1, 0, 0, 0]]), torch.tensor([[True, True, True, False, True]])
    basis = orthonormal(directions, sources, used) @ directions
    expected = torch.diag(torch.tensor([1.0, 1.0, 1.0, 0.0, 0.0], dtype=torch.float64))
    products = (basis @ basis.mT)[0]
    torch.testing.assert_close(torch.diag(products), torch.diag(expected))
    torch.testing.assert_close(products[0, 2], torch.tensor(0.0, dtype=torch.float64))
    torch.testing.assert_close(basis[0, 1], directions[0, 1])  # the other source's is left as it is


def large(case: Case, vocabulary: int = 2000) -> tuple[Transformer, SuppressionProbe]:
    """The model with a vocabulary in which screening pays, and a text for it."""
    generator = torch.Generator().manual_seed(11)
    W_U = torch.randn(case.model.d_model, vocabulary, generator=generator) * 0.4
    W_E = torch.randn(vocabulary, case.model.d_model, generator=generator) * 0.25
    pieces = torch.randint(1, vocabulary, (6, 12), generator=generator)
    pieces[:, 0] = 0
    model = replace(case.model, W_E=W_E, W_U=W_U, b_U=None)
    return model, SuppressionProbe(pieces, True, 30, semantic_set=3, predicted_share=0.2, seed=0)


def test_scores_that_can_count_come_from_the_whole_vocabulary(case: Case) -> None:
    """Those whose estimate reaches a fifth of the lowest cut-off; all others stay below it, so no
    cut-off is compared with an estimate.
    """
    model, probe = large(case)
    whole = copy_suppression(model, probe)
    screened = copy_suppression(model, replace(probe, n_screen=100))
    estimated = screened.scores() < SCREENED_OUT
    assert estimated.any() and not estimated.all()
    torch.testing.assert_close(
        screened.ablated[~estimated], whole.ablated[~estimated], rtol=1e-5, atol=0
    )
    torch.testing.assert_close(
        screened.averted[~estimated], whole.averted[~estimated], rtol=1e-4, atol=1e-9
    )
    assert (screened.ablated[estimated] != whole.ablated[estimated]).any()
    assert (whole.scores()[estimated] < LOWEST_CUTOFF).all()
    assert SCREENED_OUT <= LOWEST_CUTOFF / 5


def weak_suppressor(probe: SuppressionProbe) -> Transformer:
    """A built model whose suppressing head (2, 0) also writes something random, as much as brings
    its score to between 0.10 and 0.12.
    """
    model, (layer, head) = roles_model(WORDS, 25), BUILT["copy_suppression"]
    out = model.blocks[layer].attention.W_O
    random = torch.randn(out.shape[1:], generator=torch.Generator().manual_seed(13)) * (
        out[head] != 0
    ).any(0)
    least, most = 0.0, 8.0
    for _ in range(20):
        noise = (least + most) / 2
        mixed = out.clone()
        mixed[head] += noise * random
        attention = replace(model.blocks[layer].attention, W_O=mixed)
        found = replace(
            model, blocks=(*model.blocks[:layer], replace(model.blocks[layer], attention=attention))
        )
        score = float(copy_suppression(found, probe).scores()[layer, head])
        if 0.1 <= score < 0.12:
            return found
        least, most = (noise, most) if score > 0.11 else (least, noise)
    raise AssertionError(f"no such score: {score}")


def test_no_head_that_reaches_the_lowest_cutoff_is_screened_out(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """A head that scores 0.10 to 0.12: in none of 200 draws of the tokens does the estimate fall
    below the limit, not from an eighth of the tokens that are used either. Its random part moves
    logits by nats, which is harder to estimate than small effects are."""
    pieces = torch.randint(1, WORDS, (6, 25), generator=torch.Generator().manual_seed(5))
    pieces[:, 0] = 0
    pieces[:, 13:] = pieces[:, 1:13]  # so that induction predicts tokens that stand there
    probe = SuppressionProbe(pieces, True, 24, semantic_set=3, predicted_share=0.05, seed=0)
    model, (layer, head) = weak_suppressor(probe), BUILT["copy_suppression"]
    seen = []
    monkeypatch.setattr(
        "circuitwatch.heads.copy_suppression.divergences",
        lambda *given: seen.append(given) or divergences(*given),
    )
    copy_suppression(model, probe)
    clean, replaced, directions = seen[0]
    estimates = []
    for seed in range(200):
        (nats,) = sampled_divergences(
            clean, [replaced[layer]], directions, n_tokens=SCREENING // 8, seed=seed
        )
        ablated, kept = nats[:, :, head].sum(1)
        estimates.append(float(1 - kept / ablated))
    assert min(estimates) >= SCREENED_OUT
    assert np.std(estimates) > 0.005
    assert abs(np.mean(estimates) - 0.11) < 0.03


def test_sampled_divergences_are_right_on_the_average(case: Case) -> None:
    """The mean over 200 draws is within 4 of its standard errors of the exact KL, for effects small
    and large.
    """
    model, generator = case.model, torch.Generator().manual_seed(12)
    stream = torch.randn(4, model.d_model, generator=generator)
    w_o = model.blocks[0].attention.W_O
    directions = unit(unembeddings(model.final_norm, model.W_U[:, :4].T))
    tokens = torch.randint(0, 4, (4, 3), generator=generator)
    for size in (1e-3, 0.1):
        moved = torch.randn(4, len(w_o), w_o.shape[1], generator=generator) * size
        coefficients = torch.randn(4, len(w_o), 3, generator=generator) * size
        clean = Clean(in_double(model), stream.double())
        replaced = Replaced(
            clean, *in_double((moved, w_o, coefficients)), tokens, directions.double()
        )
        (exact,) = divergences(clean, [replaced], directions.double())
        draws = torch.stack(
            [
                sampled_divergences(
                    clean, [replaced], directions.double(), n_tokens=400, seed=seed
                )[0]
                for seed in range(200)
            ]
        )
        error = draws.std(0) / len(draws) ** 0.5
        # The logarithm of a mean is low by half its relative variance, which is far less here.
        assert ((draws.mean(0) - exact).abs() < 4 * error + 1e-3 * exact).all()


def test_a_vocabulary_too_small_for_screening_is_not_screened(case: Case) -> None:
    whole = copy_suppression(case.model, made_probe(40))
    screened = copy_suppression(
        case.model, replace(made_probe(40), n_screen=VOCABULARY // WORTH_IT + 1)
    )
    assert torch.equal(whole.ablated, screened.ablated) and torch.equal(
        whole.averted, screened.averted
    )


def test_the_interval_is_that_of_a_ratio_over_pieces(case: Case) -> None:
    """By hand, from the naive KLs of each piece's destinations, with the same draws; the score lies
    in it.
    """
    probe = made_probe(1000)
    averted = copy_suppression(in_double(case.model), probe)
    low, high = averted.interval(n_bootstrap=200, seed=3)
    piece, place = probe.destinations()
    for layer, head in ((0, 0), (1, 2)):
        sums = []
        for one in (3, 4, 5):

            class Of(SuppressionProbe):
                only = one

                def destinations(self) -> tuple[Tensor, Tensor]:
                    return piece[piece == self.only], place[piece == self.only]

            sums.append(
                naive.copy_suppression(in_double(case.model), Of(**vars(probe)), layer, head)[1:]
            )
        ablated, kept = np.array(sums).T
        np.testing.assert_allclose(averted.ablated[layer, head], ablated, rtol=1e-6)
        ends = bootstrap_interval(ablated - kept, over=ablated, n_bootstrap=200, seed=3)
        assert (low[layer, head], high[layer, head]) == pytest.approx(
            tuple(np.clip(ends, 0, 1)), abs=1e-6
        )
    scores = averted.scores().numpy()
    assert (low <= scores + 1e-6).all() and (scores <= high + 1e-6).all() and (low < high).any()
