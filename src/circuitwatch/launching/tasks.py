"""Jobs as tasks of Ray: one that is started here for the sweep, or a cluster's."""

from __future__ import annotations

import logging
import os
from collections.abc import Mapping, Sequence
from typing import Any

from hydra.core.utils import JobReturn

from circuitwatch.errors import UserError
from circuitwatch.launching.jobs import Work, ended, most_threads, pools_of, whole

STORE = 100 * 2**20  # bytes; the jobs exchange files, and nothing else that is large


def run(options: Mapping[str, Any], work: Sequence[Work]) -> list[JobReturn]:
    """Run the jobs; Ray runs so many at a time as there are cores for."""
    # Read when Ray is imported: whether it reports its use, and hides GPUs from tasks without one.
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    os.environ.setdefault("RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO", "0")
    import ray

    address, cores = options.get("address"), whole(options, "num_cpus")
    if address is not None and cores is not None:
        raise UserError("hydra.launcher.num_cpus: is for a Ray that is started here; leave it out")
    gpus, memory = whole(options, "num_gpus", least=0), options.get("mem_gb")
    before = dict(os.environ)
    os.environ.update(pools_of(most_threads(work)))  # workers of a Ray that starts here inherit it
    try:
        here = {"num_cpus": cores, "object_store_memory": STORE, "include_dashboard": False}
        ray.init(
            address=address or "local", logging_level=logging.ERROR, **({} if address else here)
        )
    except (ConnectionError, ValueError, RuntimeError) as error:
        line = " ".join(str(error).split())
        raise UserError(f"hydra.launcher.address={address}: Ray does not start: {line}") from error
    finally:
        os.environ.clear()
        os.environ.update(before)
    try:
        total = int(ray.cluster_resources().get("CPU", 1))
        started = []
        for one in work:
            threads = one.threads or max(int(n["Resources"].get("CPU", 1)) for n in ray.nodes())
            if threads > total:
                raise UserError(f"threads={threads}: Ray has {total} cores")
            own_gpus = int(one.device == "cuda") if gpus is None else gpus
            asked = {"num_cpus": threads, "num_gpus": own_gpus, "max_retries": 0}
            if memory is not None:
                asked["memory"] = int(memory * 2**30)
            started.append(ray.remote(_run).options(**asked).remote(one))
        return [_result(ray, one, job) for one, job in zip(work, started, strict=True)]
    finally:
        ray.shutdown()


def _run(work: Work) -> JobReturn:
    return work()


def _result(ray: Any, work: Work, job: Any) -> JobReturn:
    try:
        result: JobReturn = ray.get(job)
    except ray.exceptions.RayError as error:
        why = " ".join(str(error).split())[:200]
        return ended(work, f"its worker was killed ({type(error).__name__}: {why})")
    return result
