"""A trained suite on disk: its manifest, `suite.json`, and whether all is as it was written.

The manifest holds the SHA-256 of every file of every checkpoint, taken when it was written, and of
itself. All of them are compared once in a process, which reads the suite once (of a nano-400k 90
MB, some tenths of a second; of a nano-5m 1 GB): sizes and times alone would not tell a bit that
flipped on the disk. After that they do, for the cells that a process watches one after another.

A suite that is not as it was written is put aside, whole, and trained anew; training gives the same
bits, so that records of it stay what they are.
"""

from __future__ import annotations

import errno
import hashlib
import json
import os
import re
import shutil
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from safetensors import SafetensorError

from circuitwatch.checkpoints.completeness import files_of, unfinished
from circuitwatch.checkpoints.folder import NAME
from circuitwatch.errors import UserError

MANIFEST = "suite.json"
FILES, OWN = "files", "sha256"
"""Keys of the manifest: path → hash of each file, and the hash of all the rest."""
BUILDING = ".building"

Hashes = dict[str, str]
Say = Callable[[str], None]

_compared: dict[Path, str] = {}
"""Suite → sizes and times of its files when they were compared in this process."""


def hashes_of(folder: Path, name: str) -> Hashes:
    """Path below the suite → hash of each file in a folder, which is or becomes its checkpoint
    `name`.
    """
    return {
        f"{name}/{path.name}": _sha256(path)
        for path in sorted(folder.iterdir())
        if path.is_file() and not path.name.startswith(".")
    }


def write_manifest(folder: Path, about: Mapping[str, Any], files: Hashes) -> None:
    """Write the manifest, which makes the suite a finished one."""
    content = {**about, FILES: files}
    path = folder / MANIFEST
    building = folder / f"{MANIFEST}{BUILDING}"
    text = json.dumps({**content, OWN: own_hash(content)}, indent=1)
    building.write_text(text + "\n", encoding="utf-8")
    os.replace(building, path)


def own_hash(content: Mapping[str, Any]) -> str:
    """The hash of a manifest without its own."""
    return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()


def fault_of(folder: Path, expected: Mapping[str, Any], say: Say) -> str | None:
    """What is not as it was written in a suite that has a manifest; None where all is.

    A suite of a version that kept no hashes is taken if it is whole, which is said, and gets them.

    Args:
        folder: The suite's.
        expected: What its manifest must say, by key.
        say: Called with what a user should know.
    """
    try:
        manifest = json.loads((folder / MANIFEST).read_text(encoding="utf-8"))
    except (ValueError, RecursionError):
        return f"{MANIFEST} is empty or cut off"
    if not isinstance(manifest, dict):
        return f"{MANIFEST} is no manifest"
    own, files = manifest.pop(OWN, None), manifest.get(FILES)
    if own is not None and own != own_hash(manifest):
        return f"{MANIFEST} was changed"
    # As JSON has it: a tuple is a list there.
    for key, value in json.loads(json.dumps(expected)).items():
        if manifest.get(key) != value:
            return f"{MANIFEST} has another {key}"
    names = [f"step{step}" for step in expected["steps"]]
    if other := sorted(_checkpoints_in(folder) - set(names)):
        return f"{other[0]} is no checkpoint of it"
    if own is None:
        return _take_over(folder, manifest, names, say)
    if not isinstance(files, dict):
        return f"{MANIFEST} was changed"
    return _compare(folder, names, files)


def put_aside(folder: Path) -> Path:
    """Move a suite out of the way, and say where to."""
    number = 1
    while (aside := folder.with_name(f"{folder.name}.damaged{number}")).exists():
        number += 1
    folder.rename(aside)
    return aside


def remove_unfinished(folder: Path) -> None:
    """Remove what was being written when a training ended."""
    for path in folder.glob(f"*{BUILDING}"):
        if path.is_dir():
            shutil.rmtree(path, ignore_errors=True)
        else:
            path.unlink(missing_ok=True)


@contextmanager
def written_whole(folder: Path) -> Iterator[None]:
    """What is written inside is there whole or not at all, whatever ends it; a disk that is full
    is a UserError.
    """
    try:
        yield
    except (OSError, SafetensorError) as error:
        number = error.errno if isinstance(error, OSError) else None
        if match := re.search(r"os error (\d+)", str(error)):
            number = int(match[1])
        if number in (None, errno.EPIPE):
            raise  # not of a file system
        raise UserError(
            f"{folder}: can't be written ({os.strerror(number)}); what was trained so far is "
            f"kept, and the same command goes on from there; another folder is cache=<folder>"
        ) from error
    finally:
        remove_unfinished(folder)


def first_fault(folder: Path, files: Mapping[str, str]) -> str | None:
    """The first of some files that is missing or has another hash, in words."""
    for name, sha256 in files.items():
        try:
            if _sha256(folder / name) != sha256:
                return f"{name} is not what was written"
        except (FileNotFoundError, NotADirectoryError):
            return f"{name} is missing"
    return None


def _compare(folder: Path, names: list[str], files: Mapping[str, str]) -> str | None:
    for name in names:
        for there in files_of(folder / name):
            if f"{name}/{there}" not in files:
                return f"{name}/{there} does not belong there"
    state = _state(folder, files)
    if _compared.get(folder) == state:
        return None
    fault = first_fault(folder, files)
    if fault is None:
        _compared[folder] = state
    return fault


def _take_over(folder: Path, manifest: dict[str, Any], names: list[str], say: Say) -> str | None:
    """Give a suite without hashes those of the files that are there, if it is whole."""
    files: Hashes = {}
    for name in names:
        lacking = unfinished(folder / name)
        if lacking:
            return lacking
        files |= hashes_of(folder / name, name)
    say(f"{folder}: was made by a version that kept no hashes, and is taken as it is")
    manifest.pop(FILES, None)
    with suppress(OSError):  # a cache that can only be read
        write_manifest(folder, manifest, files)
    return None


def _checkpoints_in(folder: Path) -> set[str]:
    return {path.name for path in folder.iterdir() if NAME.match(path.name)}


def _state(folder: Path, files: Mapping[str, str]) -> str:
    """Sizes and times of files, as one text."""
    found = []
    for name in [MANIFEST, *files]:
        with suppress(OSError):
            stat = (folder / name).stat()
            found.append((name, stat.st_size, stat.st_mtime_ns, stat.st_ctime_ns, stat.st_ino))
    return json.dumps(found)


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
