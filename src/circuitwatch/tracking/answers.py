"""What a whole cell says, for its run's summary: when each of its curves emerged, and its records
as one artifact.
"""

from __future__ import annotations

import hashlib
import json
import zipfile
from typing import Any

import numpy as np

from circuitwatch.record_files import TIMING
from circuitwatch.records import SCHEDULE, SKIPPED, Cell
from circuitwatch.sealing import BESIDE, DONE, MANIFEST, sealed
from circuitwatch.tracking.account import load_wandb
from circuitwatch.tracking.folders import Folders
from circuitwatch.tracking.identity import metric_of
from circuitwatch.tracking.names import logged_name

CONTENT = "records/sha256"
"""The run's summary has it once all of the records with this content are there."""
ARTIFACT_TYPE = "records"


def emergence_of(cell: Cell) -> dict[str, Any]:
    """`emergence/<name>/tokens`, `/low`, `/high` and `/status` of each quantity of a cell whose
    emergence is asked for; numbers that do not exist are left out.
    """
    from circuitwatch import results

    metric = metric_of(cell.header)
    found: dict[str, Any] = {}
    for row in results.open(cell.folder).emergence:
        name = f"emergence/{logged_name(row.quantity, metric)}"
        found[f"{name}/status"] = row.status
        for part in ("tokens", "low", "high"):
            value = getattr(row, part)
            if value is not None and np.isfinite(value):
                found[f"{name}/{part}"] = float(value)
    return found


def content_of(cell: Cell) -> str:
    """A hash over the manifests of a cell's records: the same for the same records."""
    digest = hashlib.sha256()
    for step in cell.steps_done():
        digest.update(f"{step}\n".encode() + cell.manifest_bytes(step))
    return digest.hexdigest()


def artifact_of(cell: Cell, id: str, header: dict[str, Any]) -> Any:
    """The records of a cell as an artifact of one file, `records.zip`: what is in the cell's
    folder, which unpacked is a cell again. The same records give the same bytes.

    Args:
        cell: the cell.
        id: of its run.
        header: of the cell as it is sent: without this machine's folders.
    """
    wandb = load_wandb()
    artifact = wandb.Artifact(
        f"records-{id}",
        ARTIFACT_TYPE,
        description=f"records of {header['model']['name']} on {header['task']}, as circuitwatch "
        f"reads them",
        metadata={"content": content_of(cell)},
    )
    with artifact.new_file("records.zip", "wb") as file, zipfile.ZipFile(file, "w") as archive:
        for name, content in sorted(_files_of(cell, header).items()):
            archive.writestr(zipfile.ZipInfo(name), content)
    return artifact


def _files_of(cell: Cell, header: dict[str, Any]) -> dict[str, bytes]:
    """Name → content of a cell's files, without this machine's folders and what the clock said; of
    a cell that is done, sealed as they are then.
    """
    folders = Folders([cell.header])

    def text(content: dict[str, Any]) -> bytes:
        return (json.dumps(content, indent=1, sort_keys=True) + "\n").encode()

    paths = [path for path in cell.record_files() if path.name != TIMING]
    files = {path.relative_to(cell.folder).as_posix(): path.read_bytes() for path in paths}
    alone = {name: value for name, value in header.items() if name != "schedule"}
    files["cell.json"] = text(folders.out_of(alone if SCHEDULE in files else header))
    if SKIPPED in files:  # its reasons name the files that were looked at
        files[SKIPPED] = text(folders.out_of(cell.skipped()))
    if DONE in files:
        covered = {n: c for n, c in files.items() if n in BESIDE or n.endswith(f"/{MANIFEST}")}
        files[DONE] = text(sealed(cell.identity, covered))
    return files
