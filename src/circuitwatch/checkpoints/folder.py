"""A directory of Hugging Face checkpoints, as a training run or the nano trainer writes it:
step128/ or checkpoint-128/, each complete in itself.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from circuitwatch.checkpoints.audit import Audit, Weights
from circuitwatch.checkpoints.loading import weight_files
from circuitwatch.checkpoints.schedule import Checkpoint
from circuitwatch.checkpoints.source import Say
from circuitwatch.errors import UserError

NAME = re.compile(r"(?:step|checkpoint)[-_]?(\d+)$")


def list_checkpoints(directory: Path, *, tokens_per_step: int | None = None) -> list[Checkpoint]:
    """The checkpoints in a directory, ascending by step.

    `tokens_per_step` may be None where suite.json, written by the nano trainer, says it. Raises
    UserError if the directory does not exist, has no checkpoint, or tokens per step are unknown.
    """
    if not directory.is_dir():
        raise UserError(f"model.path={directory}: no such directory")
    folders = {
        int(match[1]): path
        for path in directory.iterdir()
        if path.is_dir() and (match := NAME.match(path.name))
    }
    if not folders:
        raise UserError(f"model.path={directory}: no step<N> or checkpoint-<N> folder in it")
    suite = directory / "suite.json"
    if tokens_per_step is None and suite.exists():
        tokens_per_step = json.loads(suite.read_text(encoding="utf-8"))["tokens_per_step"]
    if tokens_per_step is None:
        raise UserError(
            "model.tokens_per_step is missing: say how many training tokens one step of this "
            "run sees"
        )
    return [
        Checkpoint(step, step * tokens_per_step, path.name)
        for step, path in sorted(folders.items())
    ]


class FolderSource:
    """A `Source` over a directory: nothing to fetch and nothing to delete."""

    def __init__(self, directory: Path, *, tokens_per_step: int | None = None) -> None:
        self.directory = directory
        self._available = list_checkpoints(directory, tokens_per_step=tokens_per_step)

    def available(self) -> list[Checkpoint]:
        """All checkpoints in the directory."""
        return self._available

    def about(self, checkpoints: Sequence[Checkpoint]) -> Path:
        """The first checkpoint's folder."""
        return self.directory / checkpoints[0].revision

    def audit(self, checkpoints: Sequence[Checkpoint], say: Say) -> Audit:
        """Hashes every weight file, which reads it once; a folder without weights counts as
        missing.
        """
        weights: dict[int, Weights] = {}
        missing: dict[int, str] = {}
        for checkpoint in checkpoints:
            say(f"{checkpoint.revision}: hashing")
            folder = self.directory / checkpoint.revision
            has = {
                "config.json": (folder / "config.json").exists(),
                "weights": bool(weight_files(folder)),
            }
            if all(has.values()):
                weights[checkpoint.step] = Weights.of_folder(folder)
            else:
                missing[checkpoint.step] = (
                    f"no {' and '.join(what for what in has if not has[what])} in {folder}"
                )
        return Audit.of(checkpoints, weights, missing)

    @contextmanager
    def stream(self, checkpoints: Sequence[Checkpoint]) -> Iterator[FolderSource]:
        """Checkpoints one after another."""
        yield self

    @contextmanager
    def hold(self, checkpoint: Checkpoint, say: Say) -> Iterator[Path]:
        """The checkpoint's folder."""
        yield self.directory / checkpoint.revision
