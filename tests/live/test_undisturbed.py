"""A measurement leaves no trace: random states and settings, also where it fails."""

from __future__ import annotations

import logging
import random
import warnings
from typing import Any

import numpy as np
import pytest
import torch
from transformers.utils import logging as its_logging

from circuitwatch.live.undisturbed import undisturbed


def state() -> dict[str, Any]:
    return {
        "python": random.getstate(),
        "numpy": np.random.get_state()[1].tolist(),  # type: ignore[index, union-attr]
        "torch": torch.get_rng_state().tolist(),
        "dtype": torch.get_default_dtype(),
        "device": torch.get_default_device(),
        "threads": torch.get_num_threads(),
        "precision": torch.get_float32_matmul_precision(),
        "deterministic": torch.are_deterministic_algorithms_enabled(),
        "warns only": torch.is_deterministic_algorithms_warn_only_enabled(),
        "gradients": torch.is_grad_enabled(),
        "inference": torch.is_inference_mode_enabled(),
        "autocast": torch.is_autocast_enabled("cpu"),
        "level": logging.getLogger("transformers").level,
        "bars": its_logging.is_progress_bar_enabled(),
        "filters": list(warnings.filters),
    }


def disturb() -> None:
    random.random(), np.random.rand(), torch.rand(1)
    torch.manual_seed(77)
    torch.set_default_dtype(torch.float64)
    logging.getLogger("transformers").setLevel(logging.CRITICAL)
    its_logging.disable_progress_bar()
    warnings.filterwarnings("ignore", message="never")


def test_everything_is_as_it_was() -> None:
    before = state()
    with undisturbed():
        disturb()
        assert state() != before
    assert state() == before


def test_also_where_it_fails() -> None:
    before = state()

    def interrupted() -> None:
        with undisturbed():
            disturb()
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        interrupted()
    assert state() == before


def test_the_trainings_own_settings_do_not_reach_inside() -> None:
    """Half precision by default, autocast, no gradients, TF32, and strict determinism."""
    default = torch.get_default_dtype()
    precision = torch.get_float32_matmul_precision()
    try:
        torch.set_default_dtype(torch.bfloat16)
        torch.set_float32_matmul_precision("medium")
        torch.use_deterministic_algorithms(True)
        with torch.autocast("cpu", dtype=torch.bfloat16), torch.inference_mode():
            before = state()
            with undisturbed():
                weight = torch.ones(2, 2, requires_grad=True)
                product = weight @ weight
                product.sum().backward()
                assert product.dtype == torch.float32 and weight.grad is not None
                assert torch.backends.mkldnn.matmul.fp32_precision == "ieee"  # type: ignore[attr-defined]
                assert torch.is_deterministic_algorithms_warn_only_enabled()
            assert state() == before
    finally:
        torch.set_default_dtype(default)
        torch.set_float32_matmul_precision(precision)
        torch.use_deterministic_algorithms(False)
