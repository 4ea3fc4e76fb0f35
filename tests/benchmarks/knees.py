"""How often a straight line over model sizes is said to level off, and how often the range of
knees holds the truth.

    PYTHONPATH=tests python -m benchmarks.knees [curves]
"""

from __future__ import annotations

import sys

import numpy as np
from rich.console import Console
from rich.table import Table

from circuitwatch.summary.statistics.knees import find_knee

SIZES = (5, 6, 8, 12)
TRUTHS = (("straight", np.inf), ("gently sloped", np.inf), ("no change", -np.inf), ("knee", 2.3))
NOISES = (0.02, 0.1, 0.25, 0.5)


def main(count: int) -> None:
    """Print a row for each number of sizes, shape and noise; the line falls by 5."""
    table = Table(title=f"{count} curves each; shares in %")
    names = (
        "sizes",
        "truth",
        "noise",
        "levels off",
        "straight",
        "not determined",
        "range holds it",
    )
    for name in names:
        table.add_column(name, justify="right")
    for n in SIZES:
        x = np.linspace(0, 5, n)
        for truth, knee in TRUTHS:
            for noise in NOISES:
                # A line as steep as its noise is the hardest to tell from a bent one.
                slope = 1.2 * noise / x.std() if truth == "gently sloped" else 1.0
                trend = -np.minimum(x, knee) if np.isfinite(knee) else -slope * x * (knee > 0)
                rng = np.random.default_rng([n, int(1000 * noise)])
                found = [find_knee(x, trend + rng.normal(0, noise, n)) for _ in range(count)]
                held = [
                    (one.low is None or one.low <= knee) and (one.high is None or one.high >= knee)
                    for one in found
                ]
                begins = ("levels", "no knee", "not determined")
                shares = [sum(one.status.startswith(b) for one in found) for b in begins]
                table.add_row(
                    *(str(n), truth, f"{noise:g}"),
                    *(f"{100 * share / count:.1f}" for share in [*shares, sum(held)]),
                )
    Console(width=100).print(table)


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else 1000)
