"""One W&B run while it is open: how it is started, that its rows come in order, and that it ends in
bounded time whatever the server does.
"""

from __future__ import annotations

import shutil
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from circuitwatch.tracking.account import (
    NotTaken,
    NotUploaded,
    Unreachable,
    its_settings,
    load_wandb,
    reach,
    reason_of,
)
from circuitwatch.tracking.identity import Identity
from circuitwatch.tracking.names import AXES, DETAIL

INIT_TIMEOUT = 20.0
"""Seconds that a run may take to start."""
FINISH_TIMEOUT = 15.0
"""Seconds that a run may take to upload what it still holds."""
SLOWEST = 1e6
"""Bytes a second at which an artifact is still waited for."""
DELETED = "previously created and deleted"
"""What a server says of the id of a run that was deleted there: it can't be used again."""
OTHER_RUNS = ("resume", "resume_from", "fork_from", "sweep_id")
"""Settings that say which run is meant, of environments such as that of `wandb agent`."""
IDS = 6
"""So many times a run may have been deleted on the server before we give up."""
_GONE: set[str] = set()
"""Ids of deleted runs that this process has met; W&B counts them as in use."""


class Session:
    """A run that is open.

    Use `log` with places that rise, and `finish` once; see `start`.
    """

    def __init__(self, run: Any, *, online: bool) -> None:
        self.run, self.online = run, online
        self.last = -1

    @property
    def url(self) -> str:
        """Where it is seen; empty offline."""
        return str(self.run.url or "") if self.online else ""

    @property
    def folder(self) -> Path:
        """Its folder on this machine."""
        return Path(self.run.dir).parent

    def log(self, row: Mapping[str, Any], place: int) -> None:
        """Send a row. Raises ValueError for a place that is not after the last."""
        if place <= self.last:
            raise ValueError(f"row {place} after row {self.last}")
        self.run.log(dict(row), step=place, commit=True)
        self.last = place

    def keep(self, artifact: Any, what: str) -> None:
        """Send an artifact and wait until the server has it; what: it is called in the error.

        Raises NotUploaded where that takes longer than its size explains.
        """
        patience = FINISH_TIMEOUT + artifact.size / SLOWEST
        try:
            self.run.log_artifact(artifact).wait(timeout=round(patience))
        except Exception as error:  # W&B raises many kinds
            raise NotUploaded(f"the server did not take {what} in time") from error

    def finish(self, *, failed: bool = False) -> None:
        """Send what is left and end the run. Raises NotUploaded where that did not succeed within
        FINISH_TIMEOUT, or about that.

        W&B keeps to its own time-out only where nothing but rows is left to send; what it tries to
        say to a dead server otherwise can take half a minute more (0.31), which is not waited for.
        """
        problems: list[BaseException] = []

        def finish() -> None:
            try:
                self.run.finish(exit_code=int(failed))
            except BaseException as error:  # W&B raises many kinds
                problems.append(error)

        ending = threading.Thread(target=finish, daemon=True)
        ending.start()
        ending.join(1.5 * FINISH_TIMEOUT)
        if ending.is_alive() or any(isinstance(error, TimeoutError) for error in problems):
            raise NotUploaded("the server did not take it in time")
        if problems:
            raise NotUploaded(reason_of(problems[0])) from problems[0]


def start(
    identity: Identity,
    folder: Path,
    *,
    online: bool,
    project: str,
    entity: str | None,
    after: int | None = None,
    there: str = "",
) -> Session:
    """Start a run.

    Args:
        identity: what it is called.
        folder: `wandb/` is made in it; earlier offline runs there that were never uploaded are
            removed, since the new one has all that they had.
        online: whether it goes to the server as it is made.
        project: of W&B.
        entity: of W&B; the account's default if None.
        there: the id of the run that the server has, where it is known.
        after: go on behind the row of this place, the last that the server has; None: they are
            overwritten.

    Raises:
        Unreachable: the server does not answer, or not in time, or refuses the key.
        NotTaken: the run was deleted there again and again.
    """
    wandb = load_wandb()
    if online:
        reach()
    remove_unsent(folder)
    options: dict[str, Any] = {
        "project": project,
        "entity": entity,
        "mode": "online" if online else "offline",
        "dir": str(folder),
        "name": identity.name,
        "group": identity.group,
        "job_type": identity.job_type,
        "tags": identity.tags,
        "notes": identity.notes,
        "config": identity.config,
        "resume": None if after is None else "allow",
        # Another run of this process is its user's: neither taken for ours nor ended.
        "reinit": "create_new",
        "settings": settings(wandb),
    }
    run = None
    for id in ids_of(identity.id, there):
        try:
            with _as_we_say():
                run = wandb.init(id=id, **options)
            break
        except Exception as error:  # W&B raises many kinds
            if DELETED in str(error):
                _GONE.add(id)
                continue
            if online:
                raise Unreachable(_why(error)) from error
            raise
    if run is None:
        raise NotTaken(f"run {identity.id} was deleted there {IDS} times, and can't be made")
    for axis in AXES:
        run.define_metric(axis, hidden=axis != "tokens")
    run.define_metric(f"{DETAIL}*", step_metric="tokens", hidden=True)
    run.define_metric("*", step_metric="tokens")
    session = Session(run, online=online)
    session.last = -1 if after is None else after
    return session


@contextmanager
def _as_we_say() -> Iterator[None]:
    """W&B's settings without those of the environment that would make a run of ours another one."""
    own = its_settings()
    before = {name: getattr(own, name) for name in OTHER_RUNS}
    for name in before:
        setattr(own, name, None)
    try:
        yield
    finally:
        for name, value in before.items():
            setattr(own, name, value)


def ids_of(id: str, there: str = "") -> list[str]:
    """The ids that a run may have, in order: its own, and others for when a run of its id was
    deleted on the server; there: the one that the server has.
    """
    every = [id, *(f"{id}-{n}" for n in range(2, IDS + 1))]
    return [there] if there else [one for one in every if one not in _GONE]


def settings(wandb: Any) -> Any:
    """Settings of all our runs: they end in bounded time, print nothing, and carry nothing of the
    machine.
    """
    return wandb.Settings(
        console="off",
        silent=True,
        x_disable_stats=True,
        x_disable_meta=True,
        x_disable_machine_info=True,
        x_save_requirements=False,
        disable_git=True,
        disable_code=True,
        save_code=False,
        host="",
        program="circuitwatch",  # else the path of what was started, on this machine
        init_timeout=INIT_TIMEOUT,
        finish_timeout=FINISH_TIMEOUT,
        finish_timeout_raises=True,
        x_graphql_retry_max=3,
    )


def unsent(folder: Path) -> list[Path]:
    """Folders of offline runs that were never uploaded."""
    runs = sorted((folder / "wandb").glob("offline-run-*"))
    return [run for run in runs if not any(run.glob("*.synced"))]


def remove_unsent(folder: Path) -> None:
    """Remove offline runs that were never uploaded."""
    for run in unsent(folder):
        shutil.rmtree(run, ignore_errors=True)


def _why(error: BaseException) -> str:
    if isinstance(error, TimeoutError) or "timed out" in str(error).lower():
        return "the server did not answer in time"
    return reason_of(error)
