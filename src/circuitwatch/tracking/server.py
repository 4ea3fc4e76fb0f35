"""What the server has of a run, through W&B's public API, beside what the records say it should
have.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from circuitwatch.tracking.account import API_TIMEOUT, load_wandb

Place = tuple[int, int]
"""A row's place in the history, and the training step it is of."""


@dataclass(frozen=True)
class Held:
    """A run on the server: the places of its rows in their order, and its summary."""

    places: list[Place] = field(default_factory=list)
    summary: dict[str, Any] = field(default_factory=dict)
    url: str = ""

    def begins(self, wanted: Sequence[Place]) -> bool:
        """Whether the rows are the first of those that are wanted, or all."""
        return self.places == list(wanted[: len(self.places)])


def held_of(project: str, entity: str | None, id: str, api: Any = None) -> Held | None:
    """What the server has of a run; None where it has no such run.

    entity: the account's default if None. Raises what W&B raises where the server does not answer.
    """
    wandb = load_wandb()
    api = api or wandb.Api(timeout=API_TIMEOUT)
    run = found_run(api, project, entity, id)
    if run is None:
        return None
    rows = run.scan_history(keys=["_step", "step"], page_size=10_000)
    places = [(int(row["_step"]), int(row["step"])) for row in rows]
    return Held(places, dict(run.summary_metrics or {}), str(run.url))


def found_run(api: Any, project: str, entity: str | None, id: str) -> Any:
    """A run of the public API; None where there is none, or no such project."""
    wandb = load_wandb()
    where = f"{entity or api.default_entity}/{project}"
    try:
        run = api.run(f"{where}/{id}")
    except (ValueError, wandb.errors.CommError) as error:
        if "could not find" in str(error).lower():
            return None
        raise
    return run
