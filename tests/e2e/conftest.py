"""What the checks on the real model share. `make e2e` runs them; `make test` does not."""

from __future__ import annotations

import functools
import resource
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from transformers import PreTrainedTokenizerBase

from circuitwatch.checkpoints.loading import load_model
from circuitwatch.checkpoints.tokenizers import load_tokenizer
from circuitwatch.circuits.prompts import Prepared
from circuitwatch.record_files import CheckpointRecord
from circuitwatch.records import Cell, find_cells
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
def watch(real_suite: Path, tmp_path_factory: pytest.TempPathFactory) -> Callable[..., Cell]:
    """The command line itself, in a process of its own: overrides → the cell.

    The same overrides are watched once.
    """
    out = tmp_path_factory.mktemp("multirun")
    common = ["model=folder", f"model.path={real_suite}", f"model.name={smollm.NAME}", f"out={out}"]
    common += ["tracking=off", "threads=2", "circuit.resamples=0"]

    @functools.cache
    def run(*overrides: str) -> Cell:
        sweep = f"cell{len(list(out.iterdir()))}"
        began, before = time.monotonic(), resource.getrusage(resource.RUSAGE_CHILDREN)
        subprocess.run(
            [sys.executable, "-m", "circuitwatch", *common, f"sweep={sweep}", *overrides],
            check=True,
        )
        after = resource.getrusage(resource.RUSAGE_CHILDREN)
        cpu = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
        print(f"{' '.join(overrides)}: {time.monotonic() - began:.0f} s, {cpu:.0f} s of CPU")
        return find_cells(out / sweep)[0]

    return run


@pytest.fixture(scope="session")
def scored(watch: Callable[..., Cell]) -> CheckpointRecord:
    """The record of IOI that scores, the circuit and exact patching are read from: 16 prompts."""
    return watch("task=ioi", "task.n_prompts=16").read(1)


@pytest.fixture(scope="session")
def prepared_ioi(
    real_model: Transformer, real_tokenizer: PreTrainedTokenizerBase
) -> Callable[[int], tuple[Prepared, PromptSet]]:
    """So many IOI prompts as a cell with seed 0 has them, made ready for the model."""

    def prepare(n: int) -> tuple[Prepared, PromptSet]:
        prompts = build_prompts("ioi", real_tokenizer, n_prompts=n, seed=0)
        return Prepared(real_model, prompts), prompts

    return prepare
