"""A directory of Hugging Face checkpoints, as a training run or the nano trainer writes it: step128/ or checkpoint-128/, each complete in itself."""

from __future__ import annotations

import json
import re
from pathlib import Path

from circuitwatch.checkpoints.schedule import Checkpoint
from circuitwatch.errors import UserError

NAME = re.compile(r"(?:step|checkpoint)[-_]?(\d+)$")


def list_checkpoints(directory: Path, *, tokens_per_step: int | None = None) -> list[Checkpoint]:
    """The checkpoints in a directory, ascending by step.

    `tokens_per_step` may be None where suite.json, written by the nano trainer, says it. Raises UserError if the directory does not exist,
    has no checkpoint, or tokens per step are unknown.
    """
    if not directory.is_dir():
        raise UserError(f"model.path={directory}: no such directory")
    found = {int(match[1]): path for path in directory.iterdir() if path.is_dir() and (match := NAME.match(path.name))}
    if not found:
        raise UserError(f"model.path={directory}: no step<N> or checkpoint-<N> folder in it")
    suite = directory / "suite.json"
    if tokens_per_step is None and suite.exists():
        tokens_per_step = json.loads(suite.read_text(encoding="utf-8"))["tokens_per_step"]
    if tokens_per_step is None:
        raise UserError("model.tokens_per_step is missing: say how many training tokens one step of this run sees")
    return [Checkpoint(step, step * tokens_per_step, path.name, path) for step, path in sorted(found.items())]
