"""What the monitor asks of a place that weights come from, be it a directory or a hub."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Protocol

from circuitwatch.checkpoints.audit import NO_RECORDS, Audit, RecordedWeights
from circuitwatch.checkpoints.schedule import Checkpoint
from circuitwatch.errors import UserError

Say = Callable[[str], None]


class Missing(UserError):
    """The place does not have this checkpoint, and will not have it when asked again."""


class NotFetched(UserError):
    """The checkpoint could not be fetched now; another try may succeed."""


class Stream(Protocol):
    """Checkpoints of one run, asked for in order."""

    def hold(self, checkpoint: Checkpoint, say: Say) -> AbstractContextManager[Path]:
        """The checkpoint's folder, which stays until the context is left.

        Raises Missing or NotFetched.
        """


class Source(Protocol):
    """A place that a model's checkpoints come from."""

    def available(self) -> list[Checkpoint]:
        """All checkpoints of the model, ascending by step."""

    def about(self, checkpoints: Sequence[Checkpoint]) -> Iterator[Path]:
        """Folders with the model's config.json and tokenizer, one a checkpoint, the likeliest to be
        whole first.
        """

    def called(self, folder: Path) -> str:
        """What a folder that `about` gave is called in errors."""

    def audit(
        self, checkpoints: Sequence[Checkpoint], say: Say, recorded: RecordedWeights = NO_RECORDS
    ) -> Audit:
        """What is known of the checkpoints' weights before any is fetched.

        Args:
            checkpoints: Ascending by step.
            say: Told what is looked at.
            recorded: What is on record of some of them, which stays as it is there.
        """

    def seen(self, checkpoint: Checkpoint) -> str | None:
        """A fingerprint of a checkpoint's files as they are now, another one once they have
        changed; None where that is not known before they are fetched.
        """

    def hashed(self, checkpoint: Checkpoint) -> str | None:
        """The hash of the weights that lie there now, which may be read for it; None where there
        are none, or they would have to be fetched.
        """

    def sha256(self, checkpoint: Checkpoint) -> str | None:
        """The hash of the weights that lie there now, if the audit has read them and they have not
        changed since; None where it must be taken from the files.
        """

    def stream(self, checkpoints: Sequence[Checkpoint]) -> AbstractContextManager[Stream]:
        """Checkpoints one after another, the next one fetched while the present one is in use."""
