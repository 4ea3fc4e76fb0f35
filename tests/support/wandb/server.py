"""A stand-in W&B server: what the real client, `wandb sync` and `wandb.Api` ask over HTTP, answered
out of memory.
"""

from __future__ import annotations

import base64
import gzip
import hashlib
import json
import threading
import traceback
from http.server import BaseHTTPRequestHandler
from types import TracebackType
from typing import Any, Literal
from urllib.parse import unquote, urlsplit

from support.wandb import artifacts, history, views
from support.wandb.artifacts import ServerArtifact
from support.wandb.graphql import Refusal, Unknown, answer, problem
from support.wandb.language import SyntaxProblem, parse
from support.wandb.loopback import LoopbackServer, body
from support.wandb.store import ServerRun, Store, now
from support.wandb.world import World

ENTITY = "tester"


class WandbServer:
    """A server that runs while its context lasts. With a `key` only that API key is let in.
    `forget_deleted` lets the id of a deleted run be used again, which the real server does not.

    `again` is what becomes of the rows of a run that is initialised once more without `resume`:
    they go when the new ones come (`overwrite`, what W&B's documentation says), they are replaced
    line by line, so that those beyond the new end stay (`keep`, what users have reported), or the
    new ones come after them (`append`, what the client does if the server tells it of the old).
    """

    def __init__(
        self,
        key: str | None = None,
        *,
        forget_deleted: bool = False,
        again: Literal["overwrite", "keep", "append"] = "overwrite",
    ) -> None:
        self.key = key
        self.entity = ENTITY
        self.requests: list[str] = []
        self.unknown: list[str] = []
        self.lock = threading.RLock()
        self.store = Store(ENTITY, forget_deleted, again)
        self._asked: list[tuple[str, dict[str, Any]]] = []
        self._http: LoopbackServer | None = None

    def __enter__(self) -> WandbServer:
        self._http = LoopbackServer(type("Handler", (_Handler,), {"wandb": self}))
        self._http.errors = self.unknown
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def close(self) -> None:
        """End the server; what it remembers can still be asked for."""
        if self._http is not None:
            self._http.close()

    @property
    def url(self) -> str:
        assert self._http is not None, "the server is not entered"
        return self._http.url

    def run(self, project: str, run_id: str) -> ServerRun:
        """A run as it is now, also a deleted one. KeyError if there never was one."""
        with self.lock:
            return self.store.run(project, run_id).shown()

    def runs(self, project: str, group: str | None = None) -> list[ServerRun]:
        """The runs of a project that are not deleted, in the order in which they were made."""
        with self.lock:
            found = self.store.project(project)
            every = [] if found is None else [*found.runs.values()]
            return [run.shown() for run in every if not run.deleted and group in (None, run.group)]

    @property
    def views(self) -> list[dict[str, Any]]:
        """The saved workspaces and reports; `spec` is the text as it was given."""
        with self.lock:
            return [dict(view) for view in views.every(self.store)]

    def artifacts(self, project: str) -> list[ServerArtifact]:
        """The committed artifacts of a project."""
        with self.lock:
            found = self.store.project(project)
            sequences = [] if found is None else found.sequences.values()
            return [
                artifacts.shown(one, self.store) for each in sequences for one in each.committed()
            ]

    def asked(self, operation: str) -> list[dict[str, Any]]:
        """The variables of each time that an operation was asked for, or the bodies of each time
        that a run's lines were streamed (`file_stream`).
        """
        with self.lock:
            return [given for name, given in self._asked if name == operation]

    def _note(self, what: str, given: dict[str, Any]) -> None:
        self.requests.append(what)
        self._asked.append(("file_stream" if what.endswith("/file_stream") else what, given))


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True
    wbufsize = -1
    wandb: WandbServer

    def do_POST(self) -> None:
        content = self._body()
        path = urlsplit(self.path).path
        if not self._let_in():
            return
        if path == "/graphql":
            self._graphql(json.loads(content))
        elif path.startswith("/files/") and path.endswith("/file_stream"):
            self._stream(path, json.loads(content))
        else:
            self._nothing()

    def do_PUT(self) -> None:
        content = self._body()
        match [unquote(part) for part in urlsplit(self.path).path.split("/")[1:]]:
            case ["files", entity, project, run_id, *name]:
                with self.wandb.lock:
                    self.wandb.requests.append(f"PUT {self.path}")
                    run = self.wandb.store.live_run(project, run_id, entity)
                    if run is not None:
                        run.files["/".join(name)] = content
                        run.uploaded["/".join(name)] = now()
                self._send(200 if run else 404, b"")
            case ["storage", "blobs", digest]:
                right = hashlib.md5(content).hexdigest() == digest
                with self.wandb.lock:
                    self.wandb.requests.append(f"PUT {self.path}")
                    if right:
                        self.wandb.store.blobs[digest] = content
                self._send(200 if right else 400, b"")
            case ["storage", "manifests", artifact_id]:
                with self.wandb.lock:
                    self.wandb.requests.append(f"PUT {self.path}")
                    artifact = self.wandb.store.artifact(artifact_id)
                    if artifact is not None:
                        artifact.manifest = content
                self._send(200 if artifact else 404, b"")
            case _:
                self._nothing()

    def do_GET(self) -> None:
        self._body()
        found: bytes | None = None
        with self.wandb.lock:
            store = self.wandb.store
            self.wandb.requests.append(f"GET {self.path}")
            match [unquote(part) for part in urlsplit(self.path).path.split("/")[1:]]:
                case ["files", entity, project, run_id, *name]:
                    run = store.live_run(project, run_id, entity)
                    found = run.files.get("/".join(name)) if run else None
                case ["storage", "blobs", digest]:
                    found = store.blobs.get(digest)
                case ["storage", "manifests", artifact_id]:
                    artifact = store.artifact(artifact_id)
                    found = artifact.manifest if artifact else None
                case [""]:
                    found = b"a page"
                case _:
                    self._nothing()
                    return
        self._send(404 if found is None else 200, found or b"", "application/octet-stream")

    do_HEAD = do_GET

    def _graphql(self, request: dict[str, Any]) -> None:
        variables = request.get("variables") or {}
        operation = "?"
        result: dict[str, Any]
        with self.wandb.lock:
            try:
                document = parse(request["query"])
                operation = document.name or document.selections[0].name
                self.wandb._note(operation, variables)
                world = World(self.wandb.store, f"http://{self.headers['host']}")
                status, result = 200, {"data": answer(document, variables, world.roots())}
            except (Unknown, SyntaxProblem) as odd:
                self.wandb.unknown.append(f"{operation}: {odd}")
                status, result = 400, problem(str(odd))
            except Refusal as refusal:
                status, result = refusal.status, problem(refusal.message)
            except Exception as error:
                self.wandb.unknown.append(f"{operation}: {traceback.format_exc()}")
                status, result = 400, problem(repr(error))
        self._json(status, result)

    def _stream(self, path: str, request: dict[str, Any]) -> None:
        _, _, entity, project, run_id, _ = (unquote(part) for part in path.split("/"))
        with self.wandb.lock:
            self.wandb._note(path, request)
            run = self.wandb.store.live_run(project, run_id, entity)
            if run is None:
                status, result = 404, {"error": "run not found"}
            else:
                status, result = (
                    200,
                    history.take(run, request, anew=self.wandb.store.again == "overwrite"),
                )
        self._json(status, result)

    def _body(self) -> bytes:
        content = body(self)
        if self.headers.get("content-encoding") == "gzip":
            return gzip.decompress(content)
        return content

    def _let_in(self) -> bool:
        """Whether the API key is right; if it is not, that is what was answered."""
        if self.wandb.key is None:
            return True
        sent = self.headers.get("authorization", "").removeprefix("Basic ")
        if base64.b64decode(sent) == f"api:{self.wandb.key}".encode():
            return True
        self._json(401, problem("user is not logged in"))
        return False

    def _nothing(self) -> None:
        """The answer to a request for what the stand-in does not have."""
        with self.wandb.lock:
            self.wandb.unknown.append(f"{self.command} {self.path}")
        self._send(404, b"")

    def _json(self, status: int, result: dict[str, Any]) -> None:
        self._send(status, json.dumps(result).encode(), "application/json")

    def _send(self, status: int, content: bytes, kind: str = "text/plain") -> None:
        self.send_response(status)
        self.send_header("content-type", kind)
        self.send_header("content-length", str(len(content)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(content)

    def log_message(self, *_: object) -> None:
        pass
