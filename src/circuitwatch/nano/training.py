"""Training a nano model: checkpoints at Pythia's kind of steps, resumable after a kill, bit for
bit.

The order of work at a step: update the weights, publish a checkpoint if the step is on the
schedule, then save the training state if it is on the regular part of the schedule. A run that is
cut off goes on from the last state; as batches are a function of (seed, step) and the optimisers'
buffers are in the state, the weights it reaches are those of an undisturbed run.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import shutil
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from filelock import FileLock
from safetensors import safe_open
from safetensors.torch import save_file
from torch import Tensor
from transformers import GPTNeoXForCausalLM, PreTrainedTokenizerFast

from circuitwatch.nano.corpus import CORPUS_VERSION, Corpus
from circuitwatch.nano.model import (
    NanoSize,
    build_model,
    count_parameters,
    nano_size,
    split_parameters,
)
from circuitwatch.nano.muon import Muon
from circuitwatch.nano.vocabulary import build_tokenizer

Progress = Callable[[int, int], None]
STATE = "state.safetensors"
VERSION = 2
"""Version of the training loop, raised when the same recipe gives other weights: from 1 to 2 by
rounding, since torch's Adam sums in another order than ours did.
"""


@dataclass(frozen=True)
class Recipe:
    """Hyperparameters that all sizes share."""

    context: int = 48
    """Tokens in a row."""
    batch: int = 21
    """Rows in a step."""
    muon_lr: float = 0.005
    """Peak learning rate of the hidden matrices."""
    adam_lr: float = 0.003
    """Peak learning rate of everything else."""
    momentum: float = 0.95
    """Muon's momentum."""
    newton_schulz: int = 3
    """Iterations of Muon's orthogonalisation."""
    betas: tuple[float, float] = (0.9, 0.98)
    """Adam's decay rates of the running means."""
    initial_std: float = 0.1
    """Standard deviation of the initial matrices."""
    warmup: int = 50
    """Steps over which the learning rates rise from 0."""
    decay: float = 0.2
    """Share of all steps, at the end, over which the learning rates fall to 0."""
    clip: float = 1.0
    """Largest norm of the whole gradient."""
    every: int = 50
    """Distance between checkpoints after step 128."""

    @property
    def tokens_per_step(self) -> int:
        """Tokens that a step trains on."""
        return self.context * self.batch


def checkpoint_steps(n_steps: int, every: int) -> list[int]:
    """0, 1, 2, 4 … 128, then multiples of `every`, up to and including `n_steps`."""
    doubling = [0] + [2**power for power in range(8)]
    return sorted(
        {step for step in doubling if step <= n_steps}
        | set(range(every * (128 // every + 1), n_steps, every))
        | {n_steps}
    )


def learning_rate_scale(step: int, n_steps: int, recipe: Recipe) -> float:
    """Factor on the peak learning rates at update `step` (from 1): linear warm-up, constant, linear
    decay to 0.
    """
    return min(1.0, step / recipe.warmup, (n_steps + 1 - step) / max(1.0, recipe.decay * n_steps))


def ensure_trained(
    name: str,
    *,
    seed: int,
    cache: Path,
    progress: Progress | None = None,
    threads: int | None = None,
) -> Path:
    """The folder of a trained suite, training it now if the cache lacks it.

    The folder holds step0/, step1/, …, each a complete Hugging Face folder, and suite.json, which
    is written last. Its name includes a hash of everything that decides the weights, so a changed
    recipe never meets old weights. Raises UserError if there is no such size.

    Args:
        name: One of SIZES.
        seed: Of the initial weights and the data.
        cache: The folder that suites are kept in.
        progress: Called with (step, number of steps) after every step.
        threads: Torch's thread count while training, by default 1, since the matrices are too small
            to gain from more.

    Returns:
        The suite's folder.
    """
    size, recipe = nano_size(name), Recipe()
    key = hashlib.sha256(
        json.dumps(_description(size, recipe, seed), sort_keys=True).encode()
    ).hexdigest()[:12]
    folder = cache.expanduser() / "nano" / name / f"seed{seed}-{key}"
    return train_suite(size, recipe, seed=seed, folder=folder, progress=progress, threads=threads)


def train_suite(
    size: NanoSize,
    recipe: Recipe,
    *,
    seed: int,
    folder: Path,
    progress: Progress | None = None,
    threads: int | None = None,
) -> Path:
    """Train a suite, or resume its training; one that has its manifest is returned at once.

    Args:
        size: The model and its number of steps.
        recipe: Hyperparameters.
        seed: Of the initial weights and the data.
        folder: Where the suite goes.
        progress: Called with (step, number of steps) after every step.
        threads: Torch's thread count while training, by default 1.

    Returns:
        The folder.
    """
    manifest = folder / "suite.json"
    if manifest.exists():
        return folder
    folder.mkdir(parents=True, exist_ok=True)
    with FileLock(folder.with_name(folder.name + ".lock")):
        # Another process may have finished while this one waited for the lock.
        if not manifest.exists():
            with _torch_threads(threads or 1):
                _train(size, recipe, seed, folder, progress)
    return folder


def _train(
    size: NanoSize, recipe: Recipe, seed: int, folder: Path, progress: Progress | None
) -> None:
    """The training loop; the caller holds the lock."""
    tokenizer = build_tokenizer()
    corpus = Corpus(tokenizer, seed=seed, rows=recipe.batch, context=recipe.context)
    model = build_model(
        size,
        vocabulary=len(tokenizer),
        context=recipe.context,
        initial_std=recipe.initial_std,
        seed=seed,
    )
    groups, others = split_parameters(model)
    muon = Muon(groups, momentum=recipe.momentum, n_iterations=recipe.newton_schulz)
    adam = torch.optim.Adam(others, betas=recipe.betas)
    tensors = {
        **{f"model.{name}": p.data for name, p in model.named_parameters()},
        **muon.state(),
        **adam_state(adam),
    }

    steps = checkpoint_steps(size.n_steps, recipe.every)
    done = _restore(folder / STATE, tensors)
    if done is None:
        _publish(model, tokenizer, folder / "step0")
        done = 0
    for step in range(done + 1, size.n_steps + 1):
        ids = torch.from_numpy(corpus.batch(step))
        model.zero_grad(set_to_none=True)
        logits = model(input_ids=ids).logits
        F.cross_entropy(logits[:, :-1].flatten(0, 1), ids[:, 1:].flatten()).backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), recipe.clip)
        scale = learning_rate_scale(step, size.n_steps, recipe)
        muon.step(recipe.muon_lr * scale)
        adam.param_groups[0]["lr"] = recipe.adam_lr * scale
        adam.step()
        if step in steps:
            _publish(model, tokenizer, folder / f"step{step}")
        if step % recipe.every == 0:
            _save(folder / STATE, tensors, {"step": str(step)})
        if progress is not None:
            progress(step, size.n_steps)

    total, non_embedding = count_parameters(model)
    _write_manifest(
        folder / "suite.json",
        {
            "name": size.name,
            "seed": seed,
            "params_total": total,
            "params_non_embedding": non_embedding,
            "tokens_per_step": recipe.tokens_per_step,
            "steps": steps,
            "training": _description(size, recipe, seed),
        },
    )
    (folder / STATE).unlink(missing_ok=True)


def adam_state(adam: torch.optim.Adam) -> dict[str, Tensor]:
    """The state of an Adam that has made no step yet, by name. It is made here, since torch makes
    it at the first step, and a training that is resumed has to fill it before.
    """
    tensors: dict[str, Tensor] = {}
    for index, parameter in enumerate(adam.param_groups[0]["params"]):
        adam.state[parameter] = {
            "step": torch.tensor(0.0),
            "exp_avg": torch.zeros_like(parameter),
            "exp_avg_sq": torch.zeros_like(parameter),
        }
        for name, tensor in adam.state[parameter].items():
            tensors[f"adam.{index}.{name}"] = tensor
    return tensors


def _description(size: NanoSize, recipe: Recipe, seed: int) -> dict[str, Any]:
    """Everything that decides the weights, as JSON."""
    return {
        "size": asdict(size),
        "recipe": asdict(recipe),
        "seed": seed,
        "corpus": CORPUS_VERSION,
        "version": VERSION,
    }


def _publish(model: GPTNeoXForCausalLM, tokenizer: PreTrainedTokenizerFast, folder: Path) -> None:
    """Write one checkpoint as a Hugging Face folder; it appears whole or not at all."""
    building = folder.with_name(folder.name + ".building")
    for leftover in (building, folder):  # of a run that was cut off; what is written is the same
        shutil.rmtree(leftover, ignore_errors=True)
    building.mkdir()
    model.config.save_pretrained(building)
    tokenizer.save_pretrained(building)
    weights = {name: p.detach().contiguous() for name, p in model.named_parameters()}
    save_file(weights, building / "model.safetensors", metadata={"format": "pt"})
    building.rename(folder)


def _save(path: Path, tensors: dict[str, Tensor], metadata: dict[str, str]) -> None:
    """Replace the training state in one motion, so that a kill leaves the old one or the new
    one.
    """
    building = path.with_suffix(".building")
    save_file(
        {name: t.detach().contiguous() for name, t in tensors.items()}, building, metadata=metadata
    )
    os.replace(building, path)


def _restore(path: Path, tensors: dict[str, Tensor]) -> int | None:
    """Fill `tensors` in place from a saved state and return its step; None if there is no state."""
    if not path.exists():
        return None
    with safe_open(path, framework="pt") as state, torch.no_grad():
        for name, tensor in tensors.items():
            tensor.copy_(state.get_tensor(name))
        return int(state.metadata()["step"])


def _write_manifest(path: Path, manifest: dict[str, Any]) -> None:
    building = path.with_suffix(".building")
    building.write_text(json.dumps(manifest, indent=1) + "\n", encoding="utf-8")
    os.replace(building, path)


@contextlib.contextmanager
def _torch_threads(n: int) -> Iterator[None]:
    """Set torch's thread count for the time being."""
    before = torch.get_num_threads()
    torch.set_num_threads(n)
    try:
        yield
    finally:
        torch.set_num_threads(before)
