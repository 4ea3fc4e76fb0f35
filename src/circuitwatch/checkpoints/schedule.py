"""Which checkpoints of a model are watched."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np

from circuitwatch.errors import UserError
from circuitwatch.limits import MOST_STEP, MOST_TOKENS, shown

SPARSE = 12
"""Checkpoints that the sparse schedule aims at."""
MULTIPLES = {"": 1, "k": 10**3, "M": 10**6, "B": 10**9, "T": 10**12}


@dataclass(frozen=True)
class Checkpoint:
    """One published state of the weights: optimiser step, training tokens seen by then, its
    revision's name.
    """

    step: int
    tokens: int
    revision: str


@dataclass(frozen=True)
class Bound:
    """An end of the range that is watched, in optimiser steps or in training tokens."""

    value: float
    unit: str

    def of(self, checkpoint: Checkpoint) -> int:
        """What of a checkpoint is compared with the bound."""
        return checkpoint.tokens if self.unit == "tokens" else checkpoint.step

    def __str__(self) -> str:
        return f"step {self.value:.0f}" if self.unit == "steps" else f"{self.value:g} tokens"


def parse_bound(text: str, key: str) -> Bound:
    """A bound as people write it: `1000` or `1000steps`; `2e9tokens`, `2.1B` (k, M, B, T alone mean
    tokens). Raises UserError for anything else.
    """
    match = re.fullmatch(r"(\d+(?:\.\d+)?(?:e\d+)?)\s*([kMBT]?)\s*(steps?|tokens?)?", text.strip())
    if not match:
        raise UserError(
            f"{key}={shown(text)}: give steps such as 1000, or tokens such as 2.1B or 2e9tokens"
        )
    number, multiple, unit = match.groups()
    tokens = unit.startswith("token") if unit else bool(multiple)
    bound = Bound(float(number) * MULTIPLES[multiple], "tokens" if tokens else "steps")
    most = MOST_TOKENS if tokens else MOST_STEP
    if bound.value > most:
        raise UserError(f"{key}={shown(text)}: must be at most {most:g} {bound.unit}")
    return bound


def select(
    available: Sequence[Checkpoint],
    *,
    kind: str = "all",
    steps: Sequence[int] | None = None,
    every: int | None = None,
    start: str | None = None,
    stop: str | None = None,
    growing: bool = False,
) -> list[Checkpoint]:
    """The checkpoints to watch, ascending and without duplicates; the first and the last in range
    are always among them.

    Raises UserError if none remains, or if a listed step does not exist (naming the nearest that
    do).

    Args:
        available: The model's checkpoints.
        kind: `all`; `log`: nearest to 0, 1, 2, 4, …; `sparse`: about a dozen evenly in log steps;
            `steps`: those listed; `every`: each n-th.
        steps: For `steps`: the list.
        every: For `every`: n.
        start: Leave out what is before; as `parse_bound` reads it, inclusive.
        stop: Leave out what is after; as `parse_bound` reads it, inclusive.
        growing: More checkpoints are to come: the last one there is now is not taken for being the
            last, listed ones may be missing, and none need be in range. What is chosen then stays
            chosen when later ones have come.

    Returns:
        The checkpoints chosen.
    """
    by_step = {checkpoint.step: checkpoint for checkpoint in available}
    low, high = _bounds(start, stop)
    in_range = sorted(
        step for step, c in by_step.items() if low.value <= low.of(c) and high.of(c) <= high.value
    )
    if not in_range and growing:
        return []
    if not in_range:
        all_steps = f"steps {min(by_step)} to {max(by_step)}" if by_step else "none"
        raise UserError(f"schedule: no checkpoint from {low} to {high}; the model has {all_steps}")
    if kind == "steps":
        there = [step for step in steps or [] if step in by_step] if growing else steps or []
        wanted = _listed(in_range, sorted(by_step), there)
    elif kind == "every":
        wanted = in_range[:: every or 1]
    elif kind == "log":
        doubling = [2**power for power in range(in_range[-1].bit_length())]
        wanted = _nearest(in_range, [0, *doubling])
    elif kind == "sparse":
        first, last = np.log1p(in_range[0]), np.log1p(in_range[-1])
        wanted = _nearest(in_range, np.expm1(np.linspace(first, last, SPARSE)))
    else:
        wanted = in_range
    ends = in_range[:1] if growing else (in_range[0], in_range[-1])
    return [by_step[step] for step in sorted({*ends, *wanted})]


def is_over(
    available: Sequence[Checkpoint],
    *,
    kind: str = "all",
    steps: Sequence[int] | None = None,
    stop: str | None = None,
    **others: object,
) -> bool:
    """Whether no later checkpoint of a growing model can be among those to watch: all listed ones
    are there, or one at the end of the range or after it is. The arguments are those of `select`.
    """
    high = _bounds(None, stop)[1]
    if any(high.of(checkpoint) >= high.value for checkpoint in available):
        return True
    return kind == "steps" and {c.step for c in available} >= set(steps or [])


def merged(*lists: Iterable[Checkpoint]) -> list[Checkpoint]:
    """The checkpoints of several lists, ascending and each step once, as the first list that has it
    says.
    """
    by_step: dict[int, Checkpoint] = {}
    for checkpoints in lists:
        for checkpoint in checkpoints:
            by_step.setdefault(checkpoint.step, checkpoint)
    return [by_step[step] for step in sorted(by_step)]


def _bounds(start: str | None, stop: str | None) -> tuple[Bound, Bound]:
    low = parse_bound(start, "schedule.from") if start else Bound(0, "steps")
    high = parse_bound(stop, "schedule.to") if stop else Bound(float("inf"), "steps")
    return low, high


def _listed(in_range: Sequence[int], every: Sequence[int], steps: Sequence[int]) -> list[int]:
    """The listed steps that are in range; one that the model lacks altogether is an error."""
    for step in steps:
        if step not in every:
            near = sorted(sorted(every, key=lambda other: abs(other - step))[:3])
            raise UserError(
                f"schedule.steps: there is no checkpoint at step {step}; the nearest are "
                f"{', '.join(map(str, near))}"
            )
    return [step for step in steps if step in in_range]


def _nearest(steps: Sequence[int], points: Sequence[float] | np.ndarray) -> list[int]:
    """The step nearest to each point in log steps."""
    logs = np.log1p(np.array(steps))
    return [steps[int(np.abs(logs - np.log1p(point)).argmin())] for point in points]
