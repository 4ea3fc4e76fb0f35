"""The arguments before Hydra sees them: flags from anywhere in the line, and overrides whose keys
and choices there are. What is wrong is said in one line, with what was perhaps meant.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any

from circuitwatch.checkpoints.suites import Suite
from circuitwatch.cli.choices import GROUPS, config_dirs, offered_in
from circuitwatch.config import OVERRIDES, Config
from circuitwatch.errors import UserError, meant
from circuitwatch.limits import shown
from circuitwatch.options import as_written, options_of

PLAIN = {
    "--multirun": "-m",
    "--run": "-r",
    "--resolve": "",
    "--hydra-help": "",
    "--shell-completion": "-sc",
}
"""Flags of Hydra that take no value, and how they are abbreviated."""
VALUED = {
    "--cfg": "-c",
    "--package": "-p",
    "--config-name": "-cn",
    "--config-dir": "-cd",
    "--info": "-i",
}
"""Those that take one."""
CHOICES = {
    "--cfg": ("job", "hydra", "all"),
    "--info": ("all", "config", "defaults", "defaults-tree", "plugins", "searchpath"),
}
REFUSED = {
    "--config-path": "the configuration is this program's; give --config-dir=<folder> to add to it",
    "-cp": "the configuration is this program's; give --config-dir=<folder> to add to it",
    "--experimental-rerun": "would unpickle a file; run the same command again instead",
}
MOST_CELLS = 100_000
"""Values of a range; Hydra composes a cell for each before the first is begun."""


@dataclass(frozen=True)
class Line:
    """A command line: flags, each as one argument `--flag` or `--flag=value`, and overrides."""

    flags: dict[str, str | None] = field(default_factory=dict)
    overrides: list[str] = field(default_factory=list)

    @classmethod
    def of(cls, arguments: Sequence[str]) -> Line:
        """Sort the arguments. Raises UserError for a flag that there isn't, or that can't be."""
        line, left = cls(), list(arguments)
        long = {short: flag for flag, short in (PLAIN | VALUED).items() if short}
        while left:
            argument = left.pop(0)
            if not re.match(r"--?[a-zA-Z]", argument):
                line.overrides.append(argument)
                continue
            name, equals, value = argument.partition("=")
            name = long.get(name, name)
            if name in REFUSED:
                raise UserError(f"{name}: {REFUSED[name]}")
            if name not in PLAIN and name not in VALUED:
                known = [*PLAIN, *VALUED, *long, "--help", "--version"]
                raise UserError(
                    f"{shown(argument)}: no such flag; {meant(name, known)}options are written "
                    f"key=value, and -m comes before a sweep; circuitwatch --help lists them"
                )
            if name in VALUED and not equals:
                value = _value_after(name, left)
            elif name in PLAIN and equals:
                raise UserError(f"{argument}: {name} takes no value")
            if name in line.flags and line.flags[name] != (value or None):
                raise UserError(f"{name}: given twice; give it once")
            line.flags[name] = value or None
        line._require_flags()
        return line

    @property
    def is_sweep(self) -> bool:
        """Whether several values of a key are several cells."""
        return "--multirun" in self.flags

    def arguments(self) -> list[str]:
        """As Hydra reads them: flags first, and keys by the names that the schema has."""
        given = [flag if value is None else f"{flag}={value}" for flag, value in self.flags.items()]
        parts = [override.partition("=") for override in self.overrides]
        return given + [OVERRIDES.get(key, key) + equals + value for key, equals, value in parts]

    def _require_flags(self) -> None:
        for name, choices in CHOICES.items():
            if (value := self.flags.get(name)) is not None and value not in choices:
                raise UserError(
                    f"{name}={value}: {meant(value, choices)}choose one of {', '.join(choices)}"
                )
        shows = [name for name in ("--cfg", "--info", "--shell-completion") if name in self.flags]
        modes = [name for name in ("--multirun", "--run", *shows) if name in self.flags]
        if self.is_sweep and shows:
            raise UserError(
                f"{shows[0]}: shows the configuration of one cell; leave out -m, and give one "
                f"value for each key"
            )
        if len(modes) > 1:
            raise UserError(f"{' '.join(modes)}: give one of them")
        if "--resolve" in self.flags and "--cfg" not in self.flags:
            raise UserError("--resolve: goes with --cfg job")


def _value_after(name: str, left: list[str]) -> str:
    if name == "--info":
        return left.pop(0) if left and left[0] in CHOICES["--info"] else "all"
    if not left:
        choices = CHOICES.get(name, ("<folder>",) if name == "--config-dir" else ("<name>",))
        raise UserError(f"{name}: needs a value, {' or '.join(choices)}")
    return left.pop(0)


def read_line(
    arguments: Sequence[str], suites: Iterable[Suite], templates: Iterable[str] = ()
) -> Line:
    """The line that arguments make. Raises UserError for the first that can't be what is meant.

    Args:
        arguments: What follows the command's name.
        suites: Whose models are choices of model=.
        templates: Names of the user's own, which are choices of task=.
    """
    line = Line.of(arguments)
    if {"--shell-completion", "--hydra-help"} & set(line.flags):
        return line
    models = [model for suite in suites for model in suite.models]
    first: dict[str, str] = {}
    for text in line.overrides:
        override = _parsed(text)
        key = override.key_or_group
        if key.startswith("hydra"):
            _require_hydra(key, override)
            continue
        _require_key(text, key, arguments)
        name = OVERRIDES.get(key, key)
        if name in first:
            raise UserError(
                f"{key}: given twice, {shown(first[name])} and {shown(text)}; give it once"
            )
        first[name] = text
        if override.is_delete():
            raise UserError(f"{shown(text)}: no option can be left out; give it a value, {key}=…")
        if override.is_sweep_override() and not line.is_sweep:
            raise UserError(
                f"{shown(text)}: several values are a sweep; add -m, or give one value "
                f"(quoted if it has commas: '{key}=\"…\"')"
            )
        if key in GROUPS:
            _require_choices(text, key, override, [*offered_in(key, arguments)], models, suites)
    return line


def _parsed(text: str) -> Any:
    """An override as Hydra understands it. Raises UserError with what is wrong in it."""
    from hydra.core.override_parser.overrides_parser import OverridesParser
    from hydra.errors import HydraException

    key, equals, value = text.partition("=")
    if not equals and not text.startswith("~"):
        raise UserError(
            f"{shown(text)!r}: options are written key=value; circuitwatch --help lists them"
        )
    if not key.isascii() or not re.fullmatch(r"[+~]{0,2}[\w./@:\-$]+", key):
        raise UserError(
            f"{shown(text)!r}: {shown(key)!r} can't be a key; options are written key=value, and "
            f"circuitwatch --help lists them"
        )
    try:
        override = OverridesParser.create().parse_override(text)
        if override.is_sweep_override() and override.is_choice_sweep():
            list(override.sweep_iterator())
    except (HydraException, ValueError, RecursionError, ArithmeticError, MemoryError) as error:
        raise UserError(f"{shown(text)}: {_unreadable(key, value)}") from error
    if override.is_range_sweep():
        _require_few(text, override.value())
    return override


def _require_few(text: str, swept: Any) -> None:
    """Raise UserError for a range of too many cells, or without end."""
    try:
        count = (swept.stop - (swept.start or 0)) / swept.step
    except (ZeroDivisionError, OverflowError):
        count = math.inf
    if not count <= MOST_CELLS:  # nor what is no number
        raise UserError(f"{shown(text)}: is of more than {MOST_CELLS} values")


def _unreadable(key: str, value: str) -> str:
    """What is wrong with a value that Hydra's grammar does not take."""
    for mark, called in (("'", "quote '"), ('"', 'quote "')):
        if value.count(mark) % 2:
            return f"a {called} is not closed"
    bare = re.sub(r"'[^']*'|\"[^\"]*\"", "", value)
    for opening, closing in ("[]", "()", "{}"):
        if bare.count(opening) != bare.count(closing):
            return f"a bracket {opening} or {closing} is without its other half"
    quoted = shown(value).strip("'\"").replace('"', '\\"')
    return f"can't be read; quote the value: '{key}=\"{quoted}\"'"


def _require_hydra(key: str, override: Any) -> None:
    """Raise UserError for a launcher whose package is not installed."""
    from circuitwatch.launching import ENGINES, require_engine

    for extra, (choice, *_) in ENGINES.items():
        if key == "hydra/launcher" and override.value() == choice:
            require_engine(extra)


def _require_key(text: str, key: str, arguments: Sequence[str]) -> None:
    """Raise UserError for a key that no option has."""
    known = [as_written(name, spec) for name, spec in options_of(Config)]
    own = {path.name for folder in config_dirs(arguments) for path in folder.iterdir()}
    groups = {*GROUPS, *own}
    if key in known or key in OVERRIDES.values() or key.split("@")[0].split("/")[0] in groups:
        return
    if key == "heads.thresholds" or key.startswith("heads.thresholds."):
        return  # roles, of which a plug-in may bring more, are checked with the values
    raise UserError(
        f"{shown(key)}: no such option; {meant(key, [*known, *groups])}"
        f"circuitwatch --help lists them"
    )


def _require_choices(
    text: str,
    group: str,
    override: Any,
    offered: list[str],
    models: Sequence[str],
    suites: Iterable[Suite],
) -> None:
    """Raise UserError for a value of a group that is none of its choices."""
    from hydra.core.override_parser.types import Glob, QuotedString

    if isinstance(override.value(), Glob):
        return
    values = [override.value()]
    if override.is_sweep_override():
        if not override.is_choice_sweep():
            raise UserError(
                f"{shown(text)}: {group} has names, so give a list of them: {group}=a,b"
            )
        values = list(override.value().list)
    known = [*offered, *(models if group == "model" else ())]
    for value in values:
        if isinstance(value, QuotedString):
            value = value.text
        if group == "experiment" and value is None:
            continue
        if isinstance(value, list) and all(isinstance(one, str) for one in value):
            named = [*value]
        else:
            named = [value]
        for name in named:
            if not isinstance(name, str) or not (name in known or "${" in name):
                said = name if isinstance(name, str) else str(name).lower()
                raise UserError(no_such_choice(group, said, offered, models, suites))


def no_such_choice(
    group: str, name: str, offered: Sequence[str], models: Sequence[str], suites: Iterable[Suite]
) -> str:
    """What is said of a choice that there isn't."""
    offered, known = list(offered), [*offered]
    if group == "model":
        known += models
        offered.append(
            f"a model of the suites {', '.join(suite.name for suite in suites)} "
            f"(circuitwatch models lists them)"
        )
    hint = meant(name, known)
    kind = group.rpartition("/")[2]
    return f"{group}={shown(name)}: no such {kind}; {hint}choose one of {', '.join(offered)}"
