"""Two-digit addition: "The sum of 17 and 22 is" → 39 (Stolfo et al., arXiv 2305.15054; the MIB
benchmark, 2504.13151).

Metric: logit of the sum − logit of the counterpart's sum, in which one of the summands is another.
The next prompt has the two sums exchanged, with summands of its own, so over an even number of
prompts a liking for a number is worth nothing. A tokenizer that splits digits can't be asked: the
first digit of a sum seldom tells right from wrong.
"""

from __future__ import annotations

import random
from typing import TYPE_CHECKING

from circuitwatch.catalogue import Task
from circuitwatch.tasks.prompts import Draft, PromptSet, assemble, fill, require, single_tokens

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

SMALLEST = 10
NUMBERS = [str(number) for number in range(SMALLEST, 100)]
PATTERNS = (
    "The sum of {first} and {second} is",
    "Question: What is {first} plus {second}? Answer:",
    "We know that {first} + {second} =",
)


def make_prompts(
    tokenizer: PreTrainedTokenizerBase, *, n_prompts: int, seed: int, prepend_bos: bool = True
) -> PromptSet:
    """Positions: first, second (the summands) and end."""
    rng = random.Random(seed)
    ids = single_tokens(tokenizer, NUMBERS)
    require(len(ids), len(NUMBERS), len(NUMBERS), "two-digit numbers", "arithmetic")
    sums = range(2 * SMALLEST + 1, 100)
    drafts = []
    for i in range(n_prompts):
        if i % 2 == 0:
            total, other = rng.sample(sums, 2)
        else:
            total, other = other, total  # of the prompt before
        same = rng.randint(SMALLEST, min(total, other) - SMALLEST)
        summands = {"first": str(total - same), "second": str(same)}
        changed = {**summands, "first": str(other - same)}
        if rng.random() < 0.5:
            summands, changed = (
                {"first": words["second"], "second": words["first"]}
                for words in (summands, changed)
            )
        pattern = PATTERNS[i // 2 % len(PATTERNS)]
        clean, spans = fill(pattern, summands)
        corrupted, _ = fill(pattern, changed)
        drafts.append(Draft(clean, corrupted, spans, [ids[str(total)]], [ids[str(other)]]))
    counts = {"two-digit numbers": len(ids)}
    return assemble(
        "arithmetic",
        "logit_diff",
        drafts,
        tokenizer,
        prepend_bos=prepend_bos,
        lexicon_counts=counts,
    )


TASK = Task(
    name="arithmetic",
    words="two-digit addition",
    metric="logit_diff",
    make_prompts=make_prompts,
    place=80,
)
