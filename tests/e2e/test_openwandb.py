"""Runs made by the real W&B client on PyPI's `openwandb`, a server that others wrote: what it keeps
of a run is what the records say, and its page shows the runs.

It lacks much of what W&B has. A part that needs what is lacking first shows that we say so and lose
nothing, and is then skipped, with the reason: with a server that has it, the part is run.
"""

from __future__ import annotations

import shutil
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from circuitwatch.records import Cell
from circuitwatch.tracking.answers import emergence_of
from circuitwatch.tracking.identity import identity_of, metric_of
from circuitwatch.tracking.names import recorded_name
from support.openwandb import E2E, ENTITY, PROGRAM, USER, OpenWandb, running
from support.sweeps import write_sweep
from support.wandb import client

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser")
ARGUMENTS = [
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-background-networking",
    "--no-first-run",
]
TESTS = Path(__file__).parents[1]
PROJECT = "circuitwatch"
SCALARS = 25
"""A record of the made-up sweep has at least so many numbers."""

pytestmark = [
    pytest.mark.e2e,
    pytest.mark.skipif(not PROGRAM.exists(), reason="`make e2e-wandb` installs the server"),
]


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[OpenWandb]:
    with running(tmp_path_factory.mktemp("openwandb")) as found:
        yield found


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A home with a made-up sweep `made` of two models and two tasks; replays of its cells are the
    sweep `demo`.
    """
    folder = tmp_path_factory.mktemp("home")
    write_sweep(folder / "multirun/made", tasks=("ioi", "greater_than"))
    return folder


@dataclass(frozen=True)
class Sent:
    """A cell that was sent, and what was said about it."""

    cell: Cell
    said: str


@dataclass
class Sender:
    """Sends cells of the made-up sweep to the server, each in a process of its own."""

    server: OpenWandb
    home: Path

    def target(self, cell: str) -> Path:
        """Where the replay of a cell is written."""
        return self.home / "multirun/demo" / cell / "seed0"

    def replaying(self, cell: str, **options: object) -> Any:
        """A process that writes a cell's records anew and tracks them."""
        source = self.home / "multirun/made" / cell / "seed0"
        given = {name: str(value) for name, value in options.items()}
        script = (
            "from pathlib import Path\nfrom support.replay import replay\n"
            f"replay(Path({str(source)!r}), Path({str(self.target(cell))!r}), {given!r})"
        )
        where = (self.server.url, self.home, self.server.key)
        return client.started(script, *where, PYTHONPATH=str(TESTS))

    def replay(self, cell: str, **options: object) -> Sent:
        """The same, to its end."""
        with self.replaying(cell, **options) as process:
            said, _ = process.communicate(timeout=120)
        assert process.returncode == 0 and "Traceback" not in said, said
        return Sent(Cell.open(self.target(cell)), said)

    def gone_on(self, cell: str) -> Sent:
        """A cell whose process was killed, gone on with and sent to the end: by itself where the
        server can be asked what it has, else by `wandb sync` of what was kept.
        """
        assert not Cell.open(self.target(cell)).is_done()
        sent = self.replay(cell)
        assert sent.cell.is_done()
        if kept := list(self.target(cell).glob("wandb/offline-run-*")):
            assert "kept offline" in sent.said
            client.sync(kept, self.server.url, self.home, self.server.key)
        return sent

    def command(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        """What `circuitwatch …` did."""
        return subprocess.run(
            [sys.executable, "-m", "circuitwatch", *arguments],
            env=client.environment(self.server.url, self.home, self.server.key),
            cwd=self.home,
            capture_output=True,
            text=True,
            timeout=300,
            check=False,
        )

    def unreadable(self) -> str:
        """Why W&B's public API can't read this server's runs, once it has some; empty if it can."""
        script = f"import wandb; [r.id for r in wandb.Api().runs('{ENTITY}/{PROJECT}', lazy=False)]"
        with client.started(script, self.server.url, self.home, self.server.key) as process:
            said, _ = process.communicate(timeout=120)
        if process.returncode == 0:
            return ""
        return f"wandb.Api() can't read this server's runs: {said.strip().splitlines()[-1]}"


@pytest.fixture(scope="module")
def sender(server: OpenWandb, home: Path) -> Sender:
    return Sender(server, home)


@pytest.fixture(scope="module")
def online(sender: Sender) -> Sent:
    return sender.replay("nano-400k/ioi", pictures=2)


@pytest.fixture(scope="module")
def killed(sender: Sender) -> Sent:
    """Killed by SIGKILL before the client sent any row, which it does every 15 seconds."""
    with sender.replaying("nano-100k/ioi", pause=0.05) as process:
        for _ in range(9):
            assert process.stdout.readline()
    return sender.gone_on("nano-100k/ioi")


@pytest.fixture(scope="module")
def offline(sender: Sender) -> Sent:
    sent = sender.replay("nano-100k/greater_than", mode="offline", pictures=2)
    (kept,) = sent.cell.folder.glob("wandb/offline-run-*")
    assert f"wandb sync {kept}" in sent.said
    client.sync([kept], sender.server.url, sender.home, sender.server.key)
    return sent


def assert_equal_to_records(server: OpenWandb, cell: Cell, rows: int = 1) -> None:
    """Every record is there so many times, number for number, with what the cell says of itself."""
    identity, steps, metric = identity_of(cell), cell.steps_done(), metric_of(cell.header)
    run, points = server.runs(PROJECT)[identity.id], server.numbers(identity.id)
    own: dict[int, dict[str, float]] = {place: {} for place in range(len(steps))}
    for name, values in points.items():
        if rows == 1:
            assert [place for place, _ in values] == sorted({place for place, _ in values}), name
        for place, value in values:
            assert own[place].setdefault(recorded_name(name, metric), value) == value, name
    assert Counter(place for place, _ in points["tokens"]).keys() == own.keys()
    for place, step in enumerate(steps):
        record = cell.read(step)
        numbers = {k: v for k, v in record.scalars.items() if not isinstance(v, bool | str)}
        assert len(numbers) >= SCALARS
        assert {name: own[place].get(name) for name in numbers} == numbers
        assert (own[place]["tokens"], own[place]["step"]) == (record.tokens, step)
    summary = {recorded_name(k, metric): v for k, v in run["summary"].items()}
    last = cell.read(steps[-1]).scalars
    assert {name: summary.get(name) for name in last} == last
    emerged = emergence_of(cell)
    assert emerged and {name: run["summary"].get(name) for name in emerged} == emerged
    assert (run["display_name"], run["notes"]) == (identity.name, identity.notes)
    assert sorted(run["tags"]) == sorted(identity.tags) and run["state"] == "finished"
    config = {key: part["value"] for key, part in run["config"].items() if key != "_wandb"}
    assert config == {k: v for k, v in identity.config.items() if v != {}}  # the client drops these


def test_online(server: OpenWandb, online: Sent) -> None:
    identity = identity_of(online.cell)
    assert f"W&B: {server.url}/{ENTITY}/{PROJECT}/runs/{identity.id}" in online.said
    assert_equal_to_records(server, online.cell)
    run = server.runs(PROJECT)[identity.id]
    drawn = [name for name in server.files(identity.id) if "pictures/heads" in name]
    assert len(drawn) == 2
    for name in drawn:
        assert server.file(PROJECT, identity.id, name).startswith(b"\x89PNG")
    assert (run["program"], run["host"]) == ("circuitwatch", "")


def test_killed_and_gone_on_with(server: OpenWandb, killed: Sent) -> None:
    assert_equal_to_records(server, killed.cell)


def test_offline_then_synced(server: OpenWandb, offline: Sent) -> None:
    assert_equal_to_records(server, offline.cell)


def test_killed_when_rows_were_there(server: OpenWandb, sender: Sender) -> None:
    cell, until = "nano-400k/greater_than", time.monotonic() + 90
    with sender.replaying(cell, pause=2) as process:
        assert process.stdout.readline()
        assert process.stdout.readline()
        assert process.stdout.readline()
        id = identity_of(Cell.open(sender.target(cell))).id
        while "tokens" not in server.numbers(id):
            assert time.monotonic() < until and process.poll() is None
            time.sleep(0.5)
    sent = sender.gone_on(cell)
    there = Counter(place for place, _ in server.numbers(id)["tokens"])
    if doubled := [place for place, n in there.items() if n > 1]:
        assert_equal_to_records(server, sent.cell, rows=2)
        pytest.skip(
            f"this server puts every row that is sent behind those it has, whatever place the "
            f"client names, and can't say which it has: {len(doubled)} rows are there twice, equal"
        )
    assert_equal_to_records(server, sent.cell)


def test_records_are_an_artifact(server: OpenWandb, online: Sent) -> None:
    (found,) = [a for a in server.artifacts(identity_of(online.cell).id) if "records" in a["name"]]
    if not found["size"]:
        assert "the server did not take the records' artifact in time" in online.said
        pytest.skip(
            "this server says of an artifact that it is there before it has any of its files, so "
            "that the client sends none"
        )
    assert "did not take" not in online.said


def test_track_twice(server: OpenWandb, sender: Sender, online: Sent) -> None:
    track = ("track", "sweep=made", "project=tracked")
    if why := sender.unreadable():
        assert_said_in_one_line(sender.command(*track))
        assert server.runs("tracked") == {}
        pytest.skip(f"{why}: `track` can't know what is there, and sends nothing")
    for expected in ("made", "whole already"):
        done = sender.command(*track)
        assert done.returncode == 0 and done.stdout.count(f": {expected}, 27 rows") == 4, done
    assert len(server.runs("tracked")) == 4


def test_summary_of_the_runs(sender: Sender, online: Sent, killed: Sent, offline: Sent) -> None:
    there = ("summarize", f"from=wandb:{ENTITY}/{PROJECT}/demo", "to=there")
    if why := sender.unreadable():
        assert_said_in_one_line(sender.command(*there))
        pytest.skip(why)
    tables = []
    for arguments in (there, ("summarize", "from=multirun/demo", "to=here")):
        done = sender.command(*arguments)
        assert done.returncode == 0, done.stderr
        table = pd.read_csv(sender.home / arguments[-1].removeprefix("to=") / "emergence.csv")
        tables.append(table.set_index(["model", "task", "quantity"]).sort_index())
    for column in ("n", "first_tokens", "last_tokens", "final"):
        pd.testing.assert_series_equal(tables[0][column], tables[1][column])


def assert_said_in_one_line(done: subprocess.CompletedProcess[str]) -> None:
    assert done.returncode != 0 and "Traceback" not in done.stderr
    assert len([line for line in done.stderr.splitlines() if "error" in line]) == 1, done.stderr


@pytest.mark.skipif(CHROMIUM is None, reason="there is no Chromium here to open the page with")
def test_its_page_shows_the_runs(
    server: OpenWandb, online: Sent, killed: Sent, offline: Sent, tmp_path: Path
) -> None:
    """The picture: multirun/e2e/openwandb.png."""
    playwright = pytest.importorskip("playwright.sync_api")
    asked: list[str] = []
    with playwright.sync_playwright() as driver:
        browser = driver.chromium.launch_persistent_context(
            tmp_path,
            executable_path=CHROMIUM,
            args=ARGUMENTS,
            viewport={"width": 1400, "height": 900},
        )
        page = browser.new_page()
        page.on("request", lambda request: asked.append(request.url))
        page.goto(f"{server.url}/login")
        page.fill("#loginUsername", USER)
        page.fill("#loginPassword", server.password)
        page.click("#loginBtn")
        page.wait_for_url(f"{server.url}/")
        page.goto(f"{server.url}/projects/{ENTITY}/{PROJECT}")
        page.get_by_text(identity_of(online.cell).name).first.wait_for()
        text = page.inner_text("body")
        page.screenshot(path=E2E / "openwandb.png", full_page=True, animations="disabled")
        browser.close()
    for sent in (online, killed, offline):
        assert identity_of(sent.cell).name in text
    assert [url for url in asked if not url.startswith((server.url, "data:", "blob:"))] == []
