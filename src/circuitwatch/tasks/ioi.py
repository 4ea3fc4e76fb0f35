"""Indirect object identification: "When Mary and John went to the store, John gave a drink to" →
Mary (Wang et al., arXiv 2211.00593).

Metric: logit of the indirect object (IO) − logit of the subject (S). Corruption `swap` repeats the
other name (ABB → ABA), as in Tigges et al. (2407.10827); `abc` puts three other names. Both orders
of the two names occur equally often. Name pairs are those that the nano corpus holds out.
"""

from __future__ import annotations

import random
from itertools import combinations
from typing import TYPE_CHECKING, Literal

from circuitwatch.catalogue import Algorithm, Task, later
from circuitwatch.errors import UserError
from circuitwatch.lexicon import (
    FEMALE_NAMES,
    IOI_PATTERNS,
    MALE_NAMES,
    OBJECTS,
    PLACES,
    held_out_pair,
)
from circuitwatch.quantities.shares import algorithm_share
from circuitwatch.tasks.prompts import Draft, PromptSet, assemble, fill, require, single_tokens

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

MOVER_ROLES = ("name_mover", "negative_name_mover", "copy_suppression")
"""Roles of heads that raise or lower the answer by themselves: B counts their holders."""
Corruption = Literal["swap", "abc"]


def make_prompts(
    tokenizer: PreTrainedTokenizerBase,
    *,
    n_prompts: int,
    seed: int,
    prepend_bos: bool = True,
    corruption: Corruption = "swap",
) -> PromptSet:
    """Positions: io, s1, s2 (the names) and end."""
    if corruption not in ("swap", "abc"):
        raise UserError(f"task.corruption={corruption}: ioi has the corruptions swap and abc")
    rng = random.Random(seed)
    every_name = [*FEMALE_NAMES, *MALE_NAMES]
    names = single_tokens(tokenizer, every_name)
    places, objects = (list(single_tokens(tokenizer, words)) for words in (PLACES, OBJECTS))
    require(len(names), 10, len(every_name), "names", "ioi")
    require(min(len(places), len(objects)), 3, len(PLACES), "places or objects", "ioi")
    pairs = [pair for pair in combinations(names, 2) if held_out_pair(*pair)]
    drafts = []
    for i in range(n_prompts):
        io, subject = rng.sample(rng.choice(pairs), 2)
        io_first = i % 2 == 0
        pattern = IOI_PATTERNS[i // 2 % len(IOI_PATTERNS)]
        words = {"place": rng.choice(places), "object": rng.choice(objects)}
        order = {"first": io, "second": subject} if io_first else {"first": subject, "second": io}
        clean, spans = fill(pattern, {**words, **order, "subject": subject})
        if corruption == "swap":
            changed = {**order, "subject": io}
        else:
            others = rng.sample([name for name in names if name not in (io, subject)], 3)
            changed = dict(zip(("first", "second", "subject"), others, strict=True))
        corrupted, _ = fill(pattern, {**words, **changed})
        io_field, s1_field = ("first", "second") if io_first else ("second", "first")
        marks = {"io": spans[io_field], "s1": spans[s1_field], "s2": spans["subject"]}
        drafts.append(Draft(clean, corrupted, marks, [names[io]], [names[subject]]))
    counts = {"names": len(names), "places": len(places), "objects": len(objects)}
    return assemble(
        "ioi", "logit_diff", drafts, tokenizer, prepend_bos=prepend_bos, lexicon_counts=counts
    )


TASK = Task(
    name="ioi",
    words="IOI",
    metric="logit_diff",
    make_prompts=make_prompts,
    options=("corruption",),
    roles=(
        "previous_token",
        "duplicate_token",
        "induction",
        "s_inhibition",
        "name_mover",
        "negative_name_mover",
        "copy_suppression",
    ),
    algorithm=Algorithm(
        quantities=(
            algorithm_share(
                "B",
                "B: of the effect on the logits, from name movers, negative ones "
                "and copy suppression",
                "B: name movers → logits",
                "#0072b2",
                "o",
                400,
                over_cutoffs=True,
                roles=MOVER_ROLES,
            ),
            algorithm_share(
                "C",
                "C: of the effect on name-mover queries, from S-inhibition heads",
                "C: S-inhibition → name movers",
                "#e69f00",
                "s",
                410,
                over_cutoffs=True,
            ),
            algorithm_share(
                "D",
                "D: of the effect on S-inhibition keys and values, from induction "
                "and duplicate-token heads",
                "D: induction, duplicates → S-inhibition",
                "#009e73",
                "^",
                420,
                over_cutoffs=True,
            ),
        ),
        inspect=later("circuitwatch.algorithms.ioi:inspect"),
        observe=later("circuitwatch.algorithms.ioi:observe"),
        steps=(
            ("induction,\nduplicate", "D", "algorithm/D"),
            ("S-inhib.", "C", "algorithm/C"),
            ("name\nmovers", "B", "algorithm/B"),
            ("logits", "", ""),
        ),
    ),
    place=10,
)
