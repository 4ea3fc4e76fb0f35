"""Measuring in the middle of a training without a trace: all random states, PyTorch's modes and
defaults, and what libraries say are as they were.

The live model is not touched at all (see `weights`), so it needs no restoring.
"""

from __future__ import annotations

import logging
import random
import warnings
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from typing import Any

import numpy as np
import torch


@contextmanager
def undisturbed(device: str = "cpu") -> Iterator[None]:
    """Leave random states (Python's, NumPy's, PyTorch's on the CPU and all GPUs) and PyTorch's
    settings as they are, whatever happens inside; and have usual settings inside: gradients on, no
    autocast, float32 by default and at full precision.

    Args:
        device: Where it will be measured.
    """
    states = _random_states(device)
    with ExitStack() as stack:
        stack.callback(_restore, states)
        stack.enter_context(_quiet())
        stack.enter_context(_usual_settings())
        yield


def _random_states(device: str) -> list[tuple[Any, Any]]:
    """Pairs of a function and what restores the state by it."""
    states: list[tuple[Any, Any]] = [
        (random.setstate, random.getstate()),
        (np.random.set_state, np.random.get_state()),
        (torch.set_rng_state, torch.get_rng_state()),
    ]
    if device.startswith("cuda"):
        torch.cuda.init()  # else it gets its seed in the middle of the measurement
    if torch.cuda.is_available() and torch.cuda.is_initialized():
        states.append((torch.cuda.set_rng_state_all, torch.cuda.get_rng_state_all()))
    if torch.backends.mps.is_available():
        states.append((torch.mps.set_rng_state, torch.mps.get_rng_state()))
    return states


def _restore(states: list[tuple[Any, Any]]) -> None:
    for restore, state in states:
        restore(state)


@contextmanager
def _usual_settings() -> Iterator[None]:
    default = torch.get_default_dtype()
    strict = torch.are_deterministic_algorithms_enabled()
    warns_only = torch.is_deterministic_algorithms_warn_only_enabled()
    try:
        torch.set_default_dtype(torch.float32)
        if strict:  # what has no such algorithm should not end the measurement
            torch.use_deterministic_algorithms(True, warn_only=True)
        with (
            _full_precision(),
            torch.inference_mode(False),
            torch.enable_grad(),
            torch.autocast("cpu", enabled=False),
            torch.autocast("cuda", enabled=False),
            torch.device("cpu"),
        ):
            yield
    finally:
        torch.set_default_dtype(default)
        torch.use_deterministic_algorithms(strict, warn_only=warns_only)


@contextmanager
def _full_precision() -> Iterator[None]:
    """No TF32 or bfloat16 inside products of float32. Only what says otherwise is changed, in its
    own place: PyTorch refuses to mix its older and newer ways of asking.
    """
    backends: Any = torch.backends
    name = "fp32_precision" if hasattr(backends, "fp32_precision") else "allow_tf32"
    whose = [backends.cuda.matmul]
    if name == "fp32_precision":
        whose.append(backends.mkldnn.matmul)
    lower = [(one, had) for one in whose if (had := getattr(one, name)) in ("tf32", "bf16", True)]
    try:
        for one, _ in lower:
            setattr(one, name, "ieee" if name == "fp32_precision" else False)
        yield
    finally:
        for one, had in lower:
            setattr(one, name, had)


@contextmanager
def _quiet() -> Iterator[None]:
    """No progress bars of transformers and no warnings inside; levels and filters as they were
    afterwards, whatever a library that is imported inside makes of them.
    """
    from transformers.utils import logging as its_logging

    logger = logging.getLogger("transformers")
    level, bars = logger.level, its_logging.is_progress_bar_enabled()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        its_logging.disable_progress_bar()
        logger.setLevel(logging.ERROR)
        try:
            yield
        finally:
            logger.setLevel(level)
            if bars:
                its_logging.enable_progress_bar()
