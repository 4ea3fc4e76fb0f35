"""When curves emerge, in words: an emergence point with its interval, a trend with model size."""

from __future__ import annotations

import math
import re
from collections.abc import Sequence

import pandas as pd

from circuitwatch.facts import Facts
from circuitwatch.summary.cells import NO_TASK
from circuitwatch.summary.lines import ELSEWHERE
from circuitwatch.summary.panels import METRIC
from circuitwatch.summary.statistics.knees import MIN_SIZES_KNEE
from circuitwatch.units import counted, format_number, format_tokens

MOST_NAMES = 8
"""Heads or models that a sentence names."""
MOST_CURVES = 20
MINUS = "−"
NEGATIVE = re.compile(r"-(?=[0-9.])")
STATUS_WORDS = {
    "already": "there from the first checkpoint",
    "never": "not by the last checkpoint",
    "transient": "rose and fell again",
    "ambiguous": "no clear emergence point",
}


def asked_curves(emergence: pd.DataFrame, facts: Facts) -> list[tuple[str, str]]:
    """(task, quantity) of the curves that are asked when they emerged, a task at a time: behaviours
    in the order of the catalogue, then of curves from elsewhere those that several models have, at
    most MOST_CURVES.
    """
    if emergence.empty:
        return []
    sizes = emergence.groupby(["task", "quantity"], sort=False)["model"].nunique()
    behaviours = sorted(
        (t for t, q in sizes.index if q == METRIC), key=lambda t: (facts.task(t).place, t)
    )
    others = [
        (t, q)
        for (t, q), n in sizes.items()
        if n > 1 and t != NO_TASK and facts.quantity(q).panel == ELSEWHERE
    ]
    return [(t, METRIC) for t in behaviours] + others[:MOST_CURVES]


def trend_of(scaling: pd.DataFrame, task: str, quantity: str) -> pd.Series | None:
    """How the emergence of a curve goes with model size: its row of the table, if it has one."""
    if scaling.empty:
        return None
    rows = scaling[
        (scaling["task"] == task)
        & (scaling["quantity"] == quantity)
        & (scaling["of"] == "tokens of emergence")
    ]
    return None if rows.empty else rows.iloc[0]


def trend_sentence(trend: pd.Series) -> str:
    """A trend that was fitted, in words: what twice the size does to the tokens, and the slope."""
    ends = [trend[name] for name in ("slope_low", "slope_high")]
    low, high = (None if pd.isna(end) else float(end) for end in ends)
    slope = float(trend["slope"])
    sure = (low is not None and low > 0) or (high is not None and high < 0)
    power = f"{format_number(slope)} {between(low, high)}"
    sizes = counted(int(trend["n_sizes"]), "size")
    if not sure:
        return (
            f"No sure trend with model size: tokens go with parameters to the power {power} over "
            f"{sizes}, which may be 0."
        )
    times = between(None if low is None else 2**low, None if high is None else 2**high)
    return (
        f"A model twice as large needs {format_number(2**slope)} {times} times as many tokens "
        f"(parameters to the power {power}, {sizes})."
    )


def between(low: float | None, high: float | None) -> str:
    """An interval of numbers, an end of which may be unbounded."""
    ends = ("unbounded" if e is None else format_number(float(e)) for e in (low, high))
    return f"[{', '.join(ends)}]"


def knee_sentence(trend: pd.Series) -> str:
    """`knee_words` as a sentence."""
    return f"{begin(knee_words(trend))}."


def knee_words(trend: pd.Series) -> str:
    """The size beyond which more scale changes nothing, in words."""
    low, high = (
        f"{format_tokens(trend[name])}" if pd.notna(trend[name]) else None
        for name in ("knee_low", "knee_high")
    )
    match trend["knee_status"]:
        case "levels off":
            ends = f"{low or 'the smallest'} – {high or 'beyond the largest'}"
            return (
                f"beyond {format_tokens(trend['knee'])} parameters ({ends}) more size changes "
                f"nothing"
            )
        case "not determined by these sizes":
            sizes = counted(int(trend["n_observed"]), "size")
            return f"{sizes} can't tell whether there is a size beyond which more changes nothing"
        case "too few sizes for a knee":
            return (
                f"a size beyond which more changes nothing can't be looked for with fewer than "
                f"{MIN_SIZES_KNEE} sizes"
            )
        case "no knee: a straight line fits as well":
            return "no size is seen beyond which more changes nothing"
        case status:
            return str(status)


def interval_of(row: pd.Series) -> tuple[float, float]:
    """The ends of the interval of an emergence point: 0 and infinity where the data don't say."""
    low, high = (
        float(row[name]) if pd.notna(row[name]) else None for name in ("tokens_low", "tokens_high")
    )
    return 0.0 if low is None else low, math.inf if high is None else high


def span_of(row: pd.Series) -> str:
    """The interval of an emergence point in brackets."""
    low, high = interval_of(row)
    end = format_tokens(high) if math.isfinite(high) else "beyond the last checkpoint"
    return f"[{format_tokens(low) or '0'} – {end}]"


def point_of(row: pd.Series) -> str:
    """When something emerged, with its interval, or why there is no emergence point."""
    match row["status"]:
        case "emerged":
            return f"{format_tokens(row['tokens'])} tokens {span_of(row)}"
        case "already":
            return "by the first checkpoint"
        case "never":
            return "not by the last checkpoint"
        case "transient":
            return "rose and fell again"
        case _:
            return "no clear emergence point"


def listed(names: Sequence[str], by: str = ", ") -> str:
    """The first MOST_NAMES of some names, and how many more there are."""
    more = len(names) - MOST_NAMES
    return by.join(names[:MOST_NAMES]) + (f" and {more} more" if more > 0 else "")


def together(names: Sequence[str]) -> str:
    """`a, b and c`."""
    return names[0] if len(names) == 1 else f"{', '.join(names[:-1])} and {names[-1]}"


def who_of(row: pd.Series, rows: pd.DataFrame) -> str:
    """The model of one of some rows, with its seed where these have several."""
    several = "seed" in rows and rows["seed"].nunique() > 1
    return f"{row['model']} seed {row['seed']}" if several else str(row["model"])


def with_minus(words: str) -> str:
    """Numbers below 0 with a minus sign instead of a hyphen."""
    return NEGATIVE.sub(MINUS, words)


def begin(words: str) -> str:
    """Words at the beginning of a sentence."""
    return words[:1].upper() + words[1:]


def times(number: int) -> str:
    """How often, in words."""
    return {1: "once", 2: "twice"}.get(number, f"{number} times")
