"""Integrated gradients on the real model, IOI with 8 prompts: how far each rule is from 81 midpoint
nodes, and whether `auto` knows it.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import numpy.typing as npt
import pytest

from circuitwatch.behaviour import TaskMetric
from circuitwatch.circuits.attribution import Scored, weighted_edge_scores
from circuitwatch.circuits.prompts import Prepared
from circuitwatch.tasks import PromptSet

pytestmark = pytest.mark.e2e

Score = Callable[..., Scored]
N_PROMPTS = 8
NEVER = 1e-12
"""A tolerance that no level reaches."""
FACTOR = 1.2
"""Errors known before are met to this factor: they are given to two or three digits, the rest is
how weights are rounded when the model is read.
"""


@pytest.fixture(scope="module")
def score(prepared_ioi: Callable[[int], tuple[Prepared, PromptSet]]) -> Score:
    """Edge scores as means over the prompts, however they are asked for."""
    prepared, prompts = prepared_ioi(N_PROMPTS)
    return lambda **how: weighted_edge_scores(
        prepared, TaskMetric(prompts), np.ones((1, N_PROMPTS)), **how
    )


@pytest.fixture(scope="module")
def truth(score: Score) -> npt.NDArray[np.float32]:
    """81 midpoint nodes."""
    return score(steps=81, quadrature="midpoint").scores[0]


def share(scored: Scored, truth: npt.NDArray[np.float32]) -> float:
    """Σ|difference| ÷ Σ|score|."""
    return float(
        np.abs(scored.scores[0].astype(float) - truth).sum() / np.abs(truth.astype(float)).sum()
    )


@pytest.mark.parametrize(("steps", "known"), [(5, 0.121), (30, 0.015)])
def test_the_published_rule(
    score: Score, truth: npt.NDArray[np.float32], steps: int, known: float
) -> None:
    error = share(score(steps=steps, quadrature="right"), truth)
    print(f"right, {steps} steps: error {error:.4f}")
    assert known / FACTOR <= error <= known * FACTOR


@pytest.mark.parametrize(("steps", "known"), [(9, 0.025), (27, 0.002)])
def test_a_level_and_its_estimate(
    score: Score, truth: npt.NDArray[np.float32], steps: int, known: float
) -> None:
    """The estimate is of the error's size: within a factor of two, as the error doesn't fall with
    1/m² at every edge (a factor 11 from 9 to 27 steps).
    """
    scored = score(max_steps=steps, tolerance=NEVER)
    error = share(scored, truth)
    print(f"midpoint, {steps} steps: error {error:.4f}, estimated {scored.error:.4f}")
    assert (scored.steps, scored.converged) == (steps, False) and scored.error is not None
    assert known / FACTOR <= error <= known * FACTOR
    assert error / 2 <= scored.error <= error * 2


def test_auto_stops_where_the_default_says(score: Score, truth: npt.NDArray[np.float32]) -> None:
    """9 steps are enough for 3 %, and they are."""
    scored = score()
    print(
        f"auto: {scored.steps} steps, estimated {scored.error:.4f}, error "
        f"{share(scored, truth):.4f}"
    )
    assert scored.converged and scored.steps == 9 and share(scored, truth) <= 0.03
