"""What the monitor asks of a place that weights come from, be it a directory or a hub."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Protocol

from circuitwatch.checkpoints.audit import Audit
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

    def about(self, checkpoints: Sequence[Checkpoint]) -> Path:
        """A folder with the model's config.json and tokenizer."""

    def audit(self, checkpoints: Sequence[Checkpoint], say: Say) -> Audit:
        """What is known of the checkpoints' weights before any is fetched."""

    def stream(self, checkpoints: Sequence[Checkpoint]) -> AbstractContextManager[Stream]:
        """Checkpoints one after another, the next one fetched while the present one is in use."""
