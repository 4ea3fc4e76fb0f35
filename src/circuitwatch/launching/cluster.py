"""Jobs of Slurm, by submitit: one array for a sweep.

Submitit asks `sacct` how a job ended. Where a cluster keeps no accounts it never learns that one
was killed, and waits for ever; so this asks `squeue`, which is everywhere.
"""

from __future__ import annotations

import io
import shutil
import subprocess
import time
from collections.abc import Mapping, Sequence
from contextlib import redirect_stderr, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

from hydra.core.utils import JobReturn

from circuitwatch.errors import UserError, of_files
from circuitwatch.launching.jobs import Work, ended, most_threads, pools_of, whole

if TYPE_CHECKING:
    from submitit import Job

LIVING = {
    *("PENDING", "CONFIGURING", "RUNNING", "COMPLETING", "SUSPENDED", "STOPPED", "RESIZING"),
    *("REQUEUED", "REQUEUE_FED", "REQUEUE_HOLD", "SPECIAL_EXIT", "SIGNALING", "STAGE_OUT"),
    *("RESV_DEL_HOLD", "PREEMPTED"),
}
"""States of a job that may still bring a result."""
LOOK, ASK = 1.0, 10.0
"""Seconds between looks for results, and between questions to Slurm."""
LAG = 20.0
"""Seconds after a job's end within which a shared file system shows its result."""
ENDS = {
    "CANCELLED": "it was cancelled",
    "TIMEOUT": "it reached its time limit; hydra.launcher.timeout_min= gives more",
    "OUT_OF_MEMORY": "it ran out of memory; hydra.launcher.mem_gb= gives more",
    "NODE_FAIL": "its node failed",
}


def run(options: Mapping[str, Any], work: Sequence[Work]) -> list[JobReturn]:
    """Submit the jobs, and wait for each. Ctrl-C cancels those that have not ended."""
    jobs = _submit(options, work)
    try:
        return _results(work, jobs)
    except BaseException:
        numbers = sorted({job.job_id.partition("_")[0] for job in jobs})
        subprocess.run(["scancel", *numbers], check=False, capture_output=True)
        raise
    finally:
        _remove_scripts(jobs, Path(options["folder"]).expanduser())


def _submit(options: Mapping[str, Any], work: Sequence[Work]) -> list[Job[JobReturn]]:
    import submitit
    from submitit.core.utils import FailedJobError, FailedSubmissionError

    if shutil.which("sbatch") is None or shutil.which("srun") is None:
        raise UserError(
            "hydra/launcher=submitit_slurm: there is no sbatch here; start it on a machine that "
            "submits to a Slurm cluster, or take hydra/launcher=joblib"
        )
    threads, cpus = most_threads(work), whole(options, "cpus_per_task")
    if cpus is None and threads is None:
        raise UserError(
            "threads=null: say how many cores a job gets, hydra.launcher.cpus_per_task=8"
        )
    setup = [f"export {key}={value}" for key, value in pools_of(threads or cpus).items()]
    # Since Slurm 22.05 srun does not take it from sbatch.
    setup.append("export SRUN_CPUS_PER_TASK=$SLURM_CPUS_PER_TASK")
    given = {
        "name": options.get("name"),
        "timeout_min": whole(options, "timeout_min"),
        "mem_gb": options.get("mem_gb"),
        "cpus_per_task": cpus or threads,
        "gpus_per_node": whole(options, "gpus_per_node", least=0),
        "slurm_array_parallelism": whole(options, "array_parallelism"),
        "slurm_signal_delay_s": whole(options, "signal_delay_s"),
        "slurm_setup": [*setup, *options.get("setup", ())],
        "slurm_additional_parameters": dict(options.get("additional_parameters") or {}),
    }
    given |= {
        f"slurm_{key}": options.get(key) for key in ("partition", "account", "qos", "constraint")
    }
    folder = str(Path(options["folder"]).expanduser())
    executor = submitit.AutoExecutor(folder=folder, cluster="slurm", slurm_max_num_timeout=0)
    try:
        executor.update_parameters(**{k: v for k, v in given.items() if v is not None})
        # What sbatch says is in the error, too.
        with redirect_stderr(io.StringIO()), executor.batch():
            jobs = [executor.submit(one) for one in work]
    except (FailedJobError, FailedSubmissionError, subprocess.CalledProcessError) as error:
        said = (getattr(error, "stderr", None) or str(error)).strip().splitlines()
        lines = [line.strip() for line in said if line.startswith(("sbatch:", "srun:"))] or said[
            -1:
        ]
        raise UserError(f"Slurm does not take the jobs: {'; '.join(lines)}") from error
    except OSError as error:
        raise of_files(error, folder) from error
    return jobs


def _results(work: Sequence[Work], jobs: Sequence[Job[JobReturn]]) -> list[JobReturn]:
    results: dict[int, JobReturn] = {}
    gone: dict[int, tuple[float, str]] = {}  # since when, and how it ended
    asked = -ASK
    while len(results) < len(jobs):
        time.sleep(LOOK if asked > 0 else 0)
        now = time.monotonic()
        waiting = [n for n in range(len(jobs)) if n not in results]
        if now - asked >= ASK:
            asked = now
            states = _states([jobs[n].job_id for n in waiting])
            for n in waiting:
                state = None if states is None else states.get(jobs[n].job_id, "gone")
                if state is None or state in LIVING:
                    gone.pop(n, None)
                else:
                    gone.setdefault(n, (now, state))
        for n in waiting:
            path = jobs[n].paths.result_pickle
            if path.parent.is_dir() and path in path.parent.iterdir():  # asks the file system anew
                results[n] = _result(work[n], jobs[n], gone[n][1] if n in gone else "")
            elif n in gone and now - gone[n][0] >= LAG:
                results[n] = ended(work[n], _why(jobs[n], gone[n][1]))
    return [results[n] for n in range(len(jobs))]


def _remove_scripts(jobs: Sequence[Job[JobReturn]], folder: Path) -> None:
    """Remove what was submitted, which names this machine's folders, and folders that are empty
    then. Of jobs that brought no result the logs stay: they alone say what became of them.
    """
    from submitit.core.utils import JobPaths

    base = JobPaths.get_first_id_independent_folder(folder)
    arrays = {job.job_id.partition("_")[0] for job in jobs}  # an array has one script
    scripts = {JobPaths(folder, array).submission_file for array in arrays}
    there = {script.resolve() for script in scripts}
    links = [path for path in base.glob(".submission_file_*.sh") if path.resolve() in there]
    for link in links:
        link.unlink(missing_ok=True)
    for path in (*scripts, *(job.paths.submitted_pickle for job in jobs)):
        path.unlink(missing_ok=True)
    for place in (*{job.paths.folder for job in jobs}, *{s.parent for s in scripts}, base):
        with suppress(OSError):  # it has logs, or another's files
            place.rmdir()


def _states(numbers: Sequence[str]) -> dict[str, str] | None:
    """Number of a job → its state, of those that Slurm still knows; None if it does not answer."""
    arrays = ",".join(sorted({number.partition("_")[0] for number in numbers}))
    asked = subprocess.run(
        ["squeue", "--noheader", "--array", "--states=all", "--format=%i %T", f"--jobs={arrays}"],
        check=False,
        capture_output=True,
        text=True,
    )
    if asked.returncode != 0:
        return {} if "Invalid job id" in asked.stderr else None
    pairs = (line.split() for line in asked.stdout.splitlines())
    return {pair[0]: pair[1] for pair in pairs if len(pair) == 2}


def _result(work: Work, job: Job[JobReturn], state: str) -> JobReturn:
    """What a job returned, or what stands for it where it ended in the middle."""
    from submitit.core.utils import FailedJobError, UncompletedJobError

    try:
        result = job.result()
    except (FailedJobError, UncompletedJobError, EOFError):
        return ended(work, _why(job, state))
    # They name machines and folders, and are of no more use: a cell that failed has noted why.
    paths = job.paths
    for path in (paths.submitted_pickle, paths.result_pickle, paths.stdout, paths.stderr):
        path.unlink(missing_ok=True)
    return result


def _why(job: Job[JobReturn], state: str) -> str:
    log = "/".join(job.paths.stderr.parts[-3:])
    how = ENDS.get(state, f"it ended without a result ({state.lower() or 'failed'})")
    return f"job {job.job_id} of Slurm: {how}; its log is {log} in the sweep's folder"
