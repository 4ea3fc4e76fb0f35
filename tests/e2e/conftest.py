"""What all checks on the real model share. `make e2e` runs them; `make test` does not."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from transformers import PreTrainedTokenizerBase

from circuitwatch.checkpoints.loading import load_model, load_tokenizer
from circuitwatch.circuits.prompts import Prepared
from circuitwatch.tasks import PromptSet, build_prompts
from circuitwatch.transformer import Transformer
from support import smollm


@pytest.fixture(scope="session", autouse=True)
def _both_cores() -> None:
    """These tests run one after another, unlike the suite's."""
    torch.set_num_threads(2)


@pytest.fixture(scope="session")
def real_suite() -> Path:
    """The folder of checkpoints, made once in the cache."""
    return smollm.suite()


@pytest.fixture(scope="session")
def real_folder(real_suite: Path) -> Path:
    """The one checkpoint's folder."""
    return real_suite / smollm.CHECKPOINT


@pytest.fixture(scope="session")
def real_tokenizer(real_folder: Path) -> PreTrainedTokenizerBase:
    return load_tokenizer(real_folder)


@pytest.fixture(scope="session")
def real_model(real_folder: Path) -> Transformer:
    """The model as circuitwatch loads it."""
    return load_model(real_folder)


@pytest.fixture(scope="session")
def ioi(real_tokenizer: PreTrainedTokenizerBase) -> Callable[[int], PromptSet]:
    """IOI prompts as a cell with seed 0 has them, any number of them."""
    return lambda n: build_prompts("ioi", real_tokenizer, n_prompts=n, seed=0)


@pytest.fixture(scope="session")
def prepared_ioi(
    real_model: Transformer, ioi: Callable[[int], PromptSet]
) -> Callable[[int], tuple[Prepared, PromptSet]]:
    """Those prompts made ready for the model."""

    def prepare(n: int) -> tuple[Prepared, PromptSet]:
        prompts = ioi(n)
        return Prepared(real_model, prompts), prompts

    return prepare
