"""Running the cells of a sweep one after another in this process, or side by side: joblib on this
machine, submitit on Slurm, Ray.

Hydra's own plugins for these raise at the first job that fails while others still run; that for Ray
needs a cloudpickle that joblib no longer takes; and that for Slurm waits for ever for a job that
was killed where there is no `sacct`. So the engines are used directly: each is a module with one
function `run`, which takes `jobs.Work` and returns when every job has ended.
"""

from __future__ import annotations

import importlib
from collections.abc import Mapping, Sequence
from importlib.util import find_spec
from typing import TYPE_CHECKING, Any

from circuitwatch.errors import UserError

if TYPE_CHECKING:
    from hydra.core.utils import JobReturn
    from hydra.types import HydraContext, TaskFunction
    from omegaconf import DictConfig

ENGINES = {
    "joblib": ("joblib", "joblib", "processes"),
    "slurm": ("submitit_slurm", "submitit", "cluster"),
    "ray": ("ray", "ray", "tasks"),
}
"""The extra → the choice of hydra/launcher=, the package it needs, and the module here."""


def require_engine(extra: str) -> None:
    """Raise UserError unless what a launcher needs is installed."""
    choice, package, _ = ENGINES[extra]
    if find_spec(package) is None:
        raise UserError(
            f"hydra/launcher={choice} needs {package}, which is not installed: "
            f"pip install 'circuitwatch[{extra}]'"
        )


def launch(
    extra: str,
    options: Mapping[str, Any],
    parts: tuple[HydraContext, TaskFunction, DictConfig],
    overrides: Sequence[Sequence[str]],
    first: int,
) -> list[JobReturn]:
    """Compose a sweep's cells and run each.

    Args:
        extra: which engine, as in ENGINES.
        options: those of its YAML file.
        parts: what Hydra gives a launcher: its context, the function to run, the configuration.
        overrides: each job's.
        first: number of the first job.
    """
    from circuitwatch.launching.jobs import composed

    engine = importlib.import_module(f"circuitwatch.launching.{ENGINES[extra][2]}")
    returned: list[JobReturn] = engine.run(options, list(composed(parts, overrides, first)))
    return returned


def launch_in_turn(
    parts: tuple[HydraContext, TaskFunction, DictConfig],
    overrides: Sequence[Sequence[str]],
    first: int,
) -> list[JobReturn]:
    """Run a sweep's cells here; arguments as of `launch`."""
    from circuitwatch.launching.jobs import composed

    return [work.run() for work in composed(parts, overrides, first)]
