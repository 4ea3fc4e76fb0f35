"""The code in docs/ runs: what the pages say of the public API, what they say of adding things, and
the notebook, in a folder that has a sweep and checkpoints.
"""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import nbformat
import pandas as pd
import pytest
from nbclient import NotebookClient

from circuitwatch import catalogue
from circuitwatch.catalogue import Quantity, Role, Task
from circuitwatch.nano.training import suite_folder
from support.sweeps import write_sweep

DOCS = Path(__file__).parents[1] / "docs"


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory, trained_suite: Path) -> Path:
    """A folder as the pages suppose: multirun/demo and checkpoints/step300."""
    folder = tmp_path_factory.mktemp("docs")
    write_sweep(folder / "multirun" / "demo")
    (folder / "checkpoints").symlink_to(trained_suite)
    return folder


def blocks(page: str) -> list[str]:
    """The Python of a page."""
    text = (DOCS / page).read_text(encoding="utf-8")
    return re.findall(r"```python\n(.*?)```", text, flags=re.S)


@pytest.mark.parametrize("number", range(3))
def test_the_api_as_the_page_shows_it(
    number: int, place: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(place)
    names: dict[str, Any] = {}
    exec(compile(blocks("api.md")[number], "api.md", "exec"), names)
    shown = {0: "circuit", 1: "scores", 2: "found"}[number]
    assert len(names[shown]) if number < 2 else names[shown].status == "emerged"


def test_objects_of_the_page_are_objects_of_the_catalogue() -> None:
    found: list[Any] = []
    for block in blocks("your-task.md"):
        names: dict[str, Any] = {}
        exec(compile(block, "your-task.md", "exec"), names)
        found += [names[kind] for kind in ("TASK", "ROLE", "QUANTITY") if kind in names]
    assert [type(item) for item in found] == [Task, Role, Quantity]
    task, role, _ = found
    assert set(task.roles) <= set(catalogue.roles()) and role.confirmed_on.keys() == {task.name}


def test_the_template_and_the_file_of_the_page_are_read(tmp_path: Path) -> None:
    """The CSV file, and the template, as a user would copy them."""
    text = (DOCS / "your-task.md").read_text(encoding="utf-8")
    indented = re.findall(r"```(?:csv|yaml)\n(.*?)```", text, flags=re.S)
    (rows,) = (block for block in indented if block.startswith("clean,corrupted"))
    (template,) = (block for block in indented if block.startswith("words: capital"))
    (tmp_path / "mine.csv").write_text(rows)
    (tmp_path / "capital_cities.yaml").write_text(template)
    from circuitwatch.tasks import own_task

    assert own_task(tmp_path / "mine.csv").name == "mine"
    assert own_task(tmp_path / "capital_cities.yaml").words == "capital cities"


def test_the_tutorial_runs(place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """In the place of the demo's models it has a smaller one, which lies where they would."""
    cache = place / "cache"
    suite = suite_folder("nano-400k", seed=0, cache=cache)
    suite.parent.mkdir(parents=True)
    suite.symlink_to(place / "checkpoints")
    monkeypatch.setenv("CIRCUITWATCH_CACHE", str(cache))
    notebook = nbformat.read(DOCS / "tutorial.ipynb", as_version=4)
    code = [cell for cell in notebook.cells if cell.cell_type == "code"]
    client = NotebookClient(
        notebook, timeout=240, kernel_name="python3", resources={"metadata": {"path": str(place)}}
    )
    client.execute()
    outputs = [output for cell in code for output in cell.outputs]
    assert not [one for one in outputs if one.output_type == "error" or one.get("name") == "stderr"]
    pictures = [output for output in outputs if "image/png" in output.get("data", {})]
    assert len(pictures) == 2  # the curves and the circuit


def test_results_in_pandas_in_a_script(place: Path) -> None:
    """What a user of pandas does first, in a process of its own that imports no torch."""
    script = (
        "import sys, circuitwatch as cw\n"
        "frame = cw.open('multirun/demo').emergence.frame()\n"
        "rose = frame[frame['status'] == 'emerged']\n"
        "rose.groupby('task')['tokens'].min().to_csv('first.csv')\n"
        "assert 'torch' not in sys.modules\n"
    )
    subprocess.run([sys.executable, "-c", script], check=True, cwd=place)
    first = pd.read_csv(place / "first.csv").set_index("task")["tokens"]
    assert {"ioi", "-"} <= set(first.index) and (first > 0).all()
