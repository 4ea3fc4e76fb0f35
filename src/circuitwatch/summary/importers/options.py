"""What the options of the command say: pairs, numbers and directions by name, and the tokens of a
step.
"""

from __future__ import annotations

import re
from math import isfinite

import pandas as pd

from circuitwatch.errors import UserError
from circuitwatch.summary.importers.entries import to_numbers
from circuitwatch.summary.importers.rates import OTHERS, Given

PART = re.compile(r"""(?:"[^"]*"|'[^']*'|[^,"']|["'](?=[^"',]*(?:,|$)))+""")
"""What stands between two commas, of which those in quotes separate nothing; a quote without its
twin is a character like others.
"""
QUOTED = re.compile(r"""^(?P<name>[^"':]+):\s*(?P<value>"[^"]*"|'[^']*')$""")


def pairs(key: str, text: str) -> list[tuple[str, str]]:
    """`a:b,c:d` as pairs; the last colon of a part separates, but for one in quotes."""
    found = []
    for part in filter(None, (part.strip() for part in PART.findall(text))):
        if match := QUOTED.match(part):
            name, value = match["name"], match["value"]
        else:
            name, _, value = part.rpartition(":")
        if not name or not value:
            raise UserError(f"{key}={text}: {part} is no pair <name>:<value>")
        found.append((name.strip(), value.strip()))
    return found


def numbers_by_name(key: str, text: str) -> dict[str, float]:
    """`a:1,b:2` as numbers that a curve can cross."""
    return {name: _number(key, name, value) for name, value in pairs(key, text)}


def directions_by_name(text: str) -> dict[str, bool]:
    """`a:falls,b:rises`: whether each falls as a model learns."""
    return {name: _falls(name, word) for name, word in pairs("direction", text)}


def sizes_by_name(text: str) -> dict[str, float]:
    """`a:160M,b:1.4B` as numbers of parameters."""
    found = {}
    for name, size in pairs("params", text):
        number = to_numbers(pd.Series([size]))[0].iloc[0]
        if not number > 0:
            raise UserError(f"params={name}:{size}: give a number of parameters, such as 160M")
        found[name] = float(number)
    return found


def is_join(text: str) -> bool:
    """Whether stages of training are to be joined."""
    if text not in ("", "join"):
        raise UserError(f"stages={text}: give stages=join, or leave it out")
    return text == "join"


def tokens_per_step_of(text: str) -> Given:
    """A number alone, or `model:number` for some models and, at most once, a number alone for the
    others; none if nothing is given.
    """
    rates: dict[str, float] = {}
    for part in filter(None, (part.strip() for part in text.split(","))):
        name, _, number = part.rpartition(":")
        if name.strip() in rates:
            which = f"{name} has" if name else "all others have"
            raise UserError(f"tokens_per_step={text}: {which} two numbers; give one")
        rates[name.strip()] = _positive("tokens_per_step", text, number)
    return rates[OTHERS] if [*rates] == [OTHERS] else rates or None


def _falls(name: str, word: str) -> bool:
    if word not in ("falls", "rises"):
        raise UserError(f"direction={name}:{word}: give falls or rises")
    return word == "falls"


def _number(key: str, name: str, text: str) -> float:
    try:
        value = float(text)
    except ValueError as error:
        raise UserError(f"{key}={name}:{text}: {text} is no number") from error
    if not isfinite(value):
        raise UserError(
            f"{key}={name}:{text}: {text} is no number that a curve can cross, such as 0.5"
        )
    return value


def _positive(key: str, whole: str, text: str) -> float:
    try:
        value = float(text)
    except ValueError:
        value = 0.0
    if not 0 < value < float("inf"):
        raise UserError(
            f"{key}={whole}: give a number of tokens above 0, such as 2097152, or numbers by "
            f"model, such as small:1048576,large:2097152"
        )
    return value
