"""Asking a hub again: what may pass is tried some times with growing waits, and a hub that says how
long to wait (Retry-After, or the reset in its RateLimit header) is waited for as it says.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from threading import Event, Lock
from typing import Any

from huggingface_hub.utils import parse_ratelimit_headers
from tenacity import RetryCallState, Retrying, retry_if_exception, wait_exponential, wait_random

TRIES = 4
"""Of what may pass, where the hub does not say how long that takes."""
MOST_WAITED = 1800.0
"""Seconds that are waited at a hub's word for one answer."""
LONGEST_PAUSE = 30.0
"""Seconds between two tries, where the hub says nothing."""


class Cancelled(Exception):
    """The run ended while a file was on its way."""


def status_of(error: BaseException | None) -> int | None:
    """The status of the answer that an error is about, if it is about one."""
    return getattr(getattr(error, "response", None), "status_code", None)


def told_to_wait(error: BaseException | None) -> float | None:
    """Seconds that the hub says to wait before it is asked again; None where it does not say."""
    response = getattr(error, "response", None)
    headers: Mapping[str, str] = getattr(response, "headers", {})
    if status_of(error) not in (429, 503):
        return None
    said = headers.get("Retry-After", "").strip()
    if said.isdecimal():
        return float(said)
    try:
        return max(0.0, (parsedate_to_datetime(said) - datetime.now(UTC)).total_seconds())
    except (ValueError, TypeError):  # not said, or not as a date
        limit = parse_ratelimit_headers(headers)
    return float(limit.reset_in_seconds) if limit and status_of(error) == 429 else None


def _print(line: str) -> None:
    print(line, file=sys.stderr, flush=True)


@dataclass
class Patience:
    """How a hub is asked again.

    first_wait: seconds before the second try, doubled before each next. now, sleep: the clock, and
    what lets its seconds pass. say: told of a wait that the hub asks for.
    """

    first_wait: float = 1.0
    now: Callable[[], float] = time.monotonic
    sleep: Callable[[float], None] = time.sleep
    say: Callable[[str], None] = _print
    _free_at: float = float("-inf")
    _lock: Lock = field(default_factory=Lock)

    def asking(
        self,
        action: Callable[[], Any],
        may_pass: Callable[[BaseException], bool],
        what: str,
        stopped: Event | None = None,
    ) -> Any:
        """What an action gives, asked for again after what may pass. While the hub has said to
        wait, no other thread asks it either.

        Args:
            action: Asks the hub.
            may_pass: Whether an error of it may be gone the next time.
            what: What is asked for, for the line that says that it is waited.
            stopped: Set by another thread to give up waiting.

        Raises:
            Cancelled: `stopped` was set.
            Exception: the last of what the action raised.
        """
        own = waited = 0.0
        growing = wait_exponential(multiplier=self.first_wait, max=LONGEST_PAUSE) + wait_random(
            0, self.first_wait / 2
        )

        def pause(state: RetryCallState) -> float:
            told = told_to_wait(_error_of(state))
            return growing(state) if told is None else told

        def is_enough(state: RetryCallState) -> bool:
            nonlocal own, waited
            told = told_to_wait(_error_of(state))
            if told is None:
                own += 1
                return own >= TRIES
            waited += told
            return waited > MOST_WAITED

        def tell(state: RetryCallState) -> None:
            error = _error_of(state)
            if (seconds := told_to_wait(error)) is not None:
                self._hold(what, status_of(error), seconds)

        for attempt in Retrying(
            retry=retry_if_exception(may_pass),
            stop=is_enough,
            reraise=True,
            wait=pause,
            before_sleep=tell,
            sleep=lambda seconds: self._let_pass(seconds, stopped),
        ):
            with attempt:
                self._let_pass(self._free_at - self.now(), stopped)
                return action()

    def _hold(self, what: str, status: int | None, seconds: float) -> None:
        """Nobody asks for so long; said once, also where several threads are told so."""
        with self._lock:
            until = self.now() + seconds
            is_news = until > self._free_at + 1
            self._free_at = max(self._free_at, until)
        if is_news:
            self.say(f"{what}: the hub answers {status}: waiting {seconds:.0f} s, as it asks")

    def _let_pass(self, seconds: float, stopped: Event | None) -> None:
        if stopped is not None and stopped.is_set():
            raise Cancelled
        if seconds <= 0:
            return
        if stopped is None or self.sleep is not time.sleep:
            self.sleep(seconds)
        elif stopped.wait(seconds):
            raise Cancelled


def _error_of(state: RetryCallState) -> BaseException | None:
    return None if state.outcome is None else state.outcome.exception()
