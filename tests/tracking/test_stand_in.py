"""The stand-in W&B server, asked by the real client in processes of its own, and its proxy."""

from __future__ import annotations

import json
import math
import re
import socket
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest

from support.wandb import FaultProxy, WandbServer
from support.wandb.client import KEY, kill, run, started, sync


@pytest.fixture
def server() -> Iterator[WandbServer]:
    with WandbServer() as running:
        yield running
    assert running.unknown == []


@pytest.fixture(scope="module")
def logged(tmp_path_factory: pytest.TempPathFactory) -> Iterator[WandbServer]:
    """A server to which a run of all kinds of things was logged."""
    script = """
import numpy as np, wandb

config = {"lr": 1e-3, "model": {"layers": [1, 2], "name": "nano"}, "none": None}
run = wandb.init(
    project="p", id="r", name="a run", group="g", job_type="watch", tags=["x"], notes="of it",
    config=config,
)
for i in range(30):
    run.log({"loss": 1 / (i + 1), "a/b": i, "odd": float("nan") if i % 2 else i}, step=10 * i)
table = wandb.Table(columns=["n", "text"], data=[[1, "one"], [2, "two"]])
image = wandb.Image(np.arange(48, dtype=np.uint8).reshape(4, 4, 3))
run.log({"table": table, "image": image, "page": wandb.Html("<b>bold</b>")}, step=300)
run.config.update({"late": "yes"})
run.summary["best"] = 0.25
artifact = wandb.Artifact("found", type="results", metadata={"of": "r"})
for name in ("a.txt", "in/b.txt"):
    with artifact.new_file(name) as file:
        file.write(f"text of {name}")
run.log_artifact(artifact, aliases=["latest", "good"])
run.finish()
"""
    home = tmp_path_factory.mktemp("home")
    with WandbServer() as running:
        run(script, running.url, home)
        yield running
    assert running.unknown == []


def _steps(server: WandbServer, run_id: str) -> list[int]:
    return [row["_step"] for row in server.run("p", run_id).rows]


def _ask(url: str, query: str, key: str = KEY, **variables: Any) -> dict[str, Any]:
    """A GraphQL request by hand."""
    passwords = urllib.request.HTTPPasswordMgrWithPriorAuth()
    passwords.add_password(None, url, "api", key, is_authenticated=True)
    opener = urllib.request.build_opener(urllib.request.HTTPBasicAuthHandler(passwords))
    body = json.dumps({"query": query, "variables": variables}).encode()
    with opener.open(urllib.request.Request(f"{url}/graphql", body), timeout=20) as answer:
        return dict(json.load(answer)["data"])


VIEWER = "query Viewer { viewer { entity } }"


def test_what_an_online_run_logs_arrives_value_for_value(logged: WandbServer) -> None:
    got = logged.run("p", "r")
    assert (got.id, got.display_name, got.group, got.job_type) == ("r", "a run", "g", "watch")
    assert (got.tags, got.notes, got.state, got.deleted) == (["x"], "of it", "finished", False)
    model = {"layers": [1, 2], "name": "nano"}
    assert got.config == {"lr": 1e-3, "model": model, "none": None, "late": "yes"}
    assert got.summary["best"] == 0.25
    assert got.summary["loss"] == 1 / 30
    *rows, media = got.rows
    for i, row in enumerate(rows):
        assert (row["_step"], row["loss"], row["a/b"]) == (10 * i, 1 / (i + 1), i)
        assert math.isnan(row["odd"]) if i % 2 else row["odd"] == i
    assert len(rows) == 30
    assert media["_step"] == 300
    kinds = {"table": "table-file", "image": "image-file", "page": "html-file"}
    assert {name: media[name]["_type"] for name in kinds} == kinds
    table = json.loads(got.files[media["table"]["path"]])
    assert (table["columns"], table["data"]) == (["n", "text"], [[1, "one"], [2, "two"]])
    assert got.files[media["image"]["path"]].startswith(b"\x89PNG")
    assert b"<b>bold</b>" in got.files[media["page"]["path"]]
    assert {"wandb-metadata.json", "wandb-summary.json", "config.yaml"} <= got.files.keys()


def test_artifacts_arrive_with_files_and_aliases(logged: WandbServer) -> None:
    found = {one.name: one for one in logged.artifacts("p")}
    assert found.keys() == {"found", "run-r-table"}
    one = found["found"]
    assert (one.type, one.version, one.metadata) == ("results", "v0", {"of": "r"})
    assert one.files == {"a.txt": b"text of a.txt", "in/b.txt": b"text of in/b.txt"}
    assert sorted(one.aliases) == ["good", "latest"]
    assert found["run-r-table"].type == "run_table"


def test_the_public_api_reads_what_was_logged(logged: WandbServer, tmp_path: Path) -> None:
    script = """
import json, wandb
from pathlib import Path

api = wandb.Api()
(run,) = api.runs("p", filters={"group": "g"})
assert not list(api.runs("p", filters={"group": "other"}))
full = api.run("tester/p/r")
file = full.file("config.yaml").download("there")
used = api.artifact("tester/p/found:good")
folder = Path(used.download("artifact"))
print(json.dumps({
    "viewer": api.viewer.entity,
    "projects": [project.name for project in api.projects()],
    "config": run.config,
    "best": run.summary["best"],
    "name": run.name,
    "state": run.state,
    "group": full.group,
    "scanned": [row["a/b"] for row in run.scan_history(keys=["a/b"], page_size=7)],
    "all": len(list(run.scan_history())),
    "sampled": [row["loss"] for row in run.history(keys=["loss"], samples=3, pandas=False)],
    "last": full.lastHistoryStep,
    "files": [file.name for file in full.files()],
    "yaml": "late:" in file.read(),
    "os": "os" in full.metadata,
    "artifacts": [artifact.name for artifact in full.logged_artifacts()],
    "versions": [one.version for one in api.artifacts("results", "p/found")],
    "texts": {name: (folder / name).read_text() for name in ("a.txt", "in/b.txt")},
    "by": used.logged_by().id,
}))
file.close()
"""
    said = json.loads(run(script, logged.url, tmp_path).splitlines()[-1])
    got = logged.run("p", "r")
    assert said.pop("files") == sorted(got.files)
    assert said.pop("config") == got.config
    assert said.pop("artifacts") == ["run-r-table:v0", "found:v0"]
    assert said == {
        "viewer": "tester",
        "projects": ["p"],
        "best": 0.25,
        "name": "a run",
        "state": "finished",
        "group": "g",
        "scanned": list(range(30)),
        "all": 31,
        "sampled": [1, 1 / 15, 1 / 30],
        "last": 300,
        "yaml": True,
        "os": True,
        "versions": ["v0"],
        "texts": {"a.txt": "text of a.txt", "in/b.txt": "text of in/b.txt"},
        "by": "r",
    }


def test_artifacts_have_versions_that_are_used_named_and_deleted(
    server: WandbServer, tmp_path: Path
) -> None:
    script = """
import wandb

run = wandb.init(project="p", id="r")
for n, text in enumerate(["one", "two", "one", "three"]):
    artifact = wandb.Artifact("found", type="results")
    artifact.add(wandb.Table(columns=["text"], data=[[text]]), "table")
    logged = run.log_artifact(artifact, aliases=[f"at{n}"])
    print(logged.wait().version)
used = run.use_artifact("found:at2")
print(used.version, used.get("table").data)
run.alert("title", "text")
run.log({"loss": 1})
run.finish(exit_code=1)
api = wandb.Api()
api.artifact("p/found:v1").delete(delete_aliases=True)
v2 = api.artifact("p/found:v2")
v2.aliases.append("extra")
v2.metadata["told"] = 1
v2.save()
print([one.name for one in api.run("p/r").used_artifacts()], api.artifact_exists("p/found:v1"))
print([line.content for line in api.run("p/r").console_logs()][0])
"""
    lines = run(script, server.url, tmp_path).splitlines()
    assert [line for line in lines if line in ("v0", "v1", "v2")][:4] == ["v0", "v1", "v0", "v2"]
    assert "v0 [['one']]" in lines
    assert lines[-2:] == ["['found:v0'] False", "v0"]
    first, last = server.artifacts("p")
    assert (first.version, last.version) == ("v0", "v2")
    assert sorted(first.aliases) == ["at0", "at2"]
    assert sorted(last.aliases) == ["at3", "extra", "latest"]
    assert last.metadata == {"told": 1}
    got = server.run("p", "r")
    assert (got.state, got.output[0]) == ("failed", "v0")
    assert [alert["title"] for alert in got.alerts] == ["title"]


def test_an_offline_run_is_synced(server: WandbServer, tmp_path: Path) -> None:
    script = """
import wandb

run = wandb.init(project="p", id="off", group="g", mode="offline", config={"lr": 0.5})
for i in range(5):
    run.log({"loss": i}, step=3 * i)
run.log({"page": wandb.Html("there")}, step=15)
artifact = wandb.Artifact("found", type="results")
with artifact.new_file("a.txt") as file:
    file.write("text")
run.log_artifact(artifact)
run.finish()
"""
    run(script, server.url, tmp_path)
    assert server.requests == []
    sync(list(tmp_path.glob("wandb/offline-run-*")), server.url, tmp_path)
    got = server.run("p", "off")
    assert (got.group, got.config, got.state) == ("g", {"lr": 0.5}, "finished")
    assert [row.get("loss") for row in got.rows] == [0, 1, 2, 3, 4, None]
    assert _steps(server, "off") == [0, 3, 6, 9, 12, 15]
    assert b"there" in got.files[got.rows[-1]["page"]["path"]]
    assert [one.files for one in server.artifacts("p")] == [{"a.txt": b"text"}]


def test_a_resumed_run_goes_on_and_one_made_anew_overwrites(
    server: WandbServer, tmp_path: Path
) -> None:
    def leg(first: int, end: int, resume: str) -> str:
        head = f"import wandb\nfirst, end, resume = {first}, {end}, {resume or None!r}\n"
        return run(head + body, server.url, tmp_path)

    body = """
run = wandb.init(project="p", id="r", resume=resume, tags=["x"], config={f"from{first}": end})
print("starts at", run.starting_step, run.resumed, sorted(run.config.keys()))
for i in range(first, end):
    run.log({"loss": i}, step=10 * i)
run.finish()
"""
    assert "starts at 0 False ['from0']" in leg(0, 4, "allow")
    said = leg(2, 7, "allow")  # the steps 20 and 30 are there already
    assert "starts at 31 True ['from0', 'from2']" in said
    assert "less than the current step" in said
    got = server.run("p", "r")
    assert [(row["_step"], row["loss"]) for row in got.rows] == [(10 * i, i) for i in range(7)]
    assert got.config == {"from0": 4, "from2": 7}
    assert "starts at 0 False ['from1']" in leg(1, 3, "")
    got = server.run("p", "r")
    assert [row["_step"] for row in got.rows] == [10, 20]
    assert got.config == {"from1": 3}
    assert got.summary["loss"] == 2


def test_a_killed_run_is_resumed_with_each_row_once(server: WandbServer, tmp_path: Path) -> None:
    script = """
import time, wandb

settings = wandb.Settings(x_file_stream_transmit_interval=1)
run = wandb.init(project="p", id="r", resume="allow", settings=settings)
print("starts at", run.starting_step, flush=True)
for i in range(40):
    if 5 * i >= run.starting_step:
        run.log({"loss": i}, step=5 * i)
    time.sleep(PAUSE)
run.finish()
"""

    def rows() -> int:
        try:
            return len(server.run("p", "r").rows)
        except KeyError:
            return 0

    with started(script.replace("PAUSE", "0.2"), server.url, tmp_path) as process:
        _until(lambda: rows() >= 3)
        kill(process)
    there = rows()
    assert 3 <= there < 40
    assert server.run("p", "r").state == "running"
    said = run(script.replace("PAUSE", "0"), server.url, tmp_path)
    (start,) = re.findall(r"starts at (\d+)", said)
    assert int(start) >= 5 * (there - 1) + 1
    got = server.run("p", "r")
    assert [(row["_step"], row["loss"]) for row in got.rows] == [(5 * i, i) for i in range(40)]
    assert got.state == "finished"


def _until(holds: Callable[[], bool], seconds: float = 20) -> None:
    end = time.monotonic() + seconds
    while not holds():
        assert time.monotonic() < end, "waited too long"
        time.sleep(0.02)


def _made(server: WandbServer, run_id: str, **fields: Any) -> str:
    """A run made by hand; its storage id."""
    query = """
        mutation UpsertBucket($input: UpsertBucketInput!) {
            upsertBucket(input: $input) { bucket { id } inserted }
        }
    """
    given = {"modelName": "p", "name": run_id} | fields
    return str(_ask(server.url, query, input=given)["upsertBucket"]["bucket"]["id"])


def test_runs_are_found_updated_and_deleted(server: WandbServer, tmp_path: Path) -> None:
    for i in range(7):
        config = json.dumps({"size": {"value": i}, "model": {"value": {"name": f"m{i}"}}})
        _made(server, f"r{i}", groupName="even" if i % 2 == 0 else "odd", config=config)
    script = """
import wandb

api = wandb.Api()
def ids(order="+created_at", **filters):
    return " ".join(run.id for run in api.runs("p", filters=filters, order=order, per_page=2))

print(ids())
print(ids(group="even"))
print(ids(order="-created_at", group={"$in": ["odd"]}))
print(ids(order="-config.size.value", **{"$or": [{"config.size": {"$gte": 5}}, {"group": "odd"}]}))
print(ids(**{"config.model.name": {"$regex": "m[12]"}, "state": {"$ne": "finished"}}))
print(len(api.runs("p", {"group": "odd"})))
run = api.run("p/r1")
run.config["size"], run.summary["k"], run.notes, run.name = 11, 3, "noted", "named"
run.tags.append("new")
run.update()
run.delete()
api.flush()
for path in ("p/r1", "p/never"):
    try:
        api.run(path)
    except wandb.CommError as error:
        print(error)
print(len(api.runs("p")))
wandb.init(project="p", id="r1", settings=wandb.Settings(init_timeout=4))
"""
    said = run(script, server.url, tmp_path, fails=True)
    assert said.splitlines()[:6] == [
        "r0 r1 r2 r3 r4 r5 r6",
        "r0 r2 r4 r6",
        "r5 r3 r1",
        "r6 r5 r3 r1",
        "r1 r2",
        "3",
    ]
    assert "Could not find run <Run tester/p/r1" in said
    assert "Could not find run <Run tester/p/never" in said
    assert "run r1 was previously created and deleted; try a new run name" in said
    got = server.run("p", "r1")
    assert got.deleted
    assert (got.config, got.summary) == ({"size": 11, "model": {"name": "m1"}}, {"k": 3})
    assert (got.tags, got.notes, got.display_name) == (["new"], "noted", "named")
    assert [one.id for one in server.runs("p", group="odd")] == ["r3", "r5"]
    with pytest.raises(KeyError):
        server.run("p", "never")


def test_a_deleted_id_is_free_again_if_the_server_forgets() -> None:
    with WandbServer(forget_deleted=True) as server:
        delete = "mutation D($id: ID!) { deleteRun(input: {id: $id}) { clientMutationId } }"
        _ask(server.url, delete, id=_made(server, "r", groupName="g"))
        _made(server, "r")
        assert (server.run("p", "r").deleted, server.run("p", "r").group) == (False, None)


def test_a_wrong_key_is_told(tmp_path: Path) -> None:
    with WandbServer(key="y" * 40) as server:
        script = "import wandb; wandb.init(project='p')"
        assert "user is not logged in" in run(script, server.url, tmp_path, fails=True)
        with pytest.raises(urllib.error.HTTPError) as refused:
            _ask(server.url, VIEWER)
        with refused.value:
            assert refused.value.code == 401
        assert _ask(server.url, VIEWER, key="y" * 40) == {"viewer": {"entity": "tester"}}
        assert server.requests == ["Viewer"]


def test_what_is_not_known_is_refused_and_remembered() -> None:
    with WandbServer() as server:
        for query in ("query Odd { viewer { shoeSize } }", "query { nothing }", "query {"):
            with pytest.raises(urllib.error.HTTPError) as refused:
                _ask(server.url, query)
            with refused.value:
                assert json.load(refused.value)["errors"]
        with pytest.raises(urllib.error.HTTPError) as missing:
            urllib.request.urlopen(f"{server.url}/elsewhere", timeout=5)
        missing.value.close()
        assert [one.partition(":")[0] for one in server.unknown] == [
            "Odd",
            "nothing",
            "?",
            "GET /elsewhere",
        ]
        assert 'Cannot query field "shoeSize" on type "User".' in server.unknown[0]


@pytest.mark.skipif(find_spec("wandb_workspaces") is None, reason="wandb-workspaces is not here")
def test_workspaces_and_reports_are_saved(server: WandbServer, tmp_path: Path) -> None:
    _made(server, "r")
    script = """
import wandb_workspaces.reports.v2 as reports, wandb_workspaces.workspaces as workspaces

plot = reports.LinePlot(title="losses", y=["loss"])
section = workspaces.Section(name="curves", panels=[plot])
made = workspaces.Workspace(entity="tester", project="p", name="mine", sections=[section])
made.save()
again = workspaces.Workspace.from_url(made.url)
print(again.name, again.sections[0].name, again.sections[0].panels[0].title)
again.name = "renamed"
again.save()
report = reports.Report(entity="tester", project="p", title="told", blocks=[reports.H1("head")])
report.save()
print(reports.Report.from_url(report.url).title)
"""
    said = run(script, server.url, tmp_path)
    assert "mine curves losses" in said
    assert "told" in said.splitlines()[-1]
    workspace, report = server.views
    assert (workspace["type"], workspace["displayName"]) == ("project-view", "renamed")
    assert "losses" in json.dumps(json.loads(workspace["spec"]))
    assert (report["displayName"], report["project"]) == ("told", "p")
    assert "head" in report["spec"]


def test_each_mode_of_the_proxy_does_what_it_says(server: WandbServer) -> None:
    with FaultProxy(server.url) as proxy:
        right = {"viewer": {"entity": "tester"}}
        assert _ask(proxy.url, VIEWER) == right
        for mode in ("401", "500"):
            proxy.mode = mode
            with pytest.raises(urllib.error.HTTPError) as refused:
                _ask(proxy.url, VIEWER)
            with refused.value:
                assert refused.value.code == int(mode)
        asked = len(server.requests)
        proxy.mode = "refuse"
        with pytest.raises(ConnectionResetError):
            _ask(proxy.url, VIEWER)
        assert len(server.requests) == asked
        proxy.mode = "lost"
        with pytest.raises(ConnectionResetError):
            _ask(proxy.url, VIEWER)
        assert len(server.requests) == asked + 1
        proxy.mode, proxy.delay = "slow", 0.3
        begin = time.monotonic()
        assert _ask(proxy.url, VIEWER) == right
        assert time.monotonic() - begin >= 0.3
        proxy.mode = "hang"
        with socket.create_connection(("127.0.0.1", int(proxy.url.rsplit(":")[-1]))) as hung:
            hung.sendall(b"GET /files/a HTTP/1.1\r\nhost: there\r\n\r\n")
            hung.settimeout(0.3)
            with pytest.raises(TimeoutError):
                hung.recv(1)
            proxy.stop()
            assert hung.recv(1) == b""
        with pytest.raises(urllib.error.URLError, match="refused"):
            _ask(proxy.url, VIEWER)
        proxy.start()
        with ThreadPoolExecutor() as pool:
            hung_too = pool.submit(_ask, proxy.url, VIEWER)
            _until(lambda: len(proxy.met()) == 7)
            proxy.mode = "pass"
            assert not hung_too.done()
            proxy.release()
            assert isinstance(hung_too.exception(timeout=5), ConnectionResetError)
        assert _ask(proxy.url, VIEWER) == right
        assert proxy.met() == ["Viewer"] * 5 + ["/files/a", "Viewer"]


def test_a_fault_can_be_of_one_kind_begin_late_and_end(server: WandbServer) -> None:
    def fares(url: str, query: str = VIEWER) -> bool:
        try:
            _ask(url, query)
        except urllib.error.HTTPError as error:
            error.close()
            return False
        return True

    with FaultProxy(server.url) as proxy:
        proxy.mode, proxy.only, proxy.after, proxy.times = "500", "graphql", 2, 1
        assert [fares(proxy.url) for _ in range(4)] == [True, True, False, True]
        proxy.times, proxy.only = None, "files"
        assert fares(proxy.url)
        proxy.only = "Other"
        other = "query Other { viewer { id } }"
        assert [fares(proxy.url), fares(proxy.url, other)] == [True, False]


def test_the_client_rides_out_faults_of_the_stream(server: WandbServer, tmp_path: Path) -> None:
    script = """
import wandb

settings = wandb.Settings(x_file_stream_retry_wait_min_seconds=0.1)
run = wandb.init(project="p", id="r", settings=settings)
for i in range(20):
    run.log({"loss": i}, step=i)
run.finish()
"""
    with FaultProxy(server.url) as proxy:
        proxy.mode, proxy.only, proxy.times = "lost", "file_stream", 1
        run(script, proxy.url, tmp_path)
        assert len(proxy.met()) == 1
    assert proxy.errors == []
    assert _steps(server, "r") == list(range(20))
    assert server.run("p", "r").state == "finished"


def test_nothing_is_left_when_they_are_closed() -> None:
    before = set(threading.enumerate())
    with WandbServer() as server, FaultProxy(server.url) as proxy:
        proxy.mode, proxy.only = "hang", "files"
        ends = [
            socket.create_connection(("127.0.0.1", int(url.rsplit(":")[-1])))
            for url in (server.url, proxy.url, proxy.url)
        ]
        ends[2].sendall(b"GET /files/a HTTP/1.1\r\nhost: there\r\n\r\n")
        _until(lambda: proxy.met() == ["/files/a"])
        assert len(set(threading.enumerate()) - before) == 5
    assert set(threading.enumerate()) == before
    for end in ends:
        assert end.recv(1) == b""
        end.close()


def test_a_history_made_anew_can_stay_or_be_appended_to() -> None:
    query = "mutation M($i: I!) { upsertBucket(input: $i) { bucket { historyLineCount } } }"
    for again, losses in (("overwrite", [9]), ("keep", [9, 1]), ("append", [0, 1, 9])):
        with WandbServer(again=again) as server:
            for values in ([0, 1], [9]):
                told = _ask(server.url, query, i={"modelName": "p", "name": "r"})
                first = told["upsertBucket"]["bucket"]["historyLineCount"]
                lines = [json.dumps({"_step": i, "loss": loss}) for i, loss in enumerate(values)]
                chunk = {"wandb-history.jsonl": {"offset": first, "content": lines}}
                url = f"{server.url}/files/tester/p/r/file_stream"
                body = json.dumps({"files": chunk}).encode()
                urllib.request.urlopen(url, body, timeout=5).close()
            assert [row["loss"] for row in server.run("p", "r").rows] == losses
