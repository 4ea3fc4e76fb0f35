"""A folder as the pages suppose it: sweeps `demo` and `mine`, checkpoints of a run, and the files
that the pages show.
"""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from support.pages import ROOT, blocks
from support.sweeps import write_sweep
from support.watched import write_watched

DATA = ROOT / "tests" / "data"


@pytest.fixture(scope="package")
def place(tmp_path_factory: pytest.TempPathFactory, trained_suite: Path) -> Path:
    """The folder; commands of the pages may write into it."""
    folder = tmp_path_factory.mktemp("docs")
    two = ("ioi", "gendered_pronoun")
    write_sweep(folder / "multirun" / "demo", models=("nano-400k",), tasks=two)
    write_watched(folder / "multirun" / "mine", models=("nano-400k",), tasks=("ioi",))
    for name in ("mine", "demo"):
        one = folder / "one" / "multirun" / name
        write_watched(one, models=("nano-400k",), tasks=("gendered_pronoun",))
    (folder / "checkpoints").symlink_to(trained_suite)
    (folder / "runs").mkdir()
    for name in ("mine", "tiny", "small"):
        (folder / "runs" / name).symlink_to(trained_suite)
    suites = folder / "mine" / "suites"
    suites.mkdir(parents=True)
    for name, content in zip(("lab", "hub"), blocks("your-run.md", "yaml"), strict=True):
        (suites / f"{name}.yaml").write_text(content)
    (template,) = blocks("your-task.md", "yaml")
    (folder / "mine" / "tasks").mkdir()
    (folder / "mine" / "tasks" / "capital_cities.yaml").write_text(template)
    (rows,) = blocks("your-task.md", "csv")
    heading, *pairs = rows.splitlines()
    (folder / "mine.csv").write_text("\n".join([heading, *pairs * 4]) + "\n")
    _write_curves(folder)
    return folder


def _write_curves(folder: Path) -> None:
    """curves.csv, whose values are called score; results of the harness; a Trainer's state."""
    tokens = np.geomspace(1e6, 1e9, 20)
    rising = 0.6 / (1 + np.exp(-4 * np.log(tokens / 5e7)))
    rows = {"model": "theirs", "params": 160_000_000, "tokens": tokens, "task": "lambada_openai"}
    pd.DataFrame({**rows, "quantity": "acc", "score": rising}).to_csv(
        folder / "curves.csv", index=False
    )
    shutil.copytree(DATA / "harness" / "intervention", folder / "results" / "harness")
    state = DATA / "formats" / "trainer" / "run-a" / "checkpoint-40" / "trainer_state.json"
    shutil.copy(state, folder)
