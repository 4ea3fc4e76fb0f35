"""What became of each case: counted, and told where it is a failure."""

from __future__ import annotations

import signal
import traceback
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from types import FrameType
from typing import Any

from circuitwatch.errors import UserError

TOLD, SAME, UNTELLABLE = "told", "same result", "nothing contradicts it"
"""Outcomes that are right: it is said; it changes nothing; a value that only its maker could know
to be another.
"""
TRACEBACK, HANG, SILENT = "traceback", "hang", "silently wrong"
FAILURES = (TRACEBACK, HANG, SILENT)
LIMIT = 60.0
"""Seconds after which a case hangs."""


class Hung(BaseException):
    """A case took longer than LIMIT; no `except Exception` may catch it."""


class Silent(AssertionError):
    """A result is another than the sound one, and nothing was said."""


@dataclass
class Tally:
    """Counts of outcomes, and the failures, each with the command that repeats it; failing: the
    outcomes that are failures; also: other counts.
    """

    part: str
    failing: tuple[str, ...] = FAILURES
    counts: Counter[str] = field(default_factory=Counter)
    failures: list[dict[str, Any]] = field(default_factory=list)
    also: Counter[str] = field(default_factory=Counter)

    def add(self, seed: int, recipe: str, outcome: str, detail: str = "") -> None:
        """Count a case, and print it where it is a failure."""
        self.counts[outcome] += 1
        if outcome in self.failing:
            again = f"python -m benchmarks.chaos {self.part} 1 {seed}"
            failure = {"outcome": outcome, "recipe": recipe, "again": again, "detail": detail}
            self.failures.append(failure)
            print(f"{outcome}: {recipe}\n  {again}\n  {detail}", flush=True)

    def summary(self) -> dict[str, Any]:
        """As chaos.json keeps it."""
        failed = {name: self.counts[name] for name in self.failing}
        return {
            "cases": sum(self.counts.values()),
            "outcomes": {**dict(self.counts), **failed},
            "failures": self.failures,
            **({"also": dict(self.also)} if self.also else {}),
        }


def outcome_of(run: Callable[[], str], limit: float = LIMIT) -> tuple[str, str]:
    """What a case comes to, and details; run: gives an outcome, or raises."""
    try:
        with time_limit(limit):
            return run(), ""
    except UserError as error:
        said = str(error)
        if "\n" in said.strip() or not said.strip():
            return TRACEBACK, f"not one line: {said!r}"
        return TOLD, said
    except Silent as error:
        return SILENT, str(error)
    except Hung:
        return HANG, f"longer than {limit:g} s"
    except Exception as error:  # whatever the program lets through is what is looked for
        frames = traceback.extract_tb(error.__traceback__)
        at = next((f for f in reversed(frames) if "circuitwatch" in f.filename), frames[-1])
        where = f"{at.filename.rpartition('src/')[2]}:{at.lineno}"
        return TRACEBACK, f"{type(error).__name__}: {str(error)[:200]} at {where}"


@contextmanager
def time_limit(seconds: float) -> Iterator[None]:
    """Raise Hung in the main thread after so long."""

    def ring(number: int, frame: FrameType | None) -> None:
        raise Hung

    before = signal.signal(signal.SIGALRM, ring)
    signal.setitimer(signal.ITIMER_REAL, seconds)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)
