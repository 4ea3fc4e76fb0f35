"""What this installation can do, for `circuitwatch doctor` alone: versions, device, memory, disk,
the hub, W&B and launchers. Nothing secret is shown.
"""

from __future__ import annotations

import os
import platform
import shutil
from collections.abc import Iterator
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from urllib.parse import urlsplit, urlunsplit

from circuitwatch import __version__

LIBRARIES = (
    *("torch", "transformers", "transformer-lens", "tokenizers", "safetensors"),
    *("huggingface-hub", "hydra-core", "wandb", "numpy", "pandas"),
)
ANSWER_SECONDS = 5.0
"""How long an answer of the hub is waited for."""
GIB = 2**30
Line = tuple[str, str]


def lines() -> Iterator[Line]:
    """(what, what there is of it) one after another, the quick ones first."""
    yield (
        "circuitwatch",
        f"{__version__}, Python {platform.python_version()}, {platform.platform()}",
    )
    yield "libraries", ", ".join(f"{name} {_version(name)}" for name in LIBRARIES)
    yield "cores", _cores()
    yield "memory", _memory()
    yield "device", _device()
    yield from _disks()
    yield "hub", _hub()
    yield "hub token", _token()
    yield "W&B", _wandb()
    yield from _launchers()
    yield "TensorBoard files", _extra("tensorboard", "tensorboard")


def _version(package: str) -> str:
    try:
        return version(package)
    except PackageNotFoundError:
        return "missing"


def _extra(package: str, extra: str) -> str:
    found = _version(package)
    if found == "missing":
        return f"{package} is not installed: pip install 'circuitwatch[{extra}]'"
    return f"{package} {found}"


def _cores() -> str:
    import torch

    here = getattr(os, "sched_getaffinity", None)
    usable = len(here(0)) if here else os.cpu_count()
    return f"{usable} of {os.cpu_count()}; {torch.get_num_threads()} threads"


def _memory() -> str:
    import psutil

    memory = psutil.virtual_memory()
    return f"{memory.available / GIB:.1f} GiB free of {memory.total / GIB:.1f}"


def _device() -> str:
    """What device=auto means here."""
    import torch

    from circuitwatch.analysis import torch_device

    name = torch_device("auto")
    if name == "cuda":
        free, total = torch.cuda.mem_get_info()
        more = f" ({torch.cuda.device_count()} of them)" if torch.cuda.device_count() > 1 else ""
        return (
            f"cuda: {torch.cuda.get_device_name()}{more}, {free / GIB:.1f} GiB free of "
            f"{total / GIB:.1f}"
        )
    built = f"torch is built for CUDA {torch.version.cuda}" if torch.version.cuda else ""
    return f"{name}{f' ({built}, and sees no GPU)' if built and name == 'cpu' else ''}"


def _disks() -> Iterator[Line]:
    """Room in the folders that are written to by default."""
    from huggingface_hub import constants

    cache = os.environ.get("CIRCUITWATCH_CACHE") or "~/.cache/circuitwatch"
    for what, folder in (
        ("disk, results", Path("multirun")),
        ("disk, cache", Path(cache)),
        ("disk, checkpoints", Path(constants.HF_HOME) / "circuitwatch"),
    ):
        yield what, _room(folder.expanduser().absolute())


def _room(folder: Path) -> str:
    there = next((part for part in (folder, *folder.parents) if part.is_dir()), None)
    if there is None:
        return f"{folder}: can't be reached"
    writable = "" if os.access(there, os.W_OK) else "; can't be written to"
    usage = shutil.disk_usage(there)
    return f"{usage.free / GIB:.1f} GiB free of {usage.total / GIB:.1f} at {folder}{writable}"


def _hub() -> str:
    """Whether the hub answers."""
    from huggingface_hub import constants, get_session

    if constants.is_offline_mode():
        return "offline (HF_HUB_OFFLINE): checkpoints are those on this machine"
    url = _without_password(constants.ENDPOINT)
    try:
        answer = get_session().head(constants.ENDPOINT, timeout=ANSWER_SECONDS)
    except Exception as error:  # the client's HTTP library differs between its versions
        return f"{url} can't be reached ({type(error).__name__})"
    broken = f", but answers {answer.status_code}" if answer.status_code >= 500 else ""
    return f"{url} can be reached{broken}"


def _without_password(url: str) -> str:
    """An address without who asks there."""
    parts = urlsplit(url)
    return urlunsplit(parts._replace(netloc=parts.netloc.rpartition("@")[2]))


def _token() -> str:
    from huggingface_hub import get_token

    if any(os.environ.get(name) for name in ("HF_TOKEN", "HUGGING_FACE_HUB_TOKEN")):
        return "HF_TOKEN is set"
    if get_token():
        return "HF_TOKEN is not set; a token is saved on this machine"
    return "HF_TOKEN is not set: repositories to which access must be granted can't be read"


def _wandb() -> str:
    """What tracking=auto means here."""
    from circuitwatch.tracking.account import Unreachable, reach, resolve_mode, server_url

    mode = resolve_mode("auto")
    if mode == "off":
        return "switched off here: there are no runs"
    if mode == "offline":
        return "no account here, or W&B is set offline: runs are kept on this machine"
    try:
        reach()
    except Unreachable as error:
        return f"an account is set up, but {_hidden(str(error), server_url())}"
    return f"logged in at {_without_password(server_url())}: runs are sent"


def _hidden(text: str, url: str) -> str:
    return text.replace(url, _without_password(url))


def _launchers() -> Iterator[Line]:
    from circuitwatch.launching import ENGINES

    yield "sweeps", "one cell after another, always"
    for extra, (choice, package, _) in ENGINES.items():
        yield f"  hydra/launcher={choice}", _extra(package, extra)
