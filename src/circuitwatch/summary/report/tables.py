"""The report's tables: what columns they show, what these are called, and their HTML; sorted by a
button in each column's head.
"""

from __future__ import annotations

import html
from collections.abc import Mapping
from typing import Any

import pandas as pd

from circuitwatch.summary.figures.shared import format_interval, in_words, quantity_in_words
from circuitwatch.summary.report.emergence_words import emergence_sentence
from circuitwatch.summary.tables import NO_TASK
from circuitwatch.units import format_tokens

Columns = Mapping[str, str | None]
"""Column → the name it is shown with; its own where none is given."""

ENDS: Columns = {
    "model": None,
    "task": None,
    "seed": None,
    "checkpoints": None,
    "behaviour": "behaviour at the end",
    "effect": "effect (clean − corrupted)",
    "not_above_chance": "not above chance",
    "accuracy": None,
    "circuit_status": "circuit",
    "circuit_edges": "edges",
    "n_edges": "of",
    "circuit_edges_share": "share",
    "recovery": None,
    "faithfulness": None,
    "checkpoints_with_circuit": "with a circuit",
    "out_of_range": "of these faithfulness out of range",
    "score_steps": "steps of the scores",
    "score_error": "error of the scores",
    "not_converged": "not converged at",
    "why_no_circuit": "why no circuit (at how many)",
    "mean_edges_share": "mean share",
    "mean_node_jaccard": "mean node Jaccard",
    "mean_edge_jaccard": "mean edge Jaccard",
}
SCALING: Columns = {
    "task": None,
    "quantity": None,
    "of": None,
    "status": None,
    "n_sizes": "sizes",
    "n_censored": "censored",
    "slope": "slope (log–log)",
    "slope_low": "low",
    "slope_high": "high",
    "spearman": None,
    "spearman_p": "p",
    "spearman_p_holm": "p (Holm)",
    "spearman_p_bh": "p (BH)",
    "pearson": None,
    "pearson_p": "p",
    "pearson_p_holm": "p (Holm)",
    "knee_status": "knee",
}
LAGS: Columns = {
    "model": None,
    "seed": None,
    "task": None,
    "role": None,
    "verdict": None,
    "ratio": None,
    "ratio_low": "low",
    "ratio_high": "high",
    "note": None,
}
AGREEMENT: Columns = {
    "task": None,
    "role": None,
    "before": None,
    "after": None,
    "untold": "can't be told",
    "p": "sign test p",
    "p_adjusted": "p adjusted",
    "smallest_p": "smallest possible p",
}
CHANGES: Columns = {
    "model": None,
    "task": None,
    "seed": None,
    "quantity": None,
    "tokens": None,
    "low": "95 % from",
    "high": "to",
    "before": "value before",
    "after": "after",
    "slope_before": "slope before",
    "slope_after": "after",
}
STABILITY: Columns = {
    "model": None,
    "task": None,
    "seed": None,
    "quantity": None,
    "n": "checkpoints after",
    "spread": None,
    "drift": "drift per tenfold",
    "largest_fall": "largest fall",
    "below": "share below its level",
    "status": None,
}
CIRCUITS: Columns = {
    "model": None,
    "task": None,
    "seed": None,
    "compared": "compared with",
    "measure": None,
    "all_prompts": "same prompts",
    "n": "pairs",
    "jaccard": "other prompts",
    "chance": "by chance",
    "ceiling": "noise ceiling",
    "stability": None,
    "low": None,
    "high": None,
    "gained": "edges gained",
    "lost": None,
    "kept": "share kept",
    "ever": "edges ever",
    "always": None,
}
METRICS: Columns = {
    "model": None,
    "task": None,
    "seed": None,
    "finding": None,
    "ratio": "width of accuracy's rise ÷ the metric's",
    "ratio_low": "low",
    "ratio_high": "high",
    "warning": None,
}
EMERGENCE: Columns = {
    "model": None,
    "task": None,
    "seed": None,
    "quantity": None,
    "status": None,
    "tokens": None,
    "interval": "95 % interval",
    "seen": "seen between",
    "final": "at the end",
    "head": None,
    "words": "in words",
}
TOKENS = {"tokens", "tokens_before", "tokens_after", "last_tokens"}
TEXTS = {"note", "words", "warning", "status_words", "why_no_circuit"}


def emergence_html(emergence: pd.DataFrame) -> str:
    """The emergence table, behaviours first, with a sentence a row."""
    if emergence.empty:
        return "<p>No curve has enough checkpoints to say when it rose.</p>"
    shown = emergence.assign(
        words=[emergence_sentence(row) for _, row in emergence.iterrows()],
        quantity=emergence["quantity"].map(quantity_in_words),
        interval=[
            format_interval(low, high)
            for low, high in zip(emergence["tokens_low"], emergence["tokens_high"], strict=True)
        ],
        seen=[
            format_interval(low, high)
            for low, high in zip(emergence["crossing_low"], emergence["crossing_high"], strict=True)
        ],
    )
    others = emergence["quantity"].isin(["behaviour/accuracy", "circuit/found"])
    roles = emergence["task"] == NO_TASK
    first = shown[~others & ~roles]
    shown_first = (
        table_html(first.drop(columns="head", errors="ignore"), EMERGENCE) if len(first) else ""
    )
    return (
        shown_first
        + folded("head roles", table_html(shown[roles], EMERGENCE) if roles.any() else "")
        + folded(
            "accuracy, and whether there is a circuit",
            table_html(shown[others], EMERGENCE) if others.any() else "",
        )
    )


def scaling_html(scaling: pd.DataFrame) -> str:
    """The scaling table, without the rows that have too few sizes to say anything; how many those
    are.
    """
    if scaling.empty:
        return ""
    silent = scaling["status"] != "fitted"
    note = (
        f"<p>{int(silent.sum())} of {len(scaling)} quantities have too few sizes for a "
        f"trend; scaling.csv lists them.</p>"
        if silent.any()
        else ""
    )
    return note + (table_html(scaling[~silent], SCALING) if (~silent).any() else "")


def table_html(table: pd.DataFrame, columns: Columns) -> str:
    """A sortable table of some columns, with the names they are to have; a column of seeds only
    where there are several, none that is empty.
    """
    empty = {name for name in table if not table[name].replace("", None).notna().any()}
    there = [
        name
        for name in columns
        if name in table and name not in empty and (name != "seed" or table["seed"].nunique() > 1)
    ]
    head = "".join(
        f"<th><button>{html.escape(columns[name] or name.replace('_', ' '))}</button></th>"
        for name in there
    )
    rows = "".join(
        "<tr>"
        + "".join(_cell(name, value) for name, value in zip(there, row, strict=True))
        + "</tr>"
        for row in table[there].astype(object).itertuples(index=False)
    )
    return (
        f'<div class="scroll" '
        f'tabindex="0"><table><thead><tr>{head}</tr></thead><tbody>{rows}</tbody></table></div>'
    )


def folded(summary: str, content: str) -> str:
    """Something that is shown when asked for."""
    return (
        f"<details><summary>{html.escape(summary)}</summary>{content}</details>" if content else ""
    )


def _cell(column: str, value: Any) -> str:
    if value is None or (not isinstance(value, str) and pd.isna(value)):
        return '<td data-value=""></td>'
    if isinstance(value, str | bool):
        text = {True: "yes", False: "no"}[value] if isinstance(value, bool) else value
        css = (
            f"status-{text.split(':')[0].split()[0]}"
            if column == "status" and text
            else "note"
            if column in TEXTS
            else ""
        )
        shown = in_words(text) if column in ("task", "role", "circuit_task", "quantity") else text
        kind = f' class="{html.escape(css)}"' if css else ""
        return f"<td{kind}>{html.escape(shown)}</td>"
    number = float(value)
    if column in TOKENS:
        text = format_tokens(number) or "0"
    elif column.endswith("share") and column != "strongest_share":
        text = f"{number:.1%}"
    else:
        whole = number.is_integer() and abs(number) < 1e6 and "jaccard" not in column
        text = f"{number:.0f}" if whole else f"{number:.3g}"
    return f'<td class="number" data-value="{number}">{text}</td>'
