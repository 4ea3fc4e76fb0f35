"""What there is to choose from: the YAML groups of conf/, the tasks, and the suites of published
models.
"""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from pathlib import Path

from circuitwatch import catalogue
from circuitwatch.checkpoints.suites import Suite, conf_dir, read_suites
from circuitwatch.tasks import OWN_TASK


def choices_of(group: str) -> list[str]:
    """The names that a configuration group offers, those of suites and a user's own templates not
    among them.
    """
    if group == "task":
        return sorted([*catalogue.tasks(), OWN_TASK])
    return sorted(path.stem for path in (conf_dir() / group).glob("*.yaml"))


def suites(arguments: Sequence[str] = ()) -> list[Suite]:
    """The suites of this program, and those below folders that the arguments give with
    --config-dir.
    """
    return read_suites([conf_dir(), *config_dirs(arguments)])


def config_dirs(arguments: Sequence[str]) -> list[Path]:
    """The folders that the arguments give with --config-dir."""
    flags = ("--config-dir", "-cd")
    folders = [
        argument.split("=", 1)[1]
        for argument in arguments
        if argument.startswith(tuple(f"{flag}=" for flag in flags))
    ]
    folders += [after for flag, after in itertools.pairwise(arguments) if flag in flags]
    return [Path(folder) for folder in folders]
