"""What a launcher runs: one cell, in this process, in another, or on another machine.

A cell that fails is noted in the sweep's folder and said in one line; it raises nothing, so that
the others go on whatever the launcher is.
"""

from __future__ import annotations

import os
import signal
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from types import FrameType
from typing import Any

from circuitwatch.cli.choices import require_choosable
from circuitwatch.cli.leftovers import Before
from circuitwatch.cli.stopping import STOPPING
from circuitwatch.config import Config, cell_folder, register_resolvers, validate
from circuitwatch.errors import UserError, of_files
from circuitwatch.sweeping.failures import Failure, forget_failure, one_line_of, say, write_failure
from circuitwatch.sweeping.plan import Planned

FOLLOWED_IN_TURN = (
    "follow=true: with -m one cell comes after another, and the second would wait for the end of "
    "the first; start a command for each, or take a launcher that runs them side by side "
    "(hydra/launcher=joblib)"
)

RELAYING = ("RayLauncher",)
"""Launchers that print here, as it comes, what their workers say; the sweep's end says it for sure.
"""


@dataclass
class Job:
    """The task function that Hydra is given. It is pickled into workers, so it holds no model and
    no open file.

    action: what is done with a cell's configuration; templates: name → files of the user's own;
    before: what there was before the command; watches: whether it is cells that are recorded, so
    that a sweep's state is kept; sweep, planned, launcher: the sweep's folder, its jobs by number
    and the class that runs them, None of a run that is no sweep; failed: by short name, of jobs
    that ran in this process; single: what was wrong with a run that is no sweep, or with all of it.
    """

    action: Callable[[Config], None]
    templates: Mapping[str, list[Path]]
    before: Before
    watches: bool = True
    process: int = field(default_factory=os.getpid)
    sweep: Path | None = None
    planned: list[Planned] | None = None
    planning_failed: UserError | None = None
    launcher: str = ""
    failed: dict[str, Failure] = field(default_factory=dict)
    single: UserError | None = None

    def __call__(self, composed: Any) -> None:
        """Validate a composed configuration, and do it."""
        from hydra.core.hydra_config import HydraConfig
        from hydra.types import RunMode

        hydra_config = HydraConfig.get()
        if hydra_config.mode != RunMode.MULTIRUN:
            try:
                self._do(composed, hydra_config)
            except UserError as error:
                self.before.remove_unused(Path(hydra_config.runtime.output_dir))
                self.single = error
            return
        if os.getpid() != self.process:
            register_resolvers()
            signal.signal(signal.SIGTERM, _terminate)
        if self._is_followed_in_turn(composed, hydra_config):
            self.single = UserError(FOLLOWED_IN_TURN)  # said once for all cells
            self.before.remove_unused(Path(hydra_config.runtime.output_dir))
            return
        name = self._name(hydra_config)
        sweep = Path(hydra_config.sweep.dir).expanduser()
        failed = True
        try:
            if self.watches:
                forget_failure(sweep, name)
            self._do(composed, hydra_config)
            failed = False
        except (Exception, SystemExit) as error:  # a library's exit is no reason to end the sweep
            if STOPPING.was_asked:  # what was made of an interrupt on its way
                raise KeyboardInterrupt from error
            self.note(hydra_config, error)
        finally:
            if failed or not self.watches:  # Hydra makes a folder for every job
                alone = os.getpid() == self.process
                self.before.remove_unused(Path(hydra_config.runtime.output_dir), alone=alone)

    def _do(self, composed: Any, hydra_config: Any) -> None:
        require_choosable(hydra_config.runtime.choices.get("task"), self.templates)
        config = validate(composed)
        try:
            self.action(config)
        except OSError as error:  # a full disk, a folder that may not be written
            raise of_files(error, str(cell_folder(config))) from error

    def _is_followed_in_turn(self, composed: Any, hydra_config: Any) -> bool:
        from omegaconf import OmegaConf

        in_turn = "BasicLauncher" in hydra_config.launcher._target_
        return in_turn and bool(OmegaConf.select(composed, "follow"))

    def _name(self, hydra_config: Any) -> str:
        number = hydra_config.job.num
        if self.planned is not None and isinstance(number, int) and number < len(self.planned):
            return self.planned[number].name
        return str(hydra_config.sweep.subdir)

    def note(self, hydra_config: Any, error: BaseException) -> None:
        """Note that a job of a sweep failed, and say it.

        Raises the error in a worker where nobody looks for notes, so that its launcher passes it
        on.
        """
        if os.getpid() != self.process and (not self.watches or self.planned is None):
            raise error
        name, sweep = self._name(hydra_config), Path(hydra_config.sweep.dir).expanduser()
        try:
            if self.watches:
                failure = write_failure(sweep, name, error)
            else:
                failure = Failure(name, one_line_of(error), "")
            said = failure.said(sweep)
        except OSError as unwritten:  # a disk that is full, perhaps why the cell failed
            failure = Failure(name, one_line_of(error), "")
            why = unwritten.strerror or unwritten
            said = f"{failure.said(sweep)} (which can't be noted: {why})"
        self.failed[name] = failure
        if os.getpid() == self.process or not self.launcher.endswith(RELAYING):
            say(said)


CURRENT: Job | None = None
"""The job of this process' command, which Hydra's callback tells what is planned."""


def _terminate(signum: int, frame: FrameType | None) -> None:
    """In a worker: leave as after Ctrl-C, so that files are closed."""
    raise KeyboardInterrupt
