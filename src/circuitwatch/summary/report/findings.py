"""What the tables say of each model, in sentences: which came first, who holds the roles, how many
handovers, whether algorithm and circuits stay.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

import pandas as pd

from circuitwatch.summary.figures.shared import in_words
from circuitwatch.summary.heads.algorithm import DEPENDS
from circuitwatch.summary.heads.bands import BANDED, UNEXPLAINED
from circuitwatch.summary.heads.histories import RoleHistory
from circuitwatch.summary.heads.holders import confirmed_holders, holders_at_end
from circuitwatch.summary.heads.tables import HeadTables
from circuitwatch.summary.report.emergence_words import MINUS, begin, listed, moment_of, times
from circuitwatch.summary.tables import NO_TASK
from circuitwatch.summary.together import BEFORE, Comparisons
from circuitwatch.units import format_tokens

Order = Literal["before", "after", "can't be told", "only the first", "only the second", "neither"]
CONFIRMED = "✓"


@dataclass(frozen=True)
class Finding:
    """What is found about one model and seed; seed is none for what is found over all of a model's
    seeds.
    """

    model: str
    seed: int | None
    sentences: list[str]


def findings(emergence: pd.DataFrame, heads: HeadTables, compared: Comparisons) -> list[Finding]:
    """What is found, by model: over its seeds where there are several, then for each seed.

    Only what there are numbers for.
    """
    found = []
    for model, of_model in emergence.groupby("model", sort=False):
        seeds = list(of_model["seed"].unique())
        if len(seeds) > 1:
            found.append(
                Finding(str(model), None, _over_seeds(of_model, heads, compared.lags, str(model)))
            )
        for seed in seeds:
            roles = _of(heads.roles, str(model), seed)
            sentences = [
                *_induction_and_ioi(
                    of_model[of_model["seed"] == seed], _of(compared.lags, str(model), seed)
                ),
                *_holders(
                    roles,
                    {h.role: h for h in heads.histories if (h.model, h.seed) == (model, seed)},
                ),
                *_handovers(roles, _of(heads.handovers, str(model), seed)),
                *_algorithm(_of(heads.algorithm, str(model), seed)),
                *_circuits(_of(compared.circuits, str(model), seed)),
            ]
            found.append(Finding(str(model), int(seed), sentences))
    return [finding for finding in found if finding.sentences]


def circuit_warnings(ends: pd.DataFrame) -> list[str]:
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
                f"{row['model']} {in_words(str(row['task']))} seed {row['seed']}: "
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


def _induction_and_ioi(rows: pd.DataFrame, lags: pd.DataFrame) -> list[str]:
    pair = _pair(rows)
    if pair is None:
        return []
    a, b = pair
    lag = _lag_of(lags)
    words = f"induction at {moment_of(a)}, IOI at {moment_of(b)}"
    if (
        lag is not None
        and pd.notna(lag["ratio"])
        and pd.notna(lag["ratio_low"])
        and pd.notna(lag["ratio_high"])
    ):
        words += (
            f"; IOI took {lag['ratio']:.2f} [{lag['ratio_low']:.2f}, "
            f"{lag['ratio_high']:.2f}] times as many tokens"
        )
    match order_of(a, b, None if lag is None else str(lag["verdict"])):
        case "before":
            return [f"Induction emerged before IOI ({words})."]
        case "after":
            return [f"Induction emerged after IOI ({words})."]
        case "only the first":
            return [
                f"Induction is there ({moment_of(a)}); IOI never emerged by "
                f"{format_tokens(b['last_tokens'])} tokens."
            ]
        case "only the second":
            return [
                f"IOI is there ({moment_of(b)}); induction never emerged by "
                f"{format_tokens(a['last_tokens'])} tokens."
            ]
        case "neither":
            return [
                f"Neither induction nor IOI emerged by {format_tokens(a['last_tokens'])} tokens."
            ]
        case _:
            why = f"; {lag['note']}" if lag is not None and lag["note"] else ""
            return [f"Whether induction emerged before IOI can't be told ({words}{why})."]


def _lag_of(lags: pd.DataFrame) -> pd.Series | None:
    """The row of induction and IOI in a table of lags of one model and seed."""
    own = lags[(lags["task"] == "ioi") & (lags["role"] == "induction")] if len(lags) else lags
    return own.iloc[0] if len(own) else None


def _holders(roles: pd.DataFrame, histories: Mapping[str, RoleHistory]) -> list[str]:
    """Who holds what at the end; what a causal check says of it stands for each task by itself, as
    a head may do its work in one and not in another.
    """
    held, empty, missing = [], [], []
    for _, row in roles.iterrows():
        role = in_words(str(row["role"]))
        if not row["checkpoints"]:
            missing.append(f"{role} ({row['note']})")
        elif row["holders_at_end"]:
            held += _by_task(role, histories[str(row["role"])])
        else:
            empty.append(role)
    key = (
        f"{CONFIRMED}: confirmed by cause in that task; a head helps if patching it lowers "
        f"the behaviour, hurts if it raises it"
    )
    sentences = [f"Held at the last checkpoint ({key}): {'; '.join(held)}."] if held else []
    sentences += [f"Held by no head there: {', '.join(empty)}."] if empty else []
    return sentences + ([f"Not measured: {', '.join(missing)}."] if missing else [])


def _by_task(role: str, history: RoleHistory) -> list[str]:
    """A role and its holders, once for each task in which they were checked."""
    every, said = holders_at_end(history), []
    for task in history.checked_at_end():
        sure = confirmed_holders(history, task)
        rest = [name for name in every if name not in {words.split()[0] for words in sure}]
        alone = f"by score alone {listed(rest)}" if rest else ""
        confirmed = f"{CONFIRMED} {listed(sure)}" if sure else ""
        said.append(f"{role} ({task}) {', '.join(filter(None, [confirmed, alone]))}")
    return said or [f"{role} {listed(every)} (unchecked)"]


def _handovers(roles: pd.DataFrame, handovers: pd.DataFrame) -> list[str]:
    measured = roles[roles["checkpoints"] > 0] if len(roles) else roles
    if measured.empty:
        return []
    lost, regained = int(measured["lost"].sum()), int(measured["regained"].sum())
    rest = f"a head lost a role {times(lost)} and regained one {times(regained)}."
    if handovers.empty:
        return [f"No role changed its strongest head; {rest}"]
    counts = handovers["role"].value_counts(sort=False)
    each = ", ".join(f"{in_words(str(role))} {number}" for role, number in counts.items())
    return [f"The strongest head of a role changed {times(len(handovers))} ({each}); {rest}"]


def _algorithm(algorithm: pd.DataFrame) -> list[str]:
    sentences = []
    for task, rows in algorithm.groupby("task", sort=False) if len(algorithm) else ():
        words = []
        judged = rows[~rows["quantity"].isin(UNEXPLAINED)]
        for why, missing in judged[judged["verdict"] == "missing"].groupby(
            "why_missing", sort=False
        ):
            names = ", ".join(in_words(str(name)) for name in missing["quantity"])
            words.append(f"{names} can't be had" + (f" ({why})" if why else ""))
        for _, row in judged[judged["verdict"] != "missing"].iterrows():
            span = f"between {row['min']:.2f} and {row['max']:.2f}"
            if pd.notna(row["trend"]) and (
                row["trend_low"] > 0 or row["trend_high"] < 0
            ):  # also of one that stays by its range
                trend = (
                    f", {row['trend']:+.2f} [{row['trend_low']:+.2f}, "
                    f"{row['trend_high']:+.2f}] per tenfold of tokens"
                )
                span += trend
            if row["quantity"] in BANDED and pd.notna(row["band_min"]):
                span += (
                    f"; over all cut-offs between {row['band_min']:.2f} and {row['band_max']:.2f}"
                )
                span += f": {row['verdicts']}" if row["verdict"] == DEPENDS else ""
            verdict = (
                "has too few checkpoints"
                if row["verdict"] == "too few checkpoints"
                else row["verdict"]
            )
            words.append(
                f"{in_words(str(row['quantity']))} {verdict} ({span})".replace("-", MINUS).replace(
                    f"cut{MINUS}off", "cut-off"
                )
            )
        words += _unexplained(rows)
        sentences += [f"{begin(str(task))}: {'; '.join(words)}."] if words else []
    return sentences


def _unexplained(rows: pd.DataFrame) -> list[str]:
    """What no role explains at the last checkpoint, and the strongest heads of it by name."""
    last = rows[rows["last"].notna()].set_index("quantity")["last"]
    if "unexplained" not in last:
        return []
    words = (
        f"heads without any role have {last['unexplained']:.2f} of the direct effect on "
        f"the logits at the last checkpoint"
    )
    if "unexplained_sure" in last:
        words += f" ({last['unexplained_sure']:.2f} among heads whose effect is sure)"
    heads = str(rows.set_index("quantity").loc["unexplained", "heads"] or "")
    return [words + (f", strongest {heads.replace('-', MINUS)}" if heads else "")]


def _circuits(circuits: pd.DataFrame) -> list[str]:
    """How alike circuits of neighbouring checkpoints are, and where that lies between chance and
    the noise ceiling.
    """
    if circuits.empty:
        return []
    said = []
    for _, row in circuits[
        (circuits["compared"] == BEFORE) & (circuits["measure"] == "edge_jaccard")
    ].iterrows():
        words = f"{in_words(str(row['task']))} {row['all_prompts']:.2f}"
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


def _over_seeds(rows: pd.DataFrame, heads: HeadTables, lags: pd.DataFrame, model: str) -> list[str]:
    """A model with several seeds: in how many of them what holds."""
    sentences = []
    orders: list[Order] = []
    for seed, own in rows.groupby("seed"):
        pair, lag = _pair(own), _lag_of(_of(lags, model, int(str(seed))))
        orders += (
            [] if pair is None else [order_of(*pair, None if lag is None else str(lag["verdict"]))]
        )
    if orders:
        names: dict[Order, str] = {
            "only the first": "induction alone emerged",
            "only the second": "IOI alone emerged",
        }
        counts = ", ".join(
            f"{names.get(order, order)} in {orders.count(order)}" for order in dict.fromkeys(orders)
        )
        sentences.append(
            f"Whether induction emerged before IOI, over {len(orders)} seeds: {counts}."
        )
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
        for quantity, own in of_task[~of_task["quantity"].isin(UNEXPLAINED)].groupby(
            "quantity", sort=False
        ):
            verdicts = own["verdict"].value_counts(sort=False)
            words.append(
                f"{in_words(str(quantity))} "
                f"{', '.join(f'{verdict} in {count}' for verdict, count in verdicts.items())}"
            )
        if words:
            sentences.append(
                f"{begin(str(task))}, over {of_task['seed'].nunique()} seeds: {'; '.join(words)}."
            )
    return sentences


def _pair(rows: pd.DataFrame) -> tuple[pd.Series, pd.Series] | None:
    """The rows of induction and of IOI; none unless both are there."""
    induction = rows[(rows["task"] == NO_TASK) & (rows["quantity"] == "roles/induction/max")]
    ioi = rows[(rows["task"] == "ioi") & (rows["quantity"] == "behaviour/value")]
    return (induction.iloc[0], ioi.iloc[0]) if len(induction) and len(ioi) else None


def _of(table: pd.DataFrame, model: str, seed: int) -> pd.DataFrame:
    return table[(table["model"] == model) & (table["seed"] == seed)] if len(table) else table
