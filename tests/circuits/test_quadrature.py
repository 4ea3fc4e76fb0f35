"""Nested midpoint nodes: what a level reuses, what `auto` decides, and its estimate of the error
against the true one.
"""

from __future__ import annotations

from itertools import pairwise
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest
import torch
from torch import Tensor

from circuitwatch.behaviour import TaskMetric
from circuitwatch.checkpoints.loading import load_model
from circuitwatch.circuits.attribution import edge_scores, weighted_edge_scores
from circuitwatch.circuits.prompts import Metric, Prepared
from circuitwatch.circuits.quadrature import (
    LEVELS,
    estimated_error,
    most_points_at_once,
    new_points,
    quadrature_points,
)
from circuitwatch.circuits.resampling import bootstrap_weights
from circuitwatch.nano.vocabulary import build_tokenizer
from circuitwatch.tasks import build_prompts
from support.models import Case, logit_difference

NEVER = 1e-12
"""A tolerance that no level reaches."""


def share(a: npt.NDArray[np.float32], b: npt.NDArray[np.float32]) -> float:
    """Σ|a − b| ÷ Σ|b|."""
    return float(np.abs(a.astype(float) - b).sum() / np.abs(b.astype(float)).sum())


def midpoint(prepared: Prepared, metric: Metric, steps: int) -> npt.NDArray[np.float32]:
    return edge_scores(prepared, metric, steps=steps, quadrature="midpoint")


def test_quadrature_points() -> None:
    assert quadrature_points(4, "right") == [0.25, 0.5, 0.75, 1.0]
    assert quadrature_points(4, "left") == [0.0, 0.25, 0.5, 0.75]
    assert quadrature_points(2, "midpoint") == [0.25, 0.75]


@pytest.mark.parametrize("most", LEVELS)
def test_levels_nest(most: int) -> None:
    """What was there and what is added are together the midpoint nodes of the level, none of them
    twice.
    """
    added = new_points("auto", "midpoint", most)
    assert [len(points) for points in added] == [3, 6, 18, 54][: len(added)]
    for n in range(1, len(added) + 1):
        together = sorted(alpha for points in added[:n] for alpha in points)
        assert together == pytest.approx(quadrature_points(LEVELS[n - 1], "midpoint"), abs=1e-15)
    assert len(together) == most and most_points_at_once("auto", most) == len(added[-1])


def test_a_fixed_number_is_one_level_and_auto_needs_midpoints() -> None:
    assert (
        new_points(4, "right", 27) == [[0.25, 0.5, 0.75, 1.0]] and most_points_at_once(30, 27) == 30
    )
    for quadrature, most in (("right", 27), ("left", 27), ("midpoint", 10)):
        with pytest.raises(ValueError, match="auto takes midpoint nodes"):
            new_points("auto", quadrature, most)  # type: ignore[arg-type]


def test_the_estimate_is_richardsons_where_it_is_exact() -> None:
    """∫ c α² over [0, 1] by m midpoints is c/3 − c/(12 m²): the estimate is that error over Σ|S|,
    edge by edge.
    """
    slopes = torch.tensor([3.0, -0.5, 2.0, 0.0], dtype=torch.float64)

    def scores(m: int) -> Tensor:
        return slopes * np.mean(np.square(quadrature_points(m, "midpoint")))

    true = float((scores(9) - slopes / 3).abs().sum() / scores(9).abs().sum())
    assert estimated_error(scores(9), scores(3)) == pytest.approx(true, rel=1e-9)
    assert estimated_error(torch.zeros(4), torch.zeros(4)) == 0


@pytest.mark.parametrize("steps", [9, 27])
def test_a_level_equals_the_midpoint_rule_computed_anew(case: Case, steps: int) -> None:
    """1e-6 of the sum of scores: the same float32 terms added in another order."""
    anew = midpoint(case.prepared(), logit_difference, steps)
    one = np.ones((1, 8))
    scored = weighted_edge_scores(
        case.prepared(3), logit_difference, one, max_steps=steps, tolerance=NEVER
    )
    assert scored.steps == steps and scored.converged is False
    assert share(scored.scores[0], anew) <= 1e-6
    coarser = midpoint(case.prepared(), logit_difference, steps // 3)
    assert scored.error == pytest.approx(share(coarser, anew) / 8, rel=1e-3)


def test_auto_stops_at_the_first_level_within_the_tolerance(case: Case) -> None:
    """A tolerance between the estimates of 9 and 27 nodes is met by 27; one above that of 9 by 9;
    at the bound it goes on, flagged.
    """
    prepared, one = case.prepared(), np.ones((1, 8))
    levels = [midpoint(prepared, logit_difference, steps) for steps in (3, 9, 27)]
    of_9, of_27 = (share(before, level) / 8 for before, level in pairwise(levels))
    assert of_27 < 0.5 * of_9

    def auto(tolerance: float, most: int = 27) -> tuple[int | None, bool | None]:
        scored = weighted_edge_scores(
            prepared, logit_difference, one, max_steps=most, tolerance=tolerance
        )
        return scored.steps, scored.converged

    between = (of_9 * of_27) ** 0.5
    assert auto(1.2 * of_9) == (9, True) and auto(between) == (27, True)
    assert auto(between, most=9) == (9, False) and auto(of_27 / 1.2) == (27, False)
    alone = weighted_edge_scores(prepared, logit_difference, one, max_steps=3)
    assert (alone.steps, alone.error, alone.converged) == (
        3,
        None,
        False,
    )  # nothing to compare with
    fixed = weighted_edge_scores(prepared, logit_difference, one, steps=4, quadrature="right")
    assert (fixed.steps, fixed.error, fixed.converged) == (4, None, None)


def test_nothing_depends_on_the_batch_size(case: Case) -> None:
    """The tolerance lies between the estimates of single prompts, so that a decision by batch would
    differ; the rest is equal to rounding.
    """
    one = np.ones((1, 8))
    of_each = [
        weighted_edge_scores(
            case.prepared(), logit_difference, row[None], max_steps=9, tolerance=NEVER
        )
        for row in np.eye(8)
    ]
    by_prompt = [
        share(of.scores[0], midpoint(case.prepared(), logit_difference, 9)) for of in of_each
    ]
    assert min(by_prompt) > 0  # single prompts differ from the mean
    whole = weighted_edge_scores(
        case.prepared(), logit_difference, one, max_steps=9, tolerance=NEVER
    )
    assert whole.error is not None
    for tolerance, steps in ((1.1 * whole.error, 9), (0.9 * whole.error, 27)):
        found = [
            weighted_edge_scores(case.prepared(size), logit_difference, one, tolerance=tolerance)
            for size in (1, 3, 64)
        ]
        assert [of.steps for of in found] == [steps] * 3
        for other in found[1:]:
            assert other.error == pytest.approx(found[0].error, rel=1e-3)
            assert share(other.scores[0], found[0].scores[0]) <= 1e-5


def test_resamples_take_the_nodes_of_all_prompts(case: Case) -> None:
    """Whatever sets of weights are asked for, and in which order, the mean over all prompts
    decides.
    """
    whole = weighted_edge_scores(
        case.prepared(), logit_difference, np.ones((1, 8)), max_steps=9, tolerance=NEVER
    )
    drawn = bootstrap_weights(8, 2, 0)
    fixed = weighted_edge_scores(case.prepared(), logit_difference, drawn, steps=9)
    assert whole.error is not None
    for tolerance, steps in ((1.1 * whole.error, 9), (0.9 * whole.error, 27)):
        alone = weighted_edge_scores(case.prepared(), logit_difference, drawn, tolerance=tolerance)
        behind = weighted_edge_scores(
            case.prepared(),
            logit_difference,
            np.concatenate([np.ones((1, 8)), drawn]),
            tolerance=tolerance,
        )
        assert alone.steps == behind.steps == steps and alone.error == behind.error
        assert (alone.scores == behind.scores[1:]).all() and len(alone.scores) == 2
        if steps == 9:
            assert all(
                share(of, at) <= 1e-6 for of, at in zip(alone.scores, fixed.scores, strict=True)
            )


def test_a_metric_that_does_not_move_has_converged(case: Case) -> None:
    """All scores are 0: there is no error, and no division by it."""
    scored = weighted_edge_scores(
        case.prepared(), lambda logits, _: logits.sum(-1) * 0, np.ones((1, 8))
    )
    assert (scored.steps, scored.error, scored.converged) == (
        9,
        0.0,
        True,
    ) and not scored.scores.any()


@pytest.mark.parametrize("task", ["gendered_pronoun", "agreement"])
def test_the_estimate_against_the_true_error_of_a_trained_model(
    trained_suite: Path, task: str
) -> None:
    """81 midpoint nodes are the truth. Richardson's rule holds exactly where the error falls with
    1/m².

    Over the edges of a trained model it says at least 1/2.5 of the error, so that a tolerance of 3
    % promises at most some 7 %. Where the error falls faster, as for smooth integrands, it says
    more than there is, which costs steps and no accuracy; but never more than the error of the
    level before.
    """
    prompts = build_prompts(task, build_tokenizer(), n_prompts=8, seed=0)
    prepared, metric = Prepared(load_model(trained_suite / "step300"), prompts), TaskMetric(prompts)
    truth = midpoint(prepared, metric, 81)
    errors = [share(midpoint(prepared, metric, 3), truth)]
    for steps in (9, 27):
        scored = weighted_edge_scores(
            prepared, metric, np.ones((1, 8)), max_steps=steps, tolerance=NEVER
        )
        errors.append(share(scored.scores[0], truth))
        assert scored.error is not None
        assert errors[-1] / 2.5 <= scored.error <= errors[-2]
    assert errors[2] < errors[1] / 3
