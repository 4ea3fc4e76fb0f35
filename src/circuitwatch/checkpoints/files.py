"""The weight files of a checkpoint's folder, and their hashes."""

from __future__ import annotations

import hashlib
from pathlib import Path

WEIGHT_FILES = {"safetensors": "model*.safetensors", "bin": "pytorch_model*.bin"}
"""Kinds of weight files, the preferred one first; weights in several files have numbers where the
star is.
"""


def weight_files(folder: Path) -> list[Path]:
    """The files that a checkpoint's weights are read from, by name, of the first of WEIGHT_FILES
    that there are.
    """
    of_each_kind = (sorted(folder.glob(pattern)) for pattern in WEIGHT_FILES.values())
    return next((files for files in of_each_kind if files), [])


def weights_sha256(folder: Path) -> str:
    """SHA-256 of the weights: of the one file, as a hub lists it, or over the hashes of several,
    see `joint_sha256`.
    """
    return joint_sha256({path.name: file_sha256(path) for path in weight_files(folder)})


def file_sha256(path: Path) -> str:
    """SHA-256 of a file, read in pieces."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def joint_sha256(hashes: dict[str, str]) -> str:
    """One hash for the weight files of a checkpoint, from name → hash: a single file's own, else
    SHA-256 over lines of name and hash in order of names.
    """
    if len(hashes) == 1:
        return next(iter(hashes.values()))
    lines = "".join(f"{name} {value}\n" for name, value in sorted(hashes.items()))
    return hashlib.sha256(lines.encode()).hexdigest()
