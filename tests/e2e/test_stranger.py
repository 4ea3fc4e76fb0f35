"""A stranger's path, by documented commands only: install, demo, own checkpoints of two sizes, own
prompts, report. In a virtual environment, a folder and a home of its own.
"""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from support.stranger import OWN, TASK, Stranger, own_run, watches_demo

pytestmark = pytest.mark.e2e
REPOSITORY = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def stranger(tmp_path_factory: pytest.TempPathFactory) -> Stranger:
    """Somebody who has installed circuitwatch, from a wheel and with our versions of the rest."""
    folder = tmp_path_factory.mktemp("stranger")
    environment = {
        name: value
        for name, value in os.environ.items()
        if name not in ("PYTHONPATH", "VIRTUAL_ENV", "COLUMNS")
    }
    bin = folder / "venv" / "bin"
    pip = [str(bin / "pip"), "--quiet", "--disable-pip-version-check"]
    for command in (
        [sys.executable, "-m", "venv", str(folder / "venv")],
        [*pip, "wheel", "--no-deps", "--wheel-dir", str(folder / "wheel"), str(REPOSITORY)],
        [*pip, "install", "--constraint", str(REPOSITORY / "constraints.txt"), "WHEEL"],
    ):
        wheels = [str(path) for path in folder.glob("wheel/circuitwatch-*.whl")]
        command = [part for one in command for part in (wheels if one == "WHEEL" else [one])]
        subprocess.run(command, check=True, env=environment, cwd=folder)
    (folder / "home").mkdir()
    (folder / "work").mkdir()
    return Stranger(
        folder / "work",
        [str(bin / "circuitwatch")],
        str(bin / "python"),
        environment | {"HOME": str(folder / "home"), "PATH": f"{bin}:{environment['PATH']}"},
    )


def test_the_installation_says_what_it_can(stranger: Stranger) -> None:
    assert stranger.does("--version").startswith("circuitwatch ")
    assert "circuitwatch -m experiment=demo" in stranger.does("--help")
    assert "_circuitwatch" in stranger.does("completion", "bash")
    assert "torch" in stranger.does("doctor")


def test_own_checkpoints_and_own_prompts(stranger: Stranger) -> None:
    own_run(stranger)
    shown = stranger.does("prompts", *OWN, "model=tiny", *TASK)
    assert "64 usable rows" in shown and "·she" in shown


def test_the_demo(stranger: Stranger) -> None:
    watches_demo(stranger)
    print(stranger.said["--multirun experiment=demo"][-3000:])
    print(stranger.said["summarize sweep=demo"])
