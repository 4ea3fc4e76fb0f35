"""What the tables say of each model, in sentences: which came first, role or behaviour; who holds
the roles (`head_words`); whether algorithm (`algorithm_words`) and circuits stay.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal

import pandas as pd

from circuitwatch.facts import Facts
from circuitwatch.summary.cells import NO_TASK
from circuitwatch.summary.heads.tables import HeadTables
from circuitwatch.summary.panels import METRIC
from circuitwatch.summary.report.algorithm_words import algorithm_over_seeds, algorithm_sentences
from circuitwatch.summary.report.emergence_words import begin, between, point_of, who_of
from circuitwatch.summary.report.head_words import KEY, handover_sentences, holder_sentences
from circuitwatch.summary.together import BEFORE, Comparisons
from circuitwatch.units import counted, format_number, format_tokens

Order = Literal["before", "after", "can't be told", "only the first", "only the second", "neither"]
GROUPS: dict[Order, str] = {
    "before": "Before it",
    "after": "After it",
    "can't be told": "Order unclear",
    "only the first": "There without it",
    "only the second": "Not there by the last checkpoint",
    "neither": "Not there either",
}
"""How the roles of a task are said to stand to its behaviour, in this order."""
IN_SEEDS: dict[Order, str] = {
    "before": "before it",
    "after": "after it",
    "can't be told": "order unclear",
    "only the first": "there without it",
    "only the second": "not there by the last checkpoint",
    "neither": "neither there",
}
"""The same of some of a model's seeds."""


@dataclass(frozen=True)
class Finding:
    """What is found about one model and seed; seed is none for what is found over all of a model's
    seeds.
    """

    model: str
    seed: int | None
    sentences: list[str]


def findings(
    emergence: pd.DataFrame, heads: HeadTables, compared: Comparisons, facts: Facts
) -> list[Finding]:
    """What is found, by model: over its seeds where there are several, then for each seed.

    Only what there are numbers for.
    """
    found, explained = [], False
    for model, of_model in emergence.groupby("model", sort=False):
        seeds = list(of_model["seed"].unique())
        if len(seeds) > 1:
            over = _over_seeds(of_model, heads, compared.lags, str(model), facts)
            found.append(Finding(str(model), None, over))
        for seed in seeds:
            roles = _of(heads.roles, str(model), seed)
            histories = {h.role: h for h in heads.histories if (h.model, h.seed) == (model, seed)}
            of_seed = of_model[of_model["seed"] == seed]
            sentences = [
                *_roles_and_behaviours(of_seed, _of(compared.lags, str(model), seed), facts),
                *holder_sentences(roles, histories, facts, explained=explained),
                *handover_sentences(roles, _of(heads.handovers, str(model), seed), facts),
                *algorithm_sentences(_of(heads.algorithm, str(model), seed), facts),
                *_circuits(_of(compared.circuits, str(model), seed), facts),
            ]
            explained = explained or any(KEY in words for words in sentences)
            found.append(Finding(str(model), int(seed), sentences))
    return [finding for finding in found if finding.sentences]


def circuit_warnings(ends: pd.DataFrame, facts: Facts) -> list[str]:
    """What is doubtful about the circuits that were found, a sentence a cell; `ends` is as
    `tables.cells_table` has it.
    """
    said = []
    for _, row in ends.iterrows():
        words = []
        if row["out_of_range"]:
            words.append(
                f"at {row['out_of_range']} of "
                f"{counted(row['checkpoints_with_circuit'], 'checkpoint')} with a circuit the "
                f"faithfulness is above 1.2 or below −0.2: the circuit does something else than "
                f"the whole model"
            )
        if row["not_converged"]:
            error = format_number(float(row["largest_score_error"]))
            words.append(
                f"at {counted(row['not_converged'], 'checkpoint')} the edge scores had not "
                f"converged (largest estimated error {error} of all scores)"
            )
        if words:
            who = f"{who_of(row, ends)}, {facts.task(str(row['task'])).words}"
            said.append(f"{who}: {'; '.join(words)}.")
    return said


def order_of(first: pd.Series, second: pd.Series, lag: str | None) -> Order:
    """Whether one curve emerged before another: rows of the emergence table, and the verdict of
    `lags.lag_between` on the two, if there is one.

    `only the first` (`second`): it emerged, or was there already, and the other never did by the
    last checkpoint. Else what the lag says.
    """
    there = ("emerged", "already")
    statuses = first["status"], second["status"]
    if statuses[1] == "never" and statuses[0] in there:
        return "only the first"
    if statuses[0] == "never" and statuses[1] in there:
        return "only the second"
    if statuses == ("never", "never"):
        return "neither"
    if lag == "before":
        return "before"
    return "after" if lag == "after" else "can't be told"


def _roles_and_behaviours(rows: pd.DataFrame, lags: pd.DataFrame, facts: Facts) -> list[str]:
    """For each task with roles, when its behaviour emerged, and which of its roles came before it
    and which after.
    """
    found = []
    for task, behaviour, pairs in _pairs(rows, facts):
        groups: dict[Order, list[str]] = {}
        name = facts.task(task).words
        for role, row in pairs:
            lag = _lag_of(lags, task, role)
            order = order_of(row, behaviour, None if lag is None else str(lag["verdict"]))
            details = [] if row["status"] == "never" else [point_of(row)]
            details += _ratio(lag, order, name)
            both = row["status"] == behaviour["status"] == "emerged"
            if order == "can't be told" and lag is not None and lag["note"] and both:
                details.append(str(lag["note"]))
            words = facts.role(role).words
            said = f"{words} ({'; '.join(details)})" if details else words
            groups.setdefault(order, []).append(said)
        sentences = [f"{begin(name)} {_how_it_rose(behaviour)}."] + [
            f"{words}: {', '.join(groups[order])}."
            for order, words in GROUPS.items()
            if order in groups
        ]
        found.append(" ".join(sentences))
    return found


def _how_it_rose(behaviour: pd.Series) -> str:
    match behaviour["status"]:
        case "emerged":
            return f"emerged at {point_of(behaviour)}"
        case "already":
            return "was there at the first checkpoint"
        case "never":
            return f"had not emerged by {format_tokens(behaviour['last_tokens'])} tokens"
        case "transient":
            return "rose and fell again"
        case _:
            return "has no clear emergence point"


def _ratio(lag: pd.Series | None, order: Order, name: str) -> list[str]:
    """How many times as many tokens the later one of a role and a behaviour needed, with its
    interval.
    """
    ends = ("ratio", "ratio_low", "ratio_high")
    if lag is None or order not in ("before", "after") or any(pd.isna(lag[e]) for e in ends):
        return []
    ratio, low, high = (float(lag[end]) for end in ends)
    if order == "before":
        return [f"{name} needed {format_number(ratio)} {between(low, high)} times as many"]
    inverse = f"{format_number(1 / ratio)} {between(1 / high, 1 / low)}"
    return [f"{inverse} times as many as {name}"]


def _pairs(
    rows: pd.DataFrame, facts: Facts
) -> Iterator[tuple[str, pd.Series, list[tuple[str, pd.Series]]]]:
    """For each task of some rows of the emergence table of one model and seed: the task, the row of
    its behaviour, and those of its roles; only tasks that have both.
    """
    of_role = rows[rows["task"] == NO_TASK].drop_duplicates("quantity").set_index("quantity")
    behaviours = rows[rows["quantity"] == METRIC].drop_duplicates("task").set_index("task")
    for task in sorted(behaviours.index, key=lambda name: (facts.task(name).place, name)):
        keys = {role: facts.role(role).quantity.key for role in facts.task(task).roles}
        pairs = [(role, of_role.loc[key]) for role, key in keys.items() if key in of_role.index]
        if pairs:
            yield str(task), behaviours.loc[task], pairs


def _lag_of(lags: pd.DataFrame, task: str, role: str) -> pd.Series | None:
    """The row of a role and a behaviour in a table of lags of one model and seed."""
    own = lags[(lags["task"] == task) & (lags["role"] == role)] if len(lags) else lags
    return own.iloc[0] if len(own) else None


def _circuits(circuits: pd.DataFrame, facts: Facts) -> list[str]:
    """How alike circuits of neighbouring checkpoints are, and where that lies between chance and
    the noise ceiling: a sentence a task.
    """
    if circuits.empty:
        return []
    own = circuits[(circuits["compared"] == BEFORE) & (circuits["measure"] == "edge_jaccard")]
    found = []
    for _, row in own.iterrows():
        shared, other, chance, ceiling = (
            format_number(row[name]) for name in ("all_prompts", "jaccard", "chance", "ceiling")
        )
        if not shared:
            continue
        words = (
            f"{begin(facts.task(str(row['task'])).words)}: circuits of neighbouring checkpoints "
            f"share {shared} of their edges (Jaccard)"
        )
        if ceiling:
            words += (
                f". Circuits of different prompts share {other}, where chance gives {chance} and "
                f"unchanged circuits {ceiling} (the noise ceiling)"
            )
        if ceiling and pd.notna(row["stability"]):
            interval = f" {between(row['low'], row['high'])}" if pd.notna(row["low"]) else ""
            words += (
                f": stability {format_number(float(row['stability']))}{interval}, between 0 "
                f"(chance) and 1 (no change)"
            )
        found.append(f"{words}.")
    return found


def _over_seeds(
    rows: pd.DataFrame, heads: HeadTables, lags: pd.DataFrame, model: str, facts: Facts
) -> list[str]:
    """A model with several seeds: in how many of them what holds."""
    sentences = []
    orders: dict[str, dict[str, list[Order]]] = {}
    for seed, own in rows.groupby("seed"):
        of_seed = _of(lags, model, int(str(seed)))
        for task, behaviour, pairs in _pairs(own, facts):
            for role, row in pairs:
                lag = _lag_of(of_seed, task, role)
                order = order_of(row, behaviour, None if lag is None else str(lag["verdict"]))
                orders.setdefault(task, {}).setdefault(role, []).append(order)
    for task, by_role in orders.items():
        said = [
            f"{facts.role(role).words} "
            + ", ".join(f"{IN_SEEDS[order]} in {own.count(order)}" for order in dict.fromkeys(own))
            for role, own in by_role.items()
        ]
        seeds = counted(max(map(len, by_role.values())), "seed")
        name = facts.task(task).words
        sentences.append(f"Roles beside {name}, over {seeds}: {'; '.join(said)}.")
    roles = heads.roles[heads.roles["model"] == model] if len(heads.roles) else heads.roles
    measured = roles[roles["checkpoints"] > 0] if len(roles) else roles
    if len(measured):
        per_seed = measured.groupby("seed")["handovers"].sum().astype(float)
        sentences.append(
            f"Changes of a role's strongest head in a seed, all roles together: median "
            f"{per_seed.median():g}, from {per_seed.min():g} to {per_seed.max():g}."
        )
    algorithm = heads.algorithm
    own = algorithm[algorithm["model"] == model] if len(algorithm) else algorithm
    return sentences + algorithm_over_seeds(own, facts)


def _of(table: pd.DataFrame, model: str, seed: int) -> pd.DataFrame:
    return table[(table["model"] == model) & (table["seed"] == seed)] if len(table) else table
