"""Tasks that are templates: one YAML file each, ours beside this module, a user's in
<folder>/tasks/<name>.yaml, given by --config-dir <folder>.

Keys of a file:

    words      what a person calls the task; without it the file's name
    source     where it comes from
    metric     logit_diff (the default), prob_diff or log_prob
    patterns   sentences with {slots}, each taken twice in turn
    lists      words for the slots: a name and a list of words, or several names, as in
               "country, capital", and a list of rows, one word for each name
    where      slots that are made of others, such as last: "{key}"
    corrupted  how the counterpart is made: slot: what it becomes, of slots of the clean prompt, or
               of others drawn for this; all else stays
    answer     the slot that is right: "{capital}"
    wrong      the slot that is wrong, of the same name with a number: "{capital2}"
    roles      roles of heads that serve the task, in the order in which it uses them

Slots: {country} and {capital} of one list are of one row, {country2} and {capital2} of another, and
so on: rows drawn for different numbers are never the same. Every word must be a single token behind
a space; rows with one that isn't are left out. A prompt and its counterpart must have equal length.

Balance: rows are drawn so that each row is wrong as often as it is right (the row that is wrong in
one prompt is right in the next), and never right and wrong with the same answer. So a model with
fixed preferences, which ignores the prompt, scores 0 on average. The same seed gives the same
prompts.
"""

from __future__ import annotations

import random
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from itertools import pairwise
from pathlib import Path
from string import Formatter
from typing import TYPE_CHECKING, Any

import yaml

from circuitwatch import catalogue
from circuitwatch.catalogue import METRICS, MetricKind, Task
from circuitwatch.errors import UserError
from circuitwatch.tasks.prompts import Draft, PromptSet, assemble, fill, require, single_tokens

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

NEEDED = ("patterns", "lists", "corrupted", "answer", "wrong")
KEYS = ("words", "source", "metric", *NEEDED, "where", "roles")
NAME = re.compile(r"([a-z_]+)([1-9][0-9]*)?")
FEWEST_ROWS = 4
"""Rows that a list must have left, if no prompt needs more."""
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


def template_task(content: bytes, path: Path, *, name: str) -> Task:
    """The task of a template with this content; path: for messages.

    Raises UserError naming the file and the key that is wrong.
    """
    template = read_template(content, path, name=name)
    return Task(
        name=name,
        words=template.words,
        metric=template.metric,
        chance=None if template.metric == "log_prob" else 0.0,
        make_prompts=partial(_make_prompts, template),
        roles=template.roles,
    )


def require_roles(task: Task, path: Path) -> None:
    """Raise UserError if a task, of the template at path, names a role that there isn't."""
    known = catalogue.roles()
    for role in task.roles:
        if role not in known:
            raise UserError(f"{path}: roles: {role}: no such role; there are {', '.join(known)}")


def _make_prompts(
    template: Template,
    tokenizer: PreTrainedTokenizerBase,
    *,
    n_prompts: int,
    seed: int,
    prepend_bos: bool = True,
) -> PromptSet:
    """Positions: the slots that all patterns have, and end."""
    rng = random.Random(seed)
    usable = {key: _usable(template, key, tokenizer) for key in template.lists}
    of_answers = template.lists[template.chained]
    column = of_answers.names.index(template.answer)
    chain = chained_rows(usable[template.chained], column, n_prompts, rng)
    drafts = []
    for i, (right, wrong) in enumerate(chain):
        words: dict[str, str] = {}
        for key, count in template.draws.items():
            rows = list(usable[key])
            if key == template.chained:
                drawn = rng.sample([row for row in rows if row not in (right, wrong)], count - 2)
                for number, row in sorted([(template.right, right), (template.wrong, wrong)]):
                    drawn.insert(number, row)
            else:
                drawn = rng.sample(rows, count)
            for number, row in enumerate(drawn):
                for column_name, word in zip(template.lists[key].names, row, strict=True):
                    words[_slot(column_name, number)] = word
        words |= {slot: fill(text, words)[0] for slot, text in template.where.items()}
        changed = words | {slot: fill(text, words)[0] for slot, text in template.corrupted.items()}
        pattern = template.patterns[i // 2 % len(template.patterns)]
        clean, spans = fill(pattern, words)
        corrupted, _ = fill(pattern, changed)
        if clean == corrupted:
            raise UserError(f"task={template.name}: corrupted changes nothing in {clean!r}")
        marks = {slot: spans[slot] for slot in _common_slots(template.patterns)}
        ids = single_tokens(tokenizer, (right[column], wrong[column]))
        drafts.append(Draft(clean, corrupted, marks, [ids[right[column]]], [ids[wrong[column]]]))
    return assemble(
        template.name,
        template.metric,
        drafts,
        tokenizer,
        prepend_bos=prepend_bos,
        lexicon_counts={key: len(rows) for key, rows in usable.items()},
    )


def chained_rows(
    rows: Rows, column: int, n: int, rng: random.Random
) -> list[tuple[tuple[str, ...], tuple[str, ...]]]:
    """The right and the wrong row of each of n prompts: a closed chain in which the wrong row of a
    prompt is right in the next, so that rows are right and wrong equally often; in a prompt the
    words of the column differ. Rows are used about equally often.

    With two different words and odd n there is no such chain; its last pair is not closed then.
    """
    used = dict.fromkeys(rows, 0)
    chain: list[tuple[str, ...]] = []
    for i in range(n):
        before = chain[-1][column] if chain else None
        fits = [row for row in rows if row[column] != before]
        if chain and i == n - 1:
            closing = [row for row in fits if row[column] != chain[0][column]]
            fits = closing or fits
        fewest = min(used[row] for row in fits)
        row = rng.choice([row for row in fits if used[row] == fewest])
        used[row] += 1
        chain.append(row)
    last = chain[0]
    if last[column] == chain[-1][column]:
        last = rng.choice([row for row in rows if row[column] != chain[-1][column]])
    return list(pairwise([*chain, last]))


def _usable(template: Template, key: str, tokenizer: PreTrainedTokenizerBase) -> Rows:
    """The rows of a list all of whose words are single tokens."""
    words = template.lists[key]
    known = single_tokens(tokenizer, dict.fromkeys(word for row in words.rows for word in row))
    rows = tuple(row for row in words.rows if all(word in known for word in row))
    needed = max(template.draws.get(key, 0), FEWEST_ROWS)
    require(len(rows), needed, len(words.rows), f"rows of {key}", template.name)
    if key == template.chained:
        answers = {row[words.names.index(template.answer)] for row in rows}
        require(len(answers), 2, len(rows), f"different words of {template.answer}", template.name)
    return rows


def _slot(name: str, number: int) -> str:
    """The slot of a name for the draw of that number, from 0."""
    return name if number == 0 else f"{name}{number + 1}"


def _slots(text: str) -> list[str]:
    """The slots of a pattern, in order."""
    return [name for _, name, _, _ in Formatter().parse(text) if name is not None]


def _common_slots(patterns: Sequence[str]) -> list[str]:
    """The slots that all patterns have, in the order of the first."""
    return [s for s in dict.fromkeys(_slots(patterns[0])) if all(s in _slots(p) for p in patterns)]


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
        for slot in set(corrupted) - set(_slots(pattern)):
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
    metric = given.content.get("metric", "logit_diff")
    if metric not in METRICS:
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
        chained=of_name[answers["answer"][0]].key,
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
            return _slots(text)
        except ValueError as error:
            raise self.wrong(key, f"{text!r}: {error}") from error

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


def _yaml(content: bytes, path: Path) -> Mapping[str, Any]:
    try:
        read: Any = yaml.load(content, Loader=getattr(yaml, "CSafeLoader", yaml.SafeLoader))
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        reason = " ".join(str(error).split())
        raise UserError(f"{path}: can't be read as YAML ({reason})") from error
    if not isinstance(read, dict):
        raise UserError(f"{path}: a template needs the keys {', '.join(NEEDED)}")
    return read


TASK = [
    template_task(path.read_bytes(), path, name=path.stem)
    for path in sorted(Path(__file__).parent.glob("*.yaml"))
]
