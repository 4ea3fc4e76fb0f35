"""Throughput of two jobs side by side against one after another, by joblib, on two cores.

In pairs, each in turn the first, so that what else the machine does weighs on both; the median of
the pairs' ratios, and whether it is at least 1.6. `python -m benchmarks.launchers [pairs]`
"""

from __future__ import annotations

import os
import statistics
import sys
import tempfile
import time
from pathlib import Path

from support.launched import cells, run, write_models

LEAST = 1.6
LARGE = ("task.n_prompts=64", "circuit.resamples=16", "schedule=all", "n_bootstrap=1000")
LARGE += ("heads.n_prompts=32", "heads.n_sequences=32", "heads.length=24")


def seconds(own: Path, out: Path, at_once: int) -> float:
    """Wall time of the sweep of four cells with so many at a time."""
    began = time.perf_counter()
    said = run(own, out, *LARGE, "hydra/launcher=joblib", f"hydra.launcher.n_jobs={at_once}")
    taken = time.perf_counter() - began
    if said.returncode != 0 or len(cells(out)) != 4:
        raise SystemExit(said.stderr)
    return taken


def main(pairs: int) -> int:
    """Measure and print; the exit code says whether it was fast enough."""
    ratios = []
    with tempfile.TemporaryDirectory() as folder:
        own = write_models(Path(folder) / "models", n_steps=400, every=4)
        for pair in range(pairs):
            order = (1, 2) if pair % 2 == 0 else (2, 1)
            taken = {n: seconds(own, Path(folder) / f"{pair}-{n}", n) for n in order}
            ratios.append(taken[1] / taken[2])
            load = os.getloadavg()[0]
            print(f"1: {taken[1]:.1f} s, 2: {taken[2]:.1f} s, {ratios[-1]:.2f} ×, load {load:.1f}")
    median = statistics.median(ratios)
    print(f"median of {pairs} pairs: {median:.2f} × (at least {LEAST} on two free cores)")
    return int(median < LEAST)


if __name__ == "__main__":
    sys.exit(main(int(sys.argv[1]) if len(sys.argv) > 1 else 5))
