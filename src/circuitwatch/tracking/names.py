"""What a record's scalars are called in Weights & Biases, and back.

| in a record                           | in W&B                                        |
|---------------------------------------|-----------------------------------------------|
| `behaviour/value`                     | `behaviour/<metric>`, e.g. `…/logit_diff`     |
| `behaviour/effect`                    | `behaviour/<metric>_effect`                   |
| `behaviour/corrupted`                 | `behaviour/<metric>_corrupted`                |
| other quantities of the catalogue     | their key                                     |
| ends of intervals, what there is by   | `detail/` before the name                     |
| chance, ceilings, words, yes and no   |                                               |

The metric is in the name so that logit and probability differences don't share a panel. What is
below `detail/` makes no panel by itself. Beside these stand, from the same record:
`tokens` and `log10_tokens` (0 tokens have none), `step`, `circuit/found`,
`roles/<role>/holders` and `/confirmed` (heads above the role's threshold, and those of them whose
effect confirms it), and `cost/seconds_<part>`.
"""

from __future__ import annotations

import re
from collections.abc import Collection

from circuitwatch.facts import Facts

DETAIL = "detail/"
AXES = ("tokens", "log10_tokens", "step")
STATUS, FOUND = "circuit/status", "circuit/found"
RECORD = f"{DETAIL}record"
"""A hash of the record that a row was made from."""
BY_METRIC = {
    "value": "",
    "low": "_low",
    "high": "_high",
    "corrupted": "_corrupted",
    "effect": "_effect",
    "effect_low": "_effect_low",
    "effect_high": "_effect_high",
}
"""A behaviour's scalars that are in the unit of the metric → what follows its name."""
BESIDE = re.compile(r"[_/](low|high|chance|ceiling)$")
MADE_HERE = re.compile(
    r"log10_tokens|cost/.*|roles/[^/]+/(holders|confirmed)|pictures/.*|heads(_page)?|detail/record"
)
"""What a run has beside what is in the records."""
DOUBLED = "behaviour/log_prob"
"""For the metric of that name, its own mean over prompts in double precision."""


def logged_name(key: str, metric: str) -> str:
    """What a scalar is called in W&B if it makes a panel; metric: of the task, such as
    `logit_diff`, or nothing where it is not known.
    """
    group, _, name = key.partition("/")
    if metric and group == "behaviour" and name in BY_METRIC:
        return f"behaviour/{metric}{BY_METRIC[name]}"
    return key


def is_beside(key: str) -> bool:
    """Whether a scalar stands beside another, as the end of its interval or what it would be by
    chance, so that it deserves no panel.
    """
    return BESIDE.search(key) is not None


def recorded_name(logged: str, metric: str) -> str:
    """What a record calls a scalar that W&B has; names of runs logged before stay as they are."""
    name = logged.removeprefix(DETAIL)
    if logged == DETAIL + DOUBLED:
        return DOUBLED
    if metric and name.startswith(f"behaviour/{metric}"):
        ending = name.removeprefix(f"behaviour/{metric}")
        found = [own for own, after in BY_METRIC.items() if after == ending]
        return f"behaviour/{found[0]}" if found else name
    return name


def names_of(scalars: Collection[str], words: Collection[str], facts: Facts, metric: str) -> dict[
    str, str
]:  # fmt: skip
    """What each scalar of a record is called in W&B.

    Args:
        scalars: names of the record's scalars.
        words: those of them that are no numbers.
        facts: which quantities there are, and which names are ends of intervals.
        metric: of the task.

    Returns:
        name in the record → name in W&B, no two alike.
    """
    ends = {end for pair in facts.intervals(scalars).values() for end in pair}

    def is_detail(key: str) -> bool:
        beside = key in ends or key in words or is_beside(key)
        return beside or (key == DOUBLED and metric == "log_prob")

    return {key: (DETAIL if is_detail(key) else "") + logged_name(key, metric) for key in scalars}
