"""Greater-than: "The war lasted from the year 1732 to the year 17" → a two-digit token above 32
(Hanna et al., arXiv 2305.00586).

Metric: Σ p(yy > 32) − Σ p(yy ≤ 32) over the two-digit tokens. Corruption: the start year ends in
01. Start years come in pairs yy, 98 − yy, for which a model that spreads its probability evenly
over the years, or in any way symmetric about their middle, scores 0 on average.

Some tokenizers split numbers into digits (SmolLM, Llama 2, Qwen). For them there is the variant
`tens`: the same sentence ends before the tens digit, and the metric is Σ p(d > t) − Σ p(d < t) over
the ten digits, t being the start year's tens digit, which is in neither sum as the units decide
then. t is 1 to 8, in pairs t, 9 − t. Its numbers are not those of two-digit tokens and are not
pooled with them.
"""

from __future__ import annotations

import random
from typing import TYPE_CHECKING

from circuitwatch.catalogue import Algorithm, Task, later
from circuitwatch.encoding import ids_behind
from circuitwatch.lexicon import CENTURIES, EVENTS, GREATER_THAN_PATTERNS, held_out
from circuitwatch.quantities.shares import algorithm_share
from circuitwatch.tasks.prompts import Draft, PromptSet, assemble, fill, require, single_tokens

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

FIRST, LAST = 2, 96
CORRUPTED_YEAR = 1
DIGITS = range(10)
TENS = "tens"
"""The variant for tokenizers that split digits."""


def usable_years(tokenizer: PreTrainedTokenizerBase) -> dict[tuple[int, int], int]:
    """Years (century, yy) that are two tokens, " cc" and "yy", with the id of the second; a year
    that is one token is left out.
    """
    centuries = {c: i for c in CENTURIES for i in single_tokens(tokenizer, [str(c)]).values()}
    years = {}
    for century, first in centuries.items():
        for yy in range(100):
            ids = ids_behind(tokenizer, f" {century}{yy:02}")
            if len(ids) == 2 and ids[0] == first and ids[1] != tokenizer.unk_token_id:
                years[century, yy] = ids[1]
    return years


def digits(tokenizer: PreTrainedTokenizerBase) -> list[int] | None:
    """Ids of the digits 0 to 9, if the tokenizer writes the last two figures of every year as one
    token each; None for any other tokenizer.
    """
    alone = [ids_behind(tokenizer, f" {CENTURIES[0]}{d}")[-1] for d in DIGITS]
    if len(set(alone)) != len(alone) or tokenizer.unk_token_id in alone:
        return None
    for century in CENTURIES:
        before = ids_behind(tokenizer, f" {century}")
        for yy in range(100):
            ids = ids_behind(tokenizer, f" {century}{yy:02}")
            if ids != [*before, alone[yy // 10], alone[yy % 10]]:
                return None
    return alone


def make_prompts(
    tokenizer: PreTrainedTokenizerBase, *, n_prompts: int, seed: int, prepend_bos: bool = True
) -> PromptSet:
    """Positions: year (the two-digit part of the start year), century (its first part) and end; of
    the variant `tens` year is the tens digit, and units is there too.
    """
    rng = random.Random(seed)
    years = usable_years(tokenizer)
    events = list(single_tokens(tokenizer, EVENTS))
    counts = {"events": len(events)}
    by_digits = None if years else digits(tokenizer)
    if by_digits is None:
        known = {yy: token for (_, yy), token in years.items()}
        # A number whose mirror image is no token would give a model without a preference one.
        answers = {yy: token for yy, token in known.items() if 99 - yy in known}
        require(len(answers), 90, 100, "two-digit numbers", "greater_than")
        counts = {"years": len(years), "two-digit tokens": len(answers)} | counts
        usable, mirror = set(years), LAST + FIRST
    else:
        answers = dict(enumerate(by_digits))
        counts = {"digits": len(answers)} | counts
        usable, mirror = {(century, yy) for century in CENTURIES for yy in range(100)}, 9
    require(len(events), 3, len(EVENTS), "events", "greater_than")
    # What decides (yy, or its tens digit) → start years, of those that the nano corpus holds out.
    starts: dict[int, list[tuple[int, int]]] = {}
    for century, yy in sorted(usable):
        if (
            FIRST <= yy <= LAST
            and held_out("year", str(century), str(yy))
            and (century, CORRUPTED_YEAR) in usable
        ):
            starts.setdefault(yy if by_digits is None else yy // 10, []).append((century, yy))
    if by_digits is not None:
        starts = {tens: found for tens, found in starts.items() if 1 <= tens <= 8}
    mirrored = [start for start in starts if mirror - start in starts]
    if by_digits is None:
        require(len(mirrored), 20, LAST - FIRST + 1, "start years", "greater_than")
    halves = [rng.choice(mirrored) for _ in range((n_prompts + 1) // 2)]
    drafts = []
    for i in range(n_prompts):
        start = halves[i // 2] if i % 2 == 0 else mirror - halves[i // 2]
        century, yy = rng.choice(starts[start])
        pattern = GREATER_THAN_PATTERNS[i // 2 % len(GREATER_THAN_PATTERNS)]
        words = {"event": rng.choice(events), "century": str(century)}
        clean, spans = fill(pattern, {**words, "year": f"{century}{yy:02}"})
        corrupted, _ = fill(pattern, {**words, "year": f"{century}{CORRUPTED_YEAR:02}"})
        first, last = spans["year"]
        marks = {"year": (first, last), "century": (first, first + 2)}
        if by_digits is not None:
            marks |= {"year": (first, first + 3), "units": (first, last)}
        right = [token for number, token in answers.items() if number > start]
        # Of two digits, the start year itself is wrong; of tens it is neither.
        below = start + (by_digits is None)
        wrong = [token for number, token in answers.items() if number < below]
        drafts.append(Draft(clean, corrupted, marks, right, wrong))
    return assemble(
        "greater_than",
        "prob_diff",
        drafts,
        tokenizer,
        prepend_bos=prepend_bos,
        lexicon_counts=counts,
        variant="" if by_digits is None else TENS,
    )


TASK = Task(
    name="greater_than",
    words="greater-than",
    metric="prob_diff",
    make_prompts=make_prompts,
    roles=("successor", "induction", "year_attention", "year_push"),
    algorithm=Algorithm(
        quantities=(
            algorithm_share(
                "year_attention",
                "attention of the circuit's heads to the start year",
                "attention to the start year",
                "#cc79a7",
                "o",
                430,
            ),
            algorithm_share(
                "year_lens",
                "heads' logit lens: rank of the start year",
                "start year in the logit lens",
                "#56b4e9",
                "s",
                440,
            ),
            algorithm_share(
                "mlp_push",
                "MLPs: later years raised above earlier ones",
                "raising later years (MLPs)",
                "#d55e00",
                "^",
                450,
            ),
        ),
        inspect=later("circuitwatch.algorithms.greater_than:inspect"),
        observe=later("circuitwatch.algorithms.greater_than:observe"),
        patches_mlps=True,
        steps=(
            ("start\nyear", "attend", "algorithm/year_attention"),
            ("year\nheads", "say year", "algorithm/year_lens"),
            ("MLPs", "raise", "algorithm/mlp_push"),
            ("logits", "", ""),
        ),
    ),
    place=20,
)
