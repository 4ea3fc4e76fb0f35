"""Runs made by the real client on a server that stands for W&B: what it holds is what the records
say, whatever happens on the way.
"""

from __future__ import annotations

import io
import json
import os
import random
import re
import signal
import subprocess
import sys
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from circuitwatch.record_files import NOT_ASKED
from circuitwatch.records import Cell
from circuitwatch.summary.importers.wandb_runs import as_recorded, rows_of_run
from circuitwatch.tracking.identity import run_id
from circuitwatch.tracking.names import recorded_name
from support.headers import change_header
from support.replay import SECONDS
from support.wandb import FaultProxy, ServerRun, WandbServer
from support.wandb.client import KEY, environment, kill, sync
from support.wandb.client import run as run_script
from support.wandb_server import FakeRun

TESTS = Path(__file__).parents[1]
SCALARS = 30
"""A record of the made-up sweep has more than so many."""


@contextmanager
def replaying(
    source: Cell, folder: Path, url: str, home: Path | None = None, **options: object
) -> Iterator[subprocess.Popen[str]]:
    """A process that writes a cell's records anew and tracks them, at home in a folder."""
    home = home or folder.parents[4]
    command = [sys.executable, "-m", "support.replay", str(source.folder), str(folder)]
    with subprocess.Popen(
        [*command, *(f"{key}={value}" for key, value in options.items())],
        env=environment(url, home) | {"PYTHONPATH": str(TESTS)},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        cwd=home,
    ) as process:
        try:
            yield process
        finally:
            kill(process)


def replay(source: Cell, folder: Path, url: str, **options: object) -> tuple[dict[str, Any], str]:
    """What such a process printed about its times, and what it said on standard error."""
    with replaying(source, folder, url, **options) as process:
        out, said = process.communicate(timeout=60)
    assert process.returncode == 0, said
    lines = [json.loads(line) for line in out.splitlines() if line.startswith("{")]
    return {key: value for line in lines for key, value in line.items()}, said


def command(url: str, home: Path, *arguments: str, **more: str) -> subprocess.CompletedProcess[str]:
    """What `circuitwatch …` did; more: of the environment."""
    return subprocess.run(
        [sys.executable, "-m", "circuitwatch", *arguments],
        env=environment(url, home) | more,
        cwd=home,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Where the cell is written: out/demo/nano-400k/ioi/seed0 in a home of its own."""
    return tmp_path / "out/demo/nano-400k/ioi/seed0"


def the_run(server: WandbServer, folder: Path) -> ServerRun:
    """The only run of a cell that is on the server."""
    (run,) = [
        run
        for run in server.runs("circuitwatch")
        if run.id.startswith(run_id(Cell.open(folder))) and not run.deleted
    ]
    return run


def assert_equal_to_records(run: ServerRun, cell: Cell) -> None:
    """Every record is one row, in order; every scalar of it is there, value for value."""
    steps = cell.steps_done()
    assert [row["step"] for row in run.rows] == steps
    assert [row["_step"] for row in run.rows] == list(range(len(steps)))
    for step, row in zip(steps, run.rows, strict=True):
        record = cell.read(step)
        own = {recorded_name(name, "logit_diff"): value for name, value in row.items()}
        assert len(record.scalars) > SCALARS
        assert {name: own[name] for name in record.scalars} == record.scalars
        assert row["tokens"] == record.tokens


def test_a_cell_is_one_run_value_for_value(source: Cell, folder: Path, server: WandbServer) -> None:
    _, said = replay(source, folder, server.url)
    cell, run = Cell.open(folder), the_run(server, folder)
    assert said == f"circuitwatch: W&B: {server.url}/tester/circuitwatch/runs/{run.id}\n"
    assert_equal_to_records(run, cell)
    assert run.state == "finished"
    assert (run.display_name, run.group, run.job_type) == (
        "demo nano-400k ioi seed0",
        "demo",
        "watch",
    )
    assert set(run.tags) == {"nano-400k", "ioi"} and "27 checkpoints of nano-400k" in run.notes
    assert {key: run.config[key] for key in ("params_total", "metric", "unit", "n_edges")} == {
        "params_total": 431_904,
        "metric": "logit_diff",
        "unit": "logits",
        "n_edges": cell.header["graph"]["n_edges"],
    }
    last = run.rows[-1]
    assert last["behaviour/logit_diff"] == cell.read(1000).scalars["behaviour/value"]
    assert last["cost/seconds_heads"] == SECONDS["heads"]
    roles = cell.read(1000).roles
    held = roles[(roles["role"] == "name_mover") & (roles["score"] >= 0.75)]
    assert last["roles/name_mover/holders"] == len(held) > 0
    assert last["roles/name_mover/confirmed"] == int(held["confirmed"].sum())


def test_a_watched_model_is_one_run_and_a_cell_that_is_done_is_sent(
    trained_suite: Path, tmp_path: Path
) -> None:
    """The command itself: with a server that takes no rows; then, done, with one that does."""
    given = f"""model=folder model.name=tiny model.path={trained_suite} task=gendered_pronoun
        device=cpu task.n_prompts=24 heads.length=6 heads.n_sequences=4 heads.n_prompts=8
        heads.n_texts=4 circuit.resamples=0 n_bootstrap=100 sweep=demo out=out tracking=online"""
    with WandbServer() as server, FaultProxy(server.url) as proxy:
        proxy.mode, proxy.only = "401", "file_stream"  # which the client says nothing of
        done = command(proxy.url, tmp_path, *given.split())
        assert done.returncode == 0, done.stderr
        cell = Cell.open(tmp_path / "out/demo/tiny/gendered_pronoun/seed0")
        assert cell.is_done()
        assert "circuitwatch track sweep=demo out=out` sends it" in done.stderr
        assert "tiny · gendered pronoun" in done.stdout  # the table
        written = (cell.folder / "cell.json").read_bytes()
        again = command(server.url, tmp_path, *given.split(), "threads=2")
        assert again.returncode == 0 and "done already" in again.stdout
        run = the_run(server, cell.folder)
        assert f"W&B: made, {server.url}/tester/circuitwatch/runs/{run.id}" in again.stderr
        assert server.unknown == []
    steps = cell.steps_done()
    assert [row["step"] for row in run.rows] == steps and len(steps) > 8
    for step, row in zip(steps, run.rows, strict=True):
        own = {recorded_name(name, "logit_diff"): value for name, value in row.items()}
        scalars = cell.read(step).scalars
        assert {name: own[name] for name in scalars} == scalars
        assert row["cost/seconds_total"] == cell.seconds(step)["total"] > 0
    assert (cell.folder / "cell.json").read_bytes() == written


def test_pictures_tables_and_records_are_there(
    source: Cell, folder: Path, server: WandbServer
) -> None:
    replay(source, folder, server.url, pictures=4)
    cell, run = Cell.open(folder), the_run(server, folder)
    drawn = [row["step"] for row in run.rows if "pictures/heads" in row]
    assert len(drawn) == 4 and drawn[-1] == 1000
    last = run.rows[-1]
    for name in ("heads", "circuit"):
        assert run.files[last[f"pictures/{name}"]["path"]].startswith(b"\x89PNG")
    table = json.loads(run.files[last["heads"]["path"]])
    rows = pd.DataFrame(table["data"], columns=table["columns"])
    assert sorted(rows["step"].unique()) == drawn
    strongest = rows[(rows["step"] == 1000) & (rows["role"] == "induction")].iloc[0]
    scalars = cell.read(1000).scalars
    assert strongest["head"] == scalars["roles/induction/head"]
    assert strongest["score"] == scalars["roles/induction/max"]
    assert run.summary["emergence/behaviour/logit_diff/status"] == "emerged"
    low, at, high = (
        run.summary[f"emergence/behaviour/logit_diff/{part}"] for part in ("low", "tokens", "high")
    )
    assert low < at < high and low < 5e5 * 1.2 and high > 3e5
    (artifact,) = [a for a in server.artifacts("circuitwatch") if a.type == "records"]
    with zipfile.ZipFile(io.BytesIO(artifact.files["records.zip"])) as archive:
        archive.extractall(folder.parents[4] / "unpacked")
    again = Cell.open(folder.parents[4] / "unpacked")
    assert again.is_done() and again.steps_done() == cell.steps_done()
    pd.testing.assert_frame_equal(again.scalars_table(), cell.scalars_table())


def test_offline_then_synced_is_the_same(source: Cell, folder: Path, server: WandbServer) -> None:
    _, said = replay(source, folder, server.url, mode="offline")
    assert server.runs("circuitwatch") == []
    (kept,) = folder.glob("wandb/offline-run-*")
    assert f"wandb sync {kept}" in said
    sync([kept], server.url, folder.parents[4])
    assert_equal_to_records(the_run(server, folder), Cell.open(folder))


@pytest.mark.parametrize("seed", range(3))
def test_a_run_that_is_killed_goes_on(
    seed: int, source: Cell, folder: Path, server: WandbServer
) -> None:
    """SIGKILL, or SIGTERM, at a random record."""
    chosen = random.Random(seed)
    how = signal.SIGTERM if seed == 1 else signal.SIGKILL
    with replaying(source, folder, server.url, pause=0.05) as process:
        assert process.stdout is not None
        for _ in range(chosen.randrange(2, 24)):
            assert process.stdout.readline()
        os.kill(process.pid, how)
        process.wait(30)
    n = len(Cell.open(folder).steps_done())
    assert 0 < n < 27
    replay(source, folder, server.url)
    assert_equal_to_records(the_run(server, folder), Cell.open(folder))


def test_a_record_that_comes_late_is_put_in_its_place_by_track(
    source: Cell, folder: Path, server: WandbServer
) -> None:
    _, said = replay(source, folder, server.url, later=200)
    assert "some rows came out of order and are not there; `circuitwatch track sweep=demo" in said
    assert len(the_run(server, folder).rows) == 26
    done = command(server.url, folder.parents[4], "track", "sweep=demo", "out=out")
    assert done.returncode == 0 and "overwritten, 27 rows" in done.stdout, done.stderr
    assert_equal_to_records(the_run(server, folder), Cell.open(folder))


@pytest.mark.parametrize("again", ["overwrite", "keep", "append"])
def test_track_makes_runs_whole_on_servers_of_all_kinds(
    again: Any, source: Cell, folder: Path
) -> None:
    """Rows that others logged, more than we have, are in the way; the id of a deleted run can't be
    used again. Asked once more, nothing is sent.
    """
    with WandbServer(again=again) as server:
        home = folder.parents[4]
        replay(source, folder, server.url, later=0)
        cell = Cell.open(folder)
        for expected in ("overwritten", "whole already"):
            done = command(server.url, home, "track", "sweep=demo", "out=out")
            assert done.returncode == 0 and expected in done.stdout, done.stderr
            run = the_run(server, folder)
            assert_equal_to_records(run, cell)
        made = server.requests.count("UpsertBucket")
        command(server.url, home, "track", "sweep=demo", "out=out")
        assert server.requests.count("UpsertBucket") == made
        assert server.unknown == []


def test_track_goes_on_behind_what_is_there(
    source: Cell, folder: Path, server: WandbServer
) -> None:
    replay(source, folder, server.url, stop=20)
    replay(source, folder, server.url, mode="off")
    done = command(server.url, folder.parents[4], "track", "sweep=demo", "out=out")
    assert "gone on with, 27 rows" in done.stdout, done.stderr
    assert_equal_to_records(the_run(server, folder), Cell.open(folder))


def test_rows_of_records_that_were_made_anew_are_not_taken_for_theirs(
    source: Cell, folder: Path, server: WandbServer
) -> None:
    """Same places, same steps, other values: as where a checkpoint was trained anew."""
    replay(source, folder, server.url)
    cell = Cell.open(folder)
    record = cell.read(500)
    other = record.scalars | {"roles/induction/total": 0.123}
    cell.write(replace(record, scalars=other), SECONDS)
    done = command(server.url, folder.parents[4], "track", "sweep=demo", "out=out")
    assert done.returncode == 0 and "overwritten, 27 rows" in done.stdout, done.stderr
    assert_equal_to_records(the_run(server, folder), cell)
    done = command(server.url, folder.parents[4], "track", "sweep=demo", "out=out")
    assert "whole already" in done.stdout


def test_a_run_that_somebody_deleted_is_made_once_more(
    source: Cell, folder: Path, server: WandbServer
) -> None:
    home = folder.parents[4]
    replay(source, folder, server.url)
    delete = (
        "import wandb; api = wandb.Api(); [r.delete() for r in api.runs('tester/circuitwatch')]"
    )
    subprocess.run(
        [sys.executable, "-c", delete], env=environment(server.url, home), check=True, cwd=home
    )
    for _ in range(2):
        done = command(server.url, home, "track", "sweep=demo", "out=out")
        assert done.returncode == 0, done.stderr
    assert_equal_to_records(the_run(server, folder), Cell.open(folder))
    assert the_run(server, folder).id == f"{run_id(Cell.open(folder))}-2"


@pytest.mark.parametrize(
    ("more", "entity"),
    [
        ({"WANDB_ENTITY": "team"}, "team"),
        ({"WANDB_SWEEP_ID": "s", "WANDB_RUN_ID": "r", "WANDB_PROJECT": "p"}, "tester"),
        ({"WANDB_RESUME": "must", "WANDB_NAME": "n"}, "tester"),
        ({"WANDB_RESUME_FROM": "r?_step=3"}, "tester"),
    ],
)
def test_the_environment_says_the_entity_but_not_which_run_is_meant(
    more: dict[str, str], entity: str, source: Cell, folder: Path, server: WandbServer
) -> None:
    with replaying(source, folder, server.url, mode="off") as process:
        process.communicate(timeout=60)
    done = command(server.url, folder.parents[4], "track", "sweep=demo", "out=out", **more)
    assert done.returncode == 0, done.stderr
    cell = Cell.open(folder)
    assert f"/{entity}/circuitwatch/runs/{run_id(cell)}" in done.stdout
    assert list(server.store.projects) == [(entity, "circuitwatch")]
    run = server.store.run("circuitwatch", run_id(cell), entity).shown()
    assert_equal_to_records(run, cell)


@pytest.mark.parametrize(
    ("more", "said"),
    [
        ({"WANDB_MODE": "sometimes"}, "wrong settings of W&B (WANDB_…, or its files): mode: Input"),
        ({"WANDB_BASE_URL": "here"}, "wrong settings of W&B (WANDB_…, or its files): base_url: "),
        ({"WANDB_MODE": "offline"}, "wandb: W&B is set to offline (WANDB_MODE, or its settings)"),
    ],
)
def test_settings_that_forbid_to_send_are_said_in_a_line(
    more: dict[str, str], said: str, source: Cell, folder: Path, server: WandbServer
) -> None:
    with replaying(source, folder, server.url, mode="off", stop=1) as process:
        process.communicate(timeout=60)
    done = command(server.url, folder.parents[4], "track", "sweep=demo", "out=out", **more)
    assert (done.returncode, done.stderr.count("\n")) == (2, 1), done.stderr
    assert done.stderr.startswith(f"circuitwatch: error: {said}")


def test_a_run_that_its_user_has_open_stays_as_it_is(
    source: Cell, folder: Path, server: WandbServer
) -> None:
    script = f"""
import wandb
from pathlib import Path
from support.replay import replay

mine = wandb.init(project="own", id="mine")
replay(Path({str(source.folder)!r}), Path({str(folder)!r}), {{}})
assert wandb.run is mine
mine.log({{"loss": 1}})
mine.finish()
"""
    run_script(script, server.url, folder.parents[4], PYTHONPATH=str(TESTS))
    assert [row["loss"] for row in server.run("own", "mine").rows] == [1]
    assert_equal_to_records(the_run(server, folder), Cell.open(folder))


FAULTS = {
    "dead at the start": "can't be reached",
    "dying": "did not take the records' artifact in time",
    "500": "answers with error 500",
    "hang": "can't be reached",
    "hanging later": "not all of the run was uploaded",
    "refusing later": "did not take the records' artifact in time",
    "401": "takes no key of this machine",
    "no run": "this run is not kept, later ones are kept offline",
    "slow": "",
}
"""Fault → what is said."""
BOUND = 40
"""Seconds that any may cost on a machine with other work, with the time-outs of `replay`."""


@pytest.mark.parametrize("fault", FAULTS)
def test_a_bad_server_costs_a_line_and_bounded_time(
    fault: str, source: Cell, folder: Path, server: WandbServer
) -> None:
    with FaultProxy(server.url) as proxy:
        if fault == "dead at the start":
            proxy.stop()
        elif fault in ("500", "hang", "401"):
            proxy.mode = fault  # type: ignore[assignment]
        elif fault == "slow":
            proxy.mode, proxy.delay = "slow", 0.4
        elif fault == "no run":
            proxy.mode, proxy.only = "hang", "UpsertBucket"
        elif fault == "hanging later":
            proxy.mode, proxy.only = "hang", "file_stream"
        elif fault == "dying":
            proxy.mode, proxy.after = "refuse", 6
        elif fault == "refusing later":
            proxy.mode, proxy.after = "401", 8
        times, said = replay(source, folder, proxy.url, pause=0.05)
    cell = Cell.open(folder)
    assert cell.is_done() and len(cell.steps_done()) == 27
    assert times["took"] < BOUND
    assert FAULTS[fault] in said
    ours = [line for line in said.splitlines() if line.startswith("circuitwatch: ")]
    assert len(ours) <= 3 and "Traceback" not in said and "is in use" not in said, said
    if fault == "slow":
        assert_equal_to_records(the_run(server, folder), cell)
        return
    assert "circuitwatch track sweep=demo" in said
    if fault == "401":
        assert "wandb login" in said
    done = command(server.url, folder.parents[4], "track", "sweep=demo", "out=out")
    assert done.returncode == 0, done.stderr
    assert_equal_to_records(the_run(server, folder), cell)


def test_the_summary_of_the_runs_is_that_of_the_cells(
    source: Cell, folder: Path, server: WandbServer
) -> None:
    home = folder.parents[4]
    replay(source, folder, server.url)
    for arguments in (
        ("from=wandb:tester/circuitwatch/demo", "to=there"),
        ("from=out/demo", "to=here"),
    ):
        done = command(server.url, home, "summarize", *arguments)
        assert done.returncode == 0, done.stderr
    there, here = (
        pd.read_csv(home / name / "emergence.csv").set_index(["model", "task", "quantity"])
        for name in ("there", "here")
    )
    assert set(there.index) == set(here.index) and len(there) > 10
    # Prompts are not in the runs, so that the intervals are others; what was measured is equal.
    for column in ("n", "first_tokens", "last_tokens", "final"):
        pd.testing.assert_series_equal(there[column].sort_index(), here[column].sort_index())


def test_a_cell_that_was_asked_for_no_circuit_has_no_curve_of_circuits_in_wandb_either(
    source: Cell, folder: Path, server: WandbServer
) -> None:
    cell = Cell.create(folder, source.header)
    for record in source.records():
        own = {
            k: v for k, v in record.scalars.items() if not k.startswith(("circuit/", "overlap/"))
        }
        bare = {"scores": None, "mask": None, "patching": None, "bands": None, "resamples": ()}
        cell.write(replace(record, scalars=own | {"circuit/status": NOT_ASKED}, **bare))
    home = folder.parents[4]
    for arguments in (
        ("track", "sweep=demo", "out=out"),
        ("summarize", "from=wandb:tester/circuitwatch/demo", "to=there"),
        ("summarize", "from=out/demo", "to=here"),
    ):
        done = command(server.url, home, *arguments)
        assert done.returncode == 0, done.stderr
    there, here = (
        set(pd.read_csv(home / name / "emergence.csv")["quantity"]) for name in ("there", "here")
    )
    assert there == here and "circuit/found" not in here
    run = the_run(server, folder)
    assert not any("circuit/found" in row for row in run.rows)
    # Runs of earlier versions have it nevertheless.
    earlier = FakeRun("earlier", run.config, [])
    header = {"task": "ioi", "config": run.config, "facts": {"tasks": {}}}
    rows = [as_recorded({**row, "circuit/found": 0}, header) for row in run.rows]
    found = {row["quantity"] for row in rows_of_run(earlier, rows, header)}
    assert "circuit/found" not in found and "behaviour/accuracy" in found


def test_the_summary_is_a_run_of_its_own(source: Cell, folder: Path, server: WandbServer) -> None:
    home = folder.parents[4]
    replay(source, folder, server.url, mode="off")
    done = command(server.url, home, "track", "sweep=demo", "out=out")
    assert "no summary yet: `circuitwatch summarize sweep=demo`" in done.stdout
    command(server.url, home, "summarize", "sweep=demo", "out=out")
    done = command(server.url, home, "track", "sweep=demo", "out=out")
    assert done.returncode == 0 and "summary: made" in done.stdout, done.stderr
    (run,) = [run for run in server.runs("circuitwatch") if run.job_type == "summary"]
    (row,) = run.rows
    assert run.group == "demo" and {"emergence", "report"} <= set(row)
    figures = {key for key in row if key.startswith("figures/")}
    drawn = {f"figures/{path.stem}" for path in (home / "out/demo/summary").glob("*.png")}
    assert figures == drawn and len(drawn) > 3
    table = json.loads(run.files[row["emergence"]["path"]])
    wanted = pd.read_csv(home / "out/demo/summary/emergence.csv")
    assert table["columns"] == list(wanted) and len(table["data"]) == len(wanted)
    assert b"<html" in run.files[row["report"]["path"]]
    assert any(a.type == "summary" for a in server.artifacts("circuitwatch"))
    done = command(server.url, home, "track", "sweep=demo", "out=out")
    assert "summary: whole already" in done.stdout


def test_nothing_of_the_machine_is_in_a_run(
    source: Cell, folder: Path, server: WandbServer
) -> None:
    """The home here is the folder that tests run in; `out` lies in it, as relative as it is for
    most people.
    """
    home = folder.parents[4]
    inside = folder.relative_to(home)
    for mode in ("offline", "online"):
        with replaying(source, inside, server.url, home=home, mode=mode, pictures=2) as process:
            process.communicate(timeout=60)
        kept = [path for path in (folder / "wandb").rglob("*") if path.is_file()]
        assert any(path.suffix == ".wandb" for path in kept) or mode == "online"
        for path in kept:
            assert_nothing_of_it(path.read_bytes(), home, path)
    run = the_run(server, folder)
    assert len(run.files) > 4 and len(run.rows) == 27
    for name, content in run.files.items():
        assert_nothing_of_it(content, home, Path(name))
    for artifact in server.artifacts("circuitwatch"):
        for name, content in artifact.files.items():
            assert_nothing_of_it(content, home, Path(name))
    assert_nothing_of_it(json.dumps([run.config, run.summary, run.rows]).encode(), home, Path())


@pytest.mark.parametrize("mode", ["offline", "online"])
def test_not_even_where_the_command_lies(
    mode: str, source: Cell, folder: Path, server: WandbServer
) -> None:
    """Started as the installed `circuitwatch` is: a file, by its path."""
    home = folder.parents[4]
    installed = home / "bin/circuitwatch"
    installed.parent.mkdir()
    installed.write_text(
        "import sys\nfrom pathlib import Path\nfrom support.replay import replay\n"
        f"replay(Path(sys.argv[1]), Path(sys.argv[2]), {{'mode': '{mode}'}})\n",
        encoding="utf-8",
    )
    subprocess.run(
        [sys.executable, str(installed), str(source.folder), str(folder.relative_to(home))],
        env=environment(server.url, home) | {"PYTHONPATH": str(TESTS)},
        cwd=home,
        check=True,
        capture_output=True,
        timeout=60,
    )
    (kept,) = (folder / "wandb").rglob("*.wandb")
    assert_nothing_of_it(kept.read_bytes(), home, kept)
    if mode == "online":
        assert the_run(server, folder).program == "circuitwatch"


def test_no_folder_is_sent_with_the_summary_or_what_was_skipped(
    source: Cell, folder: Path, server: WandbServer
) -> None:
    """A file of text that an option names, a checkpoint that is damaged, `out` as a whole path, and
    a sweep whose folder was renamed.
    """
    home = folder.parents[4]
    with replaying(source, folder, server.url, mode="off") as process:
        process.communicate(timeout=60)
    text = str(home / "of mine" / "text.txt")

    def name_paths(header: dict[str, Any]) -> None:
        header["config"]["heads"]["text"] = header["copy_suppression_text"] = text
        header["config"]["model"]["path"] = str(home / "of mine")

    change_header(folder, name_paths)
    Cell.open(folder).skip(2000, 1, "step2000", f"{home}/of mine/step2000: damaged", again=False)
    renamed = (home / "out/demo").rename(home / "out/other")
    for name in ("summarize", "track"):
        done = command(server.url, home, name, "sweep=other", f"out={renamed.parent}")
        assert done.returncode == 0, done.stderr
    every = [dict(run.files) for run in server.runs("circuitwatch")]
    assert {run.group for run in server.runs("circuitwatch")} == {"demo"}
    for artifact in server.artifacts("circuitwatch"):
        every.append(dict(artifact.files))
        if "records.zip" in artifact.files:
            with zipfile.ZipFile(io.BytesIO(artifact.files["records.zip"])) as archive:
                every.append({name: archive.read(name) for name in archive.namelist()})
    found = [(name, content) for files in every for name, content in files.items()]
    assert {"cells.csv", "report.html", "skipped.json", "cell.json"} <= {name for name, _ in found}
    for name, content in found:
        for what in (KEY, str(home), "of mine"):
            assert what.encode() not in content, (what, name)


def assert_nothing_of_it(content: bytes, home: Path, where: Path) -> None:
    """No key, no home, no name of this machine, which may be a short word."""
    for what in (KEY, str(home), str(Path.home()) + "/"):
        assert what.encode() not in content, (what, where)
    if where.suffix not in (".png", ".zip"):
        host = re.escape(os.uname().nodename.encode())
        assert not re.search(rb"\b" + host + rb"\b", content), where
