"""What a checkpoint's folder holds that has no weights to read: an adapter alone, or the shards
that FSDP and DeepSpeed write, which a command of theirs merges.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory

ADAPTER_CONFIG = "adapter_config.json"
ADAPTER_WEIGHTS = ("adapter_model.safetensors", "adapter_model.bin")
WHOLE_OF_FSDP = "pytorch_model_fsdp.bin"
"""All weights in one file, under a name that transformers does not read."""
FSDP = re.compile(r"(?:(?P<folder>[^/]+)/)?(?:[^/]*\.distcp|\.metadata)$")
"""Files of torch.distributed.checkpoint, in accelerate's pytorch_model_fsdp_0 or by themselves."""
DEEPSPEED = re.compile(r"(?:(?P<folder>[^/]+)/)?[^/]*_(?:model|optim)_states\.pt$")
"""DeepSpeed's files, in the folder of a step (global_step1000) beside `latest`."""
MOST_LOOKED_AT = 10_000


def held_instead(names: Iterable[str], place: Path | str) -> str | None:
    """What a checkpoint without readable weights holds instead of them, and what makes weights of
    it, in a line; None where it is nothing that is known.

    Args:
        names: Its files, `folder/file` for those of a folder in it.
        place: Where it lies, for the command.
    """
    shards_of_fsdp: str | None = None
    shards_of_deepspeed: str | None = None
    is_adapter = is_whole = False
    for name in names:
        is_whole |= name == WHOLE_OF_FSDP
        is_adapter |= name in (ADAPTER_CONFIG, *ADAPTER_WEIGHTS)
        if match := FSDP.match(name):
            shards_of_fsdp = match["folder"] or ""
        if match := DEEPSPEED.match(name):
            shards_of_deepspeed = match["folder"] or ""
    if shards_of_fsdp is not None:
        shards = f"{place}/{shards_of_fsdp}".rstrip("/")
        return f"FSDP's shards, not merged; merge them: accelerate merge-weights {shards} {place}"
    if shards_of_deepspeed is not None:
        # The script wants the folder that has `latest`, which is above that of the step.
        above = place if shards_of_deepspeed else Path(place).parent
        return (
            f"DeepSpeed's shards, not merged; merge them: python {above}/zero_to_fp32.py {above} "
            f"{place} --safe_serialization"
        )
    if is_whole:
        return f"FSDP's weights in {WHOLE_OF_FSDP}; rename it to pytorch_model.bin"
    if is_adapter:
        return "a LoRA adapter; merge it into its base first, and save that"
    return None


def held_instead_in(folder: Path) -> str | None:
    """`held_instead` of a folder on this machine."""
    names: list[str] = []
    for path in (*folder.glob("*"), *folder.glob("*/*")):
        names.append(path.relative_to(folder).as_posix())
        if len(names) == MOST_LOOKED_AT:
            break
    return held_instead(names, folder)


def adapter_line(folder: Path) -> str:
    """A line that says that an adapter beside full weights is left alone; empty where none is."""
    if not (folder / ADAPTER_CONFIG).is_file():
        return ""
    return f"{ADAPTER_CONFIG} lies beside full weights: these are taken, without the adapter"


@contextmanager
def without_adapter(folder: Path) -> Iterator[Path]:
    """A checkpoint's folder as it is without an adapter, which transformers adds to the weights
    where peft is installed, and does not where it isn't.
    """
    if not (folder / ADAPTER_CONFIG).is_file():
        yield folder
        return
    with TemporaryDirectory() as name:
        for path in folder.iterdir():
            if path.is_file() and path.name not in (ADAPTER_CONFIG, *ADAPTER_WEIGHTS):
                (Path(name) / path.name).symlink_to(path.resolve())
        yield Path(name)
