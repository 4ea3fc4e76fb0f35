"""A job of a sweep as it goes to another process or machine, and what it may take there."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from hydra.core.hydra_config import HydraConfig
from hydra.core.singleton import Singleton
from hydra.core.utils import JobReturn, JobStatus, run_job, setup_globals
from hydra.types import HydraContext, TaskFunction
from omegaconf import DictConfig, OmegaConf, open_dict

from circuitwatch.errors import UserError, of_files

POOLS = (
    *("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS", "NUMEXPR_NUM_THREADS"),
    *("VECLIB_MAXIMUM_THREADS", "RAYON_NUM_THREADS"),
)
"""What libraries read the size of their thread pools from."""


@dataclass(frozen=True)
class Work:
    """A job: call it where it is to run. It needs this package there, and the same file system.

    number: among the sweep's jobs; cell: the composed configuration; folder: the working folder of
    the command, which relative paths are seen from; state: Hydra's singletons.
    """

    number: int
    cell: DictConfig
    context: HydraContext
    task: TaskFunction
    folder: str
    state: Mapping[Any, Any]

    def __call__(self) -> JobReturn:
        """Run the job in a process of its own; what it raises is in what is returned."""
        os.environ.update(pools_of(self.threads))
        os.chdir(self.folder)
        setup_globals()
        Singleton.set_state(dict(self.state))
        HydraConfig.instance().set_config(self.cell)
        return self.run()

    def run(self) -> JobReturn:
        """Run the job in a process that is set up for it."""
        try:
            return run_job(
                hydra_context=self.context,
                task_function=self.task,
                config=self.cell,
                job_dir_key="hydra.sweep.dir",
                job_subdir_key="hydra.sweep.subdir",
            )
        except OSError as error:  # before the job itself: Hydra can't make its folder
            from circuitwatch.sweeping.job import Job

            if not isinstance(self.task, Job):
                raise
            why = of_files(error, "its folder", "made")
            self.task.note(self.cell.hydra, why)
            return _as_done()

    @property
    def threads(self) -> int | None:
        """The cell's option `threads`; None for all."""
        threads = OmegaConf.select(self.cell, "threads")
        if threads is not None and (not isinstance(threads, int) or threads < 1):
            raise UserError(f"threads={threads}: must be at least 1, or null for all cores")
        return threads

    @property
    def device(self) -> str:
        """The cell's option `device`."""
        return str(OmegaConf.select(self.cell, "device"))

    @property
    def follows(self) -> bool:
        """Whether the cell goes on until its training ends."""
        return bool(OmegaConf.select(self.cell, "follow"))


def composed(
    parts: tuple[HydraContext, TaskFunction, DictConfig],
    overrides: Sequence[Sequence[str]],
    first: int,
) -> Iterator[Work]:
    """A sweep's jobs, composed here, so that a worker needs none of the user's YAML files."""
    context, task, config = parts
    Path(str(config.hydra.sweep.dir)).expanduser().mkdir(parents=True, exist_ok=True)
    for number, own in enumerate(overrides, start=first):
        cell = context.config_loader.load_sweep_config(config, list(own))
        with open_dict(cell):
            cell.hydra.job.id = f"{cell.hydra.job.name}_{number}"
            cell.hydra.job.num = number
        yield Work(number, cell, context, task, str(Path.cwd()), Singleton.get_state())


def most_threads(work: Sequence[Work]) -> int | None:
    """The threads of the job that takes most; None if one takes all."""
    threads = [one.threads for one in work]
    return None if None in threads else max(n for n in threads if n is not None)


def pools_of(threads: int | None) -> dict[str, str]:
    """Environment in which libraries' thread pools have no more threads than the cell."""
    return {} if threads is None else dict.fromkeys(POOLS, str(threads))


def whole(options: Mapping[str, Any], key: str, least: int = 1) -> int | None:
    """An option of a launcher that is a whole number; None if it is null.

    Raises UserError for another value.
    """
    value = options.get(key)
    if value is None:
        return None
    if not isinstance(value, int) or isinstance(value, bool) or value < least:
        raise UserError(
            f"hydra.launcher.{key}={value}: must be a whole number of at least {least}, or null"
        )
    return value


def ended(work: Work, why: str) -> JobReturn:
    """What stands for the result of a job that ended without one, since it was killed: it is noted
    as the cell's failure, so that the sweep's end says it.

    Raises UserError where the sweep keeps no notes.
    """
    from circuitwatch.sweeping.failures import write_failure
    from circuitwatch.sweeping.job import Job

    task = work.task
    if not isinstance(task, Job) or task.sweep is None or task.planned is None:
        raise UserError(f"job {work.number}: {why}")
    write_failure(task.sweep, task.planned[work.number].name, UserError(why))
    return _as_done()


def _as_done() -> JobReturn:
    """What a job returns whose failure is noted: Hydra would raise at the first that is not done,
    while others still run.
    """
    result = JobReturn()
    result.status = JobStatus.COMPLETED
    return result
