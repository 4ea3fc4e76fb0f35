"""The launchers of conf/hydra/launcher. Hydra takes plugins from the package `hydra_plugins` only,
and imports this file at each start: what they do, and the engines, are imported when one is used.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import hydra._internal.core_plugins.basic_launcher  # noqa: F401
from hydra.core.config_store import ConfigStore
from hydra.core.utils import JobReturn
from hydra.plugins.launcher import Launcher
from hydra.types import HydraContext, TaskFunction
from omegaconf import DictConfig, OmegaConf


class BasicLauncher(Launcher):
    """In this process, one after another. Hydra's own, which this is called in place of, ends the
    sweep where it can't make a job's folder.
    """

    def setup(
        self, *, hydra_context: HydraContext, task_function: TaskFunction, config: DictConfig
    ) -> None:
        """Keep what the jobs need."""
        self.parts = hydra_context, task_function, config

    def launch(
        self, job_overrides: Sequence[Sequence[str]], initial_job_idx: int
    ) -> Sequence[JobReturn]:
        """Run the jobs."""
        from circuitwatch.launching import launch_in_turn

        return launch_in_turn(self.parts, job_overrides, initial_job_idx)


# Hydra has stored its own under this name when its module was imported, above.
ConfigStore.instance().store(
    "basic", {"_target_": f"{__name__}.BasicLauncher"}, group="hydra/launcher"
)


class _Spreading(Launcher):
    """Runs a sweep's jobs by an engine, whose options are those of its YAML file."""

    engine = ""
    """A module of `circuitwatch.launching`, and what is installed for it."""

    def __init__(self, **options: Any) -> None:
        self.options = {
            key: OmegaConf.to_container(value, resolve=True)
            if OmegaConf.is_config(value)
            else value
            for key, value in options.items()
        }

    def setup(
        self, *, hydra_context: HydraContext, task_function: TaskFunction, config: DictConfig
    ) -> None:
        """Keep what the jobs need; raises UserError if the engine is not installed."""
        from circuitwatch.launching import require_engine

        require_engine(self.engine)
        self.parts = hydra_context, task_function, config

    def launch(
        self, job_overrides: Sequence[Sequence[str]], initial_job_idx: int
    ) -> Sequence[JobReturn]:
        """Run the jobs, and return when each has ended, whatever became of it."""
        from circuitwatch.launching import launch

        return launch(self.engine, self.options, self.parts, job_overrides, initial_job_idx)


class JoblibLauncher(_Spreading):
    """Processes on this machine."""

    engine = "joblib"


class SlurmLauncher(_Spreading):
    """Jobs of a Slurm cluster."""

    engine = "slurm"


class RayLauncher(_Spreading):
    """Tasks of a Ray, here or on a cluster."""

    engine = "ray"
