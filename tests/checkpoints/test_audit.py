"""Which of several checkpoints with the same weights is the one that is kept."""

from __future__ import annotations

import pytest

from circuitwatch.checkpoints.audit import Audit, OnRecord, Weights
from circuitwatch.checkpoints.schedule import Checkpoint

CHECKPOINTS = [Checkpoint(step, 10 * step, f"step{step}") for step in (1, 2, 3, 4)]


def duplicates(
    weights: dict[int, str], recorded: dict[int, OnRecord] | None = None
) -> dict[int, str]:
    files = {step: Weights.of_record(sha256) for step, sha256 in weights.items()}
    return dict(Audit.of(CHECKPOINTS, files, {}, recorded or {}).duplicate_of)


def test_the_last_is_kept_else_the_first() -> None:
    assert duplicates({1: "a", 2: "a", 3: "b", 4: "b"}) == {2: "step1", 3: "step4"}
    assert duplicates({1: "a", 2: "a", 3: "c", 4: "a"}) == {1: "step4", 2: "step4"}


@pytest.mark.parametrize("kept", [1, 2, 3, 4])
def test_what_is_on_record_stays_as_it_is_there(kept: int) -> None:
    same = dict.fromkeys((1, 2, 3, 4), "a")
    found = duplicates(same, {kept: OnRecord("a", is_duplicate=False)})
    assert found == {step: f"step{kept}" for step in same if step != kept}


@pytest.mark.parametrize("copy", [1, 2, 3, 4])
def test_a_copy_of_what_is_gone_is_not_kept_before_others(copy: int) -> None:
    same = dict.fromkeys((1, 2, 3, 4), "a")
    original = 1 if copy == 4 else 4
    found = duplicates(same, {copy: OnRecord("a", is_duplicate=True)})
    assert found == {step: f"step{original}" for step in same if step != original}


def test_a_run_that_goes_on_calls_the_same_ones_duplicates() -> None:
    """Whatever is recorded already, as long as no checkpoint came since."""
    weights = {1: "a", 2: "a", 3: "b", 4: "b"}
    at_first = duplicates(weights)
    recorded: dict[int, OnRecord] = {}
    for step in weights:
        recorded[step] = OnRecord(weights[step], is_duplicate=step in at_first)
        assert duplicates(weights, dict(recorded)) == at_first
