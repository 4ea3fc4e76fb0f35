"""Names and paths on the command line, checked before anything is made: Hydra makes a cell's folder
before it composes the cell's configuration.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping

from circuitwatch.config import OVERRIDES, Config
from circuitwatch.names import plain_name, plain_path
from circuitwatch.options import options_of

MULTIRUN = ("-m", "--multirun")
CONFIG_NAME = ("--config-name", "-cn")
LONGEST = 4000
"""Digits of a number that Python reads; Hydra refuses longer ones."""
CHECKS = {"sweep": plain_name, "project": plain_name, "entity": plain_name} | dict.fromkeys(
    ("out", "cell", "to"), plain_path
)
"""What the arguments of commands that Hydra does not read are."""


def require_names(arguments: Iterable[str]) -> None:
    """Raise UserError for an override that gives a name or a path which can be none."""
    arguments = list(arguments)
    several = any(argument in MULTIRUN for argument in arguments)
    known = dict(options_of(Config))
    for key, equals, value in (argument.partition("=") for argument in arguments):
        if equals and (key.startswith("hydra/") or key in CONFIG_NAME):
            for one in _values(value, several):
                plain_name(one, key)
        if equals and key == "seed":  # of which the folder's name is made, too
            for one in _values(value, several):
                if one.lstrip("+-").isdecimal() and len(one) < LONGEST:
                    known[key].require(int(one), key)
        spec = known.get(OVERRIDES.get(key.lstrip("+"), key.lstrip("+")))
        if equals and spec is not None and spec.check in (plain_name, plain_path):
            for one in _values(value, several):
                spec.require(one, key)


def require_names_given(values: Mapping[str, str]) -> None:
    """The same of the arguments of a command that Hydra does not read."""
    for key, value in values.items():
        if value and key in CHECKS:
            CHECKS[key](value, key)
        for part in value.split(",") if key == "from" else ():
            plain_path(part or ".", key)


def _values(text: str, several: bool) -> Iterator[str]:
    """The values of an override, those left out that Hydra makes anything of."""
    for part in text.split(",") if several else [text]:
        quoted = len(part) > 1 and part[0] == part[-1] and part[0] in "\"'"
        value = part[1:-1] if quoted else part
        if value not in ("", "null") and not any(mark in value for mark in ("${", "(", "\\")):
            yield value
