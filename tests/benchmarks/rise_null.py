"""The critical values of `statistics.rise_test`: what likelihood ratios curves without a rise have.

    PYTHONPATH=tests python -m benchmarks.rise_null [curves]        some minutes on one core

For autoregressive noise from independent checkpoints to a random walk, and 5 to 154 checkpoints,
it prints the 98th percentile of the ratio for one, two and three steps, and the share of curves
that exceed any of the critical values, which may be 2 % at most.
"""

from __future__ import annotations

import sys

import numpy as np
from rich.console import Console
from rich.table import Table

from circuitwatch.summary.statistics import smoothing
from circuitwatch.summary.statistics.rise_test import CRITICAL, likelihood_ratios

LENGTHS = (5, 6, 7, 9, 12, 18, 27, 43, 80, 154)
RHOS = (0.0, 0.5, 0.7, 0.9, 0.95, 1.0)


def autoregressive(n: int, rho: float, count: int, rng: np.random.Generator) -> np.ndarray:
    """Curves [curve, checkpoint] of AR(1) noise with standard deviation 1; ρ = 1 is a random
    walk.
    """
    noise = rng.normal(size=(count, n))
    return np.cumsum(noise, axis=1) if rho == 1.0 else smoothing.autoregressive(noise.T, rho).T


def main(count: int) -> None:
    """Print the table."""
    table = Table(title=f"ratios of {count} curves without a rise; critical: {CRITICAL}")
    for name in ("checkpoints", "ρ", "98 %: 1 step", "2 steps", "3 steps", "any exceeded %"):
        table.add_column(name, justify="right")
    for n in LENGTHS:
        # Steps 1, 2, 4 … 512, then every so many hundred, as published suites have them.
        early = 2.0 ** np.arange(min(n // 3, 10))
        x = np.log(np.concatenate([early, np.linspace(1000, 143_000, n - early.size)]))
        for rho in RHOS:
            rng = np.random.default_rng([n, int(100 * rho)])
            parts = [
                likelihood_ratios(x, autoregressive(n, rho, min(500, count), rng))
                for _ in range(max(count // 500, 1))
            ]
            ratios = np.concatenate(parts, axis=1)
            exceeded = (ratios > np.array(CRITICAL)[: len(ratios), None]).any(axis=0).mean()
            quantiles = (f"{value:.1f}" for value in np.quantile(ratios, 0.98, axis=1))
            table.add_row(str(n), f"{rho:g}", *quantiles, f"{100 * exceeded:.1f}")
    Console(width=100).print(table)


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else 5000)
