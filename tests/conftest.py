"""Fixtures shared by all tests."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
import torch

from circuitwatch.nano import corpus
from circuitwatch.nano.model import NanoSize
from circuitwatch.nano.training import Recipe, train_suite
from support.models import Case, make_case

# Two workers on two cores: with more threads each they wait for one another. Also for the commands
# that tests start.
os.environ.setdefault("OMP_NUM_THREADS", "1")
torch.set_num_threads(1)


@pytest.fixture(scope="session", params=["parallel", "sequential", "llama"])
def case(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Case:
    """Small random models: parallel blocks, sequential ones, and RMSNorm with gated MLPs and shared
    keys and values; three ways, and prompts.
    """
    return make_case(request.param, tmp_path_factory.mktemp(request.param))


@pytest.fixture(scope="session")
def trained_suite(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Checkpoints of a very small nano model that learns two tasks, pronouns and agreement, in 300
    steps.

    From the whole corpus a model of this size learns no task in so few steps; from two families it
    does: both are above chance, metric and effect, from step 128 on.
    """
    size = NanoSize("tiny", n_layers=2, d_model=32, n_heads=2, n_steps=300)
    recipe = Recipe(warmup=10, every=150, muon_lr=0.02, adam_lr=0.01)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(
            corpus,
            "MIXTURE",
            dict.fromkeys(corpus.MIXTURE, 0.0) | {"pronoun": 0.4, "agreement": 0.6},
        )
        return train_suite(size, recipe, seed=0, folder=tmp_path_factory.mktemp("suite") / "tiny")
