"""What two processes must not do at once, command by command: the second is told in one line who
does it, and leaves everything as it was.
"""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
from transformers import AutoModelForCausalLM

from circuitwatch.checkpoints.tokenizers import load_tokenizer
from circuitwatch.cli import main
from circuitwatch.config import TrackingConfig
from circuitwatch.errors import UserError
from circuitwatch.locks import CELL, running
from circuitwatch.records import Cell
from circuitwatch.tracking import Tracker, sending, tracker
from circuitwatch.tracking.alone import LOCK, InUse, hold_run
from circuitwatch.tracking.sending import Sent, send_cell, send_sweep
from circuitwatch.tracking.tracker import send_if_needed
from support.trainings import TASKS, watcher
from support.watched import write_watched
from test_locks import held_elsewhere
from test_records import HEADER, record


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("made") / "out"
    write_watched(folder / "mine", tasks=("ioi",))
    return folder


@pytest.fixture
def out(made: Path, tmp_path: Path) -> Path:
    shutil.copytree(made, tmp_path / "out")
    return tmp_path / "out"


def files(folder: Path) -> dict[str, bytes]:
    return {str(path): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


@pytest.mark.parametrize(
    ("command", "lock", "what"),
    [
        ("summarize", ".summary.lock", "mine/summary is being written"),
        ("transfer", ".transfer.lock", "mine: circuits are being transferred"),
        ("track", ".track.lock", "mine is being sent"),
        ("workspace", ".workspace.lock", "mine: its workspace is being made"),
    ],
)
def test_a_second_process_is_told_who_does_it(
    command: str, lock: str, what: str, out: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with held_elsewhere(out / "mine" / lock) as other:
        before = files(out)
        with pytest.raises(SystemExit) as ended:
            main([command, "sweep=mine", f"out={out}"])
        assert files(out) == before
    errors = [line for line in capsys.readouterr().err.splitlines() if "error: " in line]
    assert ended.value.code == 2 and len(errors) == 1
    assert f"{what} by process {other.pid} on " in errors[0]
    assert errors[0].endswith("wait for it to end, or stop it")


def test_a_second_watcher_is_told_before_the_training(trained_suite: Path, tmp_path: Path) -> None:
    """Of any of its cells; none of them is begun, and when the other has ended it can begin."""
    model = AutoModelForCausalLM.from_pretrained(trained_suite / "step300")
    tokenizer = load_tokenizer(trained_suite / "step300")
    folder = tmp_path / "multirun/live/mine"
    with held_elsewhere(folder / TASKS[1] / "seed0" / CELL) as other:
        with (
            watcher(tmp_path, TASKS, tokenizer=tokenizer) as watch,
            pytest.raises(UserError, match=f"is being watched by process {other.pid} on "),
        ):
            watch.step(model, 0)
        assert not list(folder.rglob("cell.json"))
    with watcher(tmp_path, TASKS, tokenizer=tokenizer) as watch:
        watch.step(model, 0)
        for task in TASKS:
            (who,) = running(folder / task / "seed0")
            assert who.is_this_process
    assert Cell.open(folder / TASKS[0] / "seed0").is_done()


def a_cell(folder: Path) -> Cell:
    cell = Cell.create(folder / "s/m/ioi/seed0", HEADER)
    cell.write(record(0))
    return cell


def test_a_run_that_another_process_sends_is_left_to_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """`track` sends the others, and a cell that is watched has its records all the same."""
    cell = a_cell(tmp_path)
    other = Cell.create(tmp_path / "s/m/other/seed0", HEADER)
    other.write(record(0))
    monkeypatch.setattr(sending, "connect", lambda: None)
    monkeypatch.setattr(sending, "_made_whole", lambda *_: Sent("", "made", 1, ""))
    monkeypatch.setattr(tracker, "resolve_mode", lambda mode: mode)
    monkeypatch.setattr(Tracker, "_start_online", lambda self: pytest.fail("it was sent"))
    online = TrackingConfig(mode="online")
    sent: list[Sent] = []
    with held_elsewhere(cell.folder / LOCK) as process:
        who = f"m/ioi/seed0: its W&B run is being sent by process {process.pid} on "
        with pytest.raises(UserError, match=f"^not sent: m/ioi/seed0: .*{who}"):
            send_sweep(tmp_path / "s", online, done=sent.append)
        assert [one.name for one in sent] == ["m/other/seed0"]
        with Tracker(cell, online, sweep="s") as tracked:
            tracked.log(record(0))
            tracked.complete()
        said = capsys.readouterr().err
        assert said.count("\n") == 1 and who in said and "circuitwatch track sweep=s" in said
    sent.clear()
    send_sweep(tmp_path / "s", online, done=sent.append)
    assert len(sent) == 2


def test_that_one_cell_is_in_use_keeps_no_other_from_being_sent(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """By a sweep that goes on to its next cell."""
    cell = a_cell(tmp_path)
    monkeypatch.setattr("circuitwatch.tracking.account.connect", lambda: None)
    monkeypatch.setattr(sending, "_made_whole", lambda *_: Sent("", "made", 1, "a place"))
    online = TrackingConfig(mode="online")
    with held_elsewhere(cell.folder / LOCK):
        send_if_needed(cell, online, sweep="s")
        assert "is being sent by process" in capsys.readouterr().err
    send_if_needed(cell, online, sweep="s")
    assert "W&B: made, a place" in capsys.readouterr().err


def test_a_run_is_held_from_its_start_to_its_end(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    cell = a_cell(tmp_path)
    monkeypatch.setattr(tracker, "resolve_mode", lambda mode: mode)
    monkeypatch.setattr(Tracker, "_start_online", lambda self: None)
    with (
        Tracker(cell, TrackingConfig(mode="online"), sweep="s"),
        pytest.raises(InUse, match="close that first"),
    ):
        send_cell(cell, TrackingConfig(mode="online"), None)
    with hold_run(cell):
        assert (cell.folder / LOCK).exists()
    assert not (cell.folder / LOCK).exists()
