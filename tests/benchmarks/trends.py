"""The critical values of `statistics.trends`, and how often its intervals hold the truth.

    PYTHONPATH=tests python -m benchmarks.trends [curves]

For 5 to 60 values of autoregressive noise: the share of slopes and means whose 95 % interval leaves
out the true 0, which may be 5 % at most; of means up to ρ = 0.7.
"""

from __future__ import annotations

import sys

import numpy as np
from rich.console import Console
from rich.table import Table

from benchmarks.rise_null import autoregressive
from circuitwatch.summary.statistics.trends import mean_interval, slope_interval

LENGTHS = (5, 6, 7, 9, 12, 16, 25, 40, 60)
RHOS = (0.0, 0.5, 0.7, 0.9)


def main(count: int) -> None:
    """Print the table."""
    table = Table(title=f"share of {count} intervals that leave out the true 0, %")
    for name in ("values", "ρ", "slope", "mean"):
        table.add_column(name, justify="right")
    for n in LENGTHS:
        for rho in RHOS:
            curves = autoregressive(n, rho, count, np.random.default_rng([n, int(10 * rho)]))
            x = np.linspace(0, 1, n)
            slopes = [slope_interval(x, curve)[1:] for curve in curves]
            means = [mean_interval(curve)[1:] for curve in curves]
            shares = (
                f"{100 * np.mean([not low <= 0 <= high for low, high in found]):.1f}"
                for found in (slopes, means)
            )
            table.add_row(str(n), f"{rho:g}", *shares)
    Console(width=80).print(table)


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else 4000)
