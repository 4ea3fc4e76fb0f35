"""Several seeds of a size: the median is one of order statistics, in which a seed that never got
there counts as late.
"""

from __future__ import annotations

import numpy as np
import pytest

from circuitwatch.summary.rows import EmergenceRow
from circuitwatch.summary.seeds import median_emergence_point, seeds_table


def rows(*statuses: str | float, last: float = 2e6, first: float = 1e3) -> list[EmergenceRow]:
    """A row a seed: tokens of one that emerged, or a status."""
    return [
        EmergenceRow(
            status=one if isinstance(one, str) else "emerged",
            rule="half rise",
            n=10,
            first_tokens=first,
            last_tokens=last,
            final=1.0,
            tokens=None if isinstance(one, str) else one,
            model="m",
            task="ioi",
            quantity="behaviour/value",
            seed=seed,
            params_total=1e6,
            source="x",
        )
        for seed, one in enumerate(statuses)
    ]


@pytest.mark.parametrize(
    ("seeds", "expected"),
    [
        ((1e6, 2e6, 1.5e6), (1.5e6, "observed")),
        ((1e6, 4e6), (2e6, "observed")),
        ((1.3e6, 0.85e6, "never"), (1.3e6, "observed")),
        ((1.3e6, 0.85e6, "already"), (0.85e6, "observed")),
        ((1e6, "never", "never"), (2e6, "right-censored")),
        ((0.5e6, "never"), (1e6, "right-censored")),
        (("already", "already", 1e6), (1e3, "left-censored")),
        (("already", "never"), None),
        (("transient", "ambiguous"), None),
        (("transient", 1e6, "never", 3e5), (1e6, "observed")),
    ],
)
def test_the_median_counts_those_that_never_did(
    seeds: tuple[str | float, ...], expected: tuple[float, str] | None
) -> None:
    found = median_emergence_point(rows(*seeds))
    assert found == (None if expected is None else (pytest.approx(expected[0]), expected[1]))


def test_there_at_no_tokens_is_no_bound() -> None:
    assert median_emergence_point(rows("already", "already", first=0.0)) is None


def test_the_median_of_runs_of_which_some_fail_is_not_early() -> None:
    """Points whose median is 1e6, seen until 1.5e6: over 2000 sizes of 5 seeds the median of log
    points, where observed, is not shifted early.

    Among the sizes whose median is observed the mean of log(median) is that of medians below 1.5e6
    (the truth, known from the uncensored points).
    """
    rng = np.random.default_rng(0)
    of_those_seen, of_all = [], []
    for points in np.exp(rng.normal(np.log(1e6), 0.5, (2000, 5))):
        seen = [float(point) if point < 1.5e6 else "never" for point in points]
        found = median_emergence_point(rows(*seen, last=1.5e6))
        assert found is not None and (found[1] == "observed") == (np.median(points) < 1.5e6)
        if found[1] == "observed":
            of_those_seen.append(found[0])
            of_all.append(float(np.median(points)))
    assert of_those_seen == pytest.approx(of_all)


def test_the_table_says_how_many_did_and_how_many_never() -> None:
    (row,) = seeds_table(rows(1.3e6, 0.85e6, "never"))
    assert (row.seeds, row.emerged, row.never, row.already) == (3, 2, 1, 0)
    assert (row.tokens_median, row.tokens_median_is) == (pytest.approx(1.3e6), "observed")
    assert (row.tokens_min, row.tokens_max) == (0.85e6, 1.3e6)
    assert not seeds_table(rows(1e6))
