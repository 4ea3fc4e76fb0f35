"""A directory of Hugging Face checkpoints, as a training run or the nano trainer writes it: step128/ or checkpoint-128/, each complete in itself."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from circuitwatch.checkpoints.audit import Audit, Weights
from circuitwatch.checkpoints.loading import weight_files, weights_sha256
from circuitwatch.checkpoints.schedule import Checkpoint
from circuitwatch.checkpoints.source import Say
from circuitwatch.errors import UserError

NAME = re.compile(r"(?:step|checkpoint)[-_]?(\d+)$")


def list_checkpoints(directory: Path, *, tokens_per_step: int | None = None) -> list[Checkpoint]:
    """The checkpoints in a directory, ascending by step.

    `tokens_per_step` may be None where suite.json, written by the nano trainer, says it. Raises UserError if the directory does not exist,
    has no checkpoint, or tokens per step are unknown.
    """
    found = _folders(directory)
    suite = directory / "suite.json"
    if tokens_per_step is None and suite.exists():
        tokens_per_step = json.loads(suite.read_text(encoding="utf-8"))["tokens_per_step"]
    if tokens_per_step is None:
        raise UserError("model.tokens_per_step is missing: say how many training tokens one step of this run sees")
    return [Checkpoint(step, step * tokens_per_step, path.name) for step, path in sorted(found.items())]


def _folders(directory: Path) -> dict[int, Path]:
    if not directory.is_dir():
        raise UserError(f"model.path={directory}: no such directory")
    found = {int(match[1]): path for path in directory.iterdir() if path.is_dir() and (match := NAME.match(path.name))}
    if not found:
        raise UserError(f"model.path={directory}: no step<N> or checkpoint-<N> folder in it")
    return found


class FolderSource:
    """A `Source` over a directory: nothing to fetch and nothing to delete."""

    def __init__(self, directory: Path, *, tokens_per_step: int | None = None) -> None:
        self.directory = directory
        self._available = list_checkpoints(directory, tokens_per_step=tokens_per_step)

    def available(self) -> list[Checkpoint]:
        """All checkpoints in the directory."""
        return self._available

    def about(self, checkpoints: Sequence[Checkpoint]) -> Path:
        """The first checkpoint's folder; where a trainer kept the tokenizer beside the checkpoints only, the directory must hold it."""
        return self.directory / checkpoints[0].revision

    def audit(self, checkpoints: Sequence[Checkpoint], say: Say) -> Audit:
        """Hashes every weight file, which reads it once; a folder without weights counts as missing."""
        weights: dict[int, Weights] = {}
        missing: dict[int, str] = {}
        for checkpoint in checkpoints:
            say(f"{checkpoint.revision}: hashing")
            folder = self.directory / checkpoint.revision
            files = weight_files(folder)
            if not files or not (folder / "config.json").exists():
                missing[checkpoint.step] = f"no {'weights' if files else 'config.json and weights'} in {folder}"
                continue
            digest = weights_sha256(folder)
            size = sum(path.stat().st_size for path in files)
            weights[checkpoint.step] = Weights(files[0].suffix.lstrip("."), size, digest, frozenset([digest]))
        return Audit.of(checkpoints, weights, missing)

    @contextmanager
    def stream(self, checkpoints: Sequence[Checkpoint]) -> Iterator[FolderStream]:
        """Checkpoints one after another."""
        yield FolderStream(self.directory)


class FolderStream:
    """Hands out folders of a directory."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory

    @contextmanager
    def hold(self, checkpoint: Checkpoint, say: Say) -> Iterator[Path]:
        """The checkpoint's folder."""
        yield self.directory / checkpoint.revision
