"""Every block of Python in README.md and docs/ runs, and so does the tutorial: in a folder that has
sweeps and checkpoints. A new block fails here until RUN says how.
"""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import nbformat
import pandas as pd
import pytest
from nbclient import NotebookClient

from circuitwatch import catalogue
from circuitwatch.catalogue import Quantity, Role, Task
from circuitwatch.nano.training import suite_folder
from circuitwatch.tasks import own_task
from support.pages import DOCS, ROOT, blocks, pages

Names = dict[str, Any]


def has_circuit(names: Names) -> None:
    """The emergence table, and a circuit that can be drawn."""
    assert len(names["r"].emergence.frame()) > 10


def has_scores(names: Names) -> None:
    """A circuit and scores of a model."""
    assert len(names["circuit"]) and len(names["scores"])


def has_emerged(names: Names) -> None:
    """A curve that rose."""
    assert names["found"].status == "emerged"


def of_kind(name: str, kind: type) -> Callable[[Names], None]:
    """A block that makes an object of the catalogue."""

    def check(names: Names) -> None:
        assert isinstance(names[name], kind)

    return check


RUN: dict[tuple[str, int], Callable[[Names], None] | str] = {
    ("README.md", 0): has_circuit,
    ("index.md", 0): has_circuit,
    ("api.md", 0): has_circuit,
    ("api.md", 1): has_scores,
    ("api.md", 2): has_emerged,
    ("your-task.md", 0): of_kind("TASK", Task),
    ("your-task.md", 1): of_kind("ROLE", Role),
    ("your-task.md", 2): of_kind("QUANTITY", Quantity),
    ("live.md", 0): "tests/live/test_page.py",  # in a training
    ("live.md", 1): "tests/live/test_page.py",
}
"""What is to be seen after a block of a page; or the file whose test runs it."""
BLOCKS = {
    (page.name, number): block
    for page in pages()
    for number, block in enumerate(blocks(page, "python"))
}


def test_every_block_is_run() -> None:
    assert BLOCKS.keys() == RUN.keys()
    assert all((ROOT / where).exists() for where in RUN.values() if isinstance(where, str))


@pytest.mark.parametrize(
    "which", [which for which, how in RUN.items() if callable(how)], ids=lambda which: which[0]
)
def test_a_block(which: tuple[str, int], place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(place)
    names: Names = {}
    exec(compile(BLOCKS[which], which[0], "exec"), names)
    check = RUN[which]
    assert callable(check)
    check(names)


def test_objects_of_the_page_fit_the_catalogue() -> None:
    names: Names = {}
    for block in blocks("your-task.md", "python"):
        exec(compile(block, "your-task.md", "exec"), names)
    assert set(names["TASK"].roles) <= set(catalogue.roles())
    assert names["ROLE"].confirmed_on.keys() == {names["TASK"].name}


def test_the_file_and_the_template_of_the_page_are_read(place: Path) -> None:
    assert own_task(place / "mine.csv").name == "mine"
    assert own_task(place / "mine/tasks/capital_cities.yaml").words == "capital cities"


def test_the_tutorial_runs(place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """In the place of the demo's models it has a smaller one, which lies where they would."""
    cache = place / "cache"
    suite = suite_folder("nano-400k", seed=0, cache=cache)
    suite.parent.mkdir(parents=True)
    suite.symlink_to(place / "checkpoints")
    monkeypatch.setenv("CIRCUITWATCH_CACHE", str(cache))
    notebook = nbformat.read(DOCS / "tutorial.ipynb", as_version=4)
    client = NotebookClient(
        notebook, timeout=240, kernel_name="python3", resources={"metadata": {"path": str(place)}}
    )
    client.execute()
    outputs = outputs_of(notebook)
    assert not [one for one in outputs if one.output_type == "error"]
    assert pictures_in(outputs) == 2  # the curves and the circuit


def test_the_tutorial_shows_what_the_demo_gives() -> None:
    """It is kept as it ran after `make demo`, without anything of the machine."""
    notebook = nbformat.read(DOCS / "tutorial.ipynb", as_version=4)
    outputs = outputs_of(notebook)
    assert pictures_in(outputs) == 2
    assert not [one for one in outputs if one.get("name") == "stderr"]
    text = nbformat.writes(notebook)
    for word in (str(Path.home()), str(ROOT), sys.prefix, "/tmp/"):
        assert word not in text, word


def outputs_of(notebook: nbformat.NotebookNode) -> list[nbformat.NotebookNode]:
    """What its cells printed and drew."""
    return [one for cell in notebook.cells for one in cell.get("outputs", [])]


def pictures_in(outputs: list[nbformat.NotebookNode]) -> int:
    """How many of them are pictures."""
    return sum("image/png" in one.get("data", {}) for one in outputs)


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
