"""Jobs as processes on this machine, by joblib."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import joblib
from hydra.core.utils import JobReturn

from circuitwatch.errors import UserError
from circuitwatch.launching.jobs import Work, most_threads, whole


def run(options: Mapping[str, Any], work: Sequence[Work]) -> list[JobReturn]:
    """Run the jobs, so many at a time as `n_jobs` says, or as there are cores for."""
    threads = most_threads(work)
    at_once = whole(options, "n_jobs")
    if at_once is None:
        at_once = 1 if threads is None else max(1, joblib.cpu_count() // threads)
    following = sum(one.follows for one in work)
    if following and len(work) > at_once:
        raise UserError(
            f"follow=true: {len(work)} cells, and {at_once} at a time, so that the others would "
            f"wait for the end; add hydra.launcher.n_jobs={len(work)}"
        )
    with joblib.parallel_config(backend="loky", inner_max_num_threads=threads):
        returned: list[JobReturn] = joblib.Parallel(n_jobs=at_once, batch_size=1)(
            joblib.delayed(one)() for one in work
        )
    return returned
