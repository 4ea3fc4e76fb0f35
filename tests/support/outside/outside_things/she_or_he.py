"""A user's task: does the model say "she" after a woman's name?"""

from __future__ import annotations

import random
from typing import Any

from circuitwatch.catalogue import Task
from circuitwatch.tasks.prompts import Draft, PromptSet, assemble, fill, require, single_tokens

NAMES = {"she": ["Mary", "Grace", "Kate", "Alice"], "he": ["John", "Peter", "Paul", "James"]}
PATTERN = "So {name} is such a good cook, isn't"


def make_prompts(
    tokenizer: Any, *, n_prompts: int, seed: int, prepend_bos: bool = True
) -> PromptSet:
    """Positions: name and end; the corrupted prompt has a name of the other gender."""
    rng = random.Random(seed)
    answers = single_tokens(tokenizer, NAMES)
    require(len(answers), 2, 2, "pronouns", "she_or_he")
    drafts = []
    for i in range(n_prompts):
        right, wrong = ("she", "he") if i % 2 == 0 else ("he", "she")
        clean, spans = fill(PATTERN, {"name": rng.choice(NAMES[right])})
        corrupted, _ = fill(PATTERN, {"name": rng.choice(NAMES[wrong])})
        drafts.append(Draft(clean, corrupted, spans, [answers[right]], [answers[wrong]]))
    return assemble(
        "she_or_he", "logit_diff", drafts, tokenizer, prepend_bos=prepend_bos, lexicon_counts={}
    )


TASK = Task(
    name="she_or_he",
    words="she or he?",
    metric="logit_diff",
    make_prompts=make_prompts,
    roles=("self_attention",),
)
