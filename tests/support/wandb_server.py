"""A W&B server on loopback that answers what the public API really asks: who I am, the runs of a
project, their history. And a double of the API object.
"""

from __future__ import annotations

import base64
import gzip
import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any


@dataclass
class FakeRun:
    """A run as `wandb.apis.public.Run` shows it; an exception as history is raised when it is
    read.
    """

    name: str
    config: dict[str, Any]
    rows: list[dict[str, Any]] | Exception
    group: str = "demo"

    def scan_history(
        self,
        keys: list[str] | None = None,
        page_size: int = 1_000,
        min_step: int = 0,
        max_step: int | None = None,
        use_cache: bool = True,
    ) -> Iterator[dict[str, Any]]:
        if isinstance(self.rows, Exception):
            raise self.rows
        return iter([row for row in self.rows if keys is None or set(keys) <= row.keys()])


@dataclass
class FakeApi:
    """The API object: projects by `entity/project`; a project that is not there raises what the
    real one does when its runs are listed.
    """

    projects: dict[str, list[FakeRun]] = field(default_factory=dict)

    def runs(
        self,
        path: str | None = None,
        filters: dict[str, Any] | None = None,
        order: str = "+created_at",
        per_page: int = 50,
        include_sweeps: bool = False,
        lazy: bool = True,
    ) -> Iterator[FakeRun]:
        if path not in self.projects:
            raise ValueError(f"Could not find project {path}")
        wanted = (filters or {}).get("group")
        return iter([run for run in self.projects[path] if wanted in (None, run.group)])


@dataclass
class WandbServer:
    """A running server: its address, what it was asked, and the keys that came with it."""

    url: str
    asked: list[str] = field(default_factory=list)
    keys: set[str] = field(default_factory=set)


@contextmanager
def running_wandb(projects: dict[str, list[FakeRun]]) -> Iterator[WandbServer]:
    """Serve some projects while the context lasts."""

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["content-length"]))
            if self.headers.get("content-encoding") == "gzip":
                body = gzip.decompress(body)
            request = json.loads(body)
            login = base64.b64decode(
                self.headers.get("authorization", "").removeprefix("Basic ")
            ).decode()
            server.keys.add(login.partition(":")[2])
            answer = json.dumps(
                {
                    "data": _answer(
                        request["query"], request.get("variables") or {}, projects, server.asked
                    )
                }
            )
            self.send_response(200)
            self.send_header("content-type", "application/json")
            self.send_header("content-length", str(len(answer.encode())))
            self.end_headers()
            self.wfile.write(answer.encode())

        def log_message(self, *_: object) -> None:
            pass

    http = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server = WandbServer(f"http://127.0.0.1:{http.server_port}")
    thread = threading.Thread(target=http.serve_forever, daemon=True)
    thread.start()
    try:
        yield server
    finally:
        http.shutdown()
        http.server_close()
        thread.join()


def _answer(
    query: str, asked_for: dict[str, Any], projects: dict[str, list[FakeRun]], log: list[str]
) -> dict[str, Any]:
    runs = projects.get(f"{asked_for.get('entity')}/{asked_for.get('project')}")
    if "viewer" in query:
        log.append("viewer")
        return {
            "viewer": {
                "id": "u",
                "entity": "me",
                "username": "me",
                "email": "me@x",
                "flags": "{}",
                "teams": {"edges": []},
            }
        }
    if runs is None:
        return {"project": None}
    if "query Runs(" in query:
        log.append(f"runs {asked_for['filters']}")
        group = json.loads(asked_for["filters"]).get("group")
        edges = [
            {"node": _node(run), "cursor": run.name} for run in runs if group in (None, run.group)
        ]
        page = {"endCursor": None, "hasNextPage": False}
        return {
            "project": {
                "internalId": "1",
                "runCount": len(edges),
                "readOnly": False,
                "runs": {"edges": edges, "pageInfo": page},
            }
        }
    run = next(
        run
        for run in runs
        if run.name in (asked_for.get(key) for key in ("name", "runName", "run"))
    )
    assert not isinstance(run.rows, Exception)
    if "parquetHistory" in query:
        return {"project": {"run": {"parquetHistory": {"parquetUrls": [], "liveData": run.rows}}}}
    if "history(" in query:
        log.append(f"history {run.name}")
        first, end = asked_for["minStep"], asked_for["maxStep"]
        rows = [json.dumps(row) for row in run.rows if first <= row["_step"] < end]
        return {"project": {"run": {"history": rows[: asked_for["pageSize"]]}}}
    return {
        "project": {"run": {"historyKeys": {"lastStep": len(run.rows) - 1, "sets": [], "keys": {}}}}
    }


def _node(run: FakeRun) -> dict[str, Any]:
    config = json.dumps({key: {"value": value} for key, value in run.config.items()})
    texts = dict.fromkeys(("description", "notes", "sweepName", "commit"))
    when = dict.fromkeys(("createdAt", "heartbeatAt"), "2024-01-01T00:00:00Z")
    empty = {
        "systemMetrics": "{}",
        "summaryMetrics": "{}",
        "historyKeys": {"lastStep": 0, "sets": [], "keys": {}},
    }
    about = {
        "projectId": 1,
        "id": run.name,
        "tags": [],
        "name": run.name,
        "displayName": run.name,
        "state": "finished",
    }
    who = {
        "group": run.group,
        "jobType": "watch",
        "readOnly": False,
        "historyLineCount": 1,
        "user": {"name": "me", "username": "me"},
    }
    return about | who | texts | when | empty | {"config": config}
