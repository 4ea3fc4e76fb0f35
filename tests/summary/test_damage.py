"""What is damaged on disk is named, and costs no more than itself; a summary is replaced whole or
not at all; names may hold anything.
"""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from circuitwatch.cli import main
from circuitwatch.errors import UserError
from circuitwatch.summary import summarize
from circuitwatch.summary.output import MARK, replaced_folder
from support.sweeps import write_sweep

CELL = Path("nano-400k/ioi/seed0")
LAST = CELL / "checkpoints/step001000"


def truncate(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:100])


def half_written(path: Path) -> None:
    """As a write leaves it that is killed before its last step."""
    shutil.copytree(path, path.with_name("step001000.partial"))


DAMAGES: dict[str, tuple[Path, Callable[[Path], object], str | None]] = {
    "edge scores": (LAST / "edges.safetensors", truncate, "edges.safetensors: damaged"),
    "roles": (LAST / "roles.parquet", truncate, "roles.parquet: damaged"),
    "scalars": (LAST / "scalars.json", truncate, "scalars.json: damaged"),
    "a cut manifest": (
        LAST / "manifest.json",
        truncate,
        "manifest.json: damaged: not JSON",
    ),
    "a list for a manifest": (
        LAST / "manifest.json",
        lambda path: path.write_text("[]"),
        "manifest.json: damaged: not a JSON object",
    ),
    "a killed write": (LAST, half_written, None),
    "a cut header": (CELL / "cell.json", truncate, "cell.json: damaged: not JSON"),
    "an empty header": (
        CELL / "cell.json",
        lambda path: path.write_text('{"format": 5}'),
        "cell.json: damaged: no config",
    ),
    "another format": (
        CELL / "cell.json",
        lambda path: path.write_text('{"format": 2}'),
        "cell.json: format 2 is not 5",
    ),
    "what was skipped": (
        CELL / "skipped.json",
        lambda path: path.write_text("x"),
        "skipped.json: damaged",
    ),
    "transfer": (
        Path("nano-400k/transfer/seed0/step001000.parquet"),
        truncate,
        "step001000.parquet: damaged",
    ),
}


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("m") / "sweep"
    return write_sweep(folder, models=("nano-400k",), tasks=("ioi", "agreement"), transfer=True)


@pytest.mark.parametrize("what", DAMAGES)
def test_damage_is_named_and_costs_no_more_than_itself(
    what: str, whole: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(
        "circuitwatch.summary.writing.draw_figures", lambda *_: {}
    )  # drawn in other tests
    place, damage, says = DAMAGES[what]
    sweep = tmp_path / "sweep"
    shutil.copytree(whole, sweep)
    damage(sweep / place)
    made = summarize(sweep, n_bootstrap=20)
    named = [note for note in made.notes if says is not None and says in note]
    assert len(named) == (says is not None), made.notes
    behaviours = made.emergence[made.emergence["quantity"] == "behaviour/value"].set_index("task")
    assert behaviours.loc["agreement", "status"] == "emerged"
    assert ("ioi" in behaviours.index) == (place != CELL / "cell.json")


def test_a_cell_without_a_record_is_named(
    whole: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("circuitwatch.summary.writing.draw_figures", lambda *_: {})
    shutil.copytree(whole, tmp_path / "sweep")
    shutil.rmtree(tmp_path / "sweep" / CELL / "checkpoints")
    made = summarize(tmp_path / "sweep", n_bootstrap=20)
    assert [note for note in made.notes if note.endswith(f"{CELL}: no record yet")]


def summary_at(folder: Path, said: str) -> Path:
    folder.mkdir()
    (folder / "notes.txt").write_text(f"{MARK}\n{said}\n")
    return folder


def test_a_summary_is_replaced_whole_or_not_at_all(tmp_path: Path) -> None:
    to = summary_at(tmp_path / "out", "old")
    (tmp_path / "out.partial").mkdir()  # another's

    def half(folder: Path) -> None:
        with replaced_folder(folder) as building:
            (building / "table.csv").write_text("half")
            raise OSError("full")

    with pytest.raises(OSError, match="full"):
        half(to)
    assert "old" in (to / "notes.txt").read_text() and not (to / "table.csv").exists()
    with replaced_folder(to) as building:
        (building / "table.csv").write_text("whole")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["out", "out.partial"]
    assert (to / "table.csv").read_text() == "whole"


def test_what_a_kill_leaves_is_looked_after(tmp_path: Path) -> None:
    """Killed between the two renames: the old summary has a hidden name, and gets its own back
    before anything else is done.
    """
    summary_at(tmp_path / ".out.old", "old")
    summary_at(tmp_path / ".out.building", "new")
    with pytest.raises(OSError, match="full"), replaced_folder(tmp_path / "out"):
        raise OSError("full")
    assert "old" in (tmp_path / "out/notes.txt").read_text()
    assert [path.name for path in tmp_path.iterdir()] == ["out"]


def test_a_hidden_folder_of_someone_else_is_in_the_way(tmp_path: Path) -> None:
    (tmp_path / ".out.building").mkdir()
    (tmp_path / ".out.building/precious").write_text("x")
    with (
        pytest.raises(UserError, match="is in the way and is no summary"),
        replaced_folder(tmp_path / "out"),
    ):
        pass
    assert (tmp_path / ".out.building/precious").exists()


def test_names_may_hold_what_printing_and_drawing_would_read(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Brackets are markup to the terminal and dollar signs mathematics to the figures; different
    quantities don't share a file.
    """
    tokens = np.geomspace(1e6, 1e9, 14)
    tables = [
        pd.DataFrame(
            {
                "model": model,
                "params": params,
                "tokens": tokens,
                "task": task,
                "quantity": quantity,
                "value": 1 / (1 + (5e7 / tokens) ** 3),
            }
        )
        for model, params in (("llama[/red]", 1e6), (r"$\bad{$", 8e6))
        for task, quantity in (
            (r"$\frac{1}{2$", "acc/norm"),
            ("[b]", "acc_norm"),
            ("plain", "acc norm"),
        )
    ]
    pd.concat(tables).to_csv(tmp_path / "a.csv", index=False)
    main(["summarize", f"from={tmp_path / 'a.csv'}", f"to={tmp_path / 'out'}"])
    said = capsys.readouterr().out
    assert "llama[/red]" in said and r"$\bad{$" in said and "[b]" in said
    names = {path.name for path in (tmp_path / "out").iterdir()}
    assert {"curves_acc_norm.png", "curves_acc_norm_2.png", "curves_acc_norm_3.png"} <= names
    for quantity in ("acc/norm", "acc_norm", "acc norm"):
        assert quantity in set(pd.read_csv(tmp_path / "out/emergence.csv")["quantity"])
