"""What watching costs: the time spent on it as a share of the training's own, and whether there is
time for more.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager

import torch

clock = time.perf_counter


class Cost:
    """Time spent watching and time spent outside, from the first time that anything is spent.

    Args:
        max_share: the largest share that is wanted; None for no bound.
    """

    def __init__(self, max_share: float | None) -> None:
        self.max_share = max_share
        self.spent = 0.0
        self._began: float | None = None
        self._ended: float | None = None

    def end(self) -> None:
        """What comes now is no time of the training."""
        self._ended = clock()

    @contextmanager
    def spending(self) -> Iterator[None]:
        """What is done inside is time spent."""
        if torch.cuda.is_available() and torch.cuda.is_initialized():
            torch.cuda.synchronize()  # what the training still has to do is no time of ours
        start = clock()
        if self._began is None:
            self._began = start
        try:
            yield
        finally:
            self.spent += clock() - start

    @property
    def outside(self) -> float:
        """Seconds since the beginning that were not spent."""
        if self._began is None:
            return 0.0
        return (clock() if self._ended is None else self._ended) - self._began - self.spent

    @property
    def share(self) -> float:
        """Seconds spent for each second outside; infinite before there was any."""
        outside = self.outside
        if outside <= 0:
            return float("inf") if self.spent else 0.0
        return self.spent / outside

    @property
    def allows(self) -> bool:
        """Whether what was spent so far is within the largest share, so that there is time for
        more: the next begins once the training has earned what was spent before.
        """
        return self.max_share is None or self.spent <= self.max_share * self.outside
