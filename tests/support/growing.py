"""A folder that grows as a script says, for watching it without waiting."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

from circuitwatch.config import (
    CircuitConfig,
    Config,
    HeadsConfig,
    ModelConfig,
    TaskConfig,
    TrackingConfig,
)
from circuitwatch.following import Clock
from circuitwatch.record_files import TIMING
from circuitwatch.records import Cell

TASK = "gendered_pronoun"
TOKENS_PER_STEP = 48 * 21


class Script:
    """Time that passes only while someone waits; at each wait the next action happens."""

    def __init__(self, *actions: Callable[[], object]) -> None:
        self.time = 0.0
        self.waits = 0
        self._actions = list(actions)

    @property
    def clock(self) -> Clock:
        return Clock(now=lambda: self.time, sleep=self._sleep)

    @property
    def is_over(self) -> bool:
        """Whether all actions have happened."""
        return not self._actions

    def _sleep(self, seconds: float) -> None:
        self.waits += 1
        assert self.waits < 300, "waited for ever"
        self.time += seconds
        if self._actions:
            self._actions.pop(0)()


def nothing() -> None:
    """An action: nothing happens between two looks."""


def watching(run: Path, **parts: object) -> Config:
    """A small cell of a folder of checkpoints."""
    options: dict[str, object] = {"circuit": CircuitConfig(resamples=0), "n_bootstrap": 50}
    return Config(
        model=ModelConfig(
            name="tiny", source="folder", path=str(run), tokens_per_step=TOKENS_PER_STEP
        ),
        task=TaskConfig(name=TASK, n_prompts=16),
        heads=HeadsConfig(length=6, n_sequences=2, n_prompts=4),
        tracking=TrackingConfig(mode="off"),
        device="cpu",
        **(options | parts),  # type: ignore[arg-type]
    )


def following(run: Path, **parts: object) -> Config:
    """The same, followed; it ends a minute after the last that happened."""
    return watching(run, **({"follow": True, "follow_idle": "1min"} | parts))


def arguments(run: Path, out: Path, *more: str) -> list[str]:
    """The same as arguments of the command line."""
    return [
        "model=folder",
        "model.name=tiny",
        f"model.path={run}",
        f"model.tokens_per_step={TOKENS_PER_STEP}",
        f"task={TASK}",
        "task.n_prompts=16",
        "heads.length=6",
        "heads.n_sequences=2",
        "heads.n_prompts=4",
        "circuit.resamples=0",
        "n_bootstrap=50",
        "tracking=off",
        "device=cpu",
        f"out={out}",
        *more,
    ]


class Run:
    """A run that writes checkpoint-<step>, from a suite's step<step>."""

    def __init__(self, suite: Path, folder: Path) -> None:
        self.suite = suite
        self.folder = folder

    def at(self, step: int) -> Path:
        """The folder of a checkpoint."""
        return self.folder / f"checkpoint-{step}"

    def write(self, *steps: int, source: int | None = None) -> None:
        """Write checkpoints whole; `source` is the suite's step that they are copies of, if not
        their own.
        """
        for step in steps:
            shutil.copytree(self.suite / f"step{step if source is None else source}", self.at(step))

    def delete(self, *steps: int) -> None:
        """Delete checkpoints."""
        for step in steps:
            shutil.rmtree(self.at(step))

    def truncate(self, step: int, length: int) -> None:
        """Leave so many bytes of a checkpoint's weights."""
        file = self.at(step) / "model.safetensors"
        file.write_bytes(file.read_bytes()[:length])

    def repair(self, step: int) -> None:
        """Write a checkpoint's weights whole."""
        shutil.copy(self.suite / f"step{step}" / "model.safetensors", self.at(step))


def contents(cell: Cell) -> dict[str, bytes]:
    """Every file of a cell's records, but for how long each took."""
    return {
        str(path.relative_to(cell.folder)): path.read_bytes()
        for path in cell.folder.glob("checkpoints/*/*")
        if path.name != TIMING
    }
