"""Records are of the weights that lie there: where these have changed, or a record came late, the
cell ends as one that was made in order.
"""

from __future__ import annotations

import os
import shutil
from pathlib import Path

import pytest
from safetensors.torch import load_file, save_file

from circuitwatch.config import CheckpointsConfig, Config
from circuitwatch.errors import UserError
from circuitwatch.linking import relink
from circuitwatch.monitor import watch_cell
from circuitwatch.record_files import TIMING
from circuitwatch.records import Cell
from test_monitor import configuration

STEPS = (0, 64, 128, 150, 300)


@pytest.fixture(scope="module")
def suite(trained_suite: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Some checkpoints, the last three with a circuit."""
    return copied(trained_suite, tmp_path_factory.mktemp("some") / "tiny")


@pytest.fixture(scope="module")
def in_order(suite: Path, tmp_path_factory: pytest.TempPathFactory) -> Cell:
    return watch_cell(configuration(suite), tmp_path_factory.mktemp("in_order"))


def copied(suite: Path, to: Path, steps: tuple[int, ...] = STEPS) -> Path:
    to.mkdir()
    shutil.copy(suite / "suite.json", to)
    for step in steps:
        shutil.copytree(suite / f"step{step}", to / f"step{step}")
    return to


def files(cell: Cell) -> dict[str, bytes]:
    """A cell's records, but for what the clock says."""
    return {
        path.relative_to(cell.folder).as_posix(): path.read_bytes()
        for path in cell.record_files()
        if path.name != TIMING
    }


def test_records_are_linked_already(in_order: Cell) -> None:
    assert relink(in_order) == []
    last = in_order.read(300).scalars
    assert {"overlap/edge_jaccard", "overlap/edge_jaccard_resampled"} <= last.keys()


@pytest.mark.parametrize("late", [128, 150])
def test_a_record_that_comes_late_is_linked_like_one_that_came_in_time(
    late: int, suite: Path, in_order: Cell, tmp_path: Path
) -> None:
    growing = copied(suite, tmp_path / "tiny", tuple(s for s in STEPS if s != late))
    cell = watch_cell(configuration(growing), tmp_path / "cell")
    before = cell.read(300).scalars
    shutil.copytree(suite / f"step{late}", growing / f"step{late}")
    cell = watch_cell(configuration(growing), tmp_path / "cell")
    assert files(cell) == files(in_order)
    assert before != cell.read(300).scalars  # it had been compared with another


def test_a_kill_before_they_were_linked_is_made_up_for(
    suite: Path, in_order: Cell, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    growing = copied(suite, tmp_path / "tiny", tuple(s for s in STEPS if s != 150))
    watch_cell(configuration(growing), tmp_path / "cell")
    shutil.copytree(suite / "step150", growing / "step150")
    with monkeypatch.context() as patch:
        patch.setattr("circuitwatch.recording.Recorder.put_in_order", killed)
        with pytest.raises(KeyboardInterrupt):
            watch_cell(configuration(growing), tmp_path / "cell")
    cell = watch_cell(configuration(growing), tmp_path / "cell")
    assert files(cell) == files(in_order)


def killed(_: object) -> None:
    raise KeyboardInterrupt


def test_a_checkpoint_that_was_trained_anew_is_made_anew(
    suite: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    mine = copied(suite, tmp_path / "tiny")
    watch_cell(configuration(mine), tmp_path / "cell")
    weights = mine / "step150/model.safetensors"
    tensors = load_file(weights)
    name = next(name for name in tensors if "mlp" in name and name.endswith("weight"))
    save_file(tensors | {name: tensors[name] * 1.1}, weights, metadata={"format": "pt"})
    refusing = configuration(mine, checkpoints=CheckpointsConfig(changed="error"))
    with pytest.raises(UserError, match=r"step150 has other weights.*changed=redo makes"):
        watch_cell(refusing, tmp_path / "cell")
    capsys.readouterr()
    cell = watch_cell(configuration(mine), tmp_path / "cell")
    said = " ".join(capsys.readouterr().err.split())
    assert "step150 has other weights than those of its record: made anew" in said
    assert files(cell) == files(watch_cell(configuration(mine), tmp_path / "anew"))
    assert cell.is_done()


def test_files_that_were_only_touched_are_hashed_once(
    suite: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    mine = copied(suite, tmp_path / "tiny")
    cell = watch_cell(configuration(mine), tmp_path / "cell")
    before = files(cell)
    os.utime(mine / "step150/model.safetensors", (1e9, 1e9))
    hashed: list[str] = []
    from circuitwatch.checkpoints.folder import FolderSource

    real = FolderSource.hashed

    def noted(self: FolderSource, checkpoint: object) -> str | None:
        hashed.append(str(getattr(checkpoint, "revision", "")))
        return real(self, checkpoint)  # type: ignore[arg-type]

    monkeypatch.setattr(FolderSource, "hashed", noted)
    for _ in range(2):
        watch_cell(configuration(mine), tmp_path / "cell")
        assert "done already" in capsys.readouterr().out
    assert hashed == ["step150"] and files(cell) == before


def test_a_folder_that_is_gone_leaves_its_record(suite: Path, tmp_path: Path) -> None:
    mine = copied(suite, tmp_path / "tiny")
    cell = watch_cell(configuration(mine), tmp_path / "cell")
    shutil.rmtree(mine / "step150")
    assert isinstance(configuration(mine), Config)
    assert 150 in watch_cell(configuration(mine), cell.folder).steps_done()


def test_a_finished_cell_with_a_damaged_record_makes_it_anew(
    suite: Path, in_order: Cell, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    cell = watch_cell(configuration(suite), tmp_path / "cell")
    path = cell.folder / "checkpoints/step000128/roles.parquet"
    path.write_bytes(path.read_bytes()[:-1])
    other = cell.folder / "checkpoints/step000064"
    other.rename(other.with_name("x"))
    (cell.folder / "checkpoints/step000150").rename(other)
    other.with_name("x").rename(other.with_name("step000150"))
    capsys.readouterr()
    cell = watch_cell(configuration(suite), tmp_path / "cell")
    said = " ".join(capsys.readouterr().out.split())
    assert "step 128" in said and "roles.parquet: damaged: made anew" in said
    assert "it is of step 150: made anew" in said and "it is of step 64: made anew" in said
    assert files(cell) == files(in_order)
    assert len(list((cell.folder / "damaged").iterdir())) == 3
    watch_cell(configuration(suite), tmp_path / "cell")
    assert "done already" in capsys.readouterr().out
