"""The sentences of the report say what the tables hold."""

from __future__ import annotations

from pathlib import Path

import pandas as pd
import pytest

from circuitwatch.summary import SummaryResult
from circuitwatch.summary.findings import emergence_findings, emergence_sentence, findings, order_of


def row(status: str, tokens: float | None = None, low: float | None = None, high: float | None = None) -> pd.Series:
    return pd.Series({"status": status, "tokens": tokens, "tokens_low": low, "tokens_high": high, "last_tokens": 100.0})


@pytest.mark.parametrize(
    ("first", "second", "order"),
    [
        (row("emerged", 10, 8, 12), row("emerged", 20, 15, 25), "before"),
        (row("emerged", 20, 15, 25), row("emerged", 10, 8, 12), "after"),
        (row("emerged", 10, 8, 16), row("emerged", 20, 15, 25), "can't be told"),
        (
            row("emerged", 10, 8, None),
            row("emerged", 20, 15, 25),
            "can't be told",
        ),  # the upper end is beyond the last checkpoint
        (row("emerged", 10, 8, 12), row("never"), "only the first"),
        (row("never"), row("emerged", 10, 8, 12), "only the second"),
        (row("never"), row("never"), "neither"),
        (row("already"), row("emerged", 20, 15, 25), "before"),
        (row("emerged", 20, 15, 25), row("already"), "after"),
        (row("already"), row("already"), "can't be told"),
        (row("transient", 10, 8, 12), row("emerged", 20, 15, 25), "can't be told"),
        (row("ambiguous"), row("never"), "can't be told"),
    ],
)
def test_which_came_first(first: pd.Series, second: pd.Series, order: str) -> None:
    assert order_of(first, second) == order


def test_sentences_of_the_made_up_sweep(result: SummaryResult) -> None:
    said = {
        finding.model: finding.sentences
        for finding in findings(result.emergence, result.heads, result.comparisons.circuits)
    }
    large, small = " ".join(said["nano-400k"]), " ".join(said["nano-100k"])
    assert "Induction emerged before IOI (induction at 42" in large
    assert "induction a1.h2 ✓; S-inhibition a1.h0 ✓" in large
    assert "duplicate token a0.h3 ✓, a0.h0;" in large  # a0.h0 looks like its role and does nothing
    assert "Held by no head there: copy suppression." in large
    assert "changed once (induction 1); a head lost a role twice and regained one once." in large
    assert "B stays" in large and "C stays" in large and "D falls" in large
    assert "IOI never emerged by 1.01M tokens" in small
    assert "induction a1.h2 (unchecked)" in small
    assert "Not measured: copy suppression (no head attends to a predicted token)." in small
    assert "IOI: B, C, D can't be had" in small


def test_the_report_has_them_first(result: SummaryResult) -> None:
    page = Path(result.folder / "report.html").read_text(encoding="utf-8")
    titles = [title for title in page.split("<h2")[1:]]
    assert "What was run" in titles[0] and "Answers" in titles[1] and "Induction emerged before IOI" in titles[1]
    for title in (
        "Head roles over tokens", "Which heads, when", "Does the algorithm stay", "Circuits of one checkpoint on another", "The circuit", "Data",
    ):  # fmt: skip
        assert sum(f">{title}</h2>" in part for part in titles) == 1, title


def test_when_behaviours_emerge_in_words(result: SummaryResult) -> None:
    said = dict(emergence_findings(result.emergence, result.scaling))
    assert set(said) == {"IOI", "Greater than", "Gendered pronoun", "Agreement"}
    assert "It emerged in 1 of 2 models: nano-400k at" in said["IOI"] and "Too few sizes for a trend." in said["IOI"]
    assert "It emerged in 2 of 2 models" in said["Gendered pronoun"]
    for _, row in result.emergence.iterrows():
        sentence = emergence_sentence(row)
        assert sentence.endswith(".") and (row["status"] != "emerged" or "emerged at" in sentence)
