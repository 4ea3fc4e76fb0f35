"""The options of Weights & Biases."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from circuitwatch.errors import UserError
from circuitwatch.limits import MOST_PICTURES
from circuitwatch.names import plain_name
from circuitwatch.options import option


@dataclass
class TrackingConfig:
    """Weights & Biases."""

    mode: str = option(
        "Whether records go to W&B",
        "auto",
        choices={
            "auto": "online if an account is set up here, else offline; nothing if "
            "WANDB_MODE=disabled",
            "online": "",
            "offline": "",
            "off": "",
        },
    )
    project: str = option("W&B project", "circuitwatch", check=plain_name)
    entity: str | None = option("W&B user or team; your default if null", None, check=plain_name)
    pictures: int = option(
        "Checkpoints whose heads and circuit are drawn for W&B, evenly over the schedule, the last "
        "among them",
        4,
        least=0,
        most=MOST_PICTURES,
    )


def destination(headers: Iterable[Mapping[str, Any]], given: Mapping[str, str]) -> TrackingConfig:
    """Where the runs of a sweep go: the project and entity that are given, else those that its
    cells were logged to.

    Args:
        headers: of the cells.
        given: may have `project` and `entity`.

    Raises:
        UserError: the cells were logged to several, and none is given.
    """
    said = [header["config"].get("tracking") or {} for header in headers]
    found: dict[str, str] = {}
    for name in ("project", "entity"):
        every = {str(one[name]) for one in said if one.get(name)}
        if not given.get(name) and len(every) > 1:
            raise UserError(
                f"{name}: the cells were logged to {', '.join(sorted(every))}; give {name}="
            )
        found[name] = given.get(name) or (every.pop() if every else "")
    pictures = [int(one["pictures"]) for one in said if "pictures" in one]
    return TrackingConfig(
        mode="online",
        project=found["project"] or TrackingConfig.project,
        entity=found["entity"] or None,
        pictures=max(pictures, default=TrackingConfig.pictures),
    )
