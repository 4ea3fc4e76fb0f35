"""What happens as a sweep starts: its cells are composed, so that it is known which they are and
what they are called before the first of them runs.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from hydra.experimental.callback import Callback

from circuitwatch.cli.stopping import STOPPING
from circuitwatch.errors import UserError, of_files
from circuitwatch.sweeping import job
from circuitwatch.sweeping.failures import forget_failure
from circuitwatch.sweeping.plan import Planned, add_to_plan

if TYPE_CHECKING:
    from omegaconf import DictConfig


class Planning(Callback):
    """Hydra calls this when a sweep starts: notes what is planned, and tells the jobs their names.

    Faults of composition are left to Hydra, which composes every cell again before it starts one.
    """

    def on_multirun_start(self, config: DictConfig, **kwargs: object) -> None:
        """Compose the cells of a sweep, and write down which they are."""
        STOPPING.begin()  # the launcher may have jobs to end
        if job.CURRENT is None or not job.CURRENT.watches:
            return
        planned = planned_jobs(config)
        if planned is None:
            return
        sweep = Path(str(config.hydra.sweep.dir)).expanduser()
        job.CURRENT.sweep, job.CURRENT.planned = sweep, planned
        job.CURRENT.launcher = str(config.hydra.launcher._target_)
        try:
            for entry in planned:  # what is there in the end is of this sweep
                forget_failure(sweep, entry.name)
            add_to_plan(sweep, planned)
        except OSError as error:
            job.CURRENT.planning_failed = of_files(error, sweep, "written")
        except UserError as error:
            job.CURRENT.planning_failed = error


def planned_jobs(config: DictConfig) -> list[Planned] | None:
    """The jobs of a sweep in the order in which Hydra numbers them; None if they can't be told now:
    its sweeper is not the basic one, or a cell can't be composed.
    """
    from hydra._internal.core_plugins.basic_sweeper import BasicSweeper
    from hydra.core.global_hydra import GlobalHydra
    from hydra.core.override_parser.overrides_parser import OverridesParser
    from hydra.errors import HydraException
    from omegaconf import OmegaConf
    from omegaconf.errors import OmegaConfBaseException

    sweeper = config.hydra.sweeper
    if not str(sweeper._target_).endswith(".BasicSweeper"):
        return None
    loader = GlobalHydra.instance().config_loader()
    given = [f"{key}={value}" for key, value in (sweeper.params or {}).items()]
    given += list(config.hydra.overrides.task)
    folders, overrides, shards = [], [], []
    try:
        parsed = OverridesParser.create(config_loader=loader).parse_overrides(given)
        for batch in BasicSweeper.split_arguments(parsed, sweeper.max_batch_size):
            for own in batch:
                composed = loader.load_sweep_config(config, list(own))
                folders.append(str(OmegaConf.select(composed, "hydra.sweep.subdir")))
                overrides.append(list(own))
                shards.append(OmegaConf.select(composed, "shard"))
    except (HydraException, OmegaConfBaseException, UserError, ValueError):
        return None
    return [
        Planned(folder, name, shard)
        for folder, name, shard in zip(folders, _names(folders, overrides), shards, strict=True)
    ]


def _names(folders: Sequence[str], overrides: Sequence[Sequence[str]]) -> list[str]:
    """Short names of jobs: their folders, and for those that share one also the overrides in which
    they differ.
    """
    shared = Counter(folders)
    names = []
    for folder, own in zip(folders, overrides, strict=True):
        if shared[folder] == 1:
            names.append(folder)
            continue
        others = [o for f, o in zip(folders, overrides, strict=True) if f == folder]
        differing = [one for one in own if not all(one in other for other in others)]
        names.append(" ".join([folder, *differing]))
    return names
