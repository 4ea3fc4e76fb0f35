"""A template's file, read and checked key by key; what the keys mean is in `templates`."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from string import Formatter
from typing import Any

import yaml

from circuitwatch.catalogue import METRICS, MetricKind
from circuitwatch.errors import UserError

NEEDED = ("patterns", "lists", "corrupted", "answer", "wrong")
KEYS = ("words", "source", "metric", *NEEDED, "where", "roles")
NAME = re.compile(r"([a-z_]+)([1-9][0-9]*)?")
Rows = tuple[tuple[str, ...], ...]


@dataclass(frozen=True)
class WordList:
    """Words by rows [row][name]; key: as the file has it."""

    key: str
    names: tuple[str, ...]
    rows: Rows


@dataclass(frozen=True)
class Template:
    """A template's file, checked.

    draws: list's key → how many rows of it a prompt needs; chained: the key of the list that
    answers come from; right, wrong: numbers of the draws that are right and wrong, from 0.
    """

    name: str
    words: str
    metric: MetricKind
    patterns: tuple[str, ...]
    lists: Mapping[str, WordList]
    where: Mapping[str, str]
    corrupted: Mapping[str, str]
    answer: str
    draws: Mapping[str, int]
    chained: str
    right: int
    wrong: int
    roles: tuple[str, ...]


def read_template(content: bytes, path: Path, *, name: str) -> Template:
    """A template with this content, checked. Raises UserError naming the file and the key."""
    given = _Given(path, _yaml(content, path))
    lists = given.lists()
    of_name = {column: words for words in lists.values() for column in words.names}
    where = given.texts("where", needed=False)
    for slot in where:
        if NAME.fullmatch(slot) is None or slot in of_name:
            raise given.wrong(f"where.{slot}", "must be a new name, of small letters and _")
    patterns, corrupted = given.patterns(), given.texts("corrupted")
    draws = dict.fromkeys(lists, 0)

    def use(key: str, text: str, *, of_where: bool = True) -> None:
        """Check the slots of a text and count the rows that they need."""
        for slot in given.parsed(key, text):
            match = NAME.fullmatch(slot)
            if of_where and slot in where:
                continue
            if match is None or match[1] not in of_name or match[2] == "1":
                there = ", ".join([*of_name, *(where if of_where else ())])
                raise given.wrong(
                    key, f"{{{slot}}}: no such slot; there are {there}, and these with 2, 3, …"
                )
            words = of_name[match[1]]
            draws[words.key] = max(draws[words.key], int(match[2] or 1))

    for i, pattern in enumerate(patterns):
        use(f"patterns[{i}]", pattern)
        for slot in set(corrupted) - set(slots_of(pattern)):
            raise given.wrong(f"corrupted.{slot}", f"is no slot of {pattern!r}")
    for slot, text in where.items():
        use(f"where.{slot}", text, of_where=False)
    for slot, text in corrupted.items():
        use(f"corrupted.{slot}", text)
    answers = {}
    for key in ("answer", "wrong"):
        slots = given.parsed(key, text := given.text(key))
        if len(slots) != 1 or text != f"{{{slots[0]}}}":
            raise given.wrong(key, f"{text!r} must be one slot, such as {{{next(iter(of_name))}}}")
        use(key, text, of_where=False)
        match = NAME.fullmatch(slots[0])
        assert match is not None  # `use` has checked it
        answers[key] = match[1], int(match[2] or 1) - 1
    if answers["wrong"][0] != answers["answer"][0] or answers["wrong"] == answers["answer"]:
        raise given.wrong(
            "wrong", f"must be {{{answers['answer'][0]}}} with another number than answer"
        )
    chained = of_name[answers["answer"][0]]
    column = chained.names.index(answers["answer"][0])
    if len({row[column] for row in chained.rows}) == 1:
        raise given.wrong(
            f"lists.{chained.key}",
            f"all rows have the same {answers['answer'][0]}, {chained.rows[0][column]!r}; right "
            f"and wrong answers need two different words",
        )
    metric = given.content.get("metric", "logit_diff")
    if not isinstance(metric, str) or metric not in METRICS:
        raise given.wrong("metric", f"{metric!r}; choose one of {', '.join(METRICS)}")
    return Template(
        name=name,
        words=given.text("words") if "words" in given.content else name.replace("_", " "),
        metric=metric,
        patterns=patterns,
        lists=lists,
        where=where,
        corrupted=corrupted,
        answer=answers["answer"][0],
        draws=draws,
        chained=chained.key,
        right=answers["answer"][1],
        wrong=answers["wrong"][1],
        roles=given.roles(),
    )


@dataclass(frozen=True)
class _Given:
    """What a file says, read key by key."""

    path: Path
    content: Mapping[str, Any]

    def __post_init__(self) -> None:
        for key in self.content:
            if key not in KEYS:
                raise self.wrong(str(key), f"no such key; there are {', '.join(KEYS)}")
        for key in NEEDED:
            if not self.content.get(key):
                raise self.wrong(key, "is missing")

    def wrong(self, key: str, what: str) -> UserError:
        """The error that something is wrong with a key."""
        return UserError(f"{self.path}: {key}: {what}")

    def as_text(self, key: str, value: Any) -> str:
        """A value that must be text."""
        if isinstance(value, int) and not isinstance(value, bool):
            return str(value)
        if not isinstance(value, str) or not value:
            raise self.wrong(key, f"{value!r} is not text; put it in quotes")
        return value

    def text(self, key: str) -> str:
        """The text of a key."""
        return self.as_text(key, self.content[key])

    def texts(self, key: str, *, needed: bool = True) -> dict[str, str]:
        """The texts of a key that maps slots to texts."""
        value = self.content.get(key)
        if value is None and not needed:
            return {}
        if not isinstance(value, dict):
            raise self.wrong(key, 'must map slots to texts, such as country: "{country2}"')
        return {str(slot): self.as_text(f"{key}.{slot}", text) for slot, text in value.items()}

    def patterns(self) -> tuple[str, ...]:
        """The sentences."""
        value = self.content["patterns"]
        if not isinstance(value, list):
            raise self.wrong("patterns", "must be a list of sentences")
        return tuple(self.as_text(f"patterns[{i}]", text) for i, text in enumerate(value))

    def parsed(self, key: str, text: str) -> list[str]:
        """The slots of a text."""
        try:
            fields = [field for field in Formatter().parse(text) if field[1] is not None]
        except ValueError as error:
            raise self.wrong(key, f"{text!r}: {error}") from error
        for _, name, form, conversion in fields:
            if form or conversion:
                given = (
                    f"{name}{f'!{conversion}' if conversion else ''}{f':{form}' if form else ''}"
                )
                raise self.wrong(
                    key, f"{{{given}}}: a slot is a name alone, {{{name}}}, without ! or :"
                )
        return slots_of(text)

    def lists(self) -> dict[str, WordList]:
        """The word lists by key."""
        value, found = self.content["lists"], {}
        if not isinstance(value, dict):
            raise self.wrong("lists", "must map names to lists of words")
        seen: set[str] = set()
        for key, rows in value.items():
            names = tuple(name.strip() for name in str(key).split(","))
            for name in names:
                match = NAME.fullmatch(name)
                if match is None or match[2] is not None:
                    raise self.wrong(f"lists.{key}", f"{name!r} must be of small letters and _")
                if name in seen:
                    raise self.wrong(f"lists.{key}", f"{name} is there twice")
                seen.add(name)
            if not isinstance(rows, list):
                raise self.wrong(f"lists.{key}", "must be a list")
            found[str(key)] = WordList(str(key), names, self.rows(f"lists.{key}", names, rows))
        return found

    def rows(self, key: str, names: Sequence[str], rows: Sequence[Any]) -> Rows:
        """The rows of a list, all different."""
        read = []
        for i, row in enumerate(rows):
            words = row if isinstance(row, list) else [row]
            if len(words) != len(names):
                raise self.wrong(
                    f"{key}[{i}]", f"{row!r} is not one word for each of {', '.join(names)}"
                )
            read.append(tuple(self.as_text(f"{key}[{i}]", word) for word in words))
        if twice := [row for row in read if read.count(row) > 1]:
            raise self.wrong(key, f"{', '.join(twice[0])} is there twice")
        return tuple(read)

    def roles(self) -> tuple[str, ...]:
        """The roles that serve the task."""
        value = self.content.get("roles", [])
        return tuple(map(str, value)) if isinstance(value, list) else (str(value),)


class _Loader(getattr(yaml, "CSafeLoader", yaml.SafeLoader)):  # type: ignore[misc]
    """Reads YAML as the safe loader does, but for keys that are there twice: of those it would
    take the last without a word.
    """

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
        seen = set()
        for key, _ in node.value:
            if isinstance(key, yaml.ScalarNode):
                if (key.tag, key.value) in seen:
                    raise _RepeatedKeyError(key.value, key.start_mark.line + 1)
                seen.add((key.tag, key.value))
        read: dict[Any, Any] = super().construct_mapping(node, deep)
        return read


class _RepeatedKeyError(Exception):
    """A mapping has a key twice. Args: the key, and the line in which it is again."""


def _yaml(content: bytes, path: Path) -> Mapping[str, Any]:
    try:
        read: Any = yaml.load(content, Loader=_Loader)
    except _RepeatedKeyError as error:
        key, line = error.args
        raise UserError(f"{path}: {key}: is there twice (again in line {line})") from None
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        reason = " ".join(str(error).split())
        raise UserError(f"{path}: can't be read as YAML ({reason})") from error
    if not isinstance(read, dict):
        raise UserError(f"{path}: a template needs the keys {', '.join(NEEDED)}")
    return read


def slots_of(text: str) -> list[str]:
    """The slots of a pattern, in order."""
    return [name for _, name, _, _ in Formatter().parse(text) if name is not None]
