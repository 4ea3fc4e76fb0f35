"""Tasks: pairs of prompts whose behaviour, and circuit, is watched. Each is one file: a generator
that works with any tokenizer having its words as single tokens, and what
there is to know of the task
(`catalogue.Task`).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from circuitwatch import catalogue
from circuitwatch.catalogue import Task
from circuitwatch.errors import UserError
from circuitwatch.tasks.prompts import PromptSet

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

__all__ = ["PromptSet", "build_prompts", "task_called"]


def task_called(name: str) -> Task:
    """The task of that name. Raises UserError if there is none."""
    known = catalogue.tasks()
    if name not in known:
        raise UserError(f"task={name}: no such task; choose one of {', '.join(known)}")
    return known[name]


def build_prompts(
    task: str | Task,
    tokenizer: PreTrainedTokenizerBase,
    *,
    n_prompts: int,
    seed: int,
    prepend_bos: bool = True,
    **options: Any,
) -> PromptSet:
    """Make `n_prompts` pairs of prompts of a task; the same arguments give the same prompts.

    Raises UserError for an unknown task, or a tokenizer that lacks too many of the task's words.
    """
    chosen = task_called(task) if isinstance(task, str) else task
    return chosen.make_prompts(
        tokenizer, n_prompts=n_prompts, seed=seed, prepend_bos=prepend_bos, **options
    )
