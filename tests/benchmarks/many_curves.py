"""How long a summary of many curves takes, and how large its report is.

    PYTHONPATH=tests python -m benchmarks.many_curves [curves]      10,000 curves of 30 checkpoints

The curves are tidy rows of 100 models of four sizes; each has 200 bootstrap samples, as a person's
have. Prints the seconds of reading, of fitting and of all the rest, and the report's size. The
target is five minutes on one core for 10,000.
"""

from __future__ import annotations

import sys
import tempfile
import time
from pathlib import Path

import numpy as np
import pandas as pd
from rich.console import Console
from scipy.special import expit

from circuitwatch.results import open as open_results
from circuitwatch.summary.writing import write_summary

MODELS, CHECKPOINTS = 100, 30


def table_of(count: int) -> pd.DataFrame:
    """Rows of `count` curves: rises at their own times, some quick with a slow end, some flat."""
    rng = np.random.default_rng(0)
    tokens = np.geomspace(1e6, 3e11, CHECKPOINTS)
    x, parts = np.log(tokens), []
    for k in range(count):
        late = x - np.log(rng.uniform(1e8, 5e10))
        shape = (expit(late / 0.7), 0.5 * expit(late / 0.3) + 0.08 * late.clip(0), 0 * late)[k % 3]
        model = k % MODELS
        parts.append(
            pd.DataFrame(
                {
                    "model": f"model{model}",
                    "params": (1e8, 4e8, 1e9, 7e9)[model % 4] + model,
                    "task": f"task{k // MODELS // 2}",
                    "quantity": ("acc", "loss")[k // MODELS % 2],
                    "tokens": tokens,
                    "value": shape + rng.normal(0, 0.03, CHECKPOINTS),
                }
            )
        )
    return pd.concat(parts, ignore_index=True)


def main(count: int) -> None:
    """Time a summary of `count` curves."""
    console = Console()
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "curves.csv"
        table_of(count).to_csv(path, index=False)
        start = time.perf_counter()
        results = open_results(path)
        read = time.perf_counter()
        results.fit(lambda done, total: None)
        fitted = time.perf_counter()
        to = Path(folder) / "summary"
        write_summary(results, "many", to)
        end = time.perf_counter()
        size = (to / "report.html").stat().st_size / 2**20
    seconds = f"{read - start:.1f} s reading, {fitted - read:.1f} s fitting, {end - fitted:.1f} s"
    console.print(f"{count} curves: {seconds} for all the rest; report {size:.1f} MiB")


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else 10_000)
