"""The nano suite learns greater-than, and keeps what it learnt of the other tasks: both sizes of the demo, three seeds.

Trains what the cache lacks: some 9 minutes on one core, seconds if all is there.
"""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from circuitwatch.nano.check import LEAST_SLOPE, N_PROMPTS, check
from circuitwatch.nano.training import ensure_trained

pytestmark = pytest.mark.e2e

KEPT = {"nano-200k": ("agreement",), "nano-400k": ("ioi", "gendered_pronoun", "agreement")}
LEAST_ACCURACY = 0.90
"""An accuracy of 1 with the corpus before (version 5, whose end years were any later ones) may have lost 0.10; one that was lower may have lost less."""


@pytest.mark.parametrize("seed", [0, 1, 2])
@pytest.mark.parametrize("model", KEPT)
def test_greater_than_is_learnt_and_the_other_tasks_are_kept(model: str, seed: int) -> None:
    cache = Path(os.environ.get("CIRCUITWATCH_CACHE", "~/.cache/circuitwatch"))
    learnt = check(ensure_trained(model, seed=seed, cache=cache), f"{model}, seed {seed}")
    print(learnt)
    years = learnt.behaviour["greater_than"]
    assert N_PROMPTS >= 128 and learnt.slope >= LEAST_SLOPE >= 0.5
    assert years.low > 0 and years.effect_low > 0 and learnt.faults == []
    assert all(learnt.behaviour[task].accuracy >= LEAST_ACCURACY for task in KEPT[model]), str(learnt)
