"""A cell's cell.json changed as if the cell had been made with it."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

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
        manifest = json.loads((record / MANIFEST).read_text(encoding="utf-8"))
        sha256 = hashlib.sha256(content.encode()).hexdigest()
        manifest["scalars.json"] = {"bytes": len(content.encode()), "sha256": sha256}
        (record / MANIFEST).write_text(json.dumps(manifest, indent=1, sort_keys=True) + "\n")
    if (folder / DONE).is_file():
        Cell.open(folder).mark_done()
