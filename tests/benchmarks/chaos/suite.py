"""A very small suite that is trained in seconds, on two families of the corpus."""

from __future__ import annotations

import shutil
from pathlib import Path
from unittest.mock import patch

from circuitwatch.nano import corpus
from circuitwatch.nano.model import NanoSize
from circuitwatch.nano.training import Recipe, train_suite


def tiny_suite(folder: Path, to: Path, steps: tuple[int, ...]) -> Path:
    """Train it in one folder, and copy the checkpoints of these steps to another."""
    size = NanoSize("tiny", n_layers=2, d_model=32, n_heads=2, n_steps=max(steps))
    recipe = Recipe(warmup=10, every=150, muon_lr=0.02, adam_lr=0.01)
    families = dict.fromkeys(corpus.MIXTURE, 0.0) | {"pronoun": 0.4, "agreement": 0.6}
    with patch.object(corpus, "MIXTURE", families):
        suite = train_suite(size, recipe, seed=0, folder=folder)
    for step in steps:
        shutil.copytree(suite / f"step{step}", to / f"step{step}")
    return to
