"""`circuitwatch workspace`, as it is called: JSON without account or network, both views on a
server, made once and replaced from then on, and every mistake in one line.
"""

from __future__ import annotations

import builtins
import getpass
import json
import os
import socket
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import wandb

from circuitwatch.cli import main
from circuitwatch.tracking.library import load_library
from support.wandb import WandbServer
from support.watched import drawn, grids_of, words_of, write_watched

LIBRARY = load_library()
KEY = "0123456789" * 4
PROJECT_ID = "4711"


@pytest.fixture(scope="module")
def multirun(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("cli") / "multirun"
    write_watched(folder / "mine", tasks=("ioi",))
    (folder / "empty").mkdir()
    return folder


@pytest.fixture(autouse=True)
def no_account(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, multirun: Path) -> None:
    monkeypatch.chdir(multirun.parent)
    for name in ("WANDB_API_KEY", "WANDB_MODE", "WANDB_BASE_URL"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("NETRC", str(tmp_path / "netrc"))
    wandb.teardown()  # what tests before said to it in this process


def dry(capsys: pytest.CaptureFixture[str], *arguments: str) -> dict[str, Any]:
    main(["workspace", "sweep=mine", "dry_run=true", *arguments])
    said: dict[str, Any] = json.loads(capsys.readouterr().out)
    return said


def refused(capsys: pytest.CaptureFixture[str], *arguments: str) -> str:
    """The one line of an error."""
    with pytest.raises(SystemExit) as stopped:
        main(["workspace", *arguments])
    out, error = capsys.readouterr()
    lines = [line for line in error.splitlines() if "circuitwatch: error:" in line]
    assert stopped.value.code == 2 and len(lines) == 1 and not out
    return lines[0].removeprefix("circuitwatch: error: ")


def test_a_dry_run_prints_what_the_library_reads(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def no_network(*arguments: Any) -> None:
        raise AssertionError("a dry run asked the network")

    monkeypatch.setattr(socket.socket, "connect", no_network)
    said = dry(capsys)
    assert said.keys() == {"workspace", "report"}
    view = LIBRARY.workspace_models.View.model_validate(said["workspace"])
    dumped = view.model_dump(by_alias=True, exclude_none=True, mode="json")
    assert dumped == said["workspace"]
    report = LIBRARY.report_models.ReportViewspec.model_validate(said["report"])
    assert report.display_name == view.display_name == "circuitwatch: mine"
    assert (said["workspace"]["project"], said["workspace"]["entity"]) == ("circuitwatch", "")
    assert "emerged in 1 of 2 models: nano-400k" in words_of(said["report"])
    assert dry(capsys) == said  # nothing is by chance


def test_project_and_entity_are_those_that_are_given(capsys: pytest.CaptureFixture[str]) -> None:
    said = dry(capsys, "project=mine", "entity=us")
    assert (said["workspace"]["project"], said["workspace"]["entity"]) == ("mine", "us")
    assert said["report"]["project"] == {"name": "mine", "entityName": "us"}


def test_else_those_that_the_cells_were_logged_to(
    capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    folder = write_watched(tmp_path / "mine", models=("nano-100k",), tasks=("ioi",))
    (path,) = folder.rglob("cell.json")
    header = json.loads(path.read_text())
    header["config"]["tracking"] = {"mode": "online", "project": "theirs", "entity": "team"}
    path.write_text(json.dumps(header))
    said = dry(capsys, f"out={tmp_path}")
    assert (said["workspace"]["project"], said["workspace"]["entity"]) == ("theirs", "team")


def test_nothing_of_the_machine_is_in_it(
    capsys: pytest.CaptureFixture[str], multirun: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("WANDB_API_KEY", KEY)
    text = json.dumps(dry(capsys), ensure_ascii=False)
    machine = {str(multirun.parent), str(Path.home()), socket.gethostname(), KEY, sys.prefix}
    for words in machine | {str(Path.cwd()), "/home/", "/root", "/tmp", getpass.getuser() + "@"}:
        assert words not in text, words


def test_figures_are_those_that_were_drawn(
    capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    folder = write_watched(tmp_path / "mine", models=("nano-100k",), tasks=("ioi",))
    assert "mediaKeys" not in json.dumps(dry(capsys, f"out={tmp_path}"))
    (folder / "summary").mkdir()
    (folder / "summary" / "roles.png").write_bytes(b"")
    assert '"mediaKeys": ["figures/roles"]' in json.dumps(dry(capsys, f"out={tmp_path}"))


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ("", "workspace: give sweep=<name>"),
        ("sweep=mine lines=3", "workspace sweep=mine lines=3: give sweep=<name>"),
        ("sweep=none", "multirun/none: no such sweep; there are empty, mine"),
        ("sweep=empty", "multirun/empty: no cell there; run circuitwatch sweep=empty first"),
        ("sweep=mine dry_run=perhaps", "dry_run=perhaps: give true or false"),
        ("sweep=mine project=", "project=: give a name, or leave it out"),
    ],
)
def test_mistakes(arguments: str, message: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert refused(capsys, *arguments.split()).startswith(message)


def test_cells_logged_to_several_projects(
    capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    folder = write_watched(tmp_path / "mine", tasks=("ioi",))
    for project, path in zip(("a", "b"), sorted(folder.rglob("cell.json")), strict=True):
        header = json.loads(path.read_text())
        header["config"]["tracking"] = {"project": project}
        path.write_text(json.dumps(header))
    said = refused(capsys, "sweep=mine", f"out={tmp_path}")
    assert said == "project: the cells were logged to a, b; give project="
    dry(capsys, f"out={tmp_path}", "project=a")


def test_no_account(capsys: pytest.CaptureFixture[str]) -> None:
    assert refused(capsys, "sweep=mine").startswith("wandb: no W&B account on this machine")


def test_without_the_library(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    imported = builtins.__import__

    def without(name: str, *arguments: Any, **more: Any) -> Any:
        if name.startswith("wandb_workspaces"):
            raise ImportError("No module named 'wandb_workspaces'")
        return imported(name, *arguments, **more)

    monkeypatch.setattr(builtins, "__import__", without)
    said = refused(capsys, "sweep=mine", "dry_run=true")
    assert "wandb-workspaces can't be imported" in said and "pip install" in said


class Server:
    """What W&B's server answers of views, where the client would ask it."""

    def __init__(self) -> None:
        self.views: list[dict[str, Any]] = []
        self.project = True
        self.failure: Exception | None = None

    def __call__(self, api: Any, document: str, variables: dict[str, Any]) -> dict[str, Any]:
        if self.failure is not None:
            raise self.failure
        if "upsertView" not in document:
            asked = variables["viewType"], variables["viewName"]
            nodes = [{"node": view} for view in self.views if (view["type"], view["name"]) == asked]
            views = {"internalId": PROJECT_ID, "allViews": {"edges": nodes}}
            return {"project": views if self.project else None}
        known = [view for view in self.views if view["id"] == variables.get("id")]
        view = known[0] if known else {"id": f"Vmlldzo{len(self.views)}=="}
        assert known or "id" not in variables, "no view of this id"
        view |= {k: v for k, v in variables.items() if k != "id"}
        self.views += [] if known else [view]
        return {"upsertView": {"view": view, "inserted": not known}}


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Server:
    from wandb_workspaces import _graphql

    from circuitwatch.tracking import account

    class Api:
        default_entity = "us"

    found = Server()
    monkeypatch.setattr(account, "connect", Api)
    monkeypatch.setattr(_graphql, "execute_graphql", found)
    monkeypatch.setattr(_graphql, "get_app_url", lambda api: "https://app.example.org")
    return found


def test_both_are_made_once_and_replaced(
    server: Server, capsys: pytest.CaptureFixture[str]
) -> None:
    main(["workspace", "sweep=mine"])
    first = capsys.readouterr().out
    lines = first.splitlines()
    assert lines[0].startswith("workspace: https://app.example.org/us/circuitwatch?nw=")
    reports = "https://app.example.org/us/circuitwatch/reports"
    assert lines[1:] == [f"report: {reports}/circuitwatch-mine--Vmlldzo1"]
    assert [view["type"] for view in server.views] == ["project-view", "runs"]
    assert {view["displayName"] for view in server.views} == {"circuitwatch: mine"}
    before = [view["spec"] for view in server.views]
    server.views[1]["spec"] = "{}"  # somebody's edit
    main(["workspace", "sweep=mine"])
    assert capsys.readouterr().out == first
    assert [view["spec"] for view in server.views] == before


def test_one_that_was_deleted_is_made_anew(
    server: Server, capsys: pytest.CaptureFixture[str]
) -> None:
    main(["workspace", "sweep=mine"])
    server.views.clear()
    main(["workspace", "sweep=mine"])
    assert len(server.views) == 2
    assert len(capsys.readouterr().out.splitlines()) == 4


def test_grids_are_tied_to_the_project(server: Server) -> None:
    main(["workspace", "sweep=mine"])
    spec = json.loads(server.views[1]["spec"])
    grids = [block for block in spec["blocks"] if block["type"] == "panel-grid"]
    projects = [runs["project"] for grid in grids for runs in grid["metadata"]["runSets"]]
    assert projects and all(
        one == {"entityName": "us", "name": "circuitwatch", "id": PROJECT_ID} for one in projects
    )
    assert "?nw=" in server.views[1]["spec"]  # the link to the workspace


def test_no_such_project(server: Server, capsys: pytest.CaptureFixture[str]) -> None:
    server.project = False
    said = refused(capsys, "sweep=mine", "project=gone")
    assert said.startswith("wandb: no project us/gone that this account can read; log the sweep")


def test_a_refusal_is_one_line_without_the_key(
    server: Server, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("WANDB_API_KEY", KEY)
    server.failure = RuntimeError(f"403 for {KEY}\nand much more")
    assert refused(capsys, "sweep=mine") == "wandb: the server refuses (403 for …)"


def test_on_a_server(multirun: Path) -> None:
    """What is shown is there: the runs over HTTP, through W&B's own client, have every key that a
    panel draws, and the ids that have colours.
    """
    with WandbServer(key=KEY) as server:
        environment = os.environ | {"WANDB_BASE_URL": server.url, "WANDB_API_KEY": KEY}

        def called(name: str) -> subprocess.CompletedProcess[str]:
            return subprocess.run(
                [sys.executable, "-m", "circuitwatch", name, "sweep=mine"],
                env=environment,
                cwd=multirun.parent,
                capture_output=True,
                text=True,
            )

        missing = called("workspace")
        assert missing.returncode == 2 and "wandb: no project" in missing.stderr
        tracked, first, again = called("track"), called("workspace"), called("workspace")
        assert (tracked.returncode, first.returncode, again.returncode) == (0, 0, 0), (
            tracked.stderr + first.stderr + again.stderr
        )
        assert first.stdout == again.stdout and first.stdout.count(server.url) == 2
        assert [view["type"] for view in server.views] == ["project-view", "runs"]
        view, report = (json.loads(view["spec"]) for view in server.views)
        LIBRARY.workspace_models.WorkspaceViewspec.model_validate(view)
        LIBRARY.report_models.Spec.model_validate(report)
        runs = server.runs("circuitwatch")
    assert {run.id for run in runs} == set(view["section"]["customRunColors"])
    assert {(run.group, run.job_type) for run in runs} == {("mine", "watch")}
    logged = {key for run in runs for row in run.rows for key in row}
    concluded = {key for run in runs for key in run.summary}
    panels = [p for s in view["section"]["panelBankConfig"]["sections"] for p in s["panels"]]
    for grid in grids_of({"spec": report}):
        panels += grid["panelBankSectionConfig"]["panels"]
    shown = set(drawn(panels))
    axes = [panel["config"]["yAxis"] for panel in panels if "yAxis" in panel["config"]]
    asked = {axis.removeprefix("summary:") for axis in axes}
    assert len(shown) > 30 and shown - logged == set()
    assert len(asked) > 10 and asked - concluded == set()
