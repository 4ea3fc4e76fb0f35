"""A cell's files changed as if it had been made with them."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

from circuitwatch.record_files import TIMING
from circuitwatch.records import Cell
from circuitwatch.sealing import DONE, MANIFEST, identity


def change_header(folder: Path, change: Callable[[dict[str, Any]], object]) -> None:
    """Change what cell.json says in place, and let the cell's records and seal agree with it."""
    path = folder / "cell.json"
    header = json.loads(path.read_text(encoding="utf-8"))
    change(header)
    path.write_text(json.dumps(header, indent=1, sort_keys=True) + "\n", encoding="utf-8")
    for record in folder.glob("checkpoints/step*"):
        about = json.loads((record / "scalars.json").read_text(encoding="utf-8"))
        content = json.dumps({**about, "cell": identity(header)}, indent=1, sort_keys=True) + "\n"
        (record / "scalars.json").write_text(content, encoding="utf-8")
        refit(record)
    if (folder / DONE).is_file():
        Cell.open(folder).mark_done()


def refit(record: Path) -> None:
    """Make a record's manifest fit what is there."""
    files = [p for p in record.iterdir() if p.is_file()]
    content = {
        path.name: {"bytes": path.stat().st_size, "sha256": _sha256(path)}
        for path in sorted(files)
        if path.name not in (MANIFEST, TIMING)
    }
    (record / MANIFEST).write_text(json.dumps(content), encoding="utf-8")


def _sha256(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()
