"""Locks, between real processes: who holds one is said, and no way of ending keeps it held."""

from __future__ import annotations

import errno
import fcntl
import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from circuitwatch import locks
from circuitwatch.errors import UserError
from circuitwatch.locks import CELL, Holder, hold, holder, info_of, running

HOLDING = """
import fcntl, os, signal, sys
from pathlib import Path
signal.signal(signal.SIGINT, signal.default_int_handler)  # which a shell's job may ignore
from circuitwatch import locks
if "soft" in sys.argv:
    def nothing(*_): raise OSError(38, "Function not implemented")
    fcntl.flock = nothing
with locks.hold(Path(sys.argv[1]), "it is held"):
    if "fork" in sys.argv and not os.fork():
        print(flush=True)
        sys.stdin.read()
        os._exit(0)
    if "fork" not in sys.argv:
        print(flush=True)
    sys.stdin.read()
"""


@contextmanager
def held_elsewhere(path: Path, *how: str) -> Iterator[subprocess.Popen[str]]:
    """Another process that holds a lock until it is told to end."""
    command = [sys.executable, "-c", HOLDING, str(path), *how]
    with subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout is not None
        process.stdout.readline()
        try:
            yield process
        finally:
            process.kill()


def no_flock(*_: object) -> None:
    raise OSError(errno.ENOSYS, "Function not implemented")


@pytest.fixture(params=["kernel", "soft"])
def how(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    """Both kinds of locks, where the file system has `flock` and where it has none."""
    if request.param == "soft":
        monkeypatch.setattr(fcntl, "flock", no_flock)
    return str(request.param)


def test_the_second_says_who_holds_it(how: str, tmp_path: Path) -> None:
    path = tmp_path / "cell" / CELL
    with held_elsewhere(path, how) as process:
        who = holder(path)
        assert who is not None and (who.pid, who.host) == (process.pid, locks.host())
        assert running(path.parent) == [who]
        with (
            pytest.raises(UserError, match=rf"^it is held by process {process.pid} on \S+ since"),
            hold(path, "it is held"),
        ):
            raise AssertionError
        assert holder(path) == who  # undisturbed
    process.wait(timeout=60)
    assert running(path.parent) == []


def test_nothing_is_left_of_it(how: str, tmp_path: Path) -> None:
    with hold(tmp_path / CELL, "it is held"):
        who = holder(tmp_path / CELL)
        assert who is not None and who.is_this_process
    assert list(tmp_path.iterdir()) == []
    assert holder(tmp_path / CELL) is None


@pytest.mark.parametrize("ending", [signal.SIGKILL, signal.SIGTERM, signal.SIGINT])
def test_it_ends_with_its_process(how: str, ending: signal.Signals, tmp_path: Path) -> None:
    path = tmp_path / CELL
    with held_elsewhere(path, how) as process:
        process.send_signal(ending)
        process.wait(timeout=60)
        assert holder(path) is None
        with hold(path, "it is held"):
            assert running(tmp_path)[0].is_this_process
    assert list(tmp_path.iterdir()) == []


def test_a_forked_child_does_not_keep_it(tmp_path: Path) -> None:
    path = tmp_path / CELL
    with held_elsewhere(path, "fork") as process:
        process.kill()
        process.wait(timeout=60)  # its child goes on
        with hold(path, "it is held"):
            pass


def test_it_is_waited_for_and_that_is_said_once(how: str, tmp_path: Path) -> None:
    path = tmp_path / CELL
    said: list[str] = []

    with held_elsewhere(path, how) as process:

        def say(line: str) -> None:
            said.append(line)
            process.kill()
            process.wait(timeout=60)

        with hold(path, "it is held", wait=True, say=say):
            pass
    assert len(said) == 1 and f"it is held by process {process.pid} on " in said[0]


def test_a_lease_of_another_host_is_over_when_its_file_changes_no_more(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(fcntl, "flock", no_flock)
    monkeypatch.setattr(locks, "LEASE", 1.5)
    monkeypatch.setattr(locks, "BEAT", 0.1)
    path = tmp_path / CELL
    _as_of_another_host(path, duration=1.5)
    said: list[str] = []
    with hold(path, "it is held", say=said.append):
        pass
    assert len(said) == 1 and "process 1 of someone on elsewhere" in said[0]


def test_a_lease_of_another_host_that_changes_is_alive(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(fcntl, "flock", no_flock)
    path = tmp_path / CELL
    soft = _as_of_another_host(path, duration=locks.LEASE)
    with (
        pytest.raises(UserError, match=rf"if there is no such process any more, remove {soft}$"),
        hold(path, "it is held", say=lambda _: os.utime(soft, (1, 1))),
    ):
        raise AssertionError


def _as_of_another_host(path: Path, *, duration: float) -> Path:
    """A lease that a process of another host left behind; returns its file."""
    soft = path.with_name(f"{path.name}.soft")
    marker = f"filelock/2\npid=1\nhost=elsewhere\nmode=lease\ntoken=a\nduration={duration!r}\n"
    soft.write_text(marker, encoding="utf-8")
    left = {"pid": 1, "host": "elsewhere", "user": "someone", "command": "circuitwatch"}
    info_of(path).write_text(json.dumps(left | {"since": 0.0, "started": "1"}), encoding="utf-8")
    return soft


def test_what_is_left_of_a_dead_process_is_not_believed(tmp_path: Path) -> None:
    path = tmp_path / CELL
    info_of(path).write_text("{", encoding="utf-8")
    path.touch()
    assert holder(path) is None and running(tmp_path) == []
    with hold(path, "it is held"):
        assert running(tmp_path)[0].is_this_process


@pytest.mark.parametrize(
    ("why", "words"),
    [(errno.EACCES, "Permission denied"), (errno.ENOSPC, "No space left"), (errno.EROFS, "Read-")],
)
def test_a_folder_that_cannot_be_written_is_one_line(
    why: int, words: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: object, **__: object) -> None:
        raise OSError(why, os.strerror(why))

    monkeypatch.setattr(Path, "write_text", full)
    with (
        pytest.raises(UserError, match=rf"^{tmp_path}: can't be written \({words}.*locked"),
        hold(tmp_path / CELL, "it is held"),
    ):
        raise AssertionError
    assert list(tmp_path.iterdir()) == []


def test_a_long_command_is_cut(tmp_path: Path) -> None:
    here = Holder.here(tmp_path / CELL)
    made: Callable[..., Holder] = Holder
    shown = made(**{**vars(here), "command": "x" * 1000}).said
    assert len(shown) < 300 and "…" in shown
