"""PyPI's `openwandb`, a server for the W&B client that others wrote, on this machine alone.

`make e2e-wandb` installs it in an environment of its own. Its licence is not for commercial use:
nothing here imports it, and it is no dependency. It is asked over HTTP, as its documentation says.
"""

from __future__ import annotations

import json
import secrets
import socket
import subprocess
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

E2E = Path(__file__).parents[2] / "multirun/e2e"
PROGRAM = E2E / "openwandb-venv/bin/openwandb"
PATIENCE = 60.0
"""Seconds that it may take to start."""
USER, ENTITY = "admin", "default"
"""What the server calls its first account, and that account's team."""


class OpenWandb:
    """The server while it runs; see `running`.

    url: where it is; password: of USER; key: of the account, for the W&B client.
    """

    def __init__(self, url: str, password: str) -> None:
        self.url, self.password = url, password
        self._token = ""
        login = {"username": USER, "password": password}
        self._token = self.asked("/api/v2/auth/login", login)["token"]
        made = self.asked("/api/v2/settings/api-keys", {"name": "circuitwatch"})
        self.key: str = made["api_key"]["key"]

    def read(self, path: str, content: Any = None) -> bytes:
        """What it answers to a GET, or to a POST of some content."""
        request = urllib.request.Request(
            self.url + path,
            data=None if content is None else json.dumps(content).encode(),
            headers={
                "Content-Type": "application/json",
                **({"Authorization": f"Bearer {self._token}"} if self._token else {}),
            },
        )
        with urllib.request.urlopen(request, timeout=30) as answer:
            return bytes(answer.read())

    def asked(self, path: str, content: Any = None) -> Any:
        """The same, as JSON."""
        return json.loads(self.read(path, content))

    def runs(self, project: str) -> dict[str, dict[str, Any]]:
        """Id → run of a project, which may not be there yet."""
        try:
            found = self.asked(f"/api/v2/projects/{ENTITY}/{project}/runs")["runs"]
        except urllib.error.HTTPError as error:
            error.close()
            if error.code == 404:
                return {}
            raise
        return {run["run_id"]: run for run in found}

    def numbers(self, id: str) -> dict[str, list[tuple[int, float]]]:
        """Name → place and value of every number of a run's history, in order of places.

        Words, yes and no are not among them: the server keeps the last of each only.
        """
        found = self.asked(f"/api/v2/runs/{id}/metrics")["metrics_by_key"]
        return {
            name: [(point["step"], point["value"]) for point in points]
            for name, points in found.items()
        }

    def artifacts(self, id: str) -> list[dict[str, Any]]:
        """The artifacts of a run."""
        return list(self.asked(f"/api/v2/runs/{id}/artifacts")["artifacts"])

    def files(self, id: str) -> list[str]:
        """The names of a run's files."""
        return [file["name"] for file in self.asked(f"/api/v1/runs/{id}/files")["files"]]

    def file(self, project: str, id: str, name: str) -> bytes:
        """A file of a run."""
        return self.read(f"/files/{ENTITY}/{project}/{id}/{name}")


@contextmanager
def running(folder: Path) -> Iterator[OpenWandb]:
    """The server with its data in a folder, on a free port of the loopback."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    url, password = f"http://127.0.0.1:{port}", secrets.token_urlsafe(16)
    command = [str(PROGRAM), "serve", "--host", "127.0.0.1", "--port", str(port)]
    log = folder / "server.log"
    with log.open("wb") as said:
        process = subprocess.Popen(
            [*command, "--data-dir", str(folder / "data")],
            cwd=folder,
            env={
                "HOME": str(folder),
                "OPENWANDB_ADMIN_USER": USER,
                "OPENWANDB_ADMIN_PASS": password,
                "OPENWANDB_DEFAULT_TEAM": ENTITY,
                "OPENWANDB_ALLOW_REGISTRATION": "false",
            },
            stdout=said,
            stderr=subprocess.STDOUT,
        )
    try:
        until = time.monotonic() + PATIENCE
        while not _answers(url):
            assert process.poll() is None and time.monotonic() < until, log.read_text()
            time.sleep(0.2)
        yield OpenWandb(url, password)
    finally:
        process.terminate()
        try:
            process.wait(20)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def _answers(url: str) -> bool:
    try:
        urllib.request.urlopen(url, timeout=5).close()
    except OSError:
        return False
    return True
