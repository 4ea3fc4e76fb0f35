"""Which tasks a tokenizer has the words for, as a table."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING

import rich.box
from rich.table import Table
from rich.text import Text

from circuitwatch.errors import UserError
from circuitwatch.tasks import prompts_for

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

    from circuitwatch.config import TaskConfig


def tasks_table(
    tasks: Iterable[TaskConfig], tokenizer: PreTrainedTokenizerBase, *, seed: int, called: str
) -> Table:
    """One row a task: whether the tokenizer of what is `called` so can be asked it, how many of its
    words it has as single tokens, which variant it gets and how long prompts are; or why not.
    """
    table = Table(
        title=f"tasks with the tokenizer of {called}",
        title_justify="left",
        box=rich.box.SIMPLE_HEAD,
    )
    for column in ("task", "usable", "words it has", "variant", "longest prompt"):
        table.add_column(
            column,
            justify="right" if column == "longest prompt" else "left",
            no_wrap=column != "words it has",
        )
    for task in tasks:
        table.add_row(*(Text(cell) for cell in _row(task, tokenizer, seed)))
    return table


def _row(task: TaskConfig, tokenizer: PreTrainedTokenizerBase, seed: int) -> tuple[str, ...]:
    try:
        prompts = prompts_for(task, tokenizer, seed=seed)
    except UserError as error:
        return task.name, "no", str(error).removeprefix(f"task={task.name}: "), "", ""
    words = ", ".join(f"{count} {words}" for words, count in prompts.lexicon_counts.items())
    said = "; ".join([words, *prompts.notes])
    return task.name, "yes", said, prompts.variant, f"{int(prompts.lengths.max())} tokens"
