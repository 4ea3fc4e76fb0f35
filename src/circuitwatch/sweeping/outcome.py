"""What became of a sweep's jobs, once its launcher has returned or given up: the sweep ends
non-zero if any failed, and every failure has been said once.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from circuitwatch.errors import UserError
from circuitwatch.records import Cell
from circuitwatch.shards import Shard
from circuitwatch.sweeping.failures import Failure, one_line_of, read_failures, say
from circuitwatch.sweeping.job import Job
from circuitwatch.sweeping.plan import Planned

OUR_TERMINAL = ("BasicLauncher", "JoblibLauncher")
"""Launchers whose jobs say on our standard error themselves that they failed."""
NAMED = 5
"""Cells that the last line names; there may be hundreds."""


def require_all_well(job: Job, stopped_by: Exception | None = None) -> None:
    """Raise UserError that names the jobs of a sweep that failed, or ended without a word; of a
    run that is no sweep nothing is asked.

    Args:
        job: what the launcher ran.
        stopped_by: what the launcher gave up with, if it did.
    """
    if job.sweep is None or job.planned is None:
        failed = list(job.failed)
        if failed:
            raise UserError(_last_line(failed, len(failed), job.sweep))
        return
    failed = list(say_unsaid(job))
    silent = [name for name in _unfinished(job.sweep, job.planned) if name not in failed]
    for name in silent:
        say(f"{name}: its job ended without a word; it was killed, or never started")
    if stopped_by is not None and not failed and not silent:
        raise UserError(f"the launcher stopped: {one_line_of(stopped_by)}") from stopped_by
    if failed or silent:
        raise UserError(_last_line([*failed, *silent], len(job.planned), job.sweep))
    if job.planning_failed is not None:
        raise job.planning_failed


def say_unsaid(job: Job) -> dict[str, Failure]:
    """Say the failures of jobs that had another standard error than ours.

    Returns:
        All failures of the sweep, by short name.
    """
    if job.sweep is None or job.planned is None:
        return job.failed
    names = {entry.name for entry in job.planned}
    noted = {f.name: f for f in read_failures(job.sweep) if f.name in names}
    if not job.launcher.endswith(OUR_TERMINAL):
        for name, failure in noted.items():
            if name not in job.failed:
                say(failure.said(job.sweep))
    return job.failed | noted


def _unfinished(sweep: Path, planned: Sequence[Planned]) -> list[str]:
    """Short names of jobs that have left something of their cells, or of their shards, to do."""
    names = []
    for entry in planned:
        try:
            cell = Cell.open(sweep / entry.folder)
            done = cell.is_done() if entry.shard is None else _has_part(cell, entry.shard)
        except (UserError, OSError):
            done = False
        if not done:
            names.append(entry.name)
    return names


def _has_part(cell: Cell, shard: str) -> bool:
    steps = [entry["step"] for entry in cell.header["schedule"]]
    return set(Shard.parsed(shard).part(steps)) <= cell.settled()


def _last_line(failed: Sequence[str], total: int, sweep: Path | None) -> str:
    named = ", ".join(failed[:NAMED])
    if len(failed) > NAMED:
        named += f" and {len(failed) - NAMED} more"
    where = "circuitwatch status"
    if sweep is not None:
        where += f" sweep={sweep.name}"
        where += "" if str(sweep.parent) == "multirun" else f" out={sweep.parent}"
    return (
        f"{len(failed)} of {total} cells failed: {named}; the same command tries them again, and "
        f"`{where}` shows what is left"
    )
