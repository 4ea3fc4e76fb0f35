"""Runs the real W&B client in a process of its own against a server: it keeps settings, threads and
a service process that no test should share with another.
"""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import psutil

KEY = "x" * 40


def environment(url: str, home: Path, key: str = KEY) -> dict[str, str]:
    """The whole environment of such a process: nothing of this one's."""
    return {
        "WANDB_BASE_URL": url,
        "WANDB_API_KEY": key,
        "HOME": str(home),
        "WANDB_ERROR_REPORTING": "false",
    }


@contextmanager
def started(
    script: str, url: str, home: Path, key: str = KEY, **more: str
) -> Iterator[subprocess.Popen[str]]:
    """A process that runs a Python script while the context lasts; what it says is to be read from
    its `stdout`. Its service process ends with it, which by itself could go on for minutes.
    """
    process = subprocess.Popen(
        [sys.executable, "-u", "-c", script],
        cwd=home,
        env=environment(url, home, key) | more,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    with process:
        try:
            yield process
        finally:
            kill(process)


def kill(process: subprocess.Popen[str]) -> None:
    """SIGKILL to a process and to the service that it started."""
    family = []
    if process.poll() is None:
        family = psutil.Process(process.pid).children(recursive=True)
        process.kill()
        process.wait()
    for one in family:
        with suppress(psutil.NoSuchProcess):
            one.kill()


def run(
    script: str,
    url: str,
    home: Path,
    key: str = KEY,
    *,
    timeout: float = 50,
    fails: bool = False,
    **more: str,
) -> str:
    """What a Python script says, run to its end, which is to be a good one unless it `fails`."""
    with started(script, url, home, key, **more) as process:
        said, _ = process.communicate(timeout=timeout)
    assert (process.returncode != 0) == fails, said
    return said


def sync(folders: list[Path], url: str, home: Path, key: str = KEY) -> str:
    """What `wandb sync` says of some offline runs."""
    command = [sys.executable, "-m", "wandb", "sync", *map(str, folders)]
    done = subprocess.run(
        command,
        cwd=home,
        env=environment(url, home, key),
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=50,
        check=False,
    )
    assert done.returncode == 0, done.stdout
    return done.stdout
