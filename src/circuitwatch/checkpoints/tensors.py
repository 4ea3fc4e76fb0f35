"""What a checkpoint's files hold, by name: wrappers' prefixes, adapters that are not merged, and
tensors that are missing or of another shape.

transformers fills whatever a file does not give with random numbers and goes on, which looks like a
model that has not learnt yet. So names are set right before the weights are read, as far as the
wrapper that put its own in front of them is known, and what then does not fit is reported by name.
"""

from __future__ import annotations

import math
import re
import zipfile
from collections.abc import Collection, Iterable, Sequence
from pathlib import Path

import torch
from torch import Tensor

INNER = "_orig_mod|_fsdp_wrapped_module|_checkpoint_wrapped_module"
"""What torch.compile, FSDP and activation checkpointing put before the names of the module that
they wrap, be it the model or any part of it.
"""
OUTER = rf"{INNER}|module|base_model\.model"
"""At the beginning of a name also what DDP (and DeepSpeed) and PEFT put there; inside a name these
words could be a model's own.
"""
WRAPPER, INNER_WRAPPER = re.compile(rf"(?:{OUTER})\."), re.compile(rf"(?<=\.)(?:{INNER})\.")
ADAPTER = re.compile(r"(?:^|\.)(?:lora_\w+|base_layer|modules_to_save|original_module)(?:\.|$)")
"""Parts of names that stand for an adapter's matrices, or for the matrix that one is added to
(PEFT, loralib).
"""
LAYER = re.compile(r"(?:^|\.)(?:layers|h|blocks)\.(\d{1,9})\.")
"""Where the architectures that are supported put a layer's number."""
NAMED = 3
"""Tensors called by name where many are wrong."""


def stored_names(files: Iterable[Path]) -> list[str]:
    """The names of all tensors in some weight files, in order; no tensor is read.

    Raises what safetensors and PyTorch's weights-only reader raise, UnpicklingError also for a .bin
    file that holds no dictionary of names.
    """
    from pickle import UnpicklingError

    from safetensors import safe_open

    names: list[str] = []
    for file in files:
        if file.suffix == ".safetensors":
            with safe_open(file, framework="pt") as content:
                names += content.keys()
            continue
        # Only the newer format, a zip archive, can be mapped into memory.
        tensors = torch.load(
            file, map_location="meta", weights_only=True, mmap=zipfile.is_zipfile(file)
        )
        if not isinstance(tensors, dict) or not all(isinstance(name, str) for name in tensors):
            raise UnpicklingError(f"{file.name} holds no dictionary of named tensors")
        names += tensors
    return names


def stored_tensors(files: Iterable[Path]) -> dict[str, Tensor]:
    """Name → tensor of all in some weight files. Raises as `stored_names`."""
    from safetensors.torch import load_file

    tensors: dict[str, Tensor] = {}
    for file in files:
        tensors |= (
            load_file(file)
            if file.suffix == ".safetensors"
            else torch.load(file, map_location="cpu", weights_only=True)
        )
    return tensors


def numbers_in(files: Iterable[Path]) -> int | None:
    """How many numbers the tensors of some safetensors files have together; None for others."""
    from safetensors import safe_open

    total = 0
    for file in files:
        if file.suffix != ".safetensors":
            return None
        with safe_open(file, framework="pt") as content:
            shapes = [content.get_slice(name).get_shape() for name in content.keys()]  # noqa: SIM118
            total += sum(map(math.prod, shapes))
    return total


def unwrapped(name: str) -> tuple[str, str]:
    """A tensor's name without what known wrappers put there, and what that was."""
    taken = ""
    while match := WRAPPER.match(name):
        taken, name = taken + match[0], name[match.end() :]
    return INNER_WRAPPER.sub("", name), taken + "".join(INNER_WRAPPER.findall(name))


def renamings(names: Sequence[str]) -> tuple[dict[str, str], str]:
    """Name → the name without known wrappers, of those that carry any; and what is taken off, as in
    "module._orig_mod.".

    Both are empty where there is nothing to take off, or where two tensors would then have the same
    name.
    """
    pairs = {name: unwrapped(name) for name in names}
    if len({new for new, _ in pairs.values()}) < len(pairs):
        return {}, ""
    changed = {name: new for name, (new, taken) in pairs.items() if taken}
    return changed, ", ".join(sorted({taken for _, taken in pairs.values() if taken}))


def layer_of(name: str) -> int:
    """The number of the layer that a tensor belongs to; −1 for one of no layer."""
    match = LAYER.search(name)
    return int(match[1]) if match else -1


def unmerged_adapter(names: Iterable[str]) -> str | None:
    """A tensor that shows that an adapter was never added to the weights, None where there is
    none.
    """
    return next((name for name in names if ADAPTER.search(name)), None)


def misfit(
    missing: Collection[str], mismatched: Collection[tuple[str, Sequence[int], Sequence[int]]]
) -> str | None:
    """In words, which of a model's tensors its files lack or have in another shape (name, shape in
    the file, in the model); None where all fit.
    """
    faults = []
    if mismatched:
        shapes = [
            f"{name} is {list(stored)} in the file, {list(expected)} in the model"
            for name, stored, expected in mismatched
        ]
        faults.append(_listed(shapes))
        if any(0 in stored for _, stored, _ in mismatched):
            faults.append(
                "empty tensors are what DeepSpeed's ZeRO-3 leaves in a run that must be "
                "consolidated first (zero_to_fp32.py)"
            )
    if missing:
        faults.append(f"{_listed(missing)} {'is' if len(missing) == 1 else 'are'} missing")
    return "; ".join(faults) or None


def _listed(what: Collection[str]) -> str:
    named = sorted(what)[:NAMED]
    more = len(what) - len(named)
    if more:
        return f"{', '.join(named)} and {more} more tensor{'s' if more > 1 else ''}"
    return " and ".join([", ".join(named[:-1]), named[-1]]) if len(named) > 1 else named[0]
