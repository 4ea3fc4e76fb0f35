"""What a command made and did not use is removed: a refused cell leaves no folder behind."""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from circuitwatch.config import Config
from circuitwatch.records import SCHEDULE
from circuitwatch.sweeping.failures import FAILED
from circuitwatch.sweeping.plan import LOCK, PLAN


@dataclass(frozen=True)
class Before:
    """What there was before a run, so that what it made and did not use can be removed.

    folders: the folder `out`, those above it, and those of its sweeps, models, tasks and seeds.
    """

    out: Path
    sweep: str
    folders: frozenset[Path]

    @classmethod
    def of(cls, arguments: Sequence[str]) -> Before:
        """What there is now, where a command line says that cells go."""
        given = dict(argument.split("=", 1) for argument in arguments if "=" in argument)
        out = Path(given.get("out", Config.out).strip("'\"")).expanduser().resolve()
        sweep = given.get("sweep", Config.sweep).strip("'\"")
        there = [path for path in (out, *out.parents) if path.exists()]
        there += [path for depth in range(1, 5) for path in out.glob("/".join(depth * "*"))]
        return cls(out, sweep, frozenset(there))

    def remove_unused(self, cell: Path, *, alone: bool = True) -> None:
        """Remove a cell's folder if it has no record and nothing else in it; if no other job runs
        beside this one (alone) also those above it within `out` that are empty.
        """
        cell = cell.resolve()
        if self.out not in cell.parents or cell in self.folders:
            return
        checkpoints, own = cell / "checkpoints", {cell / "cell.json", cell / SCHEDULE}
        with suppress(OSError):
            if set(cell.iterdir()) == {checkpoints, *own}:
                checkpoints.rmdir()  # fails where there is a record
                for path in own:
                    path.unlink()
        above = [folder for folder in cell.parents if self.out in folder.parents]
        self._remove_empty((cell, *(above if alone else ())))

    def remove_empty(self, sweep: Path | None = None) -> None:
        """Remove the sweep's folder if no cell is in it, only what a sweep says of itself; and the
        folder `out` and those above it if they are empty.
        """
        sweep = (sweep or self.out / self.sweep).resolve()
        if sweep not in self.folders and sweep.is_dir():
            written = {"multirun.yaml", PLAN, LOCK, FAILED}  # the first by Hydra
            found = {path.name for path in sweep.iterdir()}
            if found <= written and not any((sweep / FAILED).glob("*.log")):
                with suppress(OSError):
                    shutil.rmtree(sweep)
        self._remove_empty((sweep, self.out, *self.out.parents))

    def _remove_empty(self, folders: Sequence[Path]) -> None:
        for folder in folders:
            if folder in self.folders:
                return
            with suppress(OSError):
                folder.rmdir()
