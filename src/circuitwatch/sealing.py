"""What ties a cell's files to one another, so that a file of another cell, or one that was changed
together with the hash beside it, is found.

Every record says which cell.json it was made under. A cell that is done is sealed: done.json has
the hash of each record's manifest and of the files beside the records, and one of itself, by which
a damaged seal is told from a damaged file.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NotRequired, TypedDict

from circuitwatch.comparing import compared
from circuitwatch.errors import UserError
from circuitwatch.headers import Count
from circuitwatch.json_files import read_json, write_json
from circuitwatch.shapes import misfit
from circuitwatch.units import counted

DONE = "done.json"
MANIFEST = "manifest.json"
BESIDE = ("checkpoints.json", "skipped.json")
"""Files beside the records that a seal covers where they are there."""
PLACES = ("model.path", "model.tokenizer", "heads.text")
"""Options that name files: copies of one training give the same records, and what is sent to W&B
names no folder of this machine.
"""
NOT_IDENTITY = ("format", "schedule", "config", "copy_suppression_text", "prompt_notes")
"""Of a cell.json, what grows, what is looked at by itself, and what may name files."""


class Seal(TypedDict):
    """What done.json says. Those of earlier versions say only how many records there are."""

    checkpoints: Count
    cell: NotRequired[str]
    files: NotRequired[Mapping[str, str]]
    sha256: NotRequired[str]


def identity(header: Mapping[str, Any]) -> str:
    """SHA-256 of what a cell.json says, but for its format, for where files lie, and for what
    decides nothing of the records (`comparing.NOT_COMPARED`): the same wherever, and by however
    many processes, the cell is made.

    Args:
        header: of the cell; its schedule, which may grow, is not part of it.
    """
    rest = {k: v for k, v in header.items() if k not in NOT_IDENTITY}
    config = {k: v for k, v in compared(header["config"]).items() if k not in PLACES}
    return _sha256_of({**rest, "config": config})


def sealed(cell: str, files: Mapping[str, bytes]) -> dict[str, Any]:
    """What done.json says of a cell.

    Args:
        cell: its identity.
        files: name → content of those of BESIDE that there are, and of its records' manifests.
    """
    return _signed(
        cell, {name: hashlib.sha256(content).hexdigest() for name, content in files.items()}
    )


def _signed(cell: str, hashes: Mapping[str, str]) -> dict[str, Any]:
    n = sum(name.endswith(MANIFEST) for name in hashes)
    content = {"checkpoints": n, "cell": cell, "files": dict(hashes)}
    return {**content, "sha256": _sha256_of(content)}


def seal(folder: Path, cell: str, records: Sequence[Path]) -> None:
    """Write done.json.

    Args:
        folder: of the cell.
        cell: its identity.
        records: the folders of its records.
    """
    write_json(folder / DONE, _signed(cell, _hashes(folder, records)))


def read_seal(folder: Path) -> Seal | None:
    """What done.json says; None where there is none, or not what `seal` wrote."""
    try:
        said = read_json(folder / DONE)
    except UserError:
        return None
    content = {name: value for name, value in said.items() if name != "sha256"}
    is_earlier = said.keys() == {"checkpoints"}
    if not is_earlier and said.get("sha256") != _sha256_of(content):
        return None
    found: Seal | None = None if misfit(said, Seal) else said  # type: ignore[assignment]
    return found


def broken(folder: Path, cell: str, records: Sequence[Path]) -> str | None:
    """What of a cell is no longer as it was when it was done, in words; None where all is.

    Args:
        folder: of the cell.
        cell: its identity.
        records: the folders of its records.
    """
    said = read_seal(folder)
    if said is None or said.get("cell", cell) != cell:
        return f"{DONE} is damaged" if said is None else f"{DONE} is of another cell"
    if "files" not in said:
        fits = said["checkpoints"] <= len(records)
        missing = counted(said["checkpoints"] - len(records), "record is", "records are")
        return None if fits else f"{missing} missing"
    now = _hashes(folder, records)
    for name in sorted(now.keys() | said["files"].keys()):
        if name not in now:
            return f"{name.removesuffix('/' + MANIFEST)} is missing"
        if now[name] != said["files"].get(name):
            return f"{name} is not what it was then"
    return None


def sealed_hashes(folder: Path, cell: str) -> Mapping[str, str]:
    """Hashes of a cell's files when it was done, by their names below its folder; empty where they
    are not known.

    Args:
        folder: of the cell.
        cell: its identity.
    """
    said = read_seal(folder)
    return said.get("files", {}) if said is not None and said.get("cell") == cell else {}


def _hashes(folder: Path, records: Sequence[Path]) -> dict[str, str]:
    paths = [path for path in (folder / name for name in BESIDE) if path.is_file()]
    paths += [record / MANIFEST for record in records]
    return {_name(folder, path): _sha256(path.read_bytes()) for path in paths}


def _name(folder: Path, path: Path) -> str:
    return path.relative_to(folder).as_posix()


def _sha256(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


def _sha256_of(content: Mapping[str, Any]) -> str:
    text = json.dumps(content, sort_keys=True, allow_nan=False)
    return _sha256(text.encode())
