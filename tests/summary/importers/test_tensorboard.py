"""Scalars of TensorBoard: downloaded as CSV, and event files."""

from __future__ import annotations

import importlib
import shutil
from pathlib import Path

import pytest

from circuitwatch.errors import UserError
from circuitwatch.summary.importers import kind_of
from circuitwatch.summary.importers.formats import tensorboard_events
from support.sources import FORMATS, curves_of, names, points, said

DOWNLOAD = FORMATS / "run-small_seed-tag-train_loss.csv"
EVENTS = FORMATS / "events"
EVENT_FILE = EVENTS / "small/events.out.tfevents.1700000000.host.1.0"


def test_run_and_tag_of_a_download_are_in_its_name(tmp_path: Path) -> None:
    assert kind_of(str(DOWNLOAD)) == "tensorboard-csv"
    curves = curves_of(DOWNLOAD, tokens_per_step="10")
    assert points(curves, "small_seed", "run", "train_loss") == {0: 5, 1000: 4, 2000: 3.25}
    path = tmp_path / "mine" / "loss.csv"
    path.parent.mkdir()
    shutil.copy(DOWNLOAD, path)
    assert points(curves_of(path, tokens_per_step="10"), "mine", "run", "loss")[2000] == 3.25
    curves = curves_of(path, tokens_per_step="10", columns='model:"a",quantity:"train/loss"')
    assert points(curves, "a", "run", "train/loss")[2000] == 3.25


def test_a_folder_of_downloads(tmp_path: Path) -> None:
    for tag in ("loss", "acc"):
        shutil.copy(DOWNLOAD, tmp_path / f"run-big-tag-{tag}.csv")
    (tmp_path / "run-x-tag-y.csv").write_text("a,b\n1,2\n")
    curves = curves_of(tmp_path, tokens_per_step="10")
    assert names(curves, "quantity") == {"loss", "acc"} and curves.models == ["big"]
    assert "run-x-tag-y.csv left out: no columns Wall time, Step, Value" in said(curves)


def test_a_download_of_words(tmp_path: Path) -> None:
    path = tmp_path / "run-a-tag-b.csv"
    path.write_text("Wall time,Step,Value\n1,0,low\n")
    with pytest.raises(UserError, match=r"Value: 1 entry is no number \('low'\)"):
        curves_of(path, tokens_per_step="1")


def test_event_files_are_recognised_by_their_records(tmp_path: Path) -> None:
    assert kind_of(str(EVENTS)) == kind_of(str(EVENT_FILE)) == "tensorboard-events"
    (tmp_path / EVENT_FILE.name).write_bytes(b"\xff" * 40)
    with pytest.raises(UserError, match="looked for cells"):
        kind_of(str(tmp_path))


def test_every_folder_with_event_files_is_a_run() -> None:
    pytest.importorskip("tensorboard")
    curves = curves_of(EVENTS, tokens_per_step="10")
    assert set(curves.models) == {"small", "large"}
    assert points(curves, "small", "run", "train/loss") == {0: 5, 1000: 4, 2000: 3}
    assert points(curves, "large", "run", "train/loss") == {0: 4.5, 1000: 3.5, 2000: 2.5}
    assert curves_of(EVENT_FILE, tokens_per_step="10").models == ["small"]


def test_an_event_file_that_was_cut_is_read_up_to_there(tmp_path: Path) -> None:
    pytest.importorskip("tensorboard")
    cut = tmp_path / "run" / EVENT_FILE.name
    cut.parent.mkdir()
    cut.write_bytes(EVENT_FILE.read_bytes()[:-5])
    curves = curves_of(cut, tokens_per_step="10")
    assert points(curves, "run", "run", "train/loss") == {0: 5, 1000: 4}
    assert f"1 file ends within a record ({cut.name}): read up to there" in said(curves)


def test_a_resumed_run_has_the_last_value(tmp_path: Path) -> None:
    pytest.importorskip("tensorboard")
    run = tmp_path / "run"
    run.mkdir()
    shutil.copy(EVENT_FILE, run / "events.out.tfevents.1.host")
    shutil.copy(EVENTS / "large" / EVENT_FILE.name, run / "events.out.tfevents.2.host")
    assert points(curves_of(run, tokens_per_step="1"), "run", "run", "train/loss")[100] == 3.5


def test_an_event_file_without_scalars(tmp_path: Path) -> None:
    pytest.importorskip("tensorboard")
    first = next(tensorboard_events._records(EVENT_FILE))
    (tmp_path / EVENT_FILE.name).write_bytes(EVENT_FILE.read_bytes()[:first])
    with pytest.raises(UserError, match="no scalar in it: 1 file holds no scalar"):
        curves_of(tmp_path, tokens_per_step="1")


def test_without_the_package_one_line_says_what_to_install(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    real = importlib.import_module

    def missing(name: str, package: str | None = None) -> object:
        if name.startswith("tensorboard"):
            raise ImportError(name)
        return real(name, package)

    monkeypatch.setattr(tensorboard_events, "import_module", missing)
    with pytest.raises(UserError, match=r"pip install tensorboard$"):
        curves_of(EVENTS, tokens_per_step="1")
