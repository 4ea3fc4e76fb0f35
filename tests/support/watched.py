"""A made-up sweep whose cells say which sweep they are of, as those that were logged do; what a
workspace of it must show is known.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from support.sweeps import write_sweep


def write_watched(folder: Path, **options: Any) -> Path:
    """A sweep as `write_sweep` writes it, named after its folder."""
    write_sweep(folder, **options)
    for path in folder.rglob("cell.json"):
        header = json.loads(path.read_text())
        header["config"] |= {"sweep": folder.name}
        path.write_text(json.dumps(header))
    return folder


def sections_of(view: dict[str, Any]) -> dict[str, list[dict[str, Any]]]:
    """The panels of a workspace's JSON by section."""
    sections = view["spec"]["section"]["panelBankConfig"]["sections"]
    return {section["name"]: section["panels"] for section in sections}


def drawn(panels: list[dict[str, Any]]) -> list[str]:
    """What panels over tokens draw, by its names in W&B."""
    return [name for panel in panels for name in panel["config"].get("metrics", ())]


def grids_of(report: dict[str, Any]) -> Iterator[dict[str, Any]]:
    """The grids of panels in a report's JSON."""
    return (
        block["metadata"] for block in report["spec"]["blocks"] if block["type"] == "panel-grid"
    )


def words_of(part: Any) -> str:
    """All that a report's JSON says in words and tables, in order."""
    if isinstance(part, dict):
        own = [part[key] for key in ("text", "content") if isinstance(part.get(key), str)]
        return "\n".join([*own, *filter(None, map(words_of, part.values()))])
    return "\n".join(filter(None, map(words_of, part))) if isinstance(part, list) else ""
