"""A suite's file as written: YAML, the values that names of its models stand for, and what is known
of its models beside what is needed to read them.
"""

from __future__ import annotations

import itertools
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

import yaml

from circuitwatch.errors import UserError
from circuitwatch.limits import shown
from circuitwatch.names import plain_path

SLOT = re.compile(r"\{([^{}]*)\}")
TIMESTAMP = "tag:yaml.org,2002:timestamp"
TAKEN = ("model", "base", "step", "tokens")
"""What stands for something else in a suite's file."""


@dataclass(frozen=True)
class Entry:
    """What a suite's file has under one name.

    pattern: the name as it is written, perhaps with {axes}. names: each name that it stands for →
    that and those of its variants. licence, architecture (`model_type` in config.json): what is
    known of them, or None. checkpoints: how many were published, where neither a list of steps nor
    a folder says it.
    """

    pattern: str
    names: dict[str, tuple[str, ...]]
    licence: str | None = None
    architecture: str | None = None
    checkpoints: int | None = None


class _Loader(getattr(yaml, "CSafeLoader", yaml.SafeLoader)):  # type: ignore[misc]
    """A key that is there twice is an error, as it is to OmegaConf, which takes ten times as long:
    all suites are read at each start.
    """

    yaml_implicit_resolvers: ClassVar = {
        first: [(tag, pattern) for tag, pattern in kinds if tag != TIMESTAMP]
        for first, kinds in yaml.SafeLoader.yaml_implicit_resolvers.items()
    }
    """A name such as 2024-11-05 is a text."""

    def construct_mapping(self, node: Any, deep: bool = False) -> Any:
        seen: set[str] = set()
        for key, _ in node.value:
            if isinstance(key.value, str) and key.value in seen:
                raise yaml.constructor.ConstructorError(
                    None, None, f"found duplicate key {shown(key.value)}", key.start_mark
                )
            if isinstance(key.value, str):
                seen.add(key.value)
        return super().construct_mapping(node, deep=deep)


def read_yaml(path: Path) -> Any:
    """What a YAML file holds. Raises UserError naming the file."""
    try:
        return yaml.load(path.read_text(encoding="utf-8"), Loader=_Loader)
    except (yaml.YAMLError, OSError, ValueError, RecursionError, TypeError) as error:
        raise UserError(
            f"{path}: can't be read as YAML ({' '.join(str(error).split())})"
        ) from error


def axes_of(path: Path, given: Any) -> dict[str, list[str]]:
    """The values of each axis under `each`. Raises UserError naming the axis that is wrong."""
    if given is None:
        return {}
    if not isinstance(given, dict):
        raise UserError(f"{path}: each: give what names stand for, e.g. {{corpus: [c4, dolma]}}")
    for axis, values in given.items():
        if not isinstance(axis, str) or not axis.isidentifier() or axis in TAKEN:
            raise UserError(
                f"{path}: each: {shown(axis)!r} can't be an axis; give a word, none of "
                f"{', '.join(TAKEN)}"
            )
        if not isinstance(values, list) or not values or not all(map(_is_name, values)):
            raise UserError(f"{path}: each: {axis}: give a list of names, e.g. [c4, dolma]")
    return {axis: [str(value) for value in values] for axis, values in given.items()}


def _is_name(value: Any) -> bool:
    return isinstance(value, str | int) and not isinstance(value, bool)


def filled(
    path: Path, pattern: str, axes: Mapping[str, Sequence[str]]
) -> dict[str, dict[str, str]]:
    """Each name that a pattern stands for → its value of each axis in it.

    Raises UserError for an axis that there isn't.
    """
    used = [slot for slot in dict.fromkeys(SLOT.findall(pattern)) if slot in axes]
    if unknown := next((slot for slot in SLOT.findall(pattern) if slot not in axes), None):
        there = f"there are {', '.join(axes)}" if axes else "there is none"
        raise UserError(f"{path}: {pattern}: {{{unknown}}} is no axis under `each`; {there}")
    combinations = [
        dict(zip(used, values, strict=True))
        for values in itertools.product(*(axes[axis] for axis in used))
    ]
    return {put(pattern, values): values for values in combinations}


def put(text: str, values: Mapping[str, str]) -> str:
    """A text with the values of axes in it; what else stands in braces stays."""
    for name, value in values.items():
        text = text.replace(f"{{{name}}}", value)
    return text


def variants_of(path: Path, name: str, given: Any) -> dict[str, dict[str, Any]]:
    """Variant → what differs in it, of a list of variants or a mapping of them.

    Raises UserError for what is neither.
    """
    if isinstance(given, list):
        return {str(variant): {} for variant in given}
    if isinstance(given, dict) and all(isinstance(own, dict | None) for own in given.values()):
        return {str(variant): own or {} for variant, own in given.items()}
    raise UserError(
        f"{path}: {name}: variants: give a list, e.g. [deduped, seed1], or what differs in each, "
        f"e.g. {{seed1: {{revisions: …}}}}"
    )


def facts_of(path: Path, name: str, given: Mapping[str, Any]) -> dict[str, Any]:
    """What is said of a model's licence, architecture and number of checkpoints, checked."""
    for key in ("licence", "architecture"):
        if not isinstance(given.get(key), str | None):
            raise UserError(f"{path}: {name}: {key}: give a word, not {shown(given[key])}")
    count = given.get("checkpoints")
    if count is not None and (not isinstance(count, int) or isinstance(count, bool) or count < 1):
        raise UserError(f"{path}: {name}: checkpoints: give how many there are, at least 1")
    return {key: given.get(key) for key in ("licence", "architecture", "checkpoints")}


def folder_of(path: Path, name: str, given: Any, values: Mapping[str, str]) -> str:
    """The folder of a model's checkpoints, given relative to the suite's file: what a file says
    must not hang on where a command is run; values: of what it may have in braces. Raises UserError
    for what can be none.
    """
    if not isinstance(given, str):
        raise UserError(f"{path}: {name}: path: give a folder, not {shown(given)}")
    given = put(given, values)
    plain_path(given, f"{path}: {name}: path")
    try:
        folder = path.resolve().parent / Path(given).expanduser()
    except RuntimeError as error:  # of ~somebody whom nobody knows
        raise UserError(f"{path}: {name}: path: {shown(given)}: {error}") from error
    # `..` is taken out without following links, as a person reads it.
    return str(Path(*_without_dots(folder)))


def _without_dots(folder: Path) -> list[str]:
    parts: list[str] = []
    for part in folder.parts:
        if part == ".." and len(parts) > 1:
            parts.pop()
        elif part != "..":
            parts.append(part)
    return parts
