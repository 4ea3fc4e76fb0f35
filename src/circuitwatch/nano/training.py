"""Training a nano model: checkpoints at Pythia's kind of steps, resumable after a kill, bit for
bit.

The order of work at a step: update the weights, publish a checkpoint if the step is on the
schedule, then save the training state if it is on the regular part of the schedule. A run that is
cut off goes on from the last state; as batches are a function of (seed, step) and the optimisers'
buffers are in the state, the weights it reaches are those of an undisturbed run. The state holds a
hash of itself and those of the checkpoints published by then: where one doesn't fit, training
begins again.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import shutil
import sys
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor
from transformers import GPTNeoXForCausalLM, PreTrainedTokenizerFast

from circuitwatch.locks import hold
from circuitwatch.nano.corpus import CORPUS_VERSION, Corpus
from circuitwatch.nano.model import (
    NanoSize,
    build_model,
    count_parameters,
    nano_size,
    split_parameters,
)
from circuitwatch.nano.muon import Muon
from circuitwatch.nano.suite import (
    BUILDING,
    MANIFEST,
    Hashes,
    Say,
    fault_of,
    first_fault,
    hashes_of,
    put_aside,
    remove_unfinished,
    write_manifest,
    written_whole,
)
from circuitwatch.nano.vocabulary import build_tokenizer

Progress = Callable[[int, int], None]
STATE = "state.safetensors"
VERSION = 2
"""Version of the training loop, raised when the same recipe gives other weights: from 1 to 2 by
rounding, since torch's Adam sums in another order than ours did.
"""


def warn(line: str) -> None:
    """What a user should know of a suite, on stderr: what is asked for is on stdout."""
    print(f"circuitwatch: {line}", file=sys.stderr, flush=True)


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
    say: Say = warn,
) -> Path:
    """The folder of a trained suite, training it now if the cache lacks it, or if what it has is
    not as it was written.

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
        say: Called with what a user should know, such as that a suite was damaged.

    Returns:
        The suite's folder.
    """
    return train_suite(
        nano_size(name),
        Recipe(),
        seed=seed,
        folder=suite_folder(name, seed=seed, cache=cache),
        progress=progress,
        threads=threads,
        say=say,
    )


def suite_folder(name: str, *, seed: int, cache: Path) -> Path:
    """Where a suite lies, or will, in the cache; it is whole once its manifest is there."""
    described = json.dumps(_description(nano_size(name), Recipe(), seed), sort_keys=True)
    key = hashlib.sha256(described.encode()).hexdigest()[:12]
    return cache.expanduser() / "nano" / name / f"seed{seed}-{key}"


def train_suite(
    size: NanoSize,
    recipe: Recipe,
    *,
    seed: int,
    folder: Path,
    progress: Progress | None = None,
    threads: int | None = None,
    say: Say = warn,
) -> Path:
    """Train a suite, or resume its training; one that has its manifest, and is as it was written,
    is only returned, and a damaged one is put aside. Raises UserError where the disk is full.

    Args:
        size: The model and its number of steps.
        recipe: Hyperparameters.
        seed: Of the initial weights and the data.
        folder: Where the suite goes.
        progress: Called with (step, number of steps) after every step.
        threads: Torch's thread count while training, by default 1.
        say: Called with what a user should know.

    Returns:
        The folder.
    """
    manifest, about = folder / MANIFEST, _about(size, recipe, seed)
    if manifest.exists() and fault_of(folder, about, say) is None:
        return folder
    folder.mkdir(parents=True, exist_ok=True)
    lock = folder.with_name(f"{folder.name}.lock")
    with hold(lock, f"{folder} is being trained", wait=True):
        # Another process may have finished while this one waited for the lock.
        if manifest.exists():
            fault = fault_of(folder, about, say)
            if fault is None:
                return folder
            aside = put_aside(folder)
            say(f"{folder}: {fault}; it is trained anew, what was there is in {aside.name}")
        with _torch_threads(threads or 1), written_whole(folder):
            folder.mkdir(exist_ok=True)
            remove_unfinished(folder)
            _train(size, recipe, seed, folder, progress, say)
    return folder


def _about(size: NanoSize, recipe: Recipe, seed: int) -> dict[str, Any]:
    """What the manifest of a suite says that is known before it is trained."""
    return {
        "name": size.name,
        "seed": seed,
        "tokens_per_step": recipe.tokens_per_step,
        "steps": checkpoint_steps(size.n_steps, recipe.every),
        "training": _description(size, recipe, seed),
    }


def _train(
    size: NanoSize, recipe: Recipe, seed: int, folder: Path, progress: Progress | None, say: Say
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
    done, published = _resumed(folder, tensors, say)
    if done is None:
        published = _publish(model, tokenizer, folder / "step0")
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
            published |= _publish(model, tokenizer, folder / f"step{step}")
        if step % recipe.every == 0:
            _save(folder / STATE, tensors, step, published)
        if progress is not None:
            progress(step, size.n_steps)

    total, non_embedding = count_parameters(model)
    parameters = {"params_total": total, "params_non_embedding": non_embedding}
    write_manifest(folder, _about(size, recipe, seed) | parameters, published)
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


def _publish(model: GPTNeoXForCausalLM, tokenizer: PreTrainedTokenizerFast, folder: Path) -> Hashes:
    """Write one checkpoint as a Hugging Face folder, which appears whole or not at all; returns the
    hashes of its files.
    """
    building = folder.with_name(folder.name + BUILDING)
    building.mkdir()
    model.config.save_pretrained(building)
    tokenizer.save_pretrained(building)
    weights = {name: p.detach().contiguous() for name, p in model.named_parameters()}
    save_file(weights, building / "model.safetensors", metadata={"format": "pt"})
    hashes = hashes_of(building, folder.name)
    # Of a run that was cut off; what is written is the same.
    shutil.rmtree(folder, ignore_errors=True)
    building.rename(folder)
    return hashes


def _save(path: Path, tensors: dict[str, Tensor], step: int, published: Hashes) -> None:
    """Replace the training state in one motion, so that a kill leaves the old one or the new
    one.
    """
    building = path.with_suffix(BUILDING)
    state = {name: t.detach().contiguous() for name, t in tensors.items()}
    about = {"step": str(step), "published": json.dumps(published)}
    save_file(state, building, metadata={**about, "sha256": _hash_of(state, about)})
    os.replace(building, path)


def _hash_of(tensors: dict[str, Tensor], about: dict[str, str]) -> str:
    """The hash of a training state."""
    sha256 = hashlib.sha256(json.dumps(about, sort_keys=True).encode())
    for name in sorted(tensors):
        sha256.update(name.encode())
        sha256.update(tensors[name].contiguous().numpy().tobytes())
    return sha256.hexdigest()


def _resumed(folder: Path, tensors: dict[str, Tensor], say: Say) -> tuple[int | None, Hashes]:
    """Fill `tensors` in place from the saved state; returns its step and the hashes of what was
    published by then. No step where there is no state, or where it, or one of those checkpoints,
    is not as it was written: then training begins again.
    """
    path = folder / STATE
    if not path.exists():
        return None, {}
    try:
        with safe_open(path, framework="pt") as state:
            saved = {name: state.get_tensor(name) for name in state.keys()}  # noqa: SIM118
            about = dict(state.metadata() or {})
        own = about.pop("sha256", None)
        fault = None if own == _hash_of(saved, about) else f"{STATE} is not what was written"
        if fault is None:
            published: Hashes = json.loads(about["published"])
            fault = first_fault(folder, published)
    except SafetensorError:
        fault = f"{STATE} is cut off or damaged"
    if fault is not None:
        say(f"{folder}: {fault}; training begins again")
        path.unlink()
        return None, {}
    with torch.no_grad():
        for name, tensor in tensors.items():
            tensor.copy_(saved[name])
    return int(about["step"]), published


@contextlib.contextmanager
def _torch_threads(n: int) -> Iterator[None]:
    """Set torch's thread count for the time being."""
    before = torch.get_num_threads()
    torch.set_num_threads(n)
    try:
        yield
    finally:
        torch.set_num_threads(before)
