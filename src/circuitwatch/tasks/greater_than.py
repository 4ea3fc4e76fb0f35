"""Greater-than: "The war lasted from the year 1732 to the year 17" → a two-digit token above 32
(Hanna et al., arXiv 2305.00586).

Metric: Σ p(yy > 32) − Σ p(yy ≤ 32) over the two-digit tokens. Corruption: the start year ends in
01. Start years come in pairs yy, 98 − yy, for which a model that spreads its probability evenly
over the years, or in any way symmetric about their middle, scores 0 on average.
"""

from __future__ import annotations

import random
from typing import TYPE_CHECKING

from circuitwatch.catalogue import Algorithm, Quantity, Task, later
from circuitwatch.lexicon import CENTURIES, EVENTS, GREATER_THAN_PATTERNS, held_out
from circuitwatch.tasks.prompts import Draft, PromptSet, assemble, fill, require, single_tokens

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

FIRST, LAST = 2, 96
CORRUPTED_YEAR = 1


def usable_years(tokenizer: PreTrainedTokenizerBase) -> dict[tuple[int, int], int]:
    """Years (century, yy) that are two tokens, " cc" and "yy", with the id of the second; a year
    that is one token is left out.
    """
    centuries = {c: i for c in CENTURIES for i in single_tokens(tokenizer, [str(c)]).values()}
    years = {}
    for century, first in centuries.items():
        for yy in range(100):
            ids = tokenizer.encode(f" {century}{yy:02}", add_special_tokens=False)
            if len(ids) == 2 and ids[0] == first and ids[1] != tokenizer.unk_token_id:
                years[century, yy] = ids[1]
    return years


def make_prompts(
    tokenizer: PreTrainedTokenizerBase, *, n_prompts: int, seed: int, prepend_bos: bool = True
) -> PromptSet:
    """Positions: year (the two-digit part of the start year), century (its first part) and end."""
    rng = random.Random(seed)
    years = usable_years(tokenizer)
    answers = {yy: token for (_, yy), token in years.items()}
    events = list(single_tokens(tokenizer, EVENTS))
    require(len(answers), 90, 100, "two-digit numbers", "greater_than")
    require(len(events), 3, len(EVENTS), "events", "greater_than")
    starts: dict[
        int, list[int]
    ] = {}  # yy → centuries, of the combinations that the nano corpus holds out
    for century, yy in years:
        if (
            FIRST <= yy <= LAST
            and held_out("year", str(century), str(yy))
            and (century, CORRUPTED_YEAR) in years
        ):
            starts.setdefault(yy, []).append(century)
    mirrored = [yy for yy in starts if LAST + FIRST - yy in starts]
    require(len(mirrored), 20, LAST - FIRST + 1, "start years", "greater_than")
    halves = [rng.choice(mirrored) for _ in range((n_prompts + 1) // 2)]
    drafts = []
    for i in range(n_prompts):
        start = halves[i // 2] if i % 2 == 0 else LAST + FIRST - halves[i // 2]
        century = rng.choice(starts[start])
        pattern = GREATER_THAN_PATTERNS[i // 2 % len(GREATER_THAN_PATTERNS)]
        words = {"event": rng.choice(events), "century": str(century)}
        clean, spans = fill(pattern, {**words, "year": f"{century}{start:02}"})
        corrupted, _ = fill(pattern, {**words, "year": f"{century}{CORRUPTED_YEAR:02}"})
        first, last = spans["year"]
        right, wrong = (
            [token for yy, token in answers.items() if (yy > start) is above]
            for above in (True, False)
        )
        drafts.append(
            Draft(
                clean,
                corrupted,
                {"year": (first, last), "century": (first, first + 2)},
                right,
                wrong,
            )
        )
    counts = {"years": len(years), "two-digit tokens": len(answers), "events": len(events)}
    return assemble(
        "greater_than",
        "prob_diff",
        drafts,
        tokenizer,
        prepend_bos=prepend_bos,
        lexicon_counts=counts,
    )


def _measure(name: str, words: str, label: str, colour: str, marker: str, place: int) -> Quantity:
    key = f"algorithm/{name}"
    return Quantity(
        key=key,
        words=words,
        unit="share",
        range=(0, 1),
        panel="algorithm",
        interval=(f"{key}_low", f"{key}_high"),
        colour=colour,
        marker=marker,
        label=label,
        place=place,
    )


TASK = Task(
    name="greater_than",
    words="greater than",
    metric="prob_diff",
    make_prompts=make_prompts,
    roles=("successor", "induction", "year_attention", "year_push"),
    algorithm=Algorithm(
        quantities=(
            _measure(
                "year_attention",
                "attention of the circuit's heads to the start year",
                "attention to the start year",
                "#cc79a7",
                "o",
                430,
            ),
            _measure(
                "year_lens",
                "heads' logit lens: weight on the start year",
                "logit lens at the start year",
                "#56b4e9",
                "s",
                440,
            ),
            _measure(
                "mlp_push",
                "MLPs: later years raised above earlier ones",
                "MLPs raise later years",
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
