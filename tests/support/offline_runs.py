"""What W&B keeps of a cell's only offline run, read with W&B's own command."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

from circuitwatch.records import Cell


def history(cell: Cell) -> list[dict[str, Any]]:
    """The rows of the cell's only offline run, read with W&B's own command."""
    (path,) = cell.folder.glob("wandb/offline-run-*/run-*.wandb")
    return [message["history"] for message in messages(path) if message["type"] == "history"]


def messages(path: Path) -> list[dict[str, Any]]:
    """What a run's file holds, read with W&B's own command."""
    command = [str(Path(sys.executable).with_name("wandb")), "leet", "inspect", "--json", str(path)]
    shown = subprocess.run(command, check=True, capture_output=True, text=True).stdout
    return [json.loads(line) for line in shown.splitlines()]


def axes(cell: Cell) -> dict[str, str]:
    """Metric, or pattern of metrics → the metric that W&B draws it over."""
    (path,) = cell.folder.glob("wandb/offline-run-*/run-*.wandb")
    metrics = [message["metric"] for message in messages(path) if message["type"] == "metric"]
    return {
        metric.get("glob_name") or metric["name"]: metric.get("step_metric", "")
        for metric in metrics
    }


def hidden(cell: Cell) -> set[str]:
    """Metrics, or patterns of metrics, that make no panel."""
    (path,) = cell.folder.glob("wandb/offline-run-*/run-*.wandb")
    metrics = [message["metric"] for message in messages(path) if message["type"] == "metric"]
    return {
        metric.get("glob_name") or metric["name"]
        for metric in metrics
        if metric.get("options", {}).get("hidden")
    }


def values(rows: list[dict[str, Any]], name: str) -> list[Any]:
    """One metric over the rows, wherever a row keeps it."""
    text = [json.dumps(row) for row in rows]
    assert all(name in row for row in text), rows[:1]
    return [find(row, name) for row in rows]


def find(tree: Any, name: str) -> Any:
    if isinstance(tree, dict):
        if name in tree:
            return tree[name]
        return next(
            (found for branch in tree.values() if (found := find(branch, name)) is not None), None
        )
    return None
