"""The cells that a sweep was asked for, in `sweep.json`; written before the first of them starts.

Sweeps that are started one after another in the same folder add to it.
"""

from __future__ import annotations

import json
import os
from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING

from filelock import FileLock
from hydra.experimental.callback import Callback

from circuitwatch.errors import UserError
from circuitwatch.sweeping.failures import forget_failure

if TYPE_CHECKING:
    from omegaconf import DictConfig

PLAN = "sweep.json"
LOCK = ".sweep.lock"


@dataclass(frozen=True)
class Planned:
    """One job of a sweep. folder: its cell's, as seen from the sweep's; name: short, what people
    are told: the folder, and what else tells it from other jobs there.
    """

    folder: str
    name: str


class Planning(Callback):
    """Hydra calls this when a sweep starts: notes what is planned, and tells the jobs their names.

    Faults of composition are left to Hydra, which composes every cell again before it starts one.
    """

    def on_multirun_start(self, config: DictConfig, **kwargs: object) -> None:
        """Compose the cells of a sweep, and write down which they are."""
        from circuitwatch.cli.stopping import STOPPING
        from circuitwatch.sweeping import job

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
    folders, overrides = [], []
    try:
        parsed = OverridesParser.create(config_loader=loader).parse_overrides(given)
        for batch in BasicSweeper.split_arguments(parsed, sweeper.max_batch_size):
            for job in batch:
                composed = loader.load_sweep_config(config, list(job))
                folders.append(str(OmegaConf.select(composed, "hydra.sweep.subdir")))
                overrides.append(list(job))
    except (HydraException, OmegaConfBaseException, UserError, ValueError):
        return None
    return [
        Planned(folder, name)
        for folder, name in zip(folders, _names(folders, overrides), strict=True)
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


def add_to_plan(sweep: Path, planned: Sequence[Planned]) -> None:
    """Write down that these cells were asked for, beside those of earlier sweeps there.

    Raises OSError if the folder can't be written.
    """
    sweep.mkdir(parents=True, exist_ok=True)
    with FileLock(sweep / LOCK):
        known = {entry.folder: entry for entry in read_plan(sweep)}
        known |= {entry.folder: Planned(entry.folder, entry.folder) for entry in planned}
        partial = sweep / f"{PLAN}.partial"
        cells = [asdict(entry) for entry in known.values()]
        partial.write_text(json.dumps({"cells": cells}, indent=1) + "\n", encoding="utf-8")
        os.replace(partial, sweep / PLAN)


def read_plan(sweep: Path) -> list[Planned]:
    """The cells that a sweep was asked for; none where it is not known or what is there is no plan
    (a folder of before, of single runs, or a damaged file: the next sweep writes it anew).
    """
    try:
        cells = json.loads((sweep / PLAN).read_text(encoding="utf-8"))["cells"]
        planned = [Planned(str(cell["folder"]), str(cell["name"])) for cell in cells]
    except (OSError, ValueError, LookupError, TypeError, RecursionError):
        return []
    return [entry for entry in planned if _is_inside(entry.folder)]


def _is_inside(folder: str) -> bool:
    path = PurePosixPath(folder)
    return bool(path.parts) and not path.is_absolute() and ".." not in path.parts
