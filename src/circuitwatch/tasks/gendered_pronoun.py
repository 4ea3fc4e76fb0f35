"""Gendered pronoun: "So Judy is such a good cook, isn't" → " she" (Mathwin et al., 2023; Tigges et
al., arXiv 2407.10827).

Metric: logit of the pronoun of the name's gender − logit of the other. Corruption: a name of the
other gender. Half of the prompts have a female name.
"""

from __future__ import annotations

import random
from typing import TYPE_CHECKING

from circuitwatch.catalogue import Task
from circuitwatch.lexicon import (
    ADJECTIVES,
    FEMALE_NAMES,
    MALE_NAMES,
    PRONOUN_PATTERNS,
    ROLES,
    held_out,
)
from circuitwatch.tasks.prompts import Draft, PromptSet, assemble, fill, require, single_tokens

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase


def make_prompts(
    tokenizer: PreTrainedTokenizerBase, *, n_prompts: int, seed: int, prepend_bos: bool = True
) -> PromptSet:
    """Positions: name and end."""
    rng = random.Random(seed)
    pronouns = single_tokens(tokenizer, ["she", "he"])
    require(len(pronouns), 2, 2, "pronouns", "gendered_pronoun")
    names = [list(single_tokens(tokenizer, words)) for words in (FEMALE_NAMES, MALE_NAMES)]
    for usable, every in zip(names, (FEMALE_NAMES, MALE_NAMES), strict=True):
        require(len(usable), 5, len(every), "names of a gender", "gendered_pronoun")
    adjectives, roles = (list(single_tokens(tokenizer, words)) for words in (ADJECTIVES, ROLES))
    require(
        min(len(adjectives), len(roles)),
        3,
        len(ADJECTIVES),
        "adjectives or roles",
        "gendered_pronoun",
    )
    combinations = [
        [(name, role) for name in group for role in roles if held_out(name, role)]
        for group in names
    ]
    answers = [pronouns["she"], pronouns["he"]]
    drafts = []
    for i in range(n_prompts):
        gender = i % 2
        name, role = rng.choice(combinations[gender])
        words = {"adjective": rng.choice(adjectives), "role": role}
        pattern = PRONOUN_PATTERNS[i // 2 % len(PRONOUN_PATTERNS)]
        clean, spans = fill(pattern, {**words, "name": name})
        corrupted, _ = fill(pattern, {**words, "name": rng.choice(names[1 - gender])})
        drafts.append(
            Draft(
                clean, corrupted, {"name": spans["name"]}, [answers[gender]], [answers[1 - gender]]
            )
        )
    counts = {
        "female names": len(names[0]),
        "male names": len(names[1]),
        "adjectives": len(adjectives),
        "roles": len(roles),
    }
    return assemble(
        "gendered_pronoun",
        "logit_diff",
        drafts,
        tokenizer,
        prepend_bos=prepend_bos,
        lexicon_counts=counts,
    )


TASK = Task(
    name="gendered_pronoun",
    words="gendered pronoun",
    metric="logit_diff",
    make_prompts=make_prompts,
    place=30,
)
