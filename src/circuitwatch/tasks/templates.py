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
from collections.abc import Sequence
from functools import partial
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING

from circuitwatch import catalogue
from circuitwatch.catalogue import Task
from circuitwatch.errors import UserError
from circuitwatch.tasks.prompts import Draft, PromptSet, assemble, fill, require, single_tokens
from circuitwatch.tasks.template_files import Rows, Template, read_template, slots_of

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

FEWEST_ROWS = 4
"""Rows that a list must have left, if no prompt needs more."""


def template_task(content: bytes, path: Path, *, name: str) -> Task:
    """The task of a template with this content; path: for messages.

    Raises UserError naming the file and the key that is wrong.
    """
    template = read_template(content, path, name=name)
    return Task(
        name=name,
        words=template.words,
        metric=template.metric,
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
        column = words.names.index(template.answer)
        if len({row[column] for row in rows}) == 1:
            raise UserError(
                f"task={template.name}: the {len(rows)} of {len(words.rows)} rows of {key} that "
                f"are single tokens in this model's tokenizer all have the same "
                f"{template.answer}, {rows[0][column]!r}; right and wrong answers need two "
                f"different words"
            )
    return rows


def _slot(name: str, number: int) -> str:
    """The slot of a name for the draw of that number, from 0."""
    return name if number == 0 else f"{name}{number + 1}"


def _common_slots(patterns: Sequence[str]) -> list[str]:
    """The slots that all patterns have, in the order of the first."""
    return [
        s for s in dict.fromkeys(slots_of(patterns[0])) if all(s in slots_of(p) for p in patterns)
    ]


TASK = [
    template_task(path.read_bytes(), path, name=path.stem)
    for path in sorted(Path(__file__).parent.glob("*.yaml"))
]
