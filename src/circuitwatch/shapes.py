"""Whether a value that was read from JSON is what a type says: so that what a file lacks, or has of
another kind, is told where the file is read, by its place, and not where it is used.

Types are those that dataclasses and TypedDicts are written with. Numbers must be finite, and whole
ones fit into 64 bits; a flag is no number.
"""

from __future__ import annotations

import math
import sys
import types
from collections.abc import Mapping, Sequence
from dataclasses import MISSING, fields, is_dataclass
from functools import cache
from typing import (
    Annotated,
    Any,
    Literal,
    NotRequired,
    Union,
    get_args,
    get_origin,
    get_type_hints,
    is_typeddict,
)

MOST = 2**63 - 1
"""The largest whole number that a table can hold."""
SHOWN = 40
"""Characters of a value that a message shows."""
WORDS = {str: "text", int: "a whole number", float: "a number", bool: "true or false"}


class AtLeast:
    """A bound of a number: `Annotated[int, AtLeast(0)]`."""

    def __init__(self, least: float) -> None:
        self.least = least


def misfit(value: Any, kind: Any, at: str = "") -> str | None:
    """What of a value is not what a type says, in words that begin with its place; None where it
    fits.

    Args:
        value: from JSON.
        kind: a type, as in an annotation; of a dataclass or a TypedDict, of what it says, and what
            more there is is passed over.
        at: the place of the value, empty for the whole.
    """
    origin, inside = get_origin(kind), get_args(kind)
    if kind is Any:
        return None
    if origin is Annotated:
        return misfit(value, inside[0], at) or _out_of_bounds(value, inside[1:], at)
    if origin in (Union, types.UnionType):
        found = [misfit(value, one, at) for one in inside]
        return None if None in found else found[0]
    if origin is Literal:
        fits = any(value == one and type(value) is type(one) for one in inside)
        return None if fits else _said(at, value, " or ".join(map(str, inside)))
    if kind is None or kind is type(None):
        return None if value is None else _said(at, value, "null")
    if kind in WORDS:
        return None if _is(value, kind) else _said(at, value, WORDS[kind])
    if is_typeddict(kind) or is_dataclass(kind):
        return _misfit_of_fields(value, kind, at)
    if origin is not None and issubclass(origin, Mapping):
        if not isinstance(value, dict):
            return _said(at, value, "an object")
        return _first(misfit(item, inside[1], _below(at, name)) for name, item in value.items())
    if origin is tuple and inside[-1] is not Ellipsis:
        if not isinstance(value, list) or len(value) != len(inside):
            return _said(at, value, f"a list of {len(inside)}")
        pairs = zip(value, inside, strict=True)
        return _first(misfit(item, one, _below(at, k)) for k, (item, one) in enumerate(pairs))
    if origin is not None and issubclass(origin, Sequence):
        if not isinstance(value, list):
            return _said(at, value, "a list")
        return _first(misfit(item, inside[0], _below(at, k)) for k, item in enumerate(value))
    raise TypeError(f"no rule for {kind}")


def _misfit_of_fields(value: Any, kind: Any, at: str) -> str | None:
    if not isinstance(value, dict):
        return _said(at, value, "an object")
    known, needed = _fields_of(kind)
    lacking = [name for name in known if name in needed and name not in value]
    if lacking:
        return f"{at} has no {lacking[0]}" if at else f"no {lacking[0]}"
    return _first(
        misfit(value[name], one, _below(at, name)) for name, one in known.items() if name in value
    )


@cache
def _fields_of(kind: Any) -> tuple[dict[str, Any], frozenset[str]]:
    """Name → type of what a dataclass or TypedDict says, without functions, and what is needed."""
    if is_typeddict(kind):  # whose own list of what is needed is wrong where annotations are text
        hints = get_type_hints(kind, include_extras=True)
        needed = frozenset(n for n, hint in hints.items() if get_origin(hint) is not NotRequired)
        return {n: h if n in needed else get_args(h)[0] for n, h in hints.items()}, needed
    # One by one: the names in the types of functions may be imported for type checkers alone.
    named = vars(sys.modules[kind.__module__])
    plain = [f for f in fields(kind) if "Callable" not in str(f.type)]
    known = {f.name: get_type_hints(_holding(f.type), named)["x"] for f in plain}
    return known, frozenset(
        f.name for f in plain if f.default is MISSING and f.default_factory is MISSING
    )


def _holding(annotation: Any) -> type:
    """A class with one attribute x of a type that may be written as text."""
    return type("Holding", (), {"__annotations__": {"x": annotation}})


def _is(value: Any, kind: Any) -> bool:
    if kind is float:
        return _is(value, int) or (isinstance(value, float) and math.isfinite(value))
    if kind is int:
        return type(value) is int and -MOST <= value <= MOST
    return type(value) is kind


def _out_of_bounds(value: Any, bounds: Sequence[Any], at: str) -> str | None:
    for bound in bounds:
        if isinstance(bound, AtLeast) and value < bound.least:
            return _said(at, value, f"at least {bound.least:g}")
    return None


def shown(value: Any) -> str:
    """A value as a message shows it, on one line and not at length."""
    if isinstance(value, int) and abs(value) > MOST:
        return "a number of too many digits"
    text = repr(value)
    return text if len(text) <= SHOWN else f"{text[:SHOWN]}…"


def _said(at: str, value: Any, wanted: str) -> str:
    return f"{at or 'it'} is {shown(value)}, not {wanted}"


def _below(at: str, name: object) -> str:
    name = shown(name)[1:-1] if isinstance(name, str) else name
    return f"{at}.{name}" if at else str(name)


def _first(found: Any) -> str | None:
    return next((problem for problem in found if problem is not None), None)
