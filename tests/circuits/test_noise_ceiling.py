"""From scores of prompts to stability, on made-up models whose true circuits are known: unchanged,
moved a little, unrelated.
"""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest

from circuitwatch.circuits.graph import Graph
from circuitwatch.circuits.overlap import (
    MEASURES,
    Circuit,
    jaccard,
    mean_overlaps,
    overlaps,
    overlaps_by_chance,
    resampled_overlaps,
    resampled_scalars,
)
from circuitwatch.circuits.resampling import bootstrap_weights
from circuitwatch.summary.statistics.stability import SetStability, set_stability

GRAPH = Graph(n_layers=4, n_heads=4, parallel=True)
PROMPTS, EDGES, CHECKPOINTS, SEEDS = 24, 20, 8, 12
NOISE = 1.5
"""Of one prompt's score of an edge; true scores have a spread of 1."""


def circuit(scores: np.ndarray, weights: np.ndarray) -> Circuit:
    """The strongest edges under some weights of the prompts; scores [prompt, edge]."""
    mean = np.zeros(GRAPH.edges.shape, dtype=np.float32)
    mean[GRAPH.edges] = weights @ scores / weights.sum()
    mask = np.abs(mean) > np.sort(np.abs(mean[GRAPH.edges]))[-EDGES - 1]
    return Circuit(mask, mean)


def compared(truths: np.ndarray, seed: int) -> tuple[dict[str, SetStability], SetStability]:
    """Stability of checkpoints with these true scores [checkpoint, edge]: like with like, and as it
    was before: circuits of all prompts, which are the same at every checkpoint, against the overlap
    of two resamples drawn anew at each."""
    rng = np.random.default_rng([seed, 1])
    of_prompts = rng.normal(
        0, NOISE, (PROMPTS, GRAPH.n_edges)
    )  # what is peculiar to a prompt stays with it
    drawn = bootstrap_weights(PROMPTS, 2, seed)
    both = [[circuit(truth + of_prompts, weights) for weights in drawn] for truth in truths]
    pairs = [resampled_overlaps(GRAPH, one, other) for one, other in pairwise(both)]
    found = {
        name: set_stability(*zip(*(pair[name] for pair in pairs), strict=True)) for name in MEASURES
    }
    every = [circuit(truth + of_prompts, np.ones(PROMPTS)) for truth in truths]
    anew = [bootstrap_weights(PROMPTS, 2, (seed, step)) for step in range(len(truths))]
    within = [
        mean_overlaps(GRAPH, [circuit(truth + of_prompts, weights) for weights in of_step])[
            "edge_jaccard"
        ]
        for truth, of_step in zip(truths, anew, strict=True)
    ]
    observed = [jaccard(a.mask, b.mask) for a, b in pairwise(every)]
    ceiling = [(a + b) / 2 for a, b in pairwise(within)]
    chance = [overlaps_by_chance(GRAPH, a, b)["edge_jaccard"] for a, b in pairwise(every)]
    return found, set_stability(np.array(observed, dtype=float), ceiling, chance)


def true_scores(seed: int, movement: float) -> np.ndarray:
    """One set of scores at every checkpoint, and beside it what moves from one to the next:
    [checkpoint, edge].
    """
    rng = np.random.default_rng([seed, 2])
    return rng.normal(size=GRAPH.n_edges) + movement * rng.normal(size=(CHECKPOINTS, GRAPH.n_edges))


@pytest.mark.parametrize("seed", range(3))
def test_an_unchanged_model_is_at_the_ceiling_whatever_the_sample(seed: int) -> None:
    """Exactly, in each measure, though A's circuit is not B's (edges share 0.7 or less).

    The overlap of the same prompts lies far above such a ceiling.
    """
    found, before = compared(true_scores(seed, 0.0), seed)
    for of_measure in found.values():
        assert of_measure.jaccard == of_measure.ceiling < 1
        assert of_measure.stability == of_measure.low == of_measure.high == 1
    assert found["edge_jaccard"].ceiling < 0.7
    assert before.jaccard == 1 and before.stability is not None and before.stability > 1.2


def test_movements_smaller_than_the_noise_of_prompts_are_about_1() -> None:
    """A third of the noise of a mean over the prompts. Over 12 seeds within 0.1 below 1 and never
    above by more than chance allows (0.02); by the overlap of the same prompts it would be 1.1 or
    more: `stable` by construction."""
    movement = NOISE / np.sqrt(PROMPTS) / 3
    both = [compared(true_scores(seed, movement), seed) for seed in range(SEEDS)]
    for measure in MEASURES:
        assert 0.9 < np.mean([found[measure].stability for found, _ in both]) < 1.02
    assert np.mean([before.stability for _, before in both]) > 1.1


def test_unrelated_circuits_are_at_0() -> None:
    """True scores drawn anew at each checkpoint, nothing of the prompts' own: the mean of 12 seeds
    of 7 pairs is 0 within 0.03.
    """
    rng = np.random.default_rng(0)
    found = []
    for seed in range(SEEDS):
        truths = rng.normal(size=(CHECKPOINTS, GRAPH.n_edges))
        drawn = bootstrap_weights(PROMPTS, 2, seed)
        own = rng.normal(0, NOISE, (CHECKPOINTS, PROMPTS, GRAPH.n_edges))
        both = [[circuit(t + o, w) for w in drawn] for t, o in zip(truths, own, strict=True)]
        pairs = [
            resampled_overlaps(GRAPH, one, other)["edge_jaccard"] for one, other in pairwise(both)
        ]
        found.append(set_stability(*zip(*pairs, strict=True)).stability)
    assert np.mean(found) == pytest.approx(0, abs=0.03)


def test_resampled_overlaps_by_hand() -> None:
    """Four circuits of known edges; with three resamples all ordered pairs of different ones."""
    places = np.flatnonzero(GRAPH.edges)

    def of(*edges: int) -> Circuit:
        mask = np.zeros(GRAPH.edges.shape, dtype=bool)
        mask.flat[places[list(edges)]] = True
        return Circuit(mask, mask.astype(np.float32))

    one, other = [of(0, 1), of(1, 2)], [of(0, 1, 3), of(2)]
    found = resampled_overlaps(GRAPH, one, other)["edge_jaccard"]
    assert found.observed == pytest.approx((0 + 1 / 4) / 2)  # {0,1} with {2}; {1,2} with {0,1,3}
    assert found.ceiling == pytest.approx((1 / 3 + 0) / 2)
    chance = [
        overlaps_by_chance(GRAPH, a, b)["edge_jaccard"]
        for a, b in ((one[0], other[1]), (one[1], other[0]))
    ]
    assert found.chance == pytest.approx(np.mean(chance))
    assert (
        resampled_overlaps(GRAPH, [None, one[1]], other)
        == {}
        == resampled_overlaps(GRAPH, one[:1], other[:1])
    )
    three = [of(0), of(0, 1), of(2)]
    across = [
        overlaps(GRAPH, three[i], three[j])["edge_jaccard"]
        for i, j in ((0, 1), (0, 2), (1, 0), (1, 2), (2, 0), (2, 1))
    ]
    assert resampled_overlaps(GRAPH, three, three)["edge_jaccard"].observed == pytest.approx(
        np.mean(across)
    )
    with pytest.raises(ValueError, match="3 and 2 resamples"):
        resampled_overlaps(GRAPH, three, other)
    said = resampled_scalars({"edge_jaccard": found}, "_final")
    assert said == {
        "overlap/edge_jaccard_final_resampled": found.observed,
        "overlap/edge_jaccard_final_resampled_ceiling": found.ceiling,
        "overlap/edge_jaccard_final_resampled_chance": found.chance,
    }
    empty = of()
    assert "edge_jaccard" not in resampled_overlaps(
        GRAPH, [empty, one[0]], [other[0], empty]
    )  # J of two empty ones is none
