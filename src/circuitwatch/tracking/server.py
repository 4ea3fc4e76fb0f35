"""What the server has of a run, through W&B's public API, beside what the records say it should
have.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from circuitwatch.tracking.account import API_TIMEOUT, its_settings, load_wandb
from circuitwatch.tracking.identity import Identity
from circuitwatch.tracking.names import RECORD
from circuitwatch.tracking.sessions import ids_of

Place = tuple[int, int, str]
"""A row's place in the history, the training step it is of, and the hash of its record."""
MOST_ROWS = 10_000
"""More checkpoints than any model has."""


@dataclass(frozen=True)
class Held:
    """A run on the server: its id there, the places of its rows in their order, its summary."""

    id: str
    places: list[Place] = field(default_factory=list)
    summary: dict[str, Any] = field(default_factory=dict)
    url: str = ""

    def last_of(self, wanted: Sequence[Place]) -> int | None:
        """The place of the last row, if the rows are the first of those that are wanted, or all;
        None where there is no row, or any is another.
        """
        if not self.places or self.places != list(wanted[: len(self.places)]):
            return None
        return self.places[-1][0]


def held_of(project: str, entity: str | None, identity: Identity, api: Any = None) -> Held | None:
    """What the server has of a run; None where it has no such run.

    entity: W&B's own default if None. Raises what W&B raises where the server does not answer.
    """
    run = found_run(project, entity, identity, api)
    if run is None:
        return None
    # `scan_history` would hide rows that are there twice.
    rows = run.history(keys=["step", RECORD], samples=MOST_ROWS, pandas=False)
    places = [(int(row["_step"]), int(row["step"]), str(row[RECORD])) for row in rows]
    return Held(str(run.id), places, dict(run.summary_metrics or {}), str(run.url))


def default_entity(api: Any) -> str:
    """Where runs go that are given no entity: as WANDB_ENTITY or W&B's settings say, else the
    account's own; empty where nobody says.
    """
    return str(its_settings().entity or api.default_entity or "")


def found_run(project: str, entity: str | None, identity: Identity, api: Any = None) -> Any:
    """A run of the public API; None where there is none, or no such project.

    It may have another id than its own, if a run of that id was deleted: see `sessions.ids_of`.
    """
    api = api or load_wandb().Api(timeout=API_TIMEOUT)
    path = f"{entity or default_entity(api)}/{project}"
    ids = set(ids_of(identity.id))
    api.flush()  # it remembers what it was told before
    try:
        runs = api.runs(path, filters={"group": identity.group}, lazy=False)
        return next((run for run in runs if run.id in ids), None)
    except Exception as error:
        if "could not find" in str(error).lower():
            return None
        raise
