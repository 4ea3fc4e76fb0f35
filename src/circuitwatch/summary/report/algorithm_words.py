"""Whether a task's algorithm stays, in sentences: its shares over the checkpoints at which the
behaviour is there, and what no role explains.
"""

from __future__ import annotations

import pandas as pd

from circuitwatch.facts import Facts
from circuitwatch.summary.heads.algorithm import DEPENDS, UNCHECKED
from circuitwatch.summary.report.emergence_words import begin, between, together, with_minus
from circuitwatch.units import counted, format_number

UNEXPLAINED, SURE = "algorithm/unexplained", "algorithm/unexplained_sure"
ALMOST_NONE = 0.005
"""A share below this is said to be almost none."""
IN_SEEDS = {
    "missing": "can't be measured",
    "too few checkpoints": "has too few checkpoints",
    "varies without a trend": "goes up and down",
    DEPENDS: DEPENDS,
    UNCHECKED: "was not checked over cut-offs",
}
"""How a verdict on a share is said; others as they are."""


def algorithm_sentences(algorithm: pd.DataFrame, facts: Facts) -> list[str]:
    """What the shares of each task do, and what no role explains: rows of
    `heads.algorithm.algorithm_table` of one model and seed.
    """
    sentences = []
    for task, rows in algorithm.groupby("task", sort=False) if len(algorithm) else ():
        judged = rows[~rows["quantity"].map(key_of).isin([UNEXPLAINED, SURE])]
        known = judged[judged["verdict"] != "missing"]
        words = [_share(row, facts) for _, row in known.iterrows()]
        for why, missing in judged[judged["verdict"] == "missing"].groupby(
            "why_missing", sort=False
        ):
            names = together([name_of(str(name), facts) for name in missing["quantity"]])
            words.append(f"{names} can't be measured" + (f" ({why})" if why else ""))
        words += _unexplained(rows)
        name = begin(facts.task(str(task)).words)
        sentences += (
            [f"{name}: {'. '.join([*words[:1], *map(begin, words[1:])])}."] if words else []
        )
    return sentences


def algorithm_over_seeds(algorithm: pd.DataFrame, facts: Facts) -> list[str]:
    """In how many seeds of a model each share does what."""
    sentences = []
    for task, of_task in algorithm.groupby("task", sort=False) if len(algorithm) else ():
        words = []
        judged = of_task[~of_task["quantity"].map(key_of).isin([UNEXPLAINED, SURE])]
        for quantity, own in judged.groupby("quantity", sort=False):
            verdicts = own["verdict"].value_counts(sort=False)
            said = [f"{IN_SEEDS.get(str(v), v)} in {count}" for v, count in verdicts.items()]
            words.append(f"{name_of(str(quantity), facts)} {', '.join(said)}")
        if words:
            name = begin(facts.task(str(task)).words)
            seeds = counted(of_task["seed"].nunique(), "seed")
            sentences.append(f"{name}, over {seeds}: {'; '.join(words)}.")
    return sentences


def key_of(quantity: str) -> str:
    """The key of a measure in the table of the algorithm."""
    return quantity if "/" in quantity else f"algorithm/{quantity}"


def name_of(quantity: str, facts: Facts) -> str:
    """A measure's name in a sentence: its legend, of which what comes after a colon in brackets."""
    known = facts.quantity(key_of(quantity))
    name, _, rest = (known.label or known.words).partition(": ")
    return f"{name} ({rest})" if rest else name


def _share(row: pd.Series, facts: Facts) -> str:
    """One share: what it does, between which values, and over which cut-offs."""
    name = name_of(str(row["quantity"]), facts)
    span = f"{format_number(float(row['min']))} to {format_number(float(row['max']))}"
    over = ""
    if pd.notna(row.get("band_min")):  # no such column where no measure has cut-offs
        ends = [format_number(float(row[f"band_{end}"])) for end in ("min", "max")]
        over = f"; {ends[0]} to {ends[1]} over all cut-offs"
    match row["verdict"]:
        case "stays":
            slow = _slope(row)
            although = f", though it slowly {slow}" if slow else ""
            return f"{name} stays about the same ({span}{over}){although}"
        case "rises" | "falls":
            return f"{name} {_slope(row) or row['verdict']} ({span}{over})"
        case "varies without a trend":
            return f"{name} goes up and down without a trend ({span}{over})"
        case "too few checkpoints":
            return f"{name} has too few checkpoints for a verdict ({span}{over})"
        case verdict if verdict == DEPENDS:
            return f"what {name} does depends on the cut-off: {row['verdicts']} ({span}{over})"
        case verdict if verdict == UNCHECKED:
            return f"{name} was not checked over cut-offs, so there is no verdict ({span}{over})"
        case verdict:
            return f"{name} {verdict} ({span}{over})"


def _slope(row: pd.Series) -> str:
    """How a share goes with tokens, where that is sure; empty where it isn't."""
    if pd.isna(row["trend"]) or not (row["trend_low"] > 0 or row["trend_high"] < 0):
        return ""
    ends = sorted((abs(float(row["trend_low"])), abs(float(row["trend_high"]))))
    return (
        f"{'rises' if row['trend'] > 0 else 'falls'} by {format_number(abs(float(row['trend'])))} "
        f"{between(*ends)} for every tenfold of tokens"
    )


def _unexplained(rows: pd.DataFrame) -> list[str]:
    """What no role explains at the last checkpoint, and the strongest heads of it by name."""
    known = rows[rows["last"].notna()]
    own = known.assign(key=known["quantity"].map(key_of)).set_index("key")
    if UNEXPLAINED not in own.index:
        return []
    value, whose = float(own.loc[UNEXPLAINED, "last"]), "heads without any role have"
    if abs(value) < ALMOST_NONE:
        return [f"at the last checkpoint {whose} almost none of the direct effect on the logits"]
    words = (
        f"at the last checkpoint {whose} {format_number(value)} of the direct effect on the logits"
    )
    if SURE in own.index:
        sure = format_number(float(own.loc[SURE, "last"]))
        words += f" ({sure} counting only heads whose effect is sure)"
    heads = str(own.loc[UNEXPLAINED, "heads"] or "")
    return [words + (f", the strongest {with_minus(heads)}" if heads else "")]
