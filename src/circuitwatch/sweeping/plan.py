"""The cells that a sweep was asked for, in `sweep.json`; written before the first of them starts.

Sweeps that are started one after another in the same folder add to it.
"""

from __future__ import annotations

import json
import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from circuitwatch.locks import hold

PLAN = "sweep.json"
LOCK = ".sweep.lock"


@dataclass(frozen=True)
class Planned:
    """One job of a sweep. folder: its cell's, as seen from the sweep's; name: short, what people
    are told: the folder, and what else tells it from other jobs there; shard: which part of the
    cell, None for all of it.
    """

    folder: str
    name: str
    shard: str | None = None


def add_to_plan(sweep: Path, planned: Sequence[Planned]) -> None:
    """Write down that these cells were asked for, beside those of earlier sweeps there.

    Raises OSError or UserError if the folder can't be written.
    """
    sweep.mkdir(parents=True, exist_ok=True)
    with hold(sweep / LOCK, f"{sweep / PLAN} is being written", wait=True):
        known = {entry.folder: entry.name for entry in read_plan(sweep)}
        known |= {entry.folder: entry.folder for entry in planned}
        partial = sweep / f"{PLAN}.partial"
        cells = [{"folder": folder, "name": name} for folder, name in known.items()]
        partial.write_text(json.dumps({"cells": cells}, indent=1) + "\n", encoding="utf-8")
        os.replace(partial, sweep / PLAN)


def read_plan(sweep: Path) -> list[Planned]:
    """The cells that a sweep was asked for; none where it is not known or what is there is no plan
    (a folder of before, of single runs, or a damaged file: the next sweep writes it anew).
    """
    try:
        cells = json.loads((sweep / PLAN).read_text(encoding="utf-8"))["cells"]
        planned = [Planned(str(cell["folder"]), str(cell["name"])) for cell in cells]
    except (OSError, ValueError, LookupError, TypeError, RecursionError):
        return []
    return [entry for entry in planned if _is_inside(entry.folder)]


def _is_inside(folder: str) -> bool:
    path = PurePosixPath(folder)
    return bool(path.parts) and not path.is_absolute() and ".." not in path.parts
