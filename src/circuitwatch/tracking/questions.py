"""What a sweep answers, question by question, in sentences and tables of words: when behaviours
emerge, how large circuits are and whether they stay, who holds the roles, whether the algorithm
stays, what changes with size.

Everything said is read from the tables of `Results`; where these say nothing, the answer says why.
Nothing here knows of W&B.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import pandas as pd

from circuitwatch.summary.panels import METRIC
from circuitwatch.summary.report import answers as when
from circuitwatch.summary.report.emergence_words import STATUS_WORDS, begin, times
from circuitwatch.summary.report.findings import circuit_warnings, findings
from circuitwatch.summary.together import FINAL
from circuitwatch.tracking.wording import (
    FEW_SIZES,
    MISSING,
    by_task,
    count_of,
    number,
    of_what,
    span,
    span_of,
    text_of,
    trend_words,
    trends,
    who_of,
)
from circuitwatch.units import counted, format_interval, format_tokens

if TYPE_CHECKING:
    from circuitwatch.results import Results

MOST_ROWS = 60
"""Rows of a table that a page shows; of more it says where they are."""
SIZE_OF_CIRCUITS = "mean size over checkpoints with a circuit"


@dataclass(frozen=True)
class Answer:
    """One question and what the sweep says to it.

    Attributes:
        question: what is asked.
        sentences: the answer in words.
        header, rows: the table beside it; no rows where there is nothing to list.
        section: of the charts that show it.
    """

    question: str
    sentences: tuple[str, ...]
    header: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]
    section: str

    @property
    def hidden(self) -> int:
        """How many rows are beyond those that a page shows."""
        return max(len(self.rows) - MOST_ROWS, 0)


def answers(results: Results) -> list[Answer]:
    """The answers in their order."""
    return [
        _emergence(results),
        _circuits(results),
        _overlap(results),
        _roles(results),
        _algorithm(results),
        _scaling(results),
    ]


def by_model(results: Results) -> list[tuple[str, list[str]]]:
    """What the tables say of each model (and seed): who, and the sentences."""
    emergence = results.emergence.frame()
    if emergence.empty:
        return []
    found = findings(emergence, results.heads, results.compared.frames(), results.facts)
    several = emergence["seed"].nunique() > 1
    return [
        (
            finding.model
            + (f", seed {finding.seed}" if several and finding.seed is not None else ""),
            finding.sentences,
        )
        for finding in found
    ]


def introduction(results: Results) -> list[str]:
    """Which models and tasks there are, and what is not finished."""
    cells = results.cells
    sizes = {cell.model: cell.params for cell in cells}
    models = ", ".join(
        f"{name} ({format_tokens(size)} parameters)" if size else f"{name} (size not known)"
        for name, size in sizes.items()
    )
    tasks = ", ".join(
        results.facts.task(task).words
        for task in sorted({c.task for c in cells}, key=lambda t: (results.facts.task(t).place, t))
    )
    cells_run = counted(len(cells), "cell")
    said = [f"Models: {models}. Tasks: {tasks}. {cells_run} (model × task × seed)."]
    unfinished = [f"{c.model} × {c.task}" for c in cells if not c.finished]
    if unfinished:
        said.append(f"Not finished: {', '.join(unfinished)}; what follows is of their part so far.")
    return said


def _emergence(results: Results) -> Answer:
    facts, table = results.facts, results.emergence.frame()
    ends, scaling = results.ends.frame(), results.scaling.frame()
    said = [
        " ".join((answer.sentence, *answer.details))
        for answer in when.answers(table, scaling, ends, facts)
    ]
    rows = [
        (
            facts.task(row.task).words,
            *who_of(row),
            {"emerged": "emerged", **STATUS_WORDS}.get(row.status, row.status),
            format_tokens(row.tokens),
            format_interval(row.low, row.high),
            number(row.final),
        )
        for row in results.emergence
        if row.quantity == METRIC
    ]
    return Answer(
        "When does each behaviour emerge, by model size?",
        tuple(said) or ("No cell has a curve of its behaviour that can be asked.",),
        ("task", "model", "parameters", "seed", "status", "tokens", "95 % interval", "at the end"),
        by_task(rows, facts),
        "behaviour",
    )


def _circuits(results: Results) -> Answer:
    facts = results.facts
    said = trends(
        [
            row
            for row in results.scaling
            if row.of == SIZE_OF_CIRCUITS and row.quantity == "circuit/edges_share"
        ],
        facts,
    )
    if not any(row.checkpoints_with_circuit for row in results.ends):
        said = ["No checkpoint has a circuit; the table says why."]
    said += circuit_warnings(results.ends.frame(), facts) if len(results.ends) else []
    rows = [
        (
            facts.task(row.task).words,
            *who_of(row),
            f"{row.checkpoints_with_circuit} of {row.checkpoints}",
            number(row.circuit_edges, 0),
            number(row.circuit_edges_share),
            number(row.mean_edges_share),
            number(row.recovery),
            number(row.faithfulness),
            row.why_no_circuit or MISSING,
        )
        for row in results.ends
    ]
    return Answer(
        "How large are the circuits?",
        tuple(said),
        (
            *("task", "model", "parameters", "seed", "checkpoints with a circuit", "edges"),
            *("share of all edges", "mean share", "recovery", "faithfulness", "without one"),
        ),
        by_task(rows, facts),
        "circuits",
    )


def _overlap(results: Results) -> Answer:
    facts, sizes = results.facts, {cell.model: cell.params for cell in results.cells}
    asked = [row for row in results.compared.circuits if row.measure == "edge_jaccard"]
    verdicts: dict[str, list[str]] = {}
    rows = []
    for row in asked:
        verdict = overlap_verdict(row.low, row.high)
        verdicts.setdefault(row.compared, []).append(verdict)
        rows.append(
            (
                facts.task(row.task).words,
                row.model,
                format_tokens(sizes.get(row.model) or None) or MISSING,
                str(row.seed),
                "the last one" if row.compared == FINAL else row.compared,
                number(row.all_prompts),
                number(row.jaccard),
                number(row.ceiling),
                number(row.chance),
                number(row.stability) + span(row.low, row.high),
                verdict,
            )
        )
    said = [
        f"Edges shared with {compared} (Jaccard, circuits of other prompts): above chance in "
        f"{sum('above chance' in verdict for verdict in own)} of {counted(len(own), 'cell')}, and "
        f"within noise of the ceiling in {sum('at the noise' in verdict for verdict in own)}."
        for compared, own in verdicts.items()
    ]
    said += (
        [
            "The noise ceiling is what two samples of prompts share at one checkpoint; stability "
            "is 0 at chance and 1 at the ceiling."
        ]
        if said
        else ["No cell has circuits at two checkpoints or more, so that there is no overlap."]
    )
    return Answer(
        "Do the circuits stay the same over training?",
        tuple(said),
        (
            *("task", "model", "parameters", "seed", "compared with", "same prompts"),
            *("other prompts", "ceiling", "chance", "stability", "verdict"),
        ),
        by_task(rows, facts),
        "overlaps",
    )


def overlap_verdict(low: float | None, high: float | None) -> str:
    """What the interval of a stability says: above chance, and whether the ceiling is reached."""
    if low is None or high is None or pd.isna(low) or pd.isna(high):
        return "can't be told: no interval between chance and ceiling"
    above = "above chance" if low > 0 else "not told from chance"
    return f"{above}, {'at the noise ceiling' if high >= 1 else 'below the noise ceiling'}"


def _roles(results: Results) -> Answer:
    facts, table = results.facts, results.heads.roles
    sizes = {cell.model: cell.params for cell in results.cells}
    said, rows = [], []
    for (model, seed), own in table.groupby(["model", "seed"], sort=False) if len(table) else ():
        measured = own[own["checkpoints"] > 0]
        held = measured[measured["holders_at_end"] > 0]
        several = f" seed {seed}" if table["seed"].nunique() > 1 else ""
        changes = int(measured["handovers"].sum())
        changed = f"changed {times(changes)}" if changes else "never changed"
        said.append(
            f"{model}{several}: {len(held)} of {counted(len(measured), 'measured role')} "
            f"{'is' if len(held) == 1 else 'are'} held at the last checkpoint; the strongest head "
            f"of a role {changed}."
        )
        rows += [
            (
                str(model),
                format_tokens(sizes.get(str(model)) or None) or MISSING,
                str(seed),
                facts.role(str(row["role"])).words,
                text_of(row["heads_at_end"]),
                format_tokens(row["held_from"]) or MISSING,
                text_of(row["confirmed_at_end"]),
                count_of(row["handovers"]) if row["checkpoints"] > 0 else MISSING,
                text_of(row["note"]),
            )
            for _, row in own.iterrows()
        ]
    return Answer(
        "Which heads hold the roles?",
        tuple(said) or ("No cell has measured a role.",),
        (
            *("model", "parameters", "seed", "role", "heads at the end", "held from, tokens"),
            *("confirmed by effect", "changes of the strongest", "note"),
        ),
        tuple(rows),
        "roles",
    )


def _algorithm(results: Results) -> Answer:
    facts, table = results.facts, results.heads.algorithm
    sizes = {cell.model: cell.params for cell in results.cells}
    said, rows = [], []
    for (task, key), own in table.groupby(["task", "quantity"], sort=False) if len(table) else ():
        known = facts.quantity(str(key) if "/" in str(key) else f"algorithm/{key}")
        share = known.label or known.words
        verdicts = [str(v) for v in own["verdict"] if v]
        if verdicts:
            counts = dict.fromkeys(verdicts, 0) | {v: verdicts.count(v) for v in verdicts}
            words = ", ".join(f"{verdict} in {count}" for verdict, count in counts.items())
            said.append(f"{begin(facts.task(str(task)).words)}, {share}: {words}.")
        for _, row in own.iterrows():
            trend = number(row["trend"]) + span(row["trend_low"], row["trend_high"])
            rows.append(
                (
                    facts.task(str(task)).words,
                    str(row["model"]),
                    format_tokens(sizes.get(str(row["model"])) or None) or MISSING,
                    str(row["seed"]),
                    share,
                    number(row["mean"]),
                    MISSING if pd.isna(row["min"]) else span_of(row["min"], row["max"]),
                    number(row["last"]),
                    trend,
                    text_of(row["verdict"]),
                    text_of(row["why_missing"]),
                )
            )
    return Answer(
        "Does the algorithm stay?",
        tuple(said) or ("No task of this sweep has a measure of its algorithm.",),
        (
            *("task", "model", "parameters", "seed", "share", "mean", "range", "last"),
            *("change per tenfold of tokens", "verdict", "missing because"),
        ),
        by_task(rows, facts),
        "algorithm",
    )


def _scaling(results: Results) -> Answer:
    facts = results.facts
    fitted = any(row.status == "fitted" for row in results.scaling)
    asked = [row for row in results.scaling if not fitted or row.quantity == METRIC]
    rows = [
        (
            of_what(row, facts),
            row.of,
            f"{row.n_observed} of {row.n_sizes}",
            trend_words(row) if row.status == "fitted" else FEW_SIZES,
            number(row.spearman),
            number(row.spearman_p_holm, 3),
        )
        for row in results.scaling
        if fitted
    ]
    return Answer(
        "What changes with model size?",
        tuple(trends(asked, facts)) or (f"{begin(FEW_SIZES)}: there is nothing to compare.",),
        ("what", "number", "sizes with a value", "trend", "Spearman", "p (Holm)"),
        tuple(rows),
        "emergence",
    )
