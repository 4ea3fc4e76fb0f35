"""A task that is a user's file of prompts (`rows` reads it): answers become tokens, and rows that
the model's tokenizer does not allow are left out and counted.

An answer is written behind its prompt, with a space between unless the prompt ends in one; where it
is several tokens the first stands for it, which must tell right from wrong.
"""

from __future__ import annotations

import random
import re
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from circuitwatch.catalogue import MetricKind, Task
from circuitwatch.encoding import ids_behind
from circuitwatch.errors import UserError
from circuitwatch.tasks.prompts import Draft, PromptSet, assemble
from circuitwatch.tasks.rows import Answer, Row, read_rows
from circuitwatch.units import counted

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

LENGTHS = "clean and corrupted have different numbers of tokens"
SAME = "clean and corrupted are the same"
UNKNOWN = "the tokenizer does not know every word of the prompts"
NO_TOKEN = "an answer is no token of this model's tokenizer"
NO_COUNTERFACTUAL = "the record has no counterfactual"
NO_WRONG = "no wrong answer"
NAMED = 5
"""Rows that a note names."""


def file_task(content: bytes, path: Path, *, name: str, metric: MetricKind | None = None) -> Task:
    """The task of a file of prompts with this content; metric: `logit_diff` if None."""
    chosen: MetricKind = metric or "logit_diff"
    return Task(
        name=name,
        words=name.replace("_", " "),
        metric=chosen,
        make_prompts=partial(_make_prompts, content, path, name, chosen),
        options=("min_prompts", "space", "counterfactual"),
    )


def _make_prompts(
    content: bytes,
    path: Path,
    name: str,
    metric: MetricKind,
    tokenizer: PreTrainedTokenizerBase,
    *,
    n_prompts: int,
    seed: int,
    prepend_bos: bool = True,
    min_prompts: int = 8,
    space: bool = True,
    counterfactual: str | None = None,
) -> PromptSet:
    """The prompts of a file for one tokenizer. Positions: those that the file names, and end.

    Args:
        content: the file's.
        path: its name, for messages.
        name: the task's.
        metric: what is measured; all but `log_prob` need a wrong answer in every row.
        tokenizer: the model's.
        n_prompts: at most so many rows, drawn evenly from the groups.
        seed: of that draw.
        prepend_bos: begin every prompt with the beginning-of-text token.
        min_prompts: the fewest rows that must be usable.
        space: write a space between a prompt and its answer.
        counterfactual: which of a MIB record's is the corrupted prompt.
    """
    read = read_rows(content, path, counterfactual=counterfactual)
    if metric != "log_prob" and not any(row.wrong for row in read.rows):
        missing = "no column wrong" if "wrong" in read.missing else "no wrong answers"
        unused = f" (there are unused ones: {', '.join(read.unused)})" if read.unused else ""
        raise UserError(
            f"{path}: has {missing}{unused}, which task.metric={metric} needs; "
            f"task.metric=log_prob needs none"
        )
    reader = _Reader(path, tokenizer, metric, space)
    usable: list[tuple[Row, Draft]] = []
    left_out: dict[str, list[int]] = {}
    for row in read.rows:
        draft = reader.draft(row)
        if isinstance(draft, str):
            left_out.setdefault(draft, []).append(row.number)
        else:
            usable.append((row, draft))
    notes = [
        f"{len(rows)} of {counted(len(read.rows), 'row')} left out: {reason} "
        f"({_answers(reader.no_token) if reason == NO_TOKEN else _numbers(rows)})"
        for reason, rows in left_out.items()
    ]
    if len(usable) < min_prompts:
        raise UserError(
            f"{path}: only {len(usable)} of {counted(len(read.rows), 'row')} can be used with "
            f"this model's tokenizer, task.min_prompts={min_prompts} are needed"
            + "".join(f"; {note}" for note in notes)
        )
    if reader.shortened:
        notes.append(f"{reader.shortened} answers are several tokens; the first stands for each")
    if read.unused:
        notes.append(f"columns that are not used: {', '.join(read.unused)}")
    chosen = _drawn([row.group for row, _ in usable], n_prompts, seed)
    rows, drafts = [usable[i][0] for i in chosen], [usable[i][1] for i in chosen]
    grouped = any(row.group for row in rows)
    counts = {"rows": len(read.rows), "usable rows": len(usable), "rows used": len(rows)}
    if grouped:
        counts |= {f"group {g}": n for g, n in sorted(Counter(r.group for r in rows).items())}
    return assemble(
        name,
        metric,
        drafts,
        tokenizer,
        prepend_bos=prepend_bos,
        lexicon_counts=counts,
        notes=notes,
        groups=[row.group for row in rows] if grouped else (),
    )


@dataclass
class _Reader:
    """Rows as one tokenizer sees them.

    shortened: how many answers were several tokens; no_token: row's number → its answers that are
    no token.
    """

    path: Path
    tokenizer: PreTrainedTokenizerBase
    metric: MetricKind
    space: bool
    shortened: int = 0
    no_token: dict[int, list[Answer]] = field(default_factory=dict)

    def draft(self, row: Row) -> Draft | str:
        """A row's prompts and the tokens of its answers, or why it is left out.

        Raises UserError where the row itself is wrong.
        """
        if not row.corrupted:
            return NO_COUNTERFACTUAL
        if not row.wrong and self.metric != "log_prob":
            return NO_WRONG
        clean, corrupted = self.encode(row.clean), self.encode(row.corrupted)
        if clean == corrupted:
            return SAME
        if self.tokenizer.unk_token_id is not None and self.is_unknown(clean + corrupted):
            return UNKNOWN
        if len(clean) != len(corrupted):
            return LENGTHS
        right, wrong = (
            {self.first_token(row, answer, clean): answer for answer in answers}
            for answers in (row.right, row.wrong)
        )
        if row.number in self.no_token:
            return NO_TOKEN
        if both := right.keys() & wrong.keys():
            token = min(both)  # type: ignore[type-var]
            raise self.error(
                row,
                f"the right answer {right[token]!r} and the wrong {wrong[token]!r} begin with the "
                f"same token of this model's tokenizer ({self.tokenizer.decode([token])!r})",
            )
        marks = {name: self.span(row, name, word) for name, word in row.positions.items()}
        return Draft(row.clean, row.corrupted, marks, list(right), list(wrong))  # type: ignore[arg-type]

    def error(self, row: Row, what: str) -> UserError:
        """The error that something is wrong with a row."""
        return UserError(f"{self.path}: row {row.number}: {what}")

    def encode(self, text: str) -> list[int]:
        """Ids of a text's tokens, without special ones."""
        return list(self.tokenizer(text, add_special_tokens=False, verbose=False)["input_ids"])

    def is_unknown(self, ids: Sequence[int]) -> bool:
        """Whether one of the tokens stands for what the tokenizer does not know."""
        return self.tokenizer.unk_token_id in ids

    def first_token(self, row: Row, answer: Answer, prompt: list[int]) -> int | None:
        """The first token of an answer after the prompt with these ids; None if there is none."""
        if isinstance(answer, int):
            if not 0 <= answer < len(self.tokenizer):
                raise self.error(
                    row,
                    f"{answer} is no id of this model's tokenizer, which has "
                    f"{len(self.tokenizer):,} tokens; the file was made for another",
                )
            return answer
        if self.space:
            answer = answer.strip() if row.clean[-1:].isspace() else f" {answer.strip()}"
        whole = self.encode(row.clean + answer)
        # A tokenizer that joins the prompt's end and the answer to one token: the answer by itself.
        joined = whole[: len(prompt)] != prompt
        alone = ids_behind(self.tokenizer, answer) if answer[:1] == " " else self.encode(answer)
        ids = alone if joined else whole[len(prompt) :]
        if not ids or not answer.strip() or self.is_unknown(ids[:1]):
            self.no_token.setdefault(row.number, []).append(answer)
            return None
        self.shortened += len(ids) > 1
        return ids[0]

    def span(self, row: Row, name: str, word: str) -> tuple[int, int]:
        """The characters of clean at which a word stands, `word#2` for its second occurrence."""
        text, _, which = word.rpartition("#")
        if not text or not which.isdecimal() or int(which) < 1:
            text, which = word, "1"
        # A whole word: "he" is not in "when".
        begins, ends = (r"\b" if text[k].isalnum() else "" for k in (0, -1))
        found = list(re.finditer(f"{begins}{re.escape(text)}{ends}", row.clean))
        if len(found) < int(which):
            raise self.error(row, f"position_{name}={word!r} does not stand in clean as a word")
        return found[int(which) - 1].span()


def _drawn(groups: Sequence[str], n: int, seed: int) -> list[int]:
    """At most n places of a list, ascending: drawn at random, one group after the other."""
    rng = random.Random(seed)
    of_group: dict[str, list[int]] = {}
    for place, group in enumerate(groups):
        of_group.setdefault(group, []).append(place)
    ranked = []
    for places in of_group.values():
        rng.shuffle(places)
        ranked += [(rank, place) for rank, place in enumerate(places)]
    tie = {place: rng.random() for _, place in ranked}
    ranked.sort(key=lambda item: (item[0], tie[item[1]]))
    return sorted(place for _, place in ranked[:n])


def _numbers(rows: Sequence[int]) -> str:
    """Some rows by their numbers."""
    shown = ", ".join(map(str, rows[:NAMED]))
    more = ", …" if len(rows) > NAMED else ""
    return f"{'row' if len(rows) == 1 else 'rows'} {shown}{more}"


def _answers(of_rows: Mapping[int, Sequence[Answer]]) -> str:
    """Some rows by their numbers, with the answers that are meant."""
    shown = [
        f"row {number}: {', '.join(map(repr, dict.fromkeys(answers)))}"
        for number, answers in list(of_rows.items())[:NAMED]
    ]
    return "; ".join(shown) + ("; …" if len(of_rows) > NAMED else "")
