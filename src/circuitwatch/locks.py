"""Locks: what two processes must not do at once, and who is doing it now.

A lock is a hidden file beside what it guards, there only while it is held. It is the kernel's
(`flock`), which dies with its process, however that ends. On file systems without one it is a
lease, a file that its holder touches every `BEAT` seconds: a holder on this host is known to be
dead by its process id and start time, one on another host once its file has not changed for `LEASE`
seconds of our own clock, so that clocks need not agree. All hosts must mount the file system the
same way: where one has `flock` and another has not, they don't see each other.

Beside the lock `<lock>.json` says who holds it. It is believed only while the lock is held.
"""

from __future__ import annotations

import _thread
import errno
import fcntl
import getpass
import json
import os
import shlex
import signal
import socket
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass
from datetime import datetime
from functools import cached_property
from pathlib import Path

from filelock import BaseFileLock, FileLock, SoftFileLease, Timeout

from circuitwatch.errors import UserError

CELL = ".lock"
"""The lock of a cell that one process watches."""
LEASE, BEAT = 60.0, 10.0
"""Seconds after which a lease that has not changed is over, and between two touches of it."""
GRACE, POLL = 0.5, 0.05
"""Seconds for which a lock is tried, since who only looks at one has it for a moment; and between
two tries."""
NO_FLOCK = (errno.ENOSYS, errno.ENOLCK, errno.ENOTSUP, errno.EOPNOTSUPP)
"""What file systems without `flock` say."""
COMMAND_SHOWN = 120
"""Characters of a holder's command in a message."""


@dataclass(frozen=True)
class Holder:
    """Who holds a lock: process, host, user and command line; since: seconds since the epoch by the
    holder's clock. started: its process' start, by which it is told from a later one of its id.
    """

    pid: int
    host: str
    user: str
    command: str
    since: float
    started: str
    file: Path

    @classmethod
    def here(cls, file: Path) -> Holder:
        """Of the process that asks."""
        program = Path(sys.argv[0] if sys.argv else "").name
        words = ["circuitwatch" if program == "__main__.py" else program, *sys.argv[1:]]
        pid = os.getpid()
        return cls(pid, host(), _user(), shlex.join(words), time.time(), started(pid), file)

    @property
    def is_this_process(self) -> bool:
        """Whether it is the process that asks."""
        return (self.pid, self.host) == (os.getpid(), host())

    @property
    def is_dead(self) -> bool:
        """Whether it is known to have ended: a process of this host that is no more."""
        return self.host == host() and self.started != started(self.pid)

    @cached_property
    def said(self) -> str:
        """Who it is, in words: process 123 on host since 12:01 (circuitwatch -m …)."""
        if not self.pid:
            return "another process"
        when = datetime.fromtimestamp(self.since)
        form = "%H:%M" if when.date() == datetime.now().date() else "%d %b %H:%M"
        whose = "" if self.user == _user() else f" of {self.user}"
        command = self.command
        if len(command) > COMMAND_SHOWN:
            command = f"{command[:COMMAND_SHOWN]}…"
        return f"process {self.pid}{whose} on {self.host} since {when:{form}} ({command})"


@contextmanager
def hold(
    path: Path,
    what: str,
    *,
    wait: bool | float = False,
    say: Callable[[str], None] | None = None,
) -> Iterator[None]:
    """Hold a lock, and say in a file beside it who does.

    Args:
        path: The lock's file; its folder is made if need be, and removed if it stays empty.
        what: What its holder does, for messages: "… is being watched".
        wait: For how many seconds it is waited for; True: for ever, False: not at all.
        say: Told once whom is waited for; None: standard error is.

    Raises:
        UserError: another process holds it, or its file can't be written.
    """
    with no_empty_folders(path.parent):
        try:
            lock = _acquired(path, what, wait, say or _say)
        except OSError as error:
            raise UserError(
                f"{path.parent}: can't be written ({error.strerror or error}), so it can't be "
                f"locked; free it or choose another folder"
            ) from error
        try:
            yield
        finally:
            _let_go(path, lock)


@contextmanager
def no_empty_folders(folder: Path) -> Iterator[None]:
    """Of a folder and those above it, what was not there before is removed if it stays empty."""
    made = [path for path in (folder, *folder.parents) if not path.exists()]
    try:
        yield
    finally:
        with suppress(OSError):  # up to the first that has anything in it
            for path in made:
                path.rmdir()


def holder(path: Path) -> Holder | None:
    """Who holds a lock now, None if nobody does. It is only looked at: its holder is not disturbed,
    nothing is written, and who tries to take it meanwhile tries again.
    """
    deadline = time.monotonic() + GRACE
    while _is_held(path):
        who = _read(path)
        if who is not None and not who.is_dead:
            return who
        if time.monotonic() > deadline:
            if who is not None and _soft(path).exists():
                return None  # a lease outlives its holder
            return Holder(0, "?", "?", "", time.time(), "", path)
        time.sleep(POLL)  # it was taken just now, and says so in a moment
    return None


def running(cell: Path) -> list[Holder]:
    """The processes that watch a cell now: one, or one for each shard."""
    locks = {path.name.removesuffix(".soft") for path in cell.glob(".*lock*")}
    names = sorted(n for n in locks if n == CELL or (n.startswith(".shard") and n.endswith("lock")))
    return [who for name in names if (who := holder(cell / name)) is not None]


def info_of(path: Path) -> Path:
    """The file that says who holds a lock."""
    return path.with_name(f"{path.name}.json")


def host() -> str:
    """The name of this host."""
    return socket.gethostname()


def started(pid: int) -> str:
    """When a process of this host was started, in the kernel's own words; empty if there is none,
    "?" where that can't be known.
    """
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return ""
    except OSError:
        pass  # another user's
    try:
        words = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8").rpartition(")")[2].split()
    except OSError:
        return "?"
    return "" if words[0] == "Z" else words[19]


def _acquired(
    path: Path, what: str, wait: bool | float, say: Callable[[str], None]
) -> BaseFileLock:
    """A lock that is held, and says by whom."""
    for_ever = wait is True
    deadline = time.monotonic() + (0.0 if for_ever else float(wait))
    is_told, beat = False, _changed(path)
    # One for all tries: it is what sees for how long another's has not changed.
    lease = SoftFileLease(
        _soft(path),
        lease_duration=LEASE,
        heartbeat_interval=BEAT,
        on_compromise=lambda _: _lost(path),
        thread_local=False,
    )
    while True:
        lock = _tried(path, lease)
        if lock is not None:
            try:
                _write(path)
            except BaseException:
                _let_go(path, lock)
                raise
            return lock
        who = holder(path)
        if who is None:
            continue  # it was let go just now
        if not for_ever and time.monotonic() >= deadline:
            # A lease of another host is alive if it changes; else it is taken in time.
            is_known = who.host == host() or not _soft(path).exists()
            if is_known or _changed(path) != beat:
                raise UserError(f"{what} by {who.said}; {_way_out(path, who)}")
        if not is_told:
            say(f"{what} by {who.said}; waiting for it")
            is_told = True


def _let_go(path: Path, lock: BaseFileLock) -> None:
    """Release a lock. Its files go first, while it is held: who comes next makes their own."""
    with suppress(OSError):
        info_of(path).unlink()
    if not isinstance(lock, SoftFileLease):
        with suppress(OSError):
            path.unlink()
    with suppress(OSError):  # a lease whose folder is gone
        lock.release()


def _way_out(path: Path, who: Holder) -> str:
    if who.is_this_process:
        return "close that first"
    if not _soft(path).exists():
        return "wait for it to end, or stop it"
    return f"wait for it to end, or, if there is no such process any more, remove {_soft(path)}"


def _tried(path: Path, lease: SoftFileLease) -> BaseFileLock | None:
    """The kernel's lock, or where there is none the lease, if nobody else has it.

    A lock whose file was removed between its opening and its locking, as on NFS under another name,
    guards nothing, and is tried once more.
    """
    lock = FileLock(path, fallback_to_soft=False, thread_local=False)
    path.parent.mkdir(parents=True, exist_ok=True)
    try:
        lock.acquire(timeout=GRACE, poll_interval=POLL)
        if _is_flocked(path):
            return lock
        lock.release()
        return None
    except Timeout:
        return None
    except OSError as error:
        if error.errno in (errno.ESTALE, errno.ENOENT):  # removed by who had it before
            return None
        if error.errno not in NO_FLOCK:
            raise
    with suppress(OSError):
        path.unlink()  # of the kernel's, which there is none of
    try:
        lease.acquire(timeout=GRACE, poll_interval=POLL)
    except Timeout:
        return None
    return lease


def _lost(path: Path) -> None:
    """Another process has taken a lease whose holder stood still for too long."""
    _say(f"{path.parent}: its lock was taken by another process, since this one stood still")
    _thread.interrupt_main(signal.SIGTERM)  # does nothing in a program that does not handle it


def _is_held(path: Path) -> bool:
    return _soft(path).exists() or _is_flocked(path)


def _is_flocked(path: Path) -> bool:
    """Whether the kernel's lock of a file is held, by this process or another."""
    try:
        descriptor = os.open(path, os.O_RDONLY)
    except OSError:
        return False
    try:
        fcntl.flock(descriptor, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except OSError as error:
        return error.errno not in NO_FLOCK
    finally:
        os.close(descriptor)
    return False


def _soft(path: Path) -> Path:
    """The file of a lock that is a lease."""
    return path.with_name(f"{path.name}.soft")


def _changed(path: Path) -> int | None:
    try:
        return _soft(path).stat().st_mtime_ns
    except OSError:
        return None


def _write(path: Path) -> None:
    """Say that this process holds a lock."""
    said = asdict(Holder.here(path))
    del said["file"]
    partial = info_of(path).with_suffix(".partial")
    try:
        partial.write_text(json.dumps(said) + "\n", encoding="utf-8")
        partial.replace(info_of(path))
    except BaseException:
        partial.unlink(missing_ok=True)
        raise


def _read(path: Path) -> Holder | None:
    """Who said last that they hold a lock."""
    try:
        return Holder(**json.loads(info_of(path).read_text(encoding="utf-8")), file=path)
    except (OSError, ValueError, TypeError):
        return None


def _user() -> str:
    try:
        return getpass.getuser()
    except (OSError, KeyError):  # no name for its number, as in a container
        return str(os.getuid())


def _say(line: str) -> None:
    print(f"circuitwatch: {line}", file=sys.stderr, flush=True)
