"""A user's own file of prompts on the real model, from the command line."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from circuitwatch.facts import Facts
from circuitwatch.records import Cell

pytestmark = pytest.mark.e2e
ANIMALS = {
    "dog": "barks", "cat": "meows", "cow": "moos", "lion": "roars", "wolf": "howls",
    "bird": "sings", "snake": "hisses", "duck": "quacks", "bee": "buzzes", "pig": "grunts",
}  # fmt: skip


def test_a_csv_of_facts(watch: Callable[..., Cell], tmp_path: Path) -> None:
    """What animals do, some in words of several tokens; the last row is left out."""
    names, rows = list(ANIMALS), ["clean,corrupted,answer,wrong,position_animal"]
    for i, (name, sound) in enumerate(ANIMALS.items()):
        other = names[(i + 1) % len(names)]
        rows.append(f"The {name} usually,The {other} usually,{sound},{ANIMALS[other]},{name}")
    rows.append("The dog usually,The dog usually,barks,meows,dog")
    path = tmp_path / "animals.csv"
    path.write_text("\n".join(rows), encoding="utf-8")
    cell = watch("task=file", f"task.path={path}", "circuit=eap")
    record = cell.read(1)
    print(cell.header["lexicon"], cell.header["prompt_notes"])
    print({name: value for name, value in record.scalars.items() if "behaviour" in name})
    assert cell.header["task"] == "animals"
    assert any("row 11" in note for note in cell.header["prompt_notes"])
    facts = Facts.of_headers([cell.header])
    assert facts.task("animals").unit == "logits"
    assert record.scalars["behaviour/above_chance"] and record.scalars["behaviour/accuracy"] > 0.5
    assert record.scalars["circuit/status"] == "found"
    low, share = record.scalars["circuit/edges"], record.scalars["circuit/edges_share"]
    assert low > 0 and share < 0.5
