"""Whether a checkpoint's folder is whole: a run that is training writes its files one after
another, and half a checkpoint must not be taken for a damaged one.

What can be told without waiting is told from the files: an index names all shards, and the header
of a safetensors file says how long the file has to be. Only bytes and names are looked at; no
tensor is read.
"""

from __future__ import annotations

import hashlib
import json
import zipfile
from pathlib import Path
from typing import Any

from circuitwatch.checkpoints.files import weight_files
from circuitwatch.checkpoints.kinds import held_instead_in

SINGLE_FILES = ("model.safetensors", "pytorch_model.bin")
"""Weights in one file. In several files they need an index, which is called like these with
INDEX behind it.
"""
INDEX = ".index.json"
TOKENIZERS = ("tokenizer.json", "vocab.json", "vocab.txt", "tokenizer.model", "spiece.model")
"""One of these is there where a checkpoint has a tokenizer."""
LOOKED_AT = ("config.json", "model*", "pytorch_model*", "tokenizer*", *TOKENIZERS)
"""Patterns of the files that are read of a checkpoint. Others, such as the optimiser's state, may
come and go.
"""
Files = dict[str, tuple[int, int]]
"""Name → bytes and time of the last change (ns) of the files that are read of a checkpoint."""


def files_of(folder: Path) -> Files:
    """What there is now of the files that are read of a checkpoint; none where there is no such
    folder.
    """
    found: Files = {}
    for pattern in LOOKED_AT:
        for path in folder.glob(pattern):
            try:
                state = path.stat()
            except OSError:  # deleted since it was listed, or a link to nothing
                continue
            found[path.name] = (state.st_size, state.st_mtime_ns)
    return found


def fingerprint(files: Files) -> str:
    """A hash of names, sizes and times: another one means that something has changed."""
    return hashlib.sha256(json.dumps(sorted(files.items())).encode()).hexdigest()


NOTHING_THERE = fingerprint({})
"""Of a folder that is gone."""


def has_tokenizer(folder: Path) -> bool:
    """Whether a checkpoint's folder has a tokenizer of its own."""
    return any((folder / name).is_file() for name in TOKENIZERS)


def unfinished(folder: Path) -> str | None:
    """In words, what a checkpoint's folder lacks of being whole; None where it is.

    A file that can't be read counts as one that is not there yet: it may be about to be deleted.
    """
    try:
        return _lacks(folder)
    except OSError as error:
        if not folder.is_dir():
            return f"{folder} is no longer there"
        return f"{error.filename or folder} can't be read ({error.strerror or error})"


def _lacks(folder: Path) -> str | None:
    if not folder.is_dir():
        return f"{folder} is no longer there"
    config, files = folder / "config.json", weight_files(folder)
    index = _index_of(folder, files)
    has = {"config.json": config.exists(), "weights": bool(files) or index is not None}
    if not all(has.values()):
        if instead := held_instead_in(folder):
            return f"{folder}: {instead}"
        return f"no {' and '.join(what for what in has if not has[what])} in {folder}"
    if not isinstance(_json(config), dict):
        return f"{config} is not a whole JSON file"
    if index is not None and (lacking := _lacks_of_shards(index)):
        return lacking
    return next((lacking for file in files if (lacking := _lacks_of_file(file))), None)


def _index_of(folder: Path, files: list[Path]) -> Path | None:
    """The index, there or not, that weights in several files need; None where one file holds them
    all.
    """
    if files:
        (single,) = (name for name in SINGLE_FILES if name.endswith(files[0].suffix))
        return None if (folder / single).exists() else folder / f"{single}{INDEX}"
    indexes = (folder / f"{name}{INDEX}" for name in SINGLE_FILES)
    return next((index for index in indexes if index.exists()), None)


def _lacks_of_shards(index: Path) -> str | None:
    """What is missing of the files that an index names."""
    if not index.exists():
        if instead := held_instead_in(index.parent):
            return f"{index.parent}: {instead}"
        return f"no {index.name} in {index.parent}"
    content = _json(index)
    places = content.get("weight_map") if isinstance(content, dict) else None
    if not isinstance(places, dict) or not places:
        return f"{index} is not a whole index"
    shards = sorted(set(map(str, places.values())))
    absent = [name for name in shards if not (index.parent / name).exists()]
    if not absent:
        return None
    of_all = f"{len(absent)} of the {len(shards)} files that {index.name} names"
    return f"{of_all} are not in {index.parent} ({absent[0]})"


def _lacks_of_file(file: Path) -> str | None:
    """What is missing of a file of weights. Of the older kind of .bin files, which are no archives,
    only that they are empty can be told.
    """
    size = file.stat().st_size
    if file.suffix == ".safetensors":
        expected = _expected_bytes(file, size)
        if expected is None:
            return f"{file} has no whole header"
        return None if size >= expected else f"{file} has {size} of {expected} bytes"
    with file.open("rb") as content:
        is_archive = content.read(2) == b"PK"
    if not size or (is_archive and not zipfile.is_zipfile(file)):
        return f"{file} is not whole"
    return None


def _expected_bytes(file: Path, size: int) -> int | None:
    """Bytes that a safetensors file must have: 8 that say how long the header is, the header, and
    what the header says of tensors. None while the header is not whole.
    """
    with file.open("rb") as content:
        length = int.from_bytes(content.read(8), "little")
        if not 0 < length <= size - 8:
            return None
        try:
            header = json.loads(content.read(length))
            tensors = [about for name, about in header.items() if name != "__metadata__"]
            return 8 + length + max((int(about["data_offsets"][1]) for about in tensors), default=0)
        except (ValueError, TypeError, KeyError, IndexError, AttributeError, RecursionError):
            return None


def _json(path: Path) -> Any:
    """What a JSON file holds; None if it is none."""
    try:
        return json.loads(path.read_bytes())
    except (ValueError, RecursionError):
        return None
