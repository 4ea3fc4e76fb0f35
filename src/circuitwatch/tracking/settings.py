"""The options of Weights & Biases."""

from __future__ import annotations

from dataclasses import dataclass

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
    project: str = option("W&B project", "circuitwatch")
    entity: str | None = option("W&B user or team; your default if null", None)
    pictures: int = option(
        "Checkpoints whose heads and circuit are drawn for W&B, evenly over the schedule, the last "
        "among them",
        4,
        least=0,
    )
