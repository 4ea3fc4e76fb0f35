"""What a cell's W&B run is called and says of itself: id, name, group, tags, notes, configuration.

The id is made of what decides the records: the sweep, the model, the task, the seed, and those
parts of the configuration that are compared when a cell is resumed. Threads, device, folders and
W&B's own options are not in it, so that a cell has one run whatever machine goes on with it.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from circuitwatch.comparing import compared
from circuitwatch.facts import Facts, variant_of
from circuitwatch.records import Cell
from circuitwatch.units import counted

WATCH, SUMMARY = "watch", "summary"
"""Job types of the runs of cells and of a sweep's summary."""
LONGEST_TAG = 64
"""Letters of a tag; W&B refuses a run with a longer one."""
PATHS = {
    "": ("out", "cache"),
    "model": ("path",),
    "task": ("path",),
    "checkpoints": ("folder",),
    "heads": ("text",),
}
"""Options that are folders or files of a machine: group → their names in it."""


@dataclass(frozen=True)
class Identity:
    """What a run is called and says of itself, as `wandb.init` takes it."""

    id: str
    name: str
    group: str
    job_type: str
    tags: list[str]
    notes: str
    config: dict[str, Any] = field(default_factory=dict)


def run_id(cell: Cell) -> str:
    """The id of a cell's run, the same whenever and wherever the cell is gone on with."""
    header = cell.header
    deciding = {k: v for k, v in compared(header["config"]).items() if k != "model.path"}
    return _short_hash(
        sweep_of(cell), header["model"]["name"], header["task"], header["seed"], deciding
    )


def summary_id(sweep: str) -> str:
    """The id of a sweep's summary run."""
    return _short_hash("summary", sweep)


def sweep_of(cell: Cell) -> str:
    """The sweep that a cell is of: as its configuration says, else by its folder."""
    return str(cell.header["config"].get("sweep") or cell.folder.absolute().parents[2].name)


def is_summary(config: Mapping[str, Any]) -> bool:
    """Whether a run is a sweep's summary, as its configuration says."""
    return config.get("job_type") == SUMMARY and "sweep" in config


def metric_of(header: dict[str, Any]) -> str:
    """The metric of a cell's task, or nothing where the cell does not say it."""
    return Facts.of_headers([header]).task(header["task"]).metric


def identity_of(cell: Cell) -> Identity:
    """The identity of a cell's run."""
    header = cell.header
    model, task, seed = header["model"], header["task"], header["seed"]
    known = Facts.of_headers([header]).task(task)
    schedule = header["schedule"]
    ends = f", up to {schedule[-1]['tokens']:,} training tokens" if schedule else ""
    return Identity(
        id=run_id(cell),
        name=f"{sweep_of(cell)} {model['name']} {task} seed{seed}",
        group=sweep_of(cell),
        job_type=WATCH,
        tags=[tag[:LONGEST_TAG] for tag in (model["name"], task, variant_of(header)) if tag],
        notes=f"{known.words} in {counted(len(schedule), 'checkpoint')} of {model['name']}{ends}",
        config={
            **without_paths(header["config"]),
            "model_facts": model,
            "facts": header.get("facts", {}),
            "code_version": header.get("code_version", ""),
            "versions": header.get("versions", {}),
            "params_total": model.get("params_total"),
            "params_non_embedding": model.get("params_non_embedding"),
            "metric": known.metric,
            "unit": known.unit,
            "n_edges": header.get("graph", {}).get("n_edges"),
        },
    )


def without_paths(config: dict[str, Any]) -> dict[str, Any]:
    """A configuration without the folders and files of this machine, which say nothing of the run.
    Its own threads and device stay, as what made the records.
    """

    def kept(group: str, content: Any) -> Any:
        if not isinstance(content, dict):
            return content
        return {k: v for k, v in content.items() if k not in PATHS.get(group, ())}

    return {group: kept(group, content) for group, content in kept("", config).items()}


def _short_hash(*parts: Any) -> str:
    text = json.dumps(parts, sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(text.encode()).hexdigest()[:16]
