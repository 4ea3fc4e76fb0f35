"""A cell whose checkpoints are watched in parts, one after another or at the same time, is the cell
that one process makes, to the last byte; and no two processes spoil each other's.
"""

from __future__ import annotations

import os
import random
import re
import shutil
import signal
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest
import wandb
from safetensors.torch import load_file, save_file

from circuitwatch import locks
from circuitwatch.checkpoints.settings import CheckpointsConfig
from circuitwatch.cli import main
from circuitwatch.config import Config, TrackingConfig
from circuitwatch.errors import UserError
from circuitwatch.locks import CELL, hold, holder
from circuitwatch.monitor import watch_cell
from circuitwatch.record_files import TIMING
from circuitwatch.records import Cell
from circuitwatch.shards import Shard
from support.offline_runs import find, history, values
from test_changed import copied
from test_locks import held_elsewhere
from test_monitor import configuration

STEPS = (0, 1, 2, 64, 128, 150, 300)
"""One cut off, one with the weights of another, two without a circuit, three with one."""


@pytest.fixture(scope="module")
def suite(trained_suite: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = copied(trained_suite, tmp_path_factory.mktemp("some") / "tiny", STEPS)
    shutil.copy(folder / "step0/model.safetensors", folder / "step1")
    weights = folder / "step64/model.safetensors"
    weights.write_bytes(weights.read_bytes()[:5000])  # cut off
    return folder


def tree(folder: Path) -> dict[str, bytes]:
    """Every file of a cell, but for what the clock says."""
    return {
        path.relative_to(folder).as_posix(): path.read_bytes()
        for path in folder.rglob("*")
        if path.is_file() and path.name != TIMING
    }


@pytest.fixture(scope="module")
def whole(suite: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, dict[str, bytes]]:
    """The files of a cell that one process made, duplicates flagged or skipped."""
    made = {}
    for duplicates in ("flag", "skip"):
        folder = tmp_path_factory.mktemp("whole") / "cell"
        watch_cell(shard_of(suite, None, duplicates), folder)
        made[duplicates] = tree(folder)
    return made


def shard_of(suite: Path, shard: str | None, duplicates: str = "flag") -> Config:
    return configuration(suite, shard=shard, checkpoints=CheckpointsConfig(duplicates=duplicates))


def test_what_is_compared_is_there(whole: dict[str, dict[str, bytes]]) -> None:
    assert {"done.json", "skipped.json", "cell.json"} <= whole["flag"].keys()
    assert (
        b"duplicate_of"
        in whole["flag"]["checkpoints/step000000/scalars.json"]
        + whole["flag"]["checkpoints/step000001/scalars.json"]
    )
    last = whole["flag"]["checkpoints/step000300/scalars.json"]
    assert b"edge_jaccard_mean" in last and whole["flag"].keys() != whole["skip"].keys()


@pytest.mark.parametrize(
    ("order", "duplicates"),
    [
        (["1/2", "2/2"], "flag"),
        (["2/2", "1/2"], "skip"),
        (["3/3", "1/3", "2/3"], "flag"),
        ([f"{which}/9" for which in (9, 4, 6, 1, 8, 2, 7, 5, 3)], "skip"),
    ],
)
def test_sharded_is_unsharded(
    order: list[str],
    duplicates: str,
    suite: Path,
    whole: dict[str, dict[str, bytes]],
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    for shard in order[:-1]:
        cell = watch_cell(shard_of(suite, shard, duplicates), tmp_path / "cell")
        assert not cell.is_done() and not (cell.folder / "done.json").exists()
        assert f"shard {shard} is done; " in capsys.readouterr().out
        for record in cell.records():  # its neighbour may be missing
            assert "overlap/edge_jaccard" not in record.scalars
    cell = watch_cell(shard_of(suite, order[-1], duplicates), tmp_path / "cell")
    assert cell.is_done() and tree(cell.folder) == whole[duplicates]
    for again in (order[0], None):
        capsys.readouterr()
        watch_cell(shard_of(suite, again, duplicates), tmp_path / "cell")
        assert "done already" in capsys.readouterr().out
    assert tree(cell.folder) == whole[duplicates]


def test_a_sharded_cell_is_one_run_of_wandb(suite: Path, tmp_path: Path) -> None:
    """Sent by the shard that ends last, every record once and in order."""
    cell = tmp_path / "s/tiny/task/seed0"
    try:
        for shard in ("2/3", "1/3", "3/3"):
            assert not (cell / "wandb").exists()
            config = shard_of(suite, shard)
            watch_cell(replace(config, tracking=TrackingConfig(mode="offline")), cell)
    finally:
        wandb.teardown()  # which other tests in this process would meet
    done = Cell.open(cell)
    assert done.is_done()
    rows = history(done)
    tokens = [record.tokens for record in done.records()]
    assert values(rows, "tokens") == tokens and len(tokens) == 6
    jaccard = [find(row, "overlap/edge_jaccard") for row in rows]
    assert jaccard == [r.scalars.get("overlap/edge_jaccard") for r in done.records()]
    assert any(jaccard)  # which was not known before the shards were put together


@pytest.mark.parametrize("ended_by", ["2/2", None])
def test_a_kill_before_they_were_put_together_is_made_up_for(
    ended_by: str | None,
    suite: Path,
    whole: dict[str, dict[str, bytes]],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    watch_cell(shard_of(suite, "1/2"), tmp_path / "cell")

    def killed(*_: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr("circuitwatch.monitor.relink", killed)
        with pytest.raises(KeyboardInterrupt):
            watch_cell(shard_of(suite, "2/2"), tmp_path / "cell")
    leftover = tmp_path / "cell/checkpoints/step000128.partial"
    leftover.mkdir()
    watch_cell(shard_of(suite, ended_by), tmp_path / "cell")
    assert tree(tmp_path / "cell") == whole["flag"] and not leftover.exists()


def test_a_late_and_a_changed_checkpoint(
    trained_suite: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """The last shard that is run again puts together anew what comes of it."""
    steps = tuple(s for s in STEPS if s != 150)
    mine = copied(trained_suite, tmp_path / "tiny", steps)
    for folder, shards in (("parts", ["1/2", "2/2"]), ("one", [None])):
        for shard in shards:
            watch_cell(shard_of(mine, shard), tmp_path / folder)
    shutil.copytree(trained_suite / "step150", mine / "step150")
    weights = mine / "step128/model.safetensors"
    tensors = load_file(weights)
    name = next(name for name in tensors if "mlp" in name and name.endswith("weight"))
    save_file(tensors | {name: tensors[name] * 1.1}, weights, metadata={"format": "pt"})
    for folder, shards in (("parts", ["2/2", "1/2"]), ("one", [None])):
        for shard in shards:
            cell = watch_cell(shard_of(mine, shard), tmp_path / folder)
        assert cell.is_done() and 150 in cell.steps_done()
    assert tree(tmp_path / "parts") == tree(tmp_path / "one")


def test_a_damaged_record_of_another_shard_is_left_to_it(
    suite: Path,
    whole: dict[str, dict[str, bytes]],
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    watch_cell(shard_of(suite, "1/2"), tmp_path / "cell")
    path = tmp_path / "cell/checkpoints/step000300/roles.parquet"
    path.write_bytes(path.read_bytes()[:-1])
    capsys.readouterr()
    watch_cell(shard_of(suite, "2/2"), tmp_path / "cell")
    said = " ".join(capsys.readouterr().out.split())
    assert "roles.parquet: damaged: made anew" in said
    assert "1 of 7 checkpoints are left, of shard 1/2" in said
    watch_cell(shard_of(suite, "1/2"), tmp_path / "cell")
    shutil.rmtree(tmp_path / "cell/damaged")
    assert tree(tmp_path / "cell") == whole["flag"]


def arguments(suite: Path, out: Path, *more: str) -> list[str]:
    return [
        *more,
        "model=folder",
        f"model.path={suite}",
        "model.name=tiny",
        "task=gendered_pronoun",
        "task.n_prompts=24",
        "heads.length=6",
        "heads.n_sequences=4",
        "heads.n_prompts=8",
        "tracking=off",
        "device=cpu",
        "checkpoints.duplicates=flag",
        f"out={out}",
    ]


def started(suite: Path, out: Path, *more: str) -> subprocess.Popen[str]:
    """The command line in a process of its own."""
    return subprocess.Popen(
        [sys.executable, "-m", "circuitwatch", *arguments(suite, out, *more)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
    )


def test_shards_side_by_side_one_of_them_killed(suite: Path, tmp_path: Path) -> None:
    """Also a sweep over all shards of a cell, which does what was left."""
    one = started(suite, tmp_path / "one")
    said = one.communicate()
    assert one.returncode == 0, said
    cell = Path("default/tiny/gendered_pronoun/seed0")
    parts = [started(suite, tmp_path / "parts", f"shard={which}/3") for which in (1, 2, 3)]
    assert parts[0].stderr is not None
    for _ in range(random.Random(0).randint(1, 2)):
        parts[0].stderr.readline()
    parts[0].send_signal(signal.SIGKILL)
    for process in parts:
        process.communicate()
    assert [process.returncode for process in parts] == [-signal.SIGKILL, 0, 0]
    sweep = started(suite, tmp_path / "parts", "-m", "shard=1/3,2/3,3/3")
    said = sweep.communicate()
    assert sweep.returncode == 0, said
    theirs, ours = (tree(tmp_path / out / cell) for out in ("parts", "one"))
    theirs["cell.json"] = theirs["cell.json"].replace(b"/parts", b"/one")
    assert theirs == ours


def test_two_processes_that_start_together_on_one_cell(suite: Path, tmp_path: Path) -> None:
    """One watches it, the other says so; no checkpoint is lost or made twice."""
    both = [started(suite, tmp_path / "out") for _ in range(2)]
    said = [process.communicate()[1] for process in both]
    codes = sorted(process.returncode for process in both)
    lines = [line for text in said for line in text.splitlines() if "error" in line]
    if codes == [0, 0]:  # one began when the other had ended
        assert not lines
    else:
        assert codes == [0, 2] and len(lines) == 1
        assert re.search(
            r"seed0 is being watched by process \d+ on \S+ since \d\d:\d\d \(circuitwatch .*\); "
            r"wait for it to end, or stop it$",
            lines[0],
        )
    assert Cell.open(tmp_path / "out/default/tiny/gendered_pronoun/seed0").is_done()


def test_a_sweep_goes_on_with_the_cells_that_nobody_watches(
    suite: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    sweep = tmp_path / "out/default/tiny/gendered_pronoun"
    sweep.joinpath("seed0").mkdir(parents=True)
    with held_elsewhere(sweep / "seed0" / CELL) as process, pytest.raises(SystemExit) as left:
        main(arguments(suite, tmp_path / "out", "-m", "seed=0,1"))
    assert left.value.code == 2
    said = " ".join(capsys.readouterr().err.split())
    assert f"seed0 is being watched by process {process.pid} on " in said
    assert "1 of 2 cells failed: tiny/gendered_pronoun/seed0" in said
    assert Cell.open(sweep / "seed1").is_done() and not (sweep / "seed0/cell.json").exists()


@pytest.mark.parametrize(
    ("held", "shard", "is_refused"),
    [
        (CELL, None, True),
        (CELL, "1/4", True),
        (".shard-1-of-4.lock", None, True),
        (".shard-1-of-4.lock", "1/4", True),
        (".shard-3-of-16.lock", "1/4", True),
        (".shard-2-of-4.lock", "1/4", False),
    ],
)
def test_who_may_watch_at_the_same_time(
    held: str, shard: str | None, is_refused: bool, suite: Path, tmp_path: Path
) -> None:
    config = shard_of(suite, shard)
    with held_elsewhere(tmp_path / "cell" / held) as process:
        if is_refused:
            with pytest.raises(UserError, match=rf"cell is being watched by process {process.pid}"):
                watch_cell(config, tmp_path / "cell")
            assert not (tmp_path / "cell/cell.json").exists()
            return
        watch_cell(config, tmp_path / "cell")
        who = holder(tmp_path / "cell" / held)
        assert who is not None and who.pid == process.pid


@pytest.mark.parametrize("wrong", ["0/4", "5/4", "3", "a/b", "1/0", "-1/4", "1/4/2", ""])
def test_what_is_no_shard_is_said(wrong: str) -> None:
    with pytest.raises(UserError, match=r"^shard=.*: give which of how many, from 1/4 to 4/4$"):
        Shard.parsed(wrong)


def test_a_shard_follows_nothing(
    suite: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit):
        main(arguments(suite, tmp_path / "out", "follow=true", "shard=1/2"))
    assert "shard=1/2: with follow=true" in capsys.readouterr().err


def test_shares_are_all_there_is_and_nothing_twice() -> None:
    parts = [Shard(which, 4).part(range(10)) for which in (1, 2, 3, 4)]
    assert sorted(step for part in parts for step in part) == list(range(10))
    assert max(map(len, parts)) - min(map(len, parts)) == 1


def test_a_cell_that_fails_leaves_no_folder(tmp_path: Path) -> None:
    for shard in ("1/2", None):
        with pytest.raises(UserError, match="no such directory"):
            watch_cell(shard_of(tmp_path / "nowhere", shard), tmp_path / "out/cell")
    assert list(tmp_path.iterdir()) == []


def test_a_lock_says_what_is_guarded(tmp_path: Path) -> None:
    with hold(tmp_path / CELL, "x is being watched"):
        assert [who.pid for who in locks.running(tmp_path)] == [os.getpid()]
