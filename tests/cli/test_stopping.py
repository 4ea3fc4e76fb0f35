"""Ctrl-C and SIGTERM at any moment of the first seconds: one line and the exit code of the signal,
whatever is being imported.

Before this program's first line Python itself answers: a traceback of KeyboardInterrupt, or an end
without a word. It is over once SIGTERM is caught, which the kernel tells.
"""

from __future__ import annotations

import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="asks /proc what is caught")

SAID = "circuitwatch: interrupted; "


def is_listening(process: subprocess.Popen[str]) -> bool:
    """Whether SIGTERM is caught: by us, since Python leaves it alone."""
    status = Path(f"/proc/{process.pid}/status").read_text()
    caught = next(line for line in status.splitlines() if line.startswith("SigCgt:"))
    return bool(int(caught.split()[1], 16) >> (signal.SIGTERM - 1) & 1)


def interrupted(arguments: list[str], after: float, how: signal.Signals, cwd: Path) -> str:
    """Standard error of a command that got a signal so many seconds after it began to listen."""
    with subprocess.Popen(
        [sys.executable, "-m", "circuitwatch", *arguments],
        cwd=cwd,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    ) as process:
        while not is_listening(process):
            assert process.poll() is None
        time.sleep(after)  # the moment is what is tested
        process.send_signal(how)
        _, said = process.communicate(timeout=60)
    assert process.returncode == 128 + how, (after, how, said)
    return said


COMMANDS = (
    ["model=folder", "model.path=.", "follow=true", "model.tokens_per_step=1", "tracking=off"],
    ["-m", "model=folder", "model.path=.", "task=ioi,agreement", "out=a", "hydra/launcher=basic"],
)


@pytest.mark.parametrize("seed", range(8))
def test_a_signal_in_the_first_seconds(seed: int, tmp_path: Path) -> None:
    """A run that waits for its first checkpoint, so it is there whenever the signal comes."""
    chosen = random.Random(seed)
    how = (signal.SIGINT, signal.SIGTERM)[seed % 2]
    said = interrupted(COMMANDS[0], 3 * (seed + chosen.random()) / 8, how, tmp_path)
    assert said.splitlines()[-1].startswith(SAID) and "Traceback" not in said
    assert "Exception" not in said and said.count(SAID) == 1


def test_while_a_sweep_is_composed_nothing_is_left(tmp_path: Path) -> None:
    said = interrupted(COMMANDS[1], 0.2, signal.SIGINT, tmp_path)
    assert said == f"{SAID}the same command goes on where it stopped\n"
    assert not list(tmp_path.iterdir())


IN_AN_IMPORT = """
import os, signal, sys
from circuitwatch.cli.stopping import STOPPING
STOPPING.listen()
class Loud:
    def __del__(self):
        os.kill(os.getpid(), {signal})   # an exception here is printed, and swallowed
Loud()
"""


@pytest.mark.parametrize("how", [signal.SIGINT, signal.SIGTERM])
def test_where_an_exception_would_be_swallowed(how: signal.Signals) -> None:
    done = subprocess.run(
        [sys.executable, "-c", IN_AN_IMPORT.format(signal=int(how))],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 128 + how
    assert done.stderr == "circuitwatch: interrupted; nothing was changed\n"


AT_WORK = """
import os, signal, sys, time
from circuitwatch.cli import command, main, stopping
class Loud:
    def __del__(self):
        os.kill(os.getpid(), signal.SIGTERM)
        time.sleep(0.001)
def run(arguments):
    stopping.STOPPING.begin()
    try:
        if arguments == ["in a finaliser"]:
            Loud()
        else:
            os.kill(os.getpid(), signal.SIGTERM)
        time.sleep(60)
    finally:
        print("closed")
        if arguments == ["badly"]:
            raise ValueError("in what closes files")
command.load = lambda name: command.Command(run, {}, "so")
main(["watch", *sys.argv[1:]])
"""


@pytest.mark.parametrize("arguments", [[], ["badly"], ["in a finaliser"]])
def test_what_is_open_is_closed_once_it_works(arguments: list[str]) -> None:
    done = subprocess.run(
        [sys.executable, "-c", AT_WORK, *arguments],
        capture_output=True,
        text=True,
        check=False,
        timeout=30,  # it sleeps for longer
    )
    assert (done.returncode, done.stdout) == (143, "closed\n")
    assert done.stderr == "circuitwatch: interrupted; so\n"
