"""Subject–verb agreement in six constructions (Newman et al., 2021; Tigges et al., arXiv
2407.10827): "The farmers near the king" → plural verbs.

Metric: Σ p(verbs of the right number) − Σ p(verbs of the wrong number). Corruption: the subject's
other number; in a coordination of verb phrases the first verb, which agrees with it, changes too.
Numbers are balanced within each construction; the number of another noun in the sentence is drawn
independently.
"""

from __future__ import annotations

import random
from typing import TYPE_CHECKING

from circuitwatch.catalogue import Task
from circuitwatch.lexicon import ADJECTIVES, AGREEMENT_PATTERNS, NOUNS, PAST_VERBS, VERBS, held_out
from circuitwatch.tasks.prompts import Draft, PromptSet, assemble, fill, require, single_tokens

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

SINGULAR, PLURAL = 0, 1


def make_prompts(
    tokenizer: PreTrainedTokenizerBase, *, n_prompts: int, seed: int, prepend_bos: bool = True
) -> PromptSet:
    """Positions: subject and end."""
    rng = random.Random(seed)
    nouns, verbs = (
        [pair for pair in pairs if len(single_tokens(tokenizer, pair)) == 2]
        for pairs in (NOUNS, VERBS)
    )
    require(len(nouns), 5, len(NOUNS), "nouns, singular and plural,", "agreement")
    require(len(verbs), 5, len(VERBS), "verbs, singular and plural,", "agreement")
    adjectives, past = (list(single_tokens(tokenizer, words)) for words in (ADJECTIVES, PAST_VERBS))
    require(
        min(len(adjectives), len(past)), 2, len(PAST_VERBS), "adjectives or past verbs", "agreement"
    )
    answers = [
        list(single_tokens(tokenizer, [verb[number] for verb in verbs]).values())
        for number in (SINGULAR, PLURAL)
    ]
    constructions = list(AGREEMENT_PATTERNS.items())
    drafts = []
    for i in range(n_prompts):
        number = i % 2
        construction, pattern = constructions[i // 2 % len(constructions)]
        while True:
            subject, other, verb, adjective = (
                rng.choice(nouns),
                rng.choice(nouns),
                rng.choice(verbs),
                rng.choice(adjectives),
            )
            companion = {"simple": adjective, "verb phrase coordination": verb[SINGULAR]}.get(
                construction, other[SINGULAR]
            )
            if subject != other and held_out(construction, subject[SINGULAR], companion):
                break
        shared = {"other": rng.choice(other), "past": rng.choice(past), "adjective": adjective}
        clean, spans = fill(pattern, {**shared, "subject": subject[number], "verb": verb[number]})
        corrupted, _ = fill(
            pattern, {**shared, "subject": subject[1 - number], "verb": verb[1 - number]}
        )
        drafts.append(
            Draft(
                clean,
                corrupted,
                {"subject": spans["subject"]},
                answers[number],
                answers[1 - number],
            )
        )
    counts = {"nouns": len(nouns), "verbs": len(verbs)}
    return assemble(
        "agreement", "prob_diff", drafts, tokenizer, prepend_bos=prepend_bos, lexicon_counts=counts
    )


TASK = Task(
    name="agreement",
    words="agreement",
    metric="prob_diff",
    make_prompts=make_prompts,
    place=40,
)
