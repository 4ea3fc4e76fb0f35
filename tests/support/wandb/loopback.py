"""An HTTP server on 127.0.0.1 that can be closed: connections that stand open are ended, and the
threads that served them are joined, so that nothing of it is left.
"""

from __future__ import annotations

import contextlib
import socket
import sys
import threading
import traceback
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any


class LoopbackServer(ThreadingHTTPServer):
    """Serves from the start until `close`, on a free port unless one is given."""

    daemon_threads = False
    request_queue_size = 64

    def __init__(self, handler: type[BaseHTTPRequestHandler], port: int = 0) -> None:
        super().__init__(("127.0.0.1", port), handler)
        self.closing = threading.Event()
        self.errors: list[str] = []
        self._open: set[socket.socket] = set()
        self._guard = threading.Lock()
        self._thread = threading.Thread(target=self.serve_forever, args=(0.02,))
        self._thread.start()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_address[1]}"

    def process_request(self, request: Any, client_address: Any) -> None:
        with self._guard:
            self._open.add(request)
        super().process_request(request, client_address)

    def shutdown_request(self, request: Any) -> None:
        with self._guard:
            self._open.discard(request)
        super().shutdown_request(request)

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Remember what went wrong, unless it is that the client went away."""
        if not isinstance(sys.exception(), OSError):
            self.errors.append(traceback.format_exc())

    def close(self) -> None:
        """End all; a second time does nothing."""
        if self.closing.is_set():
            return
        self.closing.set()
        self.shutdown()
        self._thread.join()
        with self._guard:
            for one in self._open:
                end(one)
        self.server_close()


def end(connection: socket.socket) -> None:
    """Wake whoever reads from a connection: there is nothing more to come."""
    with contextlib.suppress(OSError):
        connection.shutdown(socket.SHUT_RDWR)


def body(handler: BaseHTTPRequestHandler) -> bytes:
    """What came with a request, be its length known or in chunks."""
    if "chunked" not in handler.headers.get("transfer-encoding", ""):
        return _exactly(handler, int(handler.headers.get("content-length") or 0))
    parts = []
    while length := int(_line(handler).split(b";")[0], 16):
        parts.append(_exactly(handler, length))
        _line(handler)
    while _line(handler).strip():
        pass
    return b"".join(parts)


def _exactly(handler: BaseHTTPRequestHandler, length: int) -> bytes:
    content = handler.rfile.read(length)
    if len(content) < length:
        raise ConnectionAbortedError("the client went away in the middle of a request")
    return content


def _line(handler: BaseHTTPRequestHandler) -> bytes:
    line = handler.rfile.readline()
    if not line:
        raise ConnectionAbortedError("the client went away in the middle of a request")
    return line
