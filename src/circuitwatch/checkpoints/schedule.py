"""Which checkpoints of a model are watched."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from circuitwatch.errors import UserError

SPARSE = 12
"""Checkpoints that the sparse schedule aims at."""


@dataclass(frozen=True)
class Checkpoint:
    """One published state of the weights: optimiser step, training tokens seen by then, its revision's name, its folder."""

    step: int
    tokens: int
    revision: str
    path: Path


def select(
    available: Sequence[Checkpoint],
    *,
    kind: str = "all",
    steps: Sequence[int] | None = None,
    every: int | None = None,
    from_step: int | None = None,
    to_step: int | None = None,
) -> list[Checkpoint]:
    """The checkpoints to watch, ascending and without duplicates; the first and the last in range are always among them.

    kind: `all`; `log`: nearest to 0, 1, 2, 4, …; `sparse`: about a dozen evenly in log steps; `steps`: those listed; `every`: each n-th.
    Raises UserError if none remains, or if a listed step does not exist (naming the nearest that do).
    """
    by_step = {checkpoint.step: checkpoint for checkpoint in available}
    low, high = from_step or 0, float("inf") if to_step is None else to_step
    there = sorted(step for step in by_step if low <= step <= high)
    if not there:
        known = f"{min(by_step)} to {max(by_step)}" if by_step else "none"
        raise UserError(f"schedule: no checkpoint from step {low} to {high}; the model has steps {known}")
    if kind == "steps":
        wanted = _listed(there, steps or [])
    elif kind == "every":
        wanted = there[:: every or 1]
    elif kind == "log":
        wanted = _nearest(there, [0, *(2**power for power in range(there[-1].bit_length()))])
    elif kind == "sparse":
        wanted = _nearest(there, np.expm1(np.linspace(np.log1p(there[0]), np.log1p(there[-1]), SPARSE)))
    else:
        wanted = there
    return [by_step[step] for step in sorted({there[0], *wanted, there[-1]})]


def _listed(there: Sequence[int], steps: Sequence[int]) -> list[int]:
    for step in steps:
        if step not in there:
            near = sorted(sorted(there, key=lambda known: abs(known - step))[:3])
            raise UserError(
                f"schedule.steps: there is no checkpoint at step {step}; the nearest are {', '.join(map(str, near))}"
            )
    return list(steps)


def _nearest(there: Sequence[int], points: Sequence[float] | np.ndarray) -> list[int]:
    """The existing step nearest to each point in log steps."""
    logs = np.log1p(np.array(there))
    return [there[int(np.abs(logs - np.log1p(point)).argmin())] for point in points]
