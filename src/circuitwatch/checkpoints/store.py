"""The folder that fetched checkpoints lie in: never above its budget, shared by all runs on the
machine, whole after a kill.

Each checkpoint has an entry, a folder. A run holds the entries that it needs by a lock on a file
beside them, which ends with the process, however that ends; what nobody holds may be deleted when
room is needed. An entry counts with the size it is going to have from the moment that its download
begins.
"""

from __future__ import annotations

import json
import os
import shutil
import time
import uuid
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from threading import Event

from filelock import FileLock, Timeout

from circuitwatch.checkpoints.waiting import Cancelled
from circuitwatch.errors import UserError

WHOLE = "whole.json"
EXPECTED = "expected.json"
POLL_SECONDS = 0.1


@dataclass
class Held:
    """An entry that this run holds: its folder, and the lock that says so."""

    folder: Path
    lock: FileLock


class Store:
    """Entries below a folder, `<repository>/<checkpoint>`, of `budget` bytes together.

    Several processes may use one at a time.
    """

    def __init__(self, folder: Path, budget: int) -> None:
        self.folder = folder
        self.budget = budget
        try:
            (folder / "held").mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise UserError(
                f"{folder}: can't be written ({error.strerror}); choose another folder with "
                f"checkpoints.folder="
            ) from error
        self._lock = FileLock(folder / "store.lock", thread_local=False)

    def take(
        self, repository: str, name: str, size: int, fill: Callable[[Path], None], stopped: Event
    ) -> Held:
        """Hold an entry, filling it first if it is missing; waits for room while other entries are
        held.

        Raises UserError if the entry is above the budget or the disk has no room, Cancelled when
        `stopped` is set, and what `fill` raises.

        Args:
            repository: The entry's repository.
            name: The entry's name in it.
            size: Bytes that it is going to have.
            fill: Writes it into the folder that it is given.
            stopped: Set by another thread to give up waiting.

        Returns:
            The entry, held until it is released.
        """
        if size > self.budget:
            raise UserError(
                f"checkpoints.disk={self.budget / 2**30:.3g}GiB: {repository} {name} alone "
                f"has {size / 2**30:.3g} GiB; give more"
            )
        folder = self.folder / repository / name
        lock = FileLock(
            self.folder / "held" / f"{_key(folder)}.{uuid.uuid4().hex}", thread_local=False
        )
        lock.acquire()
        held = Held(folder, lock)
        try:
            while not self._reserved(folder, size):
                if stopped.wait(POLL_SECONDS):
                    raise Cancelled
            # Two runs may want the same entry.
            with FileLock(folder.with_name(f"{folder.name}.lock"), thread_local=False):
                if not (folder / WHOLE).exists():
                    fill(folder)
                    (folder / WHOLE).write_text(json.dumps({"used": time.time()}), encoding="utf-8")
        except BaseException:
            self.release(held, keep=True)
            raise
        return held

    def release(self, held: Held, *, keep: bool) -> None:
        """Let go of an entry, and delete it unless it is to be kept or another run holds it."""
        with self._lock:
            held.lock.release()
            Path(held.lock.lock_file).unlink(missing_ok=True)
            if (held.folder / WHOLE).exists():
                (held.folder / WHOLE).write_text(
                    json.dumps({"used": time.time()}), encoding="utf-8"
                )
                if not keep and not self._is_held(held.folder):
                    _delete(held.folder)

    def used(self) -> int:
        """Bytes that all entries have or are going to have."""
        return sum(_size(entry) for entry in self._entries())

    def whole(self, repository: str) -> dict[str, Path]:
        """The entries of a repository that are whole."""
        return {
            path.parent.name: path.parent for path in (self.folder / repository).glob(f"*/{WHOLE}")
        }

    def _reserved(self, folder: Path, size: int) -> bool:
        """Make room for an entry and mark it; False if that must wait."""
        with self._lock:
            room = self.budget - size - (self.used() - _size(folder))
            if room < 0:
                free_to_go = [
                    entry
                    for entry in self._entries()
                    if entry != folder and not self._is_held(entry)
                ]
                for old in self._by_worth(free_to_go, folder.parent):
                    room += _size(old)
                    _delete(old)
                    if room >= 0:
                        break
            if room < 0:
                return False
            free = shutil.disk_usage(self.folder).free + sum(
                f.stat().st_size for f in _files(folder)
            )
            if size > free:
                raise UserError(
                    f"{self.folder}: the disk has {free / 2**30:.3g} GiB left and "
                    f"{folder.name} needs {size / 2**30:.3g}; "
                    "make room, or choose another folder with checkpoints.folder="
                )
            folder.mkdir(parents=True, exist_ok=True)
            (folder / EXPECTED).write_text(json.dumps({"size": size}), encoding="utf-8")
            return True

    def _by_worth(self, entries: list[Path], repository: Path) -> list[Path]:
        """What to delete first: other models' entries, the longest unused first; then this model's,
        the last used first.

        A run goes over a model's checkpoints from first to last, and so will the next, for another
        task: what it will meet first is worth most.
        """

        def used(entry: Path) -> float:
            return (
                float(json.loads((entry / WHOLE).read_text())["used"])
                if (entry / WHOLE).exists()
                else 0.0
            )

        others = sorted((entry for entry in entries if entry.parent != repository), key=used)
        return others + sorted(
            (entry for entry in entries if entry.parent == repository), key=used, reverse=True
        )

    def _entries(self) -> list[Path]:
        return [path.parent for path in self.folder.glob(f"*/*/{EXPECTED}")]

    def _is_held(self, folder: Path) -> bool:
        """Whether a living process holds an entry; what dead ones left is removed."""
        for path in (self.folder / "held").glob(f"{_key(folder)}.*"):
            lock = FileLock(path, timeout=0, thread_local=False)
            try:
                lock.acquire()
            except Timeout:
                return True
            lock.release()
            path.unlink(missing_ok=True)
        return False


def _key(folder: Path) -> str:
    return f"{folder.parent.name}@{folder.name}"


def _files(folder: Path) -> list[Path]:
    return [Path(where) / name for where, _, names in os.walk(folder) for name in names]


def _size(entry: Path) -> int:
    """What an entry takes or is going to take."""
    try:
        expected = int(json.loads((entry / EXPECTED).read_text(encoding="utf-8"))["size"])
        return max(expected, sum(path.stat().st_size for path in _files(entry)))
    except (OSError, ValueError):  # being deleted or written by another run
        return 0


def _delete(entry: Path) -> None:
    # First, so that a kill never leaves half an entry that looks whole.
    (entry / WHOLE).unlink(missing_ok=True)
    shutil.rmtree(entry, ignore_errors=True)
    entry.with_name(f"{entry.name}.lock").unlink(missing_ok=True)
