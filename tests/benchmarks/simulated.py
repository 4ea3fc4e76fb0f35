"""How often the intervals of the summary cover a known truth, and how often it sees a rise where
there is none.

    PYTHONPATH=tests python -m benchmarks.simulated                the full study, some 15 minutes
    PYTHONPATH=tests python -m benchmarks.simulated 100 few        100 curves each, only conditions
                                                                   whose names hold a word

What is true in each condition, and what the noise is: `support.simulated`. Coverage is the share of
all curves of a condition whose 95 % interval holds the truth: a curve that is not called emerged
has no interval and doesn't cover. It has a Monte-Carlo standard error of √(p(1 − p)/n). The target
is 93 to 97 %; where the rise lies between two checkpoints the interval is these, and covers more
often.
"""

from __future__ import annotations

import sys
import time
from collections import Counter
from dataclasses import dataclass, replace

import numpy as np
from rich.console import Console
from rich.table import Table

from circuitwatch.summary.statistics.emergence import fit_emergence
from circuitwatch.summary.statistics.scaling import trend
from support.simulated import Setting, simulate, simulate_suite, without_copies

RUNS = 600
"""Monte-Carlo error of a coverage of 95 %: 0.9 %."""
SUITES_A_RUN = 3
"""Suites cost less time than curves, and their bias is smaller beside its Monte-Carlo error."""
SEED = 1_000_000
"""First seed of the study: none of these was looked at while the methods were chosen."""
PLAIN = Setting()
VALUES = replace(PLAIN, shown="values")
FLAT = replace(VALUES, shape="flat", steady=True)
AT = {"level": 0.4}
COVERED: dict[str, Setting] = {
    "both noises, half-rise": PLAIN,
    "both noises, threshold": replace(PLAIN, **AT),
    "prompts only, half-rise": replace(PLAIN, between=0.0),
    "prompts only, threshold": replace(PLAIN, between=0.0, **AT),
    "noisy checkpoints, half-rise": replace(PLAIN, between=0.1),
    "noisy checkpoints, threshold": replace(PLAIN, between=0.1, level=0.6),
    "prompts rise at own times, half-rise": replace(PLAIN, delay=0.7),
    "prompts rise at own times, threshold": replace(PLAIN, delay=0.7, **AT),
    "wide rise, half-rise": replace(PLAIN, width=0.8),
    "steep rise, half-rise": replace(PLAIN, width=0.2),
    "steep rise, threshold": replace(PLAIN, width=0.2, **AT),
    "values only, half-rise": replace(PLAIN, shown="values"),
    "values only, threshold": replace(PLAIN, shown="values", **AT),
    "values only, even noise, half-rise": replace(PLAIN, shown="values", steady=True),
    "values only, even noise, threshold": replace(PLAIN, shown="values", steady=True, level=0.6),
    "12 checkpoints, half-rise": replace(PLAIN, schedule="few", width=0.8),
    "12 checkpoints, threshold": replace(PLAIN, schedule="few", width=0.8, **AT),
    "12 checkpoints, values only, half-rise": replace(
        PLAIN, schedule="few", width=0.8, shown="values"
    ),
    "154 checkpoints, half-rise": replace(PLAIN, schedule="pythia"),
    "right or wrong, threshold": replace(
        PLAIN, binary=True, lower=0.5, rise=0.5, level=0.5, between=0.02, delay=0.5
    ),
    "odd checkpoints (5 %), half-rise": replace(PLAIN, outliers=0.05),
    "30 % duplicates left out, half-rise": replace(PLAIN, duplicates=0.3),
    "grows on after the rise, threshold": replace(PLAIN, shape="creep", level=0.5),
    "grows on after the rise, half-rise": replace(PLAIN, shape="creep"),
    "two parts, values only, half-rise": replace(VALUES, shape="two parts"),
    "two parts, half-rise": replace(PLAIN, shape="two parts"),
    "two parts, little noise, half-rise": replace(VALUES, shape="two parts", between=0.01),
    "two parts, 154 checkpoints, half-rise": replace(VALUES, shape="two parts", schedule="pythia"),
    "two parts, 12 checkpoints, half-rise": replace(VALUES, shape="two parts", schedule="few"),
    "two stages, values only, half-rise": replace(VALUES, shape="two stages"),
    "two stages, values only, threshold": replace(VALUES, shape="two stages", level=0.3),
    "overshoot, values only, half-rise": replace(VALUES, shape="overshoot"),
    "overshoot, half-rise": replace(PLAIN, shape="overshoot"),
    "dip, values only, half-rise": replace(VALUES, shape="dip"),
    "dip, values only, threshold": replace(VALUES, shape="dip", level=0.5),
    "ceiling, values only, half-rise": replace(VALUES, shape="ceiling"),
    "ceiling, half-rise": replace(PLAIN, shape="ceiling"),
    "gompertz, values only, half-rise": replace(VALUES, shape="gompertz"),
    "straight line, values only, half-rise": replace(VALUES, shape="line"),
    "straight line, values only, threshold": replace(VALUES, shape="line", level=0.5),
    "AR(0.5), values only, half-rise": replace(VALUES, alike=0.5),
    "AR(0.7), values only, half-rise": replace(VALUES, alike=0.7),
    "AR(0.7), values only, threshold": replace(VALUES, alike=0.7, **AT),
    "AR(0.7), half-rise": replace(PLAIN, alike=0.7),
    "AR(0.7), 154 checkpoints, half-rise": replace(VALUES, alike=0.7, schedule="pythia"),
}
CONSERVATIVE: dict[str, Setting] = {
    "12 checkpoints, steep rise, half-rise": replace(PLAIN, schedule="few", width=0.3),
    "12 checkpoints, jump, half-rise": replace(PLAIN, schedule="few", width=0.05),
    "12 checkpoints, jump, threshold": replace(PLAIN, schedule="few", width=0.05, **AT),
    "standard errors only, threshold": replace(PLAIN, shown="stderr", **AT),
    "standard errors of prompts' ease, threshold": replace(PLAIN, shown="stderr", within=0.1, **AT),
}
"""Where the data don't hold what a 95 % interval needs, so that it is meant to err on the wide
side.
"""
EMPTY: dict[str, Setting] = {
    "flat": replace(PLAIN, shape="flat"),
    "flat, values only": replace(PLAIN, shape="flat", shown="values"),
    "flat, values only, even noise": replace(PLAIN, shape="flat", shown="values", steady=True),
    "flat, 12 checkpoints": replace(PLAIN, shape="flat", schedule="few"),
    "flat, 12 checkpoints, values only": replace(
        PLAIN, shape="flat", schedule="few", shown="values"
    ),
    "flat, 154 checkpoints, values only": replace(
        PLAIN, shape="flat", schedule="pythia", shown="values"
    ),
    "untrained, right or wrong": replace(
        PLAIN, shape="flat", binary=True, lower=0.5, rise=0.5, between=0.0
    ),
    "untrained, right or wrong, threshold": replace(
        PLAIN, shape="flat", binary=True, lower=0.5, rise=0.5, between=0.0, level=0.3
    ),
    "wandering": replace(PLAIN, shape="wander", shown="values"),
    "flat, AR(0.7)": replace(FLAT, alike=0.7),
    "flat, AR(0.9)": replace(FLAT, alike=0.9),
    "flat, AR(0.9), threshold": replace(FLAT, alike=0.9, level=0.05),
    "flat, AR(0.9), 12 checkpoints": replace(FLAT, alike=0.9, schedule="few"),
    "random walk": replace(FLAT, alike=1.0),
    "random walk, threshold": replace(FLAT, alike=1.0, level=0.1),
    "random walk, 12 checkpoints": replace(FLAT, alike=1.0, schedule="few"),
    "random walk, 154 checkpoints": replace(FLAT, alike=1.0, schedule="pythia"),
    "random walk, quiet at first": replace(FLAT, alike=1.0, steady=False),
    "AR(0.9), quiet at first": replace(FLAT, alike=0.9, steady=False),
    "rises after the last checkpoint, threshold": replace(
        PLAIN, steps=(1e6, 1e7), width=0.3, level=0.5
    ),
    "there before the first, threshold": replace(PLAIN, steps=(1e-3, 1e-2), level=0.5),
    "rises and falls": replace(PLAIN, shape="transient", steps=(1000.0, 8000.0), width=0.4),
    "rises and loses 60 %": replace(
        PLAIN, shape="transient", lost=0.6, steps=(1000.0, 8000.0), width=0.4
    ),
    "rises and loses 60 %, values only": replace(
        VALUES, shape="transient", lost=0.6, steps=(1000.0, 8000.0), width=0.4
    ),
}
"""Curves without an emergence point to find: emerged in at most 2 % of them."""
FIVE = replace(VALUES, between=0.2, steady=True)
POWER: dict[str, Setting] = {
    f"{words}, {rise} times its noise, {n} checkpoints": replace(
        FIVE, between=1 / rise, schedule=schedule, width=width
    )
    for schedule, n in (("nine", 9), ("few", 12), ("published", 27), ("paper", 43), ("pythia", 154))
    for words, width in (("quick rise", 0.3), ("slow rise", 0.8))
    for rise in (5, 10, 20)
}
"""True rises: emerged in at least 90 % of them, wherever their checkpoints can tell them from a
random walk.
"""
SUITES = {
    "8 sizes, nothing censored": {"last": None},
    "8 sizes, the smallest right-censored": {"last": 1.2e10},
    "8 sizes, half right-censored": {"last": 6e9},
    "8 sizes, the largest left-censored": {"last": None, "first": 1.8e9},
    "8 sizes, censored at both ends": {"last": 1e10, "first": 2e9},
    "20 sizes, censored at both ends": {"last": 1e10, "first": 2e9, "n_sizes": 20},
    "5 sizes, the smallest censored": {"last": 1e10, "n_sizes": 5},
    "8 sizes, 3 seeds, the smallest censored": {"last": 1.2e10, "n_seeds": 3},
}


@dataclass(frozen=True)
class Outcome:
    """What became of the curves of one condition: counts of statuses and of what intervals rest on,
    intervals that hold the truth, and how wide they are in log tokens (median).
    """

    runs: int
    statuses: Counter[str]
    kinds: Counter[str]
    covered: int
    width: float
    bias: float
    ms: float

    @property
    def emerged(self) -> int:
        """Curves called emerged."""
        return self.statuses["emerged"]

    @property
    def coverage(self) -> float:
        """Share of all curves whose interval holds the truth."""
        return self.covered / self.runs

    @property
    def error(self) -> float:
        """Monte-Carlo standard error of the coverage."""
        return float(np.sqrt(self.coverage * (1 - self.coverage) / self.runs))


def run(setting: Setting, runs: int, seed: int = SEED) -> Outcome:
    """Simulate and fit `runs` curves."""
    statuses: Counter[str] = Counter()
    kinds: Counter[str] = Counter()
    covered = 0
    widths, errors, spent = [], [], 0.0
    for k in range(runs):
        curve = simulate(setting, seed + k)
        curve = without_copies(curve) if setting.duplicates else curve
        start = time.perf_counter()
        found = fit_emergence(
            curve.tokens,
            curve.values,
            threshold=curve.threshold,
            per_prompt=curve.per_prompt,
            stderr=curve.stderr,
            seed=k,
        )
        spent += time.perf_counter() - start
        statuses[found.status] += 1
        if found.status == "emerged" and found.tokens and found.low is not None:
            high = np.inf if found.high is None else found.high
            covered += found.low <= curve.point <= high
            kinds[str(found.interval)] += 1
            widths.append(np.log(high / max(found.low, 1.0)))
            errors.append(np.log(found.tokens / curve.point))
    return Outcome(
        runs,
        statuses,
        kinds,
        covered,
        float(np.median(widths)) if widths else np.nan,
        float(np.mean(errors)) if errors else np.nan,
        1000 * spent / runs,
    )


@dataclass(frozen=True)
class SlopeOutcome:
    """Slopes of one kind of suite: bias and Monte-Carlo error with censored points as such, left
    out, and with the bound taken for the value.

    Suites with fewer than three observed sizes have no trend. Where they are many, the others are a
    choice of flat ones. No method could know: `bias_nothing_hidden` is that of least squares on the
    true points of the same suites, 0 but for this choice and chance.
    """

    runs: int
    fitted: int
    censored: float
    bias: float
    error: float
    rmse: float
    median_bias: float
    bias_nothing_hidden: float
    bias_left_out: float
    bias_as_seen: float
    coverage: float


def run_suites(
    runs: int,
    *,
    last: float | None = None,
    first: float | None = None,
    seed: int = SEED,
    **options: int,
) -> SlopeOutcome:
    """Fit the trend of `runs` suites whose true slope is −0.5."""
    slopes, true, left_out, as_seen, hits, censored = [], [], [], [], [], []
    for k in range(runs):
        suite = simulate_suite(seed + k, last=last, first=first, **options)
        seen = np.array([kind == "observed" for kind in suite.kinds])
        found = trend(suite.params, suite.values, suite.kinds)
        if found.slope is None:
            continue
        low = -np.inf if found.slope_low is None else found.slope_low
        high = np.inf if found.slope_high is None else found.slope_high
        slopes.append(found.slope)
        hits.append(low <= suite.slope <= high)
        censored.append(found.n_censored)
        x, y = np.log(suite.params), np.log(suite.values)
        true.append(np.polyfit(x, np.log(suite.points), 1)[0])
        left_out.append(np.polyfit(x[seen], y[seen], 1)[0])
        as_seen.append(np.polyfit(x, y, 1)[0])
    return SlopeOutcome(
        runs,
        len(slopes),
        float(np.mean(censored)),
        float(np.mean(slopes)) - suite.slope,
        float(np.std(slopes) / np.sqrt(len(slopes))),
        float(np.sqrt(np.mean((np.array(slopes) - suite.slope) ** 2))),
        float(np.median(slopes)) - suite.slope,
        float(np.mean(true)) - suite.slope,
        float(np.mean(left_out)) - suite.slope,
        float(np.mean(as_seen)) - suite.slope,
        float(np.mean(hits)),
    )


def main(runs: int, words: list[str]) -> None:
    """Run the study and print its three tables."""
    console = Console(width=150)
    start = time.perf_counter()

    def chosen(conditions: dict) -> dict:  # type: ignore[type-arg]
        return {
            name: what for name, what in conditions.items() if all(word in name for word in words)
        }

    for title, conditions in (
        ("coverage of 95 % intervals (target 93 to 97 %)", COVERED),
        ("where intervals are meant to be wide (target at least 93 %)", CONSERVATIVE),
    ):
        table = Table(title=title, title_justify="left")
        for name in (
            "condition",
            "emerged",
            "coverage %",
            "± (MC)",
            "smooth/fit/both",
            "width (log)",
            "bias (log)",
            "ms",
        ):
            table.add_column(name, justify="left" if name == "condition" else "right")
        for name, setting in chosen(conditions).items():
            got = run(setting, runs)
            table.add_row(
                name,
                f"{got.emerged}/{got.runs}",
                f"{100 * got.coverage:.1f}",
                f"{100 * got.error:.1f}",
                "/".join(str(got.kinds[kind]) for kind in ("smooth", "fit", "both")),
                f"{got.width:.2f}",
                f"{got.bias:+.3f}",
                f"{got.ms:.0f}",
            )
        console.print(table)
    table = Table(title="true rises (target: emerged in at least 90 %)", title_justify="left")
    for name in ("condition", "runs", "emerged or already %", "ambiguous", "never"):
        table.add_column(name, justify="left" if name == "condition" else "right")
    for name, setting in chosen(POWER).items():
        got = run(setting, runs)
        found = got.emerged + got.statuses["already"]
        counts = [str(got.statuses[status]) for status in ("ambiguous", "never")]
        table.add_row(name, str(got.runs), f"{100 * found / got.runs:.1f}", *counts)
    console.print(table)
    table = Table(title="nothing to find (target: emerged in at most 2 %)", title_justify="left")
    for name in ("condition", "runs", "emerged %", "never", "ambiguous", "transient", "already"):
        table.add_column(name, justify="left" if name == "condition" else "right")
    for name, setting in chosen(EMPTY).items():
        got = run(setting, runs)
        rest = [
            str(got.statuses[status]) for status in ("never", "ambiguous", "transient", "already")
        ]
        table.add_row(name, str(got.runs), f"{100 * got.emerged / got.runs:.1f}", *rest)
    console.print(table)
    table = Table(
        title="slope of log tokens over log parameters (true: −0.5); biases of the trend, "
        "its median, and other lines",
        title_justify="left",
    )
    for name in (
        "suites",
        "fitted",
        "censored",
        "bias",
        "± (MC)",
        "rmse",
        "median",
        "nothing hidden",
        "left out",
        "bound as value",
        "coverage %",
    ):
        table.add_column(name, justify="left" if name == "suites" else "right")
    for name, options in chosen(SUITES).items():
        slope = run_suites(SUITES_A_RUN * runs, **options)
        others = (
            slope.median_bias,
            slope.bias_nothing_hidden,
            slope.bias_left_out,
            slope.bias_as_seen,
        )
        about = [
            name,
            f"{slope.fitted}/{slope.runs}",
            f"{slope.censored:.1f}",
            f"{slope.bias:+.4f}",
            f"{slope.error:.4f}",
        ]
        table.add_row(
            *about,
            f"{slope.rmse:.3f}",
            *(f"{bias:+.3f}" for bias in others),
            f"{100 * slope.coverage:.1f}",
        )
    console.print(table)
    console.print(f"{time.perf_counter() - start:.0f} s")


if __name__ == "__main__":
    numbers = [word for word in sys.argv[1:] if word.isdigit()]
    main(
        int(numbers[0]) if numbers else RUNS, [word for word in sys.argv[1:] if not word.isdigit()]
    )
