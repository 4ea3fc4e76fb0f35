"""A cell is watched by one process, or by several that share its checkpoints: `shard=3/16` takes
each sixteenth, beginning with the third. Who may watch it at the same time, and what must not be
done at the same time by those who do.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager, ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

from circuitwatch.errors import UserError
from circuitwatch.limits import shown
from circuitwatch.locks import CELL, Holder, hold, no_empty_folders, running

GATE = ".gate.lock"
"""The lock of what a cell's processes do one after another: begin, and put the records together."""
T = TypeVar("T")


@dataclass(frozen=True)
class Shard:
    """The `which`-th, from 1, of so many parts."""

    which: int
    of: int

    @classmethod
    def parsed(cls, text: str, key: str = "shard") -> Shard:
        """From text such as 3/16. Raises UserError for anything else."""
        match = re.fullmatch(r"([1-9]\d{0,5})/([1-9]\d{0,5})", text)
        if not match or int(match[1]) > int(match[2]):
            raise UserError(f"{key}={shown(text)}: give which of how many, from 1/4 to 4/4")
        return cls(int(match[1]), int(match[2]))

    def __str__(self) -> str:
        return f"{self.which}/{self.of}"

    @property
    def lock(self) -> str:
        """The name of its lock."""
        return f".shard-{self.which}-of-{self.of}{CELL}"

    def part(self, checkpoints: Sequence[T]) -> list[T]:
        """Its share of some checkpoints: they are dealt out, so that early and late ones, which
        take different times, are in every share.
        """
        return list(checkpoints[self.which - 1 :: self.of])

    def goes_with(self, other: Holder) -> bool:
        """Whether it may run beside another: another part of the same division."""
        match = re.fullmatch(r"\.shard-(\d+)-of-(\d+)\.lock", other.file.name)
        return match is not None and int(match[2]) == self.of and int(match[1]) != self.which


def gate(folder: Path) -> AbstractContextManager[None]:
    """What no other process may do meanwhile in a cell's folder; it is waited for."""
    return hold(folder / GATE, f"{folder} is being begun or put together", wait=True)


@contextmanager
def hold_cell(folder: Path) -> Iterator[None]:
    """Watch a cell alone. Raises UserError if another process watches it, or a part of it."""
    with no_empty_folders(folder), ExitStack() as stack:
        with gate(folder):
            refuse_others(folder, None)
            stack.enter_context(hold(folder / CELL, watched(folder)))
        yield


def hold_shard(folder: Path, shard: Shard) -> AbstractContextManager[None]:
    """Watch a part of a cell; to be begun and ended within the `gate`, so that those who begin know
    who has begun, and the last knows that it is.
    """
    refuse_others(folder, shard)
    return hold(folder / shard.lock, watched(folder))


def refuse_others(folder: Path, shard: Shard | None) -> None:
    """Raise UserError if a process watches a cell beside which this can't be done."""
    for other in running(folder):
        if shard is None or not shard.goes_with(other):
            raise UserError(f"{watched(folder)} by {other.said}; wait for it to end, or stop it")


def others_in(folder: Path, shard: Shard) -> list[Holder]:
    """The other processes that watch a part of a cell now."""
    return [who for who in running(folder) if who.file.name != shard.lock]


def watched(folder: Path) -> str:
    """What is said of who holds a cell."""
    return f"{folder} is being watched"
