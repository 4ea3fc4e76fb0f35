"""What there is to choose from: the YAML groups of conf/, the tasks, and the suites of published
models.
"""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence
from pathlib import Path

from circuitwatch import catalogue
from circuitwatch.checkpoints.suites import Suite, conf_dir, read_suites
from circuitwatch.errors import UserError
from circuitwatch.limits import shown
from circuitwatch.tasks import OWN_TASK, templates_in

CONFIG_DIR = ("--config-dir", "-cd")
GROUPS = ("model", "task", "schedule", "circuit", "heads", "tracking", "experiment")
"""The configuration's groups."""


def choices_of(group: str) -> list[str]:
    """The names that a configuration group offers, those of suites and a user's own templates not
    among them.
    """
    if group == "task":
        return sorted([*catalogue.tasks(), OWN_TASK])
    return sorted(path.stem for path in (conf_dir() / group).glob("*.yaml"))


def offered_in(group: str, arguments: Sequence[str]) -> list[str]:
    """The names that a group offers, with those of the user's templates and of YAML files below
    the folders that the arguments give with --config-dir; those of suites not among them.
    """
    names = set(choices_of(group))
    for folder in config_dirs(arguments):
        names |= {path.stem for path in (folder / group).glob("*.y*ml")}
    if group == "task":
        names |= set(own_templates(arguments))
    return sorted(names)


def own_templates(arguments: Sequence[str]) -> dict[str, list[Path]]:
    """Name → files of the user's templates, below folders that the arguments give with
    --config-dir.
    """
    return templates_in(config_dirs(arguments))


def choosable(templates: Mapping[str, Sequence[Path]]) -> dict[str, Path]:
    """Name → file of those templates whose names are not those of other tasks."""
    taken = choices_of("task")
    return {name: paths[0] for name, paths in templates.items() if name not in taken}


def require_choosable(task: str | None, templates: Mapping[str, Sequence[Path]]) -> None:
    """Raise UserError if it can't be told what is meant by a choice of task=, since a template has
    the name of another task or of another template.
    """
    if task is None or task not in templates:
        return
    first, *others = templates[task]
    if task in choices_of("task"):
        raise UserError(f"{first}: {task} is a task already; give the file another name")
    if others:
        raise UserError(f"task={task}: is both {first} and {others[0]}; give one another name")


def suites(arguments: Sequence[str] = ()) -> list[Suite]:
    """The suites of this program, and those below folders that the arguments give with
    --config-dir.
    """
    return read_suites([conf_dir(), *config_dirs(arguments)])


def mentioned(suites: Sequence[Suite], arguments: Sequence[str]) -> list[Suite]:
    """The suites, of families of models only what the arguments name, or a YAML file of an
    experiment or below the folders of --config-dir.
    """
    if not any(suite.axes for suite in suites):
        return list(suites)
    said = [*arguments]
    for folder in (conf_dir() / "experiment", *config_dirs(arguments)):
        # No deeper than groups lie: a folder may also have all of somebody's runs in it.
        for path in (*folder.glob("*.y*ml"), *folder.glob("*/*.y*ml")):
            if path.parent.name != "suites" and path.is_file():
                said.append(path.read_text(encoding="utf-8", errors="replace"))
    text = " ".join(said)
    return [suite.named_in(text) for suite in suites]


def config_dirs(arguments: Sequence[str]) -> list[Path]:
    """The folders that the arguments give with --config-dir. Raises UserError for one that isn't
    there.
    """
    flags = CONFIG_DIR
    folders = [
        argument.split("=", 1)[1]
        for argument in arguments
        if argument.startswith(tuple(f"{flag}=" for flag in flags))
    ]
    folders += [after for flag, after in itertools.pairwise(arguments) if flag in flags]
    for folder in folders:
        try:
            is_there = Path(folder).is_dir()
        except (OSError, ValueError):  # a name that is too long, or has a zero byte
            is_there = False
        if not is_there:
            raise UserError(f"--config-dir {shown(folder)}: no such folder")
    return [Path(folder) for folder in folders]
