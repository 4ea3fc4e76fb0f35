"""The nano suite learns greater-than, and keeps what it learnt of the other tasks: both sizes of
the demo, three seeds.

Trains what the cache lacks: some 9 minutes on one core, seconds if all is there.
"""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from circuitwatch.nano.check import LEAST_SLOPE, N_PROMPTS, check
from circuitwatch.nano.training import ensure_trained

pytestmark = pytest.mark.e2e

AGREEMENT_BEFORE = {0: 0.78, 1: 0.71, 2: 0.99}
"""nano-200k's final accuracy on these prompts when any later year could end a range (corpus version
5), by seed.
"""
ALLOWED = 0.10
"""What an accuracy may have lost since then."""


@pytest.mark.parametrize("seed", [0, 1, 2])
@pytest.mark.parametrize("model", ["nano-200k", "nano-400k"])
def test_greater_than_is_learnt_and_the_other_tasks_are_kept(model: str, seed: int) -> None:
    cache = Path(os.environ.get("CIRCUITWATCH_CACHE", "~/.cache/circuitwatch"))
    learnt = check(ensure_trained(model, seed=seed, cache=cache), f"{model}, seed {seed}")
    print(learnt)
    years = learnt.behaviour["greater_than"]
    assert N_PROMPTS >= 128 and learnt.slope >= LEAST_SLOPE >= 0.5
    assert years.low > 0 and years.effect_low > 0 and learnt.faults == []
    accuracy = {task: found.accuracy for task, found in learnt.behaviour.items()}
    if model == "nano-200k":
        assert accuracy["agreement"] >= AGREEMENT_BEFORE[seed] - ALLOWED
    else:  # whatever it was: no accuracy is above 1
        assert min(accuracy.values()) >= 1 - ALLOWED, accuracy
