"""Weights & Biases: a projection of the records, one run a cell, over training tokens.

Whenever a cell is started or resumed, every record it has is logged again in token order into a run
of the same id, so that a run is whole whatever was killed. Online that restarts the run, since W&B
history can't be edited; offline an earlier folder that was not synced is removed. Tracking never
stops a cell: if W&B fails, one line says so and the cell goes on. With mode `off`, W&B is not even
imported.
"""

from __future__ import annotations

import hashlib
import netrc
import os
import shutil
from dataclasses import dataclass
from typing import Any

from rich.console import Console

from circuitwatch.options import option
from circuitwatch.records import Cell, CheckpointRecord


@dataclass
class TrackingConfig:
    """Weights & Biases."""

    mode: str = option(
        "Whether records go to W&B",
        "auto",
        choices={
            "auto": "online if an account is set up here, else offline",
            "online": "",
            "offline": "",
            "off": "",
        },
    )
    project: str = option("W&B project", "circuitwatch")
    entity: str | None = option("W&B user or team; your default if null", None)


def resolve_mode(mode: str) -> str:
    """`auto` is online where W&B has an account on this machine (key in the environment or in
    .netrc), else offline.
    """
    if mode != "auto":
        return mode
    if os.environ.get("WANDB_MODE") in ("offline", "disabled"):
        return "offline"
    if os.environ.get("WANDB_API_KEY"):
        return "online"
    try:
        hosts = netrc.netrc().hosts
    except (OSError, netrc.NetrcParseError):
        return "offline"
    return "online" if any("wandb" in host for host in hosts) else "offline"


def run_id(cell: Cell) -> str:
    """A name for the cell's run that is the same whenever it is resumed."""
    header = cell.header
    identity = [
        header["config"]["sweep"],
        header["model"]["name"],
        header["task"],
        header["seed"],
        header["config"],
    ]
    return hashlib.sha256(repr(identity).encode()).hexdigest()[:16]


def _without_paths(config: dict[str, Any]) -> dict[str, Any]:
    """The configuration without folders of this machine, which say nothing about the run."""
    return {key: value for key, value in config.items() if key not in ("out", "cache")}


class Tracker:
    """Logs a cell's records. Use as a context manager: leaving it finishes the run."""

    def __init__(self, cell: Cell, config: TrackingConfig, *, sweep: str) -> None:
        self._run: Any = None
        self.mode = resolve_mode(config.mode)
        if self.mode != "off":
            self._attempt(lambda: self._start(cell, config, sweep))

    def __enter__(self) -> Tracker:
        return self

    def __exit__(self, *_: object) -> None:
        self.finish()

    def log(self, record: CheckpointRecord) -> None:
        """Log one record. Records must come in token order."""
        if self._run is not None:
            self._attempt(
                lambda: self._run.log(
                    {"tokens": record.tokens, "step": record.step, **record.scalars}
                )
            )

    def finish(self) -> None:
        """Write out what is still in memory and end the run."""
        if self._run is not None:
            run, self._run = self._run, None
            self._attempt(lambda: run.finish())

    def _start(self, cell: Cell, config: TrackingConfig, sweep: str) -> None:
        os.environ.setdefault("WANDB_ERROR_REPORTING", "false")
        os.environ.setdefault("WANDB_SILENT", "true")
        import wandb

        for unfinished in (cell.folder / "wandb").glob("offline-run-*"):
            if not any(unfinished.glob("*.synced")):
                shutil.rmtree(unfinished)
        header = cell.header
        self._run = wandb.init(
            project=config.project,
            entity=config.entity,
            mode="online" if self.mode == "online" else "offline",
            dir=str(cell.folder),
            id=run_id(cell),
            name=f"{header['model']['name']} {header['task']} seed{header['seed']}",
            group=sweep,
            job_type="watch",
            tags=[header["model"]["name"], header["task"]],
            config={
                **_without_paths(header["config"]),
                "model_facts": header["model"],
                "facts": header.get("facts", {}),
                "code_version": header["code_version"],
            },
            settings=wandb.Settings(
                console="off",
                x_disable_stats=True,
                disable_git=True,
                save_code=False,
                init_timeout=60,
            ),
        )
        self._run.define_metric("tokens")
        self._run.define_metric("*", step_metric="tokens")
        for record in cell.records():
            self.log(record)

    def _attempt(self, action: Any) -> None:
        """Do something with W&B; its failure is reported once and ends tracking, not the cell."""
        try:
            action()
        except Exception as error:  # W&B raises many kinds, and none may cost the analysis
            self._run = None
            reason = (
                str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
            )
            Console(stderr=True).print(
                f"circuitwatch: W&B tracking stopped ({reason}); records go on being written",
                highlight=False,
            )
