"""Presets and launchers' files, composed; the launchers themselves run in tests/e2e."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
from hydra import compose, initialize_config_dir

from circuitwatch import launching
from circuitwatch.cli.choices import conf_dir
from circuitwatch.config import register, validate
from circuitwatch.errors import UserError
from circuitwatch.launching.jobs import POOLS, pools_of, whole


@pytest.mark.parametrize("preset", ["demo", "paper", "paper_small", "seeds"])
def test_a_preset_composes(preset: str) -> None:
    register()
    with initialize_config_dir(str(conf_dir()), version_base="1.3"):
        composed = compose("config", [f"experiment={preset}", "task=ioi"])
        assert validate(composed).experiment == preset


def test_paper_small_has_the_papers_settings() -> None:
    register()
    with initialize_config_dir(str(conf_dir()), version_base="1.3"):
        paper, small = (
            compose("config", [f"experiment={name}", "task=ioi"])
            for name in ("paper", "paper_small")
        )
    assert small.circuit == paper.circuit
    assert small.heads == paper.heads
    assert small.task == paper.task
    assert small.schedule.kind == "sparse"


@pytest.mark.parametrize(
    ("choice", "key"),
    [("joblib", "n_jobs"), ("submitit_slurm", "partition"), ("ray", "address")],
)
def test_a_launcher_composes(choice: str, key: str) -> None:
    register()
    with initialize_config_dir(str(conf_dir()), version_base="1.3"):
        composed = compose("config", [f"hydra/launcher={choice}"], return_hydra_config=True)
    assert composed.hydra.launcher[key] is None
    assert composed.hydra.launcher._target_.startswith("hydra_plugins.circuitwatch_launchers.")


@pytest.mark.parametrize("extra", launching.ENGINES)
def test_a_missing_extra_is_named(extra: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(launching, "find_spec", lambda name: None)
    with pytest.raises(UserError, match=rf"pip install 'circuitwatch\[{extra}\]'"):
        launching.require_engine(extra)


def test_a_missing_extra_ends_the_command_in_one_line(tmp_path: Path) -> None:
    """Also where the plugin is found by Hydra, in a process without the package."""
    without = "import sys, importlib.util as u; f = u.find_spec\n"
    without += "u.find_spec = lambda name, *rest: None if name == 'ray' else f(name, *rest)\n"
    without += "from circuitwatch.cli import main; sys.exit(main())"
    command = ["-m", "model=nano-100k", "task=ioi", "hydra/launcher=ray", f"out={tmp_path}/out"]
    said = subprocess.run(
        [sys.executable, "-c", without, *command], capture_output=True, text=True, check=False
    )
    assert said.returncode == 2, said.stderr
    assert said.stderr.strip().count("\n") == 0
    assert "pip install 'circuitwatch[ray]'" in said.stderr
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("value", [0, -1, 1.5, "many", True])
def test_a_launchers_number_is_checked(value: object) -> None:
    with pytest.raises(UserError, match=r"hydra\.launcher\.n_jobs=.*whole number of at least 1"):
        whole({"n_jobs": value}, "n_jobs")


def test_thread_pools_are_as_large_as_the_cell_says() -> None:
    assert pools_of(3) == dict.fromkeys(POOLS, "3")
    assert pools_of(None) == {}
