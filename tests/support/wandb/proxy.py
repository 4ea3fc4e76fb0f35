"""A proxy before a W&B server that has faults when a test wants them: it resets connections,
answers with errors, late or never.
"""

from __future__ import annotations

import gzip
import http.client
import json
import os
import re
import select
import socket
import struct
import threading
from http.server import BaseHTTPRequestHandler
from types import TracebackType
from typing import Literal
from urllib.parse import urlsplit

from support.wandb.graphql import problem
from support.wandb.loopback import LoopbackServer, body

Mode = Literal["pass", "refuse", "500", "hang", "slow", "401", "lost"]


class FaultProxy:
    """Hands requests on to a server while its context lasts, but for those that a fault meets.

    `mode` is the fault: `refuse` resets the connection, `500` and `401` answer so, `hang` never
    answers, `slow` answers `delay` seconds late, `lost` hands the request on and resets the
    connection instead of the answer. `only` is what it applies to: `graphql`, `file_stream`,
    `files` (what is put and got), or one GraphQL operation by its name. It begins when `after` more
    of these requests have passed, and with `times` it ends after so many.

    Requests that hang do so until the client gives up, also when the mode is another by then, as
    with a network that swallows them; `release` resets their connections.
    """

    def __init__(self, target: str) -> None:
        self.target = target
        self.mode: Mode = "pass"
        self.only: str | None = None
        self.after = 0
        self.times: int | None = None
        self.delay = 1.0
        self.requests: list[tuple[str, str]] = []
        self.errors: list[str] = []
        self._lock = threading.Lock()
        self._released = 0
        self._http: LoopbackServer | None = None
        self._port = 0

    def __enter__(self) -> FaultProxy:
        self.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.stop()

    def start(self) -> None:
        """Open the port: a free one, or the one it had before it was stopped."""
        self._http = LoopbackServer(type("Handler", (_Handler,), {"proxy": self}), self._port)
        self._http.errors = self.errors
        self._port = self._http.server_address[1]

    def stop(self) -> None:
        """Close the port and all connections, as if the server died."""
        if self._http is not None:
            self._http.close()

    def release(self) -> None:
        """End the connections of the requests that hang now."""
        self._released += 1

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self._port}"

    def met(self, kind: str | None = None) -> list[str]:
        """What the faults have met so far: operations and paths, or how often one of them."""
        with self._lock:
            return [what for what, mode in self.requests if mode != "pass" and kind in (None, what)]

    def _mode(self, kind: str, what: str) -> Mode:
        """How a request fares."""
        with self._lock:
            mode: Mode = "pass"
            if self.only in (None, kind, what) and self.mode != "pass":
                if self.after > 0:
                    self.after -= 1
                elif self.times is None:
                    mode = self.mode
                elif self.times > 0:
                    self.times -= 1
                    mode = self.mode
            self.requests.append((what, mode))
            return mode


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True
    wbufsize = -1
    proxy: FaultProxy
    server: LoopbackServer

    def do_POST(self) -> None:
        content = body(self)
        match self.proxy._mode(*self._about(content)):
            case "refuse":
                self._reset()
            case "hang":
                self._wait()
            case "401":
                self._send(401, json.dumps(problem("user is not logged in")).encode())
            case "500":
                self._send(500, b"internal server error")
            case "slow":
                if not self.server.closing.wait(self.proxy.delay):
                    self._pass(content)
            case "lost":
                self._pass(content, lost=True)
            case "pass":
                self._pass(content)

    do_GET = do_HEAD = do_PUT = do_POST

    def _about(self, content: bytes) -> tuple[str, str]:
        """What kind a request is of, and its operation or path."""
        path = urlsplit(self.path).path
        if path == "/graphql":
            if self.headers.get("content-encoding") == "gzip":
                content = gzip.decompress(content)
            query = str(json.loads(content)["query"])
            name = re.search(r"\b(?:query|mutation)\s+(\w+)", query)
            return "graphql", name.group(1) if name else path
        return ("file_stream" if path.endswith("/file_stream") else "files"), path

    def _pass(self, content: bytes, *, lost: bool = False) -> None:
        where = urlsplit(self.proxy.target)
        upstream = http.client.HTTPConnection(str(where.hostname), where.port, timeout=60)
        try:
            upstream.putrequest(self.command, self.path, skip_host=True, skip_accept_encoding=True)
            for name, value in self.headers.items():
                if name.lower() not in ("connection", "content-length", "transfer-encoding"):
                    upstream.putheader(name, value)
            upstream.putheader("content-length", str(len(content)))
            upstream.endheaders(content)
            answer = upstream.getresponse()
            data = answer.read()
        except OSError:
            self._send(502, b"the server is gone")
            return
        finally:
            upstream.close()
        if lost:
            self._reset()
        else:
            kind = answer.headers.get("content-type", "text/plain")
            self._send(answer.status, data, kind, answer.headers["content-length"])

    def _send(
        self, status: int, data: bytes, kind: str = "application/json", length: str | None = None
    ) -> None:
        self.send_response(status)
        self.send_header("content-type", kind)
        self.send_header("content-length", length or str(len(data)))
        self.end_headers()
        self.wfile.write(data)

    def _reset(self) -> None:
        """End the connection the rude way: a reset instead of an end."""
        off = struct.pack("ii", 1, 0)
        self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, off)
        os.close(self.connection.detach())
        self.close_connection = True

    def _wait(self) -> None:
        """Answer nothing until the client or the proxy goes, or the request is released."""
        before = self.proxy._released
        while not self.server.closing.is_set() and self.proxy._released == before:
            ready, _, _ = select.select([self.connection], [], [], 0.05)
            if ready and not self.connection.recv(1, socket.MSG_PEEK):
                break
        if self.proxy._released == before:
            self.close_connection = True
        else:
            self._reset()

    def log_message(self, *_: object) -> None:
        pass
