"""A disk that is full at any write: one line, nothing half-written, the same command goes on."""

from __future__ import annotations

import errno
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from circuitwatch import json_files, record_files, records
from circuitwatch.cli.composing import with_hydra
from circuitwatch.config import Config
from circuitwatch.errors import UserError
from circuitwatch.records import Cell
from test_records import HEADER, record


def contents(folder: Path) -> dict[str, bytes]:
    files = (path for path in folder.rglob("*") if path.is_file())
    return {str(path.relative_to(folder)): path.read_bytes() for path in files}


def test_whichever_write_fails_nothing_is_left_of_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    undisturbed = Cell.create(tmp_path / "undisturbed", HEADER)
    undisturbed.write(record(0), {"total": 1.0})
    real, left = json_files.sync, 0
    said: list[str] = []

    def sync(path: Path) -> None:
        nonlocal left
        left -= 1
        if left < 0:
            raise OSError(errno.ENOSPC, "No space left on device", str(path))
        real(path)

    for module in (json_files, record_files, records):
        monkeypatch.setattr(module, "sync", sync)
    for room in range(100):
        folder = tmp_path / f"cell{room}"
        left = room
        try:
            Cell.create(folder, HEADER).write(record(0), {"total": 1.0})
            break
        except UserError as error:
            said.append(str(error))
        except OSError:
            assert not list(folder.rglob("*.partial*"))
        left = 100
        Cell.create(folder, HEADER).write(record(0), {"total": 1.0})
        assert contents(folder) == contents(undisturbed.folder), room
    assert 5 < room < 99
    assert all("can't be written (No space left on device)" in line for line in said) and said


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of half a MiB; only root may make one."""
    folder = tmp_path / "disk"
    folder.mkdir()
    command = ["mount", "-t", "tmpfs", "-o", "size=512k", "none", str(folder)]
    if subprocess.run(command, capture_output=True, check=False).returncode:
        pytest.skip("no small file system can be mounted here")
    yield folder
    subprocess.run(["umount", "-l", str(folder)], check=True)


def test_a_disk_that_is_really_full_is_one_line_and_the_records_stay(
    small_disk: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)

    def action(config: Config) -> None:
        cell = Cell.create(small_disk / "cell", HEADER)
        for step in range(1000):
            cell.write(record(step))

    with pytest.raises(UserError, match="No space left on device"):
        with_hydra([f"out={small_disk}", "tracking=off"], action)
    cell = Cell.open(small_disk / "cell")
    written = cell.steps_done()
    assert 3 < len(written) < 999 and not list(small_disk.rglob("*.partial*"))
    assert all(contents(cell._folder_of(step)) for step in written)
    (small_disk / "cell/checkpoints/step000000/manifest.json").unlink()
    (small_disk / "cell/checkpoints/step000000/prompts.parquet").unlink()
    cell.write(record(0))  # goes on once there is room
    assert 0 in cell.steps_done()
