"""How long the command line takes to start: help, and a configuration that is composed.

    PYTHONPATH=tests python -m benchmarks.starting [folder of another src]

Prints the median of processor and wall seconds over runs of each; with another checkout's src,
those of both, taken in turn, so that what else the machine does falls on both.
"""

from __future__ import annotations

import os
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

RUNS = 7
LINES = ("--help", "model=pythia-160m task=ioi --cfg job", "summarize sweep=none")


def seconds(line: str, source: str, folder: str) -> tuple[float, float]:
    """Wall and processor seconds of one command."""
    before, start = resource.getrusage(resource.RUSAGE_CHILDREN), time.perf_counter()
    subprocess.run(
        [sys.executable, "-m", "circuitwatch", *line.split()],
        env={**os.environ, "PYTHONPATH": source},
        cwd=folder,
        capture_output=True,
        check=False,
    )
    wall, after = time.perf_counter() - start, resource.getrusage(resource.RUSAGE_CHILDREN)
    return wall, after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime


def main() -> None:
    """Time each line."""
    sources = [str(Path(path).resolve()) for path in ("src", *sys.argv[1:2])]
    with tempfile.TemporaryDirectory() as folder:
        for line in LINES:
            taken: dict[str, list[tuple[float, float]]] = {source: [] for source in sources}
            for _ in range(RUNS):
                for source in sources:
                    taken[source].append(seconds(line, source, folder))
            for name, pairs in zip(("this", "other"), taken.values(), strict=False):
                wall, used = (statistics.median(part) for part in zip(*pairs, strict=True))
                print(f"{line}: {name} {wall:.2f} s, {used:.2f} s of processor time")


if __name__ == "__main__":
    main()
