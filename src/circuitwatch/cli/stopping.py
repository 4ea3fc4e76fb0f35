"""Ctrl-C and SIGTERM, at any moment: one line, and an exit code that says which it was.

While a command starts, imports and composes its configuration, nothing is open, and an exception
could come out of any import: half of numpy, a `__del__`, a thread. So the process says its line and
is gone. Once it works (`begin`), files, locks and W&B are open: KeyboardInterrupt is raised, they
are closed on the way up, and `main` says the line. Where it was raised in a finaliser or a
callback, from which no exception comes out, it is raised once more. A second signal, a moment
later, ends it at once; records are written by renaming, so that is as safe as SIGKILL.

Exit codes are those of a shell, 128 + the signal: 130 for SIGINT, 143 for SIGTERM, so that a batch
system tells a person who changed their mind from a job that was cancelled or ran out of time.
"""

from __future__ import annotations

import os
import signal
import sys
import threading
import time
from collections.abc import Callable
from types import FrameType

SIGNALS = (signal.SIGINT, signal.SIGTERM)
ONE_PRESS = 1.0
"""Seconds: `timeout`, and a terminal with a wrapper, send the same signal twice."""
ONCE_MORE = 0.05
"""Seconds after which an interrupt that was lost is raised again: a finaliser is over by then."""


class Stopping:
    """How a process ends that is asked to; one for the process, `STOPPING`."""

    def __init__(self) -> None:
        self.says = "nothing was changed"
        self.undo: Callable[[], None] | None = None
        self._working = False
        self._first: tuple[signal.Signals, float] | None = None
        self._was_lost = False

    @property
    def exit_code(self) -> int:
        """128 + the signal that came first, Ctrl-C if none did."""
        return 128 + (self._first[0] if self._first else signal.SIGINT)

    @property
    def was_asked(self) -> bool:
        """Whether a signal came."""
        return self._first is not None

    @property
    def line(self) -> str:
        """What the person is told."""
        return f"circuitwatch: interrupted; {self.says}"

    def listen(self) -> None:
        """Take over the signals, as a command starts."""
        self.__init__()  # type: ignore[misc]
        for one in SIGNALS:
            signal.signal(one, self._asked)

    def begin(self) -> None:
        """From now on there is something to close: the command has imported what it needs."""
        if self._working:
            return
        self._working = True
        others = sys.unraisablehook

        def told(lost: sys.UnraisableHookArgs) -> None:
            if self._first is None or not issubclass(lost.exc_type, KeyboardInterrupt):
                others(lost)
                return
            # Not from here, where it would be lost too.
            self._was_lost = True
            main = threading.main_thread().ident
            again = threading.Timer(ONCE_MORE, signal.pthread_kill, [main, self._first[0]])
            again.daemon = True
            again.start()

        sys.unraisablehook = told

    def _asked(self, signum: int, frame: FrameType | None) -> None:
        now = time.monotonic()
        if self._was_lost:
            self._was_lost = False
            raise KeyboardInterrupt
        if self._first is not None:
            if now - self._first[1] > ONE_PRESS:
                os._exit(self.exit_code)
            return
        self._first = (signal.Signals(signum), now)
        if self._working:
            raise KeyboardInterrupt
        try:
            if self.undo is not None:
                self.undo()
        finally:
            os.write(2, f"{self.line}\n".encode())
            os._exit(self.exit_code)


STOPPING = Stopping()
