"""Runs of the command line that begin with everything imported, and may be killed.

This process imports circuitwatch and what it needs once, computes nothing, and forks for every run,
which so costs only its work, not the seconds of its imports. A run has its own standard output and
error, and ends as a process of the command line does; what isn't tried is a kill during the imports
(tests/cli does that). Nothing may have been computed before the first fork: threads of torch or
pyarrow don't survive one.
"""

from __future__ import annotations

import importlib
import os
import signal
import sys
import time
import traceback
from collections.abc import Callable, Iterable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from circuitwatch.cli import main
from circuitwatch.cli.stopping import SIGNALS, STOPPING

HUNG = 120.0
"""Seconds after which a run hangs."""
LIBRARIES = (
    *("circuitwatch", "torch", "transformers", "hydra", "omegaconf", "scipy"),
    *("pandas", "pyarrow", "matplotlib", "safetensors", "jinja2", "filelock", "numpy"),
)


@dataclass(frozen=True)
class Run:
    """How a run ended. code: of the exit, or minus the signal that killed it."""

    code: int
    out: str
    err: str
    seconds: float
    hung: bool


@dataclass(frozen=True)
class Kill:
    """A signal so many seconds after the start."""

    signal: signal.Signals
    after: float


def forked(work: Callable[[], object], folder: Path, kill: Kill | None = None) -> Run:
    """Do something in a process of its own, and wait for its end; folder: for what it prints."""
    folder.mkdir(parents=True, exist_ok=True)
    for name in ("out", "err"):  # made here: a child that is killed at once makes none
        (folder / name).write_bytes(b"")
    began = time.monotonic()
    # The child takes the signals over before any can come.
    signal.pthread_sigmask(signal.SIG_BLOCK, SIGNALS)
    pid = os.fork()
    if not pid:
        _be_the_run(work, folder)
    signal.pthread_sigmask(signal.SIG_UNBLOCK, SIGNALS)
    ended = _wait(pid, kill.after) if kill else None
    if kill and ended is None:
        os.kill(pid, kill.signal)
    hung = ended is None and (ended := _wait(pid, HUNG)) is None
    if hung:
        os.kill(pid, signal.SIGKILL)
    if ended is None:
        ended = os.waitpid(pid, 0)[1]
    out, err = ((folder / name).read_text(encoding="utf-8") for name in ("out", "err"))
    return Run(os.waitstatus_to_exitcode(ended), out, err, time.monotonic() - began, hung)


def commanded(*arguments: str) -> Callable[[], None]:
    """The command line with these arguments, as `python -m circuitwatch` runs it."""

    def run() -> None:
        sys.argv = ["circuitwatch", *arguments]
        main()

    return run


def import_what(names: Iterable[str]) -> None:
    """Import modules that a run needed."""
    for name in sorted(names):
        if name.partition(".")[0] in LIBRARIES and name not in sys.modules:
            with suppress(Exception):
                importlib.import_module(name)


def _wait(pid: int, seconds: float) -> int | None:
    """The status of a process that ended by then."""
    deadline = time.monotonic() + seconds
    while True:
        ended, status = os.waitpid(pid, os.WNOHANG)
        if ended:
            return status
        if time.monotonic() > deadline:
            return None
        time.sleep(0.002)


def _be_the_run(work: Callable[[], object], folder: Path) -> None:
    code = 1
    try:
        STOPPING.listen()
        for number, name in ((1, "out"), (2, "err")):
            os.dup2(os.open(folder / name, os.O_WRONLY), number)
        sys.stdout, sys.stderr = (
            os.fdopen(number, "w", encoding="utf-8", buffering=1) for number in (1, 2)
        )
        signal.pthread_sigmask(signal.SIG_UNBLOCK, SIGNALS)
        work()
        code = 0
    except SystemExit as error:
        code = error.code if isinstance(error.code, int) else int(error.code is not None)
    except BaseException:
        traceback.print_exc()
    finally:
        with suppress(Exception):
            sys.stdout.flush()
            sys.stderr.flush()
        os._exit(code)
