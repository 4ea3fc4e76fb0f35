"""A model hub on loopback: the listing, resolve and ranged-download endpoints that the real client
asks, over folders on disk, with faults to order.
"""

from __future__ import annotations

import hashlib
import json
import socket
import threading
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlparse

PIECE = 1 << 18
LARGE = (".safetensors", ".bin")
"""Files that the hub keeps in LFS, and so lists with their SHA-256."""


@dataclass
class Faults:
    """What goes wrong, by revision. `busy`: how many downloads of weights answer 503 first.
    `truncated`: weights end early, every time.

    `cut`: how many times the connection breaks after half of the weights. `gone`: listed, but 404
    when asked for. `rate`: bytes a second. `changed`: the weights served are not those listed.
    `listed`: names of more files that the listing has, of a byte each. `rewritten`: the revision's
    commit is another one by now. `down_after`: with the last of this revision's weights the hub
    goes down. `limited`: how many requests, of whatever, answer 429 first (or `limit`), with the
    headers `says`.
    """

    busy: dict[str, int] = field(default_factory=dict)
    truncated: set[str] = field(default_factory=set)
    cut: dict[str, int] = field(default_factory=dict)
    gone: set[str] = field(default_factory=set)
    changed: set[str] = field(default_factory=set)
    rate: float | None = None
    rates: dict[str, float] = field(default_factory=dict)
    token: str | None = None
    listed: dict[str, list[str]] = field(default_factory=dict)
    rewritten: set[str] = field(default_factory=set)
    down: bool = False
    down_after: str | None = None
    limited: int = 0
    limit: int = 429
    says: dict[str, str] = field(default_factory=dict)


@dataclass
class Hub:
    """A running hub. Revisions of `org/name` are the folders below root/org/name. served: bytes of
    weights by revision; asked: requests by path.

    All that is counted here, and every fault that comes of it, is there before the bytes that a
    client can have seen: each request has a thread of its own, which may not run again until long
    after the client has its answer.
    """

    root: Path
    url: str
    faults: Faults
    served: Counter[str] = field(default_factory=Counter)
    asked: Counter[str] = field(default_factory=Counter)
    ranges: list[str] = field(default_factory=list)
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def count(self, counter: Counter[str], key: str, by: int = 1) -> None:
        """Count without losing what another request's thread counts under the same key
        meanwhile.
        """
        with self._lock:
            counter[key] += by

    def revisions(self, repository: str) -> dict[str, str]:
        """Commit by revision: a hash of the revision's name."""
        folder = self.root / repository
        return (
            {
                path.name: _commit(path.name + "again" * (path.name in self.faults.rewritten))
                for path in sorted(folder.iterdir())
            }
            if folder.is_dir()
            else {}
        )


def _commit(revision: str) -> str:
    return hashlib.sha1(revision.encode()).hexdigest()


@contextmanager
def running_hub(root: Path) -> Iterator[Hub]:
    """Serve the repositories below a folder until the context is left."""
    hub = Hub(root, "", Faults())

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def log_message(self, *_: Any) -> None:
            """Be quiet."""

        def do_HEAD(self) -> None:
            self._answer(body=False)

        def do_GET(self) -> None:
            self._answer(body=True)

        def _answer(self, *, body: bool) -> None:
            path = unquote(urlparse(self.path).path).strip("/")
            hub.count(hub.asked, f"{self.command} {path}")
            if hub.faults.down:
                self.connection.shutdown(socket.SHUT_RDWR)
                self.close_connection = True
                return
            if hub.faults.limited > 0:
                hub.faults.limited -= 1
                self._fail(hub.faults.limit, "TooMany", hub.faults.says)
                return
            if (
                hub.faults.token
                and self.headers.get("Authorization") != f"Bearer {hub.faults.token}"
            ):
                self._fail(401, "RepoNotFound")
                return
            parts = path.split("/")
            if parts[:2] == ["api", "models"]:
                self._api("/".join(parts[2:4]), parts[4:])
            elif len(parts) >= 5 and parts[2] == "resolve":
                self._file("/".join(parts[:2]), parts[3], "/".join(parts[4:]), body=body)
            else:
                self._fail(404, "RepoNotFound")

        def _api(self, repository: str, what: list[str]) -> None:
            revisions = hub.revisions(repository)
            if not revisions:
                self._fail(404, "RepoNotFound")
            elif what == ["refs"]:
                names = [
                    {"name": n, "ref": f"refs/heads/{n}", "targetCommit": c}
                    for n, c in revisions.items()
                ]
                self._json({"branches": names, "tags": [], "converts": []})
            elif what[:1] == ["revision"]:
                name = self._revision(repository, what[1])
                if name is None or name in hub.faults.gone:
                    self._fail(404, "RevisionNotFound")
                    return
                siblings: list[dict[str, Any]] = [
                    {"rfilename": other, "size": 1, "blobId": "0" * 40}
                    for other in hub.faults.listed.get(name, ())
                ]
                for file in sorted((hub.root / repository / name).iterdir()):
                    digest = hashlib.sha256(file.read_bytes()).hexdigest()
                    entry = {
                        "rfilename": file.name,
                        "size": file.stat().st_size,
                        "blobId": digest[:40],
                    }
                    if file.suffix in LARGE:
                        entry["lfs"] = {
                            "sha256": digest,
                            "size": file.stat().st_size,
                            "pointerSize": 134,
                        }
                    siblings.append(entry)
                self._json(
                    {
                        "id": repository,
                        "sha": revisions[name],
                        "siblings": siblings,
                        "tags": [],
                        "private": False,
                    }
                )
            else:
                self._fail(404, "EntryNotFound")

        def _revision(self, repository: str, given: str) -> str | None:
            return next((n for n, c in hub.revisions(repository).items() if given in (n, c)), None)

        def _file(self, repository: str, given: str, name: str, *, body: bool) -> None:
            revision = self._revision(repository, given)
            path = hub.root / repository / str(revision) / name
            if revision is None or not path.is_file():
                self._fail(404, "EntryNotFound" if revision else "RevisionNotFound")
                return
            content = path.read_bytes()
            large = path.suffix in LARGE
            digest = hashlib.sha256(content).hexdigest()
            if body and large and hub.faults.busy.get(revision, 0) > 0:
                hub.faults.busy[revision] -= 1
                self._fail(503, "Busy")
                return
            if large and revision in hub.faults.changed:
                content = content[:-1] + bytes([content[-1] ^ 1])
            whole = len(content)
            start = 0
            if (asked := self.headers.get("Range", "")).startswith("bytes="):
                hub.ranges.append(f"{revision} {asked}")
                start = int(asked.removeprefix("bytes=").split("-")[0])
            sent = content[start:]
            if body and large and revision in hub.faults.truncated:
                sent = content[start : whole // 2]
            self.send_response(206 if start else 200)
            self.send_header("Content-Length", str(len(sent)))
            self.send_header("ETag", f'"{digest if large else digest[:40]}"')
            self.send_header("X-Repo-Commit", _commit(revision))
            self.send_header("Accept-Ranges", "bytes")
            if start:
                self.send_header("Content-Range", f"bytes {start}-{whole - 1}/{whole}")
            if large:
                self.send_header("X-Linked-Size", str(whole))
                self.send_header("X-Linked-Etag", f'"{digest}"')
            self.end_headers()
            if not body:
                return
            if large and hub.faults.cut.get(revision, 0) > 0:
                hub.faults.cut[revision] -= 1
                self.wfile.write(sent[: len(sent) // 2])
                self.wfile.flush()
                self.close_connection = True
                return
            rate = hub.faults.rates.get(revision, hub.faults.rate) if large else None
            for at in range(0, len(sent), PIECE):
                piece = sent[at : at + PIECE]
                if large:
                    hub.count(hub.served, revision, len(piece))
                    if revision == hub.faults.down_after and at + PIECE >= len(sent):
                        hub.faults.down = True
                try:
                    self.wfile.write(piece)
                except ConnectionError:  # the client has gone
                    if large:
                        hub.count(hub.served, revision, -len(piece))
                    return
                if rate:
                    time.sleep(len(piece) / rate)

        def _json(self, content: Any) -> None:
            data = json.dumps(content).encode()
            self.send_response(200)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(data)))
            self.end_headers()
            self.wfile.write(data)

        def _fail(self, status: int, code: str, says: dict[str, str] | None = None) -> None:
            self.send_response(status)
            for name, value in (says or {}).items():
                self.send_header(name, value)
            self.send_header("X-Error-Code", code)
            self.send_header("Content-Length", "0")
            self.end_headers()

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    hub.url = f"http://127.0.0.1:{server.server_port}"
    thread = threading.Thread(
        target=server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True
    )
    thread.start()
    try:
        yield hub
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
