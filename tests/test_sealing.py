"""What ties the files of a cell together: nothing that was exchanged, or changed together with its
hash, is taken for what was recorded.
"""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest

from circuitwatch.errors import UserError
from circuitwatch.records import Cell
from support.headers import change_header, refit
from test_records import HEADER, record


@pytest.fixture
def cell(tmp_path: Path) -> Cell:
    """One that is done."""
    return made(tmp_path / "cell")


def made(folder: Path, **header: object) -> Cell:
    cell = Cell.create(folder, {**HEADER, **header})
    for step in (0, 8):
        cell.write(record(step))
    cell.skip(4, 4, "step4", "missing", again=False)
    cell.mark_done()
    return cell


def test_the_seal_holds_and_is_the_same_anywhere(cell: Cell, tmp_path: Path) -> None:
    assert cell.is_done() and cell.not_as_sealed() is None
    config = {**HEADER["config"], "out": "elsewhere", "threads": 7, "heads": {"text": "a/b.txt"}}
    other = made(tmp_path / "other", config=config)
    assert other.identity == cell.identity
    files = [sorted((c.folder / "checkpoints").rglob("*.json")) for c in (cell, other)]
    for one, two in zip(*files, strict=True):
        assert one.read_bytes() == two.read_bytes()
    assert (other.folder / "done.json").read_bytes() == (cell.folder / "done.json").read_bytes()


def test_a_record_that_was_changed_with_its_hash_is_made_anew(cell: Cell) -> None:
    folder = cell.folder / "checkpoints/step000008"
    path = folder / "scalars.json"
    said = json.loads(path.read_text())
    said["scalars"]["weights/sha256"] = "0" * 64
    path.write_text(json.dumps(said))
    refit(folder)
    with pytest.raises(UserError, match="not the record that was there when the cell was done"):
        cell.read(8)
    assert cell.not_as_sealed() == "checkpoints/step000008/manifest.json is not what it was then"
    assert not cell.is_done() and cell.put_away_damaged().keys() == {8}
    cell.write(record(8))
    cell.mark_done()
    assert cell.is_done()


def test_a_record_of_another_cell(cell: Cell, tmp_path: Path) -> None:
    """Also before there is a seal."""
    other = made(tmp_path / "other", code_version="1")
    cell.reopen()
    shutil.rmtree(cell.folder / "checkpoints/step000008")
    shutil.copytree(other.folder / "checkpoints/step000008", cell.folder / "checkpoints/step000008")
    assert Cell.open(cell.folder).put_away_damaged() == {
        8: f"{cell.folder / 'checkpoints/step000008'}: damaged: it is of another cell"
    }


@pytest.mark.parametrize("is_done", [True, False])
def test_a_changed_cell_json_costs_no_record(is_done: bool, cell: Cell) -> None:
    if not is_done:
        cell.reopen()
    path = cell.folder / "cell.json"
    kept = path.read_bytes()
    path.write_text(json.dumps({**json.loads(kept), "code_version": "2"}))
    with pytest.raises(UserError, match=r"cell\.json: damaged: it is not the one that the records"):
        Cell.open(cell.folder)
    path.write_bytes(kept)
    assert Cell.open(cell.folder).steps_done() == [0, 8]


def test_records_without_their_cell_json_are_told_and_not_gone_on_with(cell: Cell) -> None:
    kept = (cell.folder / "cell.json").read_bytes()
    (cell.folder / "cell.json").unlink()
    with pytest.raises(UserError, match=r"records are there without the cell\.json that they were"):
        Cell.open(cell.folder)
    with pytest.raises(UserError, match=r"it is not the one that the records beside it"):
        Cell.create(cell.folder, {**HEADER, "code_version": "2"})
    assert not (cell.folder / "cell.json").exists()
    assert Cell.create(cell.folder, HEADER).steps_done() == [0, 8]  # made as it was
    assert (cell.folder / "cell.json").read_bytes() == kept


@pytest.mark.parametrize("name", ["skipped.json", "checkpoints.json"])
def test_a_file_beside_the_records(name: str, cell: Cell) -> None:
    path = cell.folder / name
    path.write_text(path.read_text() + " ")
    assert cell.not_as_sealed() == f"{name} is not what it was then"
    path.unlink()
    assert cell.not_as_sealed() == f"{name} is missing"
    assert not cell.is_done()


def test_the_seal_of_another_cell_spoils_no_record(cell: Cell, tmp_path: Path) -> None:
    other = made(tmp_path / "other", code_version="1")
    shutil.copyfile(other.folder / "done.json", cell.folder / "done.json")
    assert not cell.is_done() and cell.not_as_sealed() == "done.json is of another cell"
    assert cell.put_away_damaged() == {}
    said = json.loads((other.folder / "done.json").read_text())
    (cell.folder / "done.json").write_text(json.dumps({**said, "checkpoints": 3}))
    assert cell.not_as_sealed() == "done.json is damaged"


def test_a_cell_of_before_has_no_seal_and_goes_on(cell: Cell) -> None:
    for path in cell.folder.glob("checkpoints/*/scalars.json"):
        said = json.loads(path.read_text())
        del said["cell"]
        path.write_text(json.dumps(said))
        refit(path.parent)
    (cell.folder / "done.json").write_text('{"checkpoints": 2}')
    again = Cell.open(cell.folder)
    assert again.is_done() and [r.step for r in again.records()] == [0, 8]


def test_a_header_that_is_changed_for_a_test_is_as_if_made_so(cell: Cell) -> None:
    change_header(cell.folder, lambda header: header.update(code_version="3"))
    assert Cell.open(cell.folder).is_done()
