"""Tasks: pairs of prompts whose behaviour, and circuit, is watched.

Each is one generator that works with any tokenizer having its words as single tokens.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from circuitwatch.errors import UserError
from circuitwatch.tasks import agreement, gendered_pronoun, greater_than, ioi
from circuitwatch.tasks.prompts import PromptSet

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

TASKS: dict[str, Callable[..., PromptSet]] = {
    "ioi": ioi.make_prompts,
    "greater_than": greater_than.make_prompts,
    "gendered_pronoun": gendered_pronoun.make_prompts,
    "agreement": agreement.make_prompts,
}

__all__ = ["TASKS", "PromptSet", "build_prompts"]


def build_prompts(
    task: str,
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
    if task not in TASKS:
        raise UserError(f"task={task}: no such task; choose one of {', '.join(TASKS)}")
    return TASKS[task](
        tokenizer, n_prompts=n_prompts, seed=seed, prepend_bos=prepend_bos, **options
    )
