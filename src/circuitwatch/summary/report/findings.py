"""What the tables say of each model, in sentences: which came first, who holds the roles, how many
handovers, whether algorithm and circuits stay.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Literal

import pandas as pd

from circuitwatch.facts import Facts
from circuitwatch.summary.cells import NO_TASK
from circuitwatch.summary.heads.algorithm import DEPENDS
from circuitwatch.summary.heads.histories import RoleHistory
from circuitwatch.summary.heads.holders import confirmed_holders, holders_at_end
from circuitwatch.summary.heads.tables import HeadTables
from circuitwatch.summary.panels import METRIC
from circuitwatch.summary.report.emergence_words import MINUS, begin, listed, point_of, times
from circuitwatch.summary.together import BEFORE, Comparisons
from circuitwatch.units import format_tokens

Order = Literal["before", "after", "can't be told", "only the first", "only the second", "neither"]
CONFIRMED = "✓"
GROUPS: dict[Order, str] = {
    "before": "before it",
    "after": "after it",
    "can't be told": "which came first can't be told",
    "only the first": "there without it",
    "only the second": "never by the last checkpoint",
    "neither": "never either",
}
"""How the roles of a task are said to stand to its behaviour, in this order."""
NEGATIVE = re.compile(r"-(?=[0-9.])")
UNEXPLAINED, SURE = "algorithm/unexplained", "algorithm/unexplained_sure"


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
    found = []
    for model, of_model in emergence.groupby("model", sort=False):
        seeds = list(of_model["seed"].unique())
        if len(seeds) > 1:
            found.append(
                Finding(
                    str(model), None, _over_seeds(of_model, heads, compared.lags, str(model), facts)
                )
            )
        for seed in seeds:
            roles = _of(heads.roles, str(model), seed)
            sentences = [
                *_roles_and_behaviours(
                    of_model[of_model["seed"] == seed], _of(compared.lags, str(model), seed), facts
                ),
                *_holders(
                    roles,
                    {h.role: h for h in heads.histories if (h.model, h.seed) == (model, seed)},
                    facts,
                ),
                *_handovers(roles, _of(heads.handovers, str(model), seed), facts),
                *_algorithm(_of(heads.algorithm, str(model), seed), facts),
                *_circuits(_of(compared.circuits, str(model), seed), facts),
            ]
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
                f"faithfulness is above 1.2 or below {MINUS}0.2 at {row['out_of_range']} of "
                f"{row['checkpoints_with_circuit']} checkpoints with a circuit: the "
                "circuit does something else than the whole model"
            )
        if row["not_converged"]:
            words.append(
                f"edge scores had not converged at {row['not_converged']} checkpoints "
                f"(largest estimated error {row['largest_score_error']:.2g} of all scores)"
            )
        if words:
            said.append(
                f"{row['model']} {facts.task(str(row['task'])).words} seed {row['seed']}: "
                f"{'; '.join(words)}."
            )
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
    sentences = []
    for task, behaviour, pairs in _pairs(rows, facts):
        groups: dict[Order, list[str]] = {}
        name = facts.task(task).words
        for role, row in pairs:
            lag = _lag_of(lags, task, role)
            order = order_of(row, behaviour, None if lag is None else str(lag["verdict"]))
            details = [point_of(row)] if row["status"] in ("emerged", "already") else []
            details += _ratio(lag, name) if order in ("before", "after") else []
            if order == "can't be told" and lag is not None and lag["note"]:
                details.append(str(lag["note"]))
            words = facts.role(role).words
            groups.setdefault(order, []).append(
                f"{words} ({'; '.join(details)})" if details else words
            )
        said = [
            f"{words}: {', '.join(groups[order])}"
            for order, words in GROUPS.items()
            if order in groups
        ]
        sentences.append(f"{begin(name)} {_how_it_rose(behaviour)}; {'; '.join(said)}.")
    return sentences


def _how_it_rose(behaviour: pd.Series) -> str:
    match behaviour["status"]:
        case "emerged":
            return f"emerged at {point_of(behaviour)}"
        case "already":
            return "was there at the first checkpoint"
        case "never":
            return f"never emerged by {format_tokens(behaviour['last_tokens'])} tokens"
        case status:
            return f"has no one emergence point ({status})"


def _ratio(lag: pd.Series | None, name: str) -> list[str]:
    """How many times as many tokens a behaviour took as a role, with its interval."""
    ends = ("ratio", "ratio_low", "ratio_high")
    if lag is None or any(pd.isna(lag[end]) for end in ends):
        return []
    ratio, low, high = (float(lag[end]) for end in ends)
    return [f"{name} took {ratio:.2f} [{low:.2f}, {high:.2f}] times as many tokens"]


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


def _holders(roles: pd.DataFrame, histories: Mapping[str, RoleHistory], facts: Facts) -> list[str]:
    """Who holds what at the end; what a causal check says of it stands for each task by itself, as
    a head may do its work in one and not in another.
    """
    held, empty, missing = [], [], []
    for _, row in roles.iterrows():
        role = facts.role(str(row["role"])).words
        if not row["checkpoints"]:
            missing.append(f"{role} ({row['note']})")
        elif row["holders_at_end"]:
            held += _by_task(role, histories[str(row["role"])], facts)
        else:
            empty.append(role)
    key = (
        f"{CONFIRMED}: confirmed by cause in that task; a head helps if patching it lowers "
        f"the behaviour, hurts if it raises it"
    )
    sentences = [f"Held at the last checkpoint ({key}): {'; '.join(held)}."] if held else []
    sentences += [f"Held by no head there: {', '.join(empty)}."] if empty else []
    return sentences + ([f"Not measured: {', '.join(missing)}."] if missing else [])


def _by_task(role: str, history: RoleHistory, facts: Facts) -> list[str]:
    """A role and its holders, once for each task in which they were checked."""
    every, said = holders_at_end(history), []
    for task in history.checked_at_end():
        sure = confirmed_holders(history, task)
        rest = [name for name in every if name not in {words.split()[0] for words in sure}]
        alone = f"by score alone {listed(rest)}" if rest else ""
        confirmed = f"{CONFIRMED} {listed(sure)}" if sure else ""
        name = facts.task(task).words
        said.append(f"{role} ({name}) {', '.join(filter(None, [confirmed, alone]))}")
    return said or [f"{role} {listed(every)} (unchecked)"]


def _handovers(roles: pd.DataFrame, handovers: pd.DataFrame, facts: Facts) -> list[str]:
    measured = roles[roles["checkpoints"] > 0] if len(roles) else roles
    if measured.empty:
        return []
    lost, regained = int(measured["lost"].sum()), int(measured["regained"].sum())
    if not lost:
        rest = "No head lost a role."
    elif regained:
        rest = f"Heads lost a role {times(lost)} and regained one {times(regained)}."
    else:
        rest = f"Heads lost a role {times(lost)}, and none regained it."
    if handovers.empty:
        return [f"Every role kept its strongest head. {rest}"]
    counts = handovers["role"].value_counts(sort=False)
    each = ", ".join(f"{facts.role(str(role)).words} {number}" for role, number in counts.items())
    return [f"The strongest head of a role changed {times(len(handovers))} ({each}). {rest}"]


def _algorithm(algorithm: pd.DataFrame, facts: Facts) -> list[str]:
    sentences = []
    for task, rows in algorithm.groupby("task", sort=False) if len(algorithm) else ():
        words = []
        judged = rows[~rows["quantity"].map(_key).isin([UNEXPLAINED, SURE])]
        for why, missing in judged[judged["verdict"] == "missing"].groupby(
            "why_missing", sort=False
        ):
            names = ", ".join(_short(str(name), facts) for name in missing["quantity"])
            words.append(f"{names} undefined" + (f" ({why})" if why else ""))
        for _, row in judged[judged["verdict"] != "missing"].iterrows():
            span = f"between {row['min']:.2f} and {row['max']:.2f}"
            if pd.notna(row["trend"]) and (
                row["trend_low"] > 0 or row["trend_high"] < 0
            ):  # also of one that stays by its range
                span += (
                    f", {row['trend']:+.2f} [{row['trend_low']:+.2f}, "
                    f"{row['trend_high']:+.2f}] per tenfold of tokens"
                )
            over_cutoffs = ""
            if pd.notna(row.get("band_min")):  # no such column where no measure has cut-offs
                over_cutoffs = (
                    f"; over all cut-offs between {row['band_min']:.2f} and {row['band_max']:.2f}"
                )
            verdicts = f": {row['verdicts']}" if over_cutoffs and row["verdict"] == DEPENDS else ""
            few = row["verdict"] == "too few checkpoints"
            verdict = "has too few checkpoints" if few else row["verdict"]
            span = _with_minus(span) + _with_minus(over_cutoffs) + verdicts
            words.append(f"{_short(str(row['quantity']), facts)} {verdict} ({span})")
        words += _unexplained(rows)
        name = begin(facts.task(str(task)).words)
        sentences += [f"{name}: {'; '.join(words)}."] if words else []
    return sentences


def _with_minus(words: str) -> str:
    """Numbers below 0 with a minus sign instead of a hyphen."""
    return NEGATIVE.sub(MINUS, words)


def _key(quantity: str) -> str:
    """The key of a measure in the table of the algorithm."""
    return quantity if "/" in quantity else f"algorithm/{quantity}"


def _short(quantity: str, facts: Facts) -> str:
    """A measure's name in a sentence: what its legend says before a colon."""
    known = facts.quantity(_key(quantity))
    return (known.label or known.words).split(":")[0]


def _unexplained(rows: pd.DataFrame) -> list[str]:
    """What no role explains at the last checkpoint, and the strongest heads of it by name."""
    known = rows[rows["last"].notna()]
    own = known.assign(key=known["quantity"].map(_key)).set_index("key")
    if UNEXPLAINED not in own.index:
        return []
    words = (
        f"heads without any role have {own.loc[UNEXPLAINED, 'last']:.2f} of the direct effect on "
        f"the logits at the last checkpoint"
    )
    if SURE in own.index:
        words += f" ({own.loc[SURE, 'last']:.2f} among heads whose effect is sure)"
    heads = str(own.loc[UNEXPLAINED, "heads"] or "")
    return [words + (f", strongest {_with_minus(heads)}" if heads else "")]


def _circuits(circuits: pd.DataFrame, facts: Facts) -> list[str]:
    """How alike circuits of neighbouring checkpoints are, and where that lies between chance and
    the noise ceiling.
    """
    if circuits.empty:
        return []
    said = []
    for _, row in circuits[
        (circuits["compared"] == BEFORE) & (circuits["measure"] == "edge_jaccard")
    ].iterrows():
        words = f"{facts.task(str(row['task'])).words} {row['all_prompts']:.2f}"
        if pd.notna(row["ceiling"]):
            words += (
                f" (of other prompts {row['jaccard']:.2f}, noise ceiling "
                f"{row['ceiling']:.2f}, by chance {row['chance']:.2f}"
            )
            interval = f" [{row['low']:.2f}, {row['high']:.2f}]" if pd.notna(row["low"]) else ""
            words += (
                f": stability {row['stability']:.2f}{interval})"
                if pd.notna(row["stability"])
                else ")"
            )
        said.append(words)
    if not said:
        return []
    meaning = (
        "; at about 1 they change no more from one checkpoint to the next than from "
        "one sample of prompts to another"
    )
    meaning = meaning if any("stability" in words for words in said) else ""
    return [
        f"Edges that circuits of neighbouring checkpoints share (Jaccard): "
        f"{'; '.join(said)}{meaning}."
    ]


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
            + ", ".join(f"{GROUPS[order]} in {own.count(order)}" for order in dict.fromkeys(own))
            for role, own in by_role.items()
        ]
        seeds = max(map(len, by_role.values()))
        name = facts.task(task).words
        sentences.append(f"Roles and {name}, over {seeds} seeds: {'; '.join(said)}.")
    roles = heads.roles[heads.roles["model"] == model] if len(heads.roles) else heads.roles
    measured = roles[roles["checkpoints"] > 0] if len(roles) else roles
    if len(measured):
        per_seed = measured.groupby("seed")["handovers"].sum().astype(float)
        spread = f"median {per_seed.median():g}, from {per_seed.min():g} to {per_seed.max():g}"
        sentences.append(
            f"Changes of a role's strongest head in a seed, all roles together: {spread}."
        )
    algorithm = (
        heads.algorithm[heads.algorithm["model"] == model]
        if len(heads.algorithm)
        else heads.algorithm
    )
    for task, of_task in algorithm.groupby("task", sort=False) if len(algorithm) else ():
        words = []
        judged = of_task[~of_task["quantity"].map(_key).isin([UNEXPLAINED, SURE])]
        for quantity, own in judged.groupby("quantity", sort=False):
            verdicts = own["verdict"].value_counts(sort=False)
            words.append(
                f"{_short(str(quantity), facts)} "
                f"{', '.join(f'{verdict} in {count}' for verdict, count in verdicts.items())}"
            )
        if words:
            name, seeds = begin(facts.task(str(task)).words), of_task["seed"].nunique()
            sentences.append(f"{name}, over {seeds} seeds: {'; '.join(words)}.")
    return sentences


def _of(table: pd.DataFrame, model: str, seed: int) -> pd.DataFrame:
    return table[(table["model"] == model) & (table["seed"] == seed)] if len(table) else table
