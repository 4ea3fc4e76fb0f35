"""A directory of Hugging Face checkpoints, as a training run or the nano trainer writes it:
step128/ or checkpoint-128/. It may grow while it is read, and old checkpoints may be deleted from
it.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from circuitwatch.checkpoints.audit import NO_RECORDS, Audit, RecordedWeights, Weights
from circuitwatch.checkpoints.completeness import (
    Files,
    files_of,
    fingerprint,
    has_tokenizer,
    unfinished,
)
from circuitwatch.checkpoints.kinds import held_instead_in
from circuitwatch.checkpoints.schedule import Checkpoint
from circuitwatch.checkpoints.source import Missing, Say
from circuitwatch.errors import UserError
from circuitwatch.limits import MOST_STEP, MOST_TOKENS_PER_STEP, require_whole, shown

NAME = re.compile(r"(?:step|checkpoint)[-_]?(\d+)$")


def list_checkpoints(directory: Path, *, tokens_per_step: int | None = None) -> list[Checkpoint]:
    """The checkpoints in a directory, ascending by step.

    `tokens_per_step` may be None where suite.json, written by the nano trainer, says it. Raises
    UserError if the directory does not exist, has no checkpoint, or tokens per step are unknown.
    """
    if not directory.is_dir():
        raise UserError(f"model.path={directory}: no such directory")
    folders = _folders(directory)
    if not folders:
        if instead := held_instead_in(directory):
            raise UserError(f"model.path={directory}: {instead}")
        raise UserError(
            f"model.path={directory}: no step<N> or checkpoint-<N> folder in it, N at most "
            f"{MOST_STEP}"
        )
    tokens = _tokens_per_step(directory, tokens_per_step)
    return [Checkpoint(step, step * tokens, name) for step, name in folders.items()]


def _folders(directory: Path) -> dict[int, str]:
    """Step → name of each checkpoint's folder, ascending; other names are no checkpoints, nor are
    those of steps that no training has.

    Raises UserError for two of one step.
    """
    found: dict[int, str] = {}
    for name in sorted(path.name for path in directory.iterdir() if path.is_dir()):
        if (match := NAME.match(name)) is None or (step := int(match[1])) > MOST_STEP:
            continue
        if step in found:
            raise UserError(
                f"{directory}: {found[step]} and {name} are both of step {step}; leave one there"
            )
        found[step] = name
    return dict(sorted(found.items()))


def _tokens_per_step(directory: Path, given: int | None) -> int:
    suite = directory / "suite.json"
    if given is None and suite.exists():
        try:
            given = json.loads(suite.read_text(encoding="utf-8"))["tokens_per_step"]
            require_whole(given, "tokens_per_step", 1, MOST_TOKENS_PER_STEP)
        except (ValueError, KeyError, TypeError, RecursionError, UserError) as error:
            raise UserError(
                f"{suite}: says no tokens_per_step ({shown(error)}); give model.tokens_per_step"
            ) from error
    if given is None:
        raise UserError(
            "model.tokens_per_step is missing: say how many training tokens one step of this "
            "run sees"
        )
    return given


def has_checkpoints(directory: Path) -> bool:
    """Whether there is any checkpoint's folder in a directory, which need not exist."""
    return directory.is_dir() and bool(_folders(directory))


class FolderSource:
    """A `Source` over a directory: nothing to fetch and nothing to delete."""

    def __init__(self, directory: Path, *, tokens_per_step: int | None = None) -> None:
        self.directory = directory
        self._tokens_per_step = tokens_per_step
        self._hashed: dict[str, tuple[Files, Weights]] = {}

    def available(self) -> list[Checkpoint]:
        """All checkpoints in the directory now."""
        return list_checkpoints(self.directory, tokens_per_step=self._tokens_per_step)

    def so_far(self) -> list[Checkpoint]:
        """All checkpoints in the directory now, which need not exist yet.

        Raises UserError if tokens per step are unknown.
        """
        tokens = _tokens_per_step(self.directory, self._tokens_per_step)
        folders = _folders(self.directory) if self.directory.is_dir() else {}
        return [Checkpoint(step, step * tokens, name) for step, name in folders.items()]

    def named(self, folders: Iterable[tuple[int, str]]) -> list[Checkpoint]:
        """Checkpoints by step and name of their folders, which may be gone, with the tokens that
        this source counts.
        """
        tokens = _tokens_per_step(self.directory, self._tokens_per_step)
        return [Checkpoint(step, step * tokens, name) for step, name in folders]

    def about(self, checkpoints: Sequence[Checkpoint]) -> Iterator[Path]:
        """The folders that are whole and have a tokenizer, then the others, those first that lack
        least.
        """
        folders = [self.directory / checkpoint.revision for checkpoint in checkpoints]

        def worth(folder: Path) -> tuple[bool, bool, bool]:
            has_config = (folder / "config.json").exists()
            return has_config, unfinished(folder) is None, has_tokenizer(folder)

        others = []
        for folder in folders:
            if all(worth(folder)):
                yield folder
            else:
                others.append(folder)
        yield from sorted(others, key=worth, reverse=True)

    def called(self, folder: Path) -> str:
        """By its path."""
        return str(folder)

    def audit(
        self, checkpoints: Sequence[Checkpoint], say: Say, recorded: RecordedWeights = NO_RECORDS
    ) -> Audit:
        """Hashes the weight files of what is not on record, which reads them once; a folder that is
        not whole counts as missing.
        """
        weights: dict[int, Weights] = {}
        missing: dict[int, str] = {}
        for checkpoint in checkpoints:
            on_record = recorded.get(checkpoint.step)
            if on_record is not None and on_record.sha256 is not None:
                weights[checkpoint.step] = Weights.of_record(on_record.sha256)
                continue
            say(f"{checkpoint.revision}: hashing")
            try:
                weights[checkpoint.step] = self._weights(checkpoint)
            except Missing as error:
                missing[checkpoint.step] = str(error)
        return Audit.of(checkpoints, weights, missing, recorded)

    def seen(self, checkpoint: Checkpoint) -> str:
        """A fingerprint of the checkpoint's files as they are now."""
        return fingerprint(files_of(self.directory / checkpoint.revision))

    def hashed(self, checkpoint: Checkpoint) -> str | None:
        """The hash of the weights that lie there now; None where the folder is not whole."""
        try:
            return self._weights(checkpoint).sha256
        except Missing:
            return None

    def sha256(self, checkpoint: Checkpoint) -> str | None:
        """The hash that the audit took, if the files have not changed since."""
        files, weights = self._hashed.get(checkpoint.revision, ({}, None))
        there = files_of(self.directory / checkpoint.revision)
        return weights.sha256 if weights is not None and files == there else None

    @contextmanager
    def stream(self, checkpoints: Sequence[Checkpoint]) -> Iterator[FolderSource]:
        """Checkpoints one after another."""
        yield self

    @contextmanager
    def hold(self, checkpoint: Checkpoint, say: Say) -> Iterator[Path]:
        """The checkpoint's folder.

        Raises Missing, whatever came of reading it, if the folder turned out not to be whole, or
        was written to meanwhile. That it was deleted after it was read does no harm.
        """
        folder = self.directory / checkpoint.revision
        before = files_of(folder)
        try:
            yield folder
        except Exception as error:  # half a folder can raise anything
            if lacking := unfinished(folder):
                raise Missing(lacking) from error
            raise
        if any(before.get(name) != state for name, state in files_of(folder).items()):
            raise Missing(f"{folder} was written to while it was read")

    def _weights(self, checkpoint: Checkpoint) -> Weights:
        """What a checkpoint's weights are, read again only where the files have changed.

        Raises Missing if the folder is not whole, or does not stay so.
        """
        folder = self.directory / checkpoint.revision
        files = files_of(folder)
        if lacking := unfinished(folder):
            raise Missing(lacking)
        known = self._hashed.get(checkpoint.revision)
        if known is not None and known[0] == files:
            return known[1]
        try:
            weights = Weights.of_folder(folder)
        except (OSError, IndexError) as error:  # deleted meanwhile
            raise Missing(unfinished(folder) or f"{folder} can't be read ({error})") from error
        if files_of(folder) != files:
            raise Missing(unfinished(folder) or f"{folder} was written to while it was read")
        self._hashed[checkpoint.revision] = files, weights
        return weights
