"""One sweep by every launcher: the same records to the last byte, Slurm being a real one of a
single node (`slurm.sh`); what one cell's failure or a job's death does to the others.
"""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from pathlib import Path

import pytest

from support.launched import cells, records, run, start, write_models

pytestmark = pytest.mark.e2e

SCRIPT = Path(__file__).with_name("slurm.sh")
ALL = {
    f"{model}/{task}/seed0"
    for model in ("small", "large")
    for task in ("gendered_pronoun", "cooks")
}
LAUNCHERS = ("basic", "joblib", "ray", "submitit_slurm")


@pytest.fixture(scope="session")
def slurm(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, str]]:
    """A Slurm, as the environment in which its commands find it."""
    folder = tmp_path_factory.mktemp("slurm")
    for step in (["install"], ["start", str(folder)]):
        said = subprocess.run([SCRIPT, *step], capture_output=True, text=True, check=False)
        if said.returncode == 77:
            pytest.skip(said.stderr.strip())
        assert said.returncode == 0, said.stderr
    yield {"SLURM_CONF": str(folder / "slurm.conf")}
    subprocess.run([SCRIPT, "stop", str(folder)], check=True)


@pytest.fixture(scope="session")
def own(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of two models and a task of a user's own."""
    return write_models(tmp_path_factory.mktemp("models"))


@pytest.fixture(scope="session")
def basic(own: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What the sweep gives when its cells run one after another."""
    out = tmp_path_factory.mktemp("basic")
    said = run(own, out)
    assert said.returncode == 0, said.stderr
    assert cells(out) == ALL
    return out


@pytest.fixture(params=LAUNCHERS)
def launcher(request: pytest.FixtureRequest) -> tuple[str, Mapping[str, str]]:
    """A launcher's override, and the environment it needs."""
    environment = request.getfixturevalue("slurm") if request.param == "submitit_slurm" else {}
    return f"hydra/launcher={request.param}", environment


def test_every_launcher_gives_the_same_records(
    launcher: tuple[str, Mapping[str, str]], own: Path, basic: Path, tmp_path: Path
) -> None:
    override, environment = launcher
    said = run(own, tmp_path, override, **environment)
    assert said.returncode == 0, said.stderr
    assert records(tmp_path) == records(basic)
    assert names_of_this_machine(tmp_path / "s") == {}


def names_of_this_machine(sweep: Path) -> dict[str, str]:
    """Files of a sweep that name the host, the user's home or a folder of this machine, hidden ones
    too; `out` and `model.path`, which the command itself gave as absolute paths, left out.
    """
    found = {}
    for path in sweep.rglob("*"):
        if not path.is_file() or path.name in ("cell.json", "multirun.yaml"):
            continue
        text = path.read_bytes()
        for name in (socket.gethostname(), sys.prefix, str(Path.cwd()), str(sweep.parent)):
            if name.encode() in text:
                found[str(path.relative_to(sweep))] = name
    return found


def test_a_cell_that_fails_stops_no_other(
    launcher: tuple[str, Mapping[str, str]], own: Path, basic: Path, tmp_path: Path
) -> None:
    """The failure is said once, by its short name; what is mended is done by the same command."""
    override, environment = launcher
    broken = tmp_path / "s/small/cooks/seed0"
    broken.parent.mkdir(parents=True)
    broken.write_text("in the way")
    said = run(own, tmp_path, override, **environment)
    assert said.returncode == 2, said.stderr
    assert cells(tmp_path) == ALL - {"small/cooks/seed0"}
    assert said.stderr.count("error: small/cooks/seed0:") == 1
    assert "1 of 4 cells failed: small/cooks/seed0" in said.stderr.splitlines()[-1]
    assert "Traceback" not in said.stderr
    assert not (tmp_path / "s/.slurm").exists()  # what is to know is in failed/
    broken.unlink()
    said = run(own, tmp_path, override, **environment)
    assert said.returncode == 0, said.stderr
    assert records(tmp_path) == records(basic)


def jobs_that_are(state: str, environment: Mapping[str, str]) -> list[str]:
    """Numbers of the jobs that Slurm has in a state now, e.g. RUNNING or PENDING."""
    asked = subprocess.run(
        ["squeue", "--noheader", "--array", f"--states={state}", "--format=%i"],
        capture_output=True,
        text=True,
        check=True,
        env=os.environ | environment,
    )
    return asked.stdout.split()


def test_a_cancelled_job_ends_the_sweep_with_a_line(
    slurm: dict[str, str], own: Path, basic: Path, tmp_path: Path
) -> None:
    """Though there is no `sacct`; the others are done, and a rerun does what is left."""
    while jobs_that_are("RUNNING,COMPLETING", slurm):
        time.sleep(0.2)  # the last of the test before, whose result is there already
    sweep = start(own, tmp_path, "hydra/launcher=submitit_slurm", **slurm)
    while not (jobs := jobs_that_are("RUNNING", slurm)):
        assert sweep.poll() is None, sweep.communicate()
        time.sleep(0.2)
    # As Slurm kills: at once, so that the job has no time to say anything. A job that is just
    # starting has no process yet that could be killed.
    while jobs[0] in jobs_that_are("RUNNING", slurm):
        subprocess.run(
            ["scancel", "--signal=KILL", "--full", jobs[0]], check=False, env=os.environ | slurm
        )
        time.sleep(0.2)
    _, stderr = sweep.communicate(timeout=600)
    assert sweep.returncode == 2, stderr
    assert "Traceback" not in stderr
    assert f"job {jobs[0]} of Slurm: it" in stderr
    assert "1 of 4 cells failed" in stderr.splitlines()[-1]
    assert len(cells(tmp_path)) == 3
    # Of that job alone the logs are there, and nothing else of any.
    logs = {path.name for path in (tmp_path / "s/.slurm").rglob("*") if not path.is_dir()}
    assert logs == {f"{jobs[0]}_0_log.out", f"{jobs[0]}_0_log.err"}
    said = run(own, tmp_path, "hydra/launcher=submitit_slurm", **slurm)
    assert said.returncode == 0, said.stderr
    assert records(tmp_path) == records(basic)


def test_jobs_that_wait_are_cancelled_too(slurm: dict[str, str], own: Path, tmp_path: Path) -> None:
    """Cancelled before they run, so that they leave no log and no result."""
    slow = "+hydra.launcher.additional_parameters.begin=now+1hour"
    sweep = start(own, tmp_path, "hydra/launcher=submitit_slurm", slow, **slurm)
    while not (waiting := jobs_that_are("PENDING", slurm)):
        assert sweep.poll() is None, sweep.communicate()
        time.sleep(0.2)
    subprocess.run(["scancel", waiting[0].split("_")[0]], check=True, env=os.environ | slurm)
    _, stderr = sweep.communicate(timeout=600)
    assert sweep.returncode == 2, stderr
    assert "4 of 4 cells failed" in stderr.splitlines()[-1]
    assert stderr.count("it was cancelled") == 4


def test_what_slurm_refuses_is_one_line(slurm: dict[str, str], own: Path, tmp_path: Path) -> None:
    elsewhere = "hydra.launcher.partition=elsewhere"
    said = run(own, tmp_path, "hydra/launcher=submitit_slurm", elsewhere, **slurm)
    assert said.returncode == 2, said.stderr
    assert "invalid partition specified: elsewhere" in said.stderr
    assert "Traceback" not in said.stderr
