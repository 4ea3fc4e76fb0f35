"""The sentences of the report say what the tables hold."""

from __future__ import annotations

import re
from pathlib import Path

import pandas as pd
import pytest

from circuitwatch.facts import Facts
from circuitwatch.summary import SummaryResult
from circuitwatch.summary.report.emergence_words import emergence_findings, emergence_sentence
from circuitwatch.summary.report.findings import findings, order_of


def row(
    status: str, tokens: float | None = None, low: float | None = None, high: float | None = None
) -> pd.Series:
    return pd.Series(
        {
            "status": status,
            "tokens": tokens,
            "tokens_low": low,
            "tokens_high": high,
            "last_tokens": 100.0,
        }
    )


@pytest.mark.parametrize(
    ("first", "second", "lag", "order"),
    [
        (row("emerged", 10, 8, 12), row("emerged", 20, 15, 25), "before", "before"),
        (row("emerged", 20, 15, 25), row("emerged", 10, 8, 12), "after", "after"),
        (row("emerged", 10, 8, 16), row("emerged", 20, 15, 25), "inconclusive", "can't be told"),
        (
            row("emerged", 10, 8, 16),
            row("emerged", 20, 15, 25),
            "before",
            "before",
        ),  # the lag's interval is the sharper one
        (row("emerged", 10, 8, 12), row("emerged", 20, 15, 25), None, "can't be told"),
        (row("emerged", 10, 8, 12), row("never"), "before", "only the first"),
        (row("never"), row("emerged", 10, 8, 12), "inconclusive", "only the second"),
        (row("never"), row("never"), "inconclusive", "neither"),
        (row("already"), row("emerged", 20, 15, 25), "before", "before"),
        (row("already"), row("already"), "inconclusive", "can't be told"),
        (row("ambiguous"), row("never"), "inconclusive", "can't be told"),
    ],
)
def test_which_came_first(first: pd.Series, second: pd.Series, lag: str | None, order: str) -> None:
    assert order_of(first, second, lag) == order


def test_sentences_and_table_say_the_same(result: SummaryResult) -> None:
    """What the sentence on IOI says of induction is the verdict of the table of lags, with its
    interval.
    """
    lags = result.comparisons.lags
    own = lags[
        (lags["model"] == "nano-400k") & (lags["task"] == "ioi") & (lags["role"] == "induction")
    ].iloc[0]
    said = next(
        f.sentences
        for f in findings(result.emergence, result.heads, result.comparisons, result.facts)
        if f.model == "nano-400k"
    )
    assert own["verdict"] == "before"
    before = said[0].split("before it: ")[1].split("; after it:")[0]
    assert (
        f"IOI took {own['ratio']:.2f} [{own['ratio_low']:.2f}, {own['ratio_high']:.2f}] "
        in (before.split("induction (")[1].split("times as many")[0])
    )


def test_sentences_of_the_made_up_sweep(result: SummaryResult) -> None:
    said = {
        finding.model: finding.sentences
        for finding in findings(result.emergence, result.heads, result.comparisons, result.facts)
    }
    large, small = " ".join(said["nano-400k"]), " ".join(said["nano-100k"])
    assert re.search(r"^IOI emerged at 4\d\dk tokens.*; before it: .*induction \(42", large)
    assert re.search(r"Greater than emerged at 3\d\dk.*before it: successor \(", large)
    assert (
        "induction (IOI) ✓ a1.h2 helps; induction (greater than) by score alone a1.h2; "
        "S-inhibition (IOI) ✓ a1.h0 helps" in large
    )
    assert (
        "duplicate token (IOI) ✓ a0.h3 helps, by score alone a0.h0;" in large
    )  # a0.h0 looks like its role and does nothing
    assert (
        "negative name mover (IOI) ✓ a1.h2 hurts" in large
        and "previous token (repeated) ✓ a0.h1 helps" in large
    )
    assert "Held by no head there: negative name mover." in small
    assert (
        "heads without any role have 0.3" in large and "strongest a1.h0 −0.27, a0.h0 +0.21" in large
    )
    assert "changed once (induction 1); a head lost a role twice and regained one once." in large
    assert "B stays" in large and "C stays" in large and "D falls" in large
    assert "IOI never emerged by 1.01M tokens; there without it: " in small
    assert "name mover a1.h1, a1.h3 (unchecked)" in small and "(IOI)" not in small
    assert "Not measured: copy suppression (heads of the first 2 layers hold none)." in small
    assert "IOI: B, C, D undefined" in small


def test_the_report_has_them_first(result: SummaryResult) -> None:
    page = Path(result.folder / "report.html").read_text(encoding="utf-8")
    titles = [title for title in page.split("<h2")[1:]]
    assert "What was run" in titles[0] and "Answers" in titles[1] and "before it: " in titles[1]
    for title in (
        "Head roles over tokens",
        "Which heads, when",
        "Does the algorithm stay",
        "Circuits of one checkpoint on another",
        "The circuit",
        "Data",
    ):
        assert sum(f">{title}</h2>" in part for part in titles) == 1, title


def test_when_behaviours_emerge_in_words(result: SummaryResult) -> None:
    said = dict(emergence_findings(result.emergence, result.scaling, result.facts))
    assert list(said) == ["IOI", "Greater than", "Gendered pronoun", "Agreement"]
    assert (
        "It emerged in 1 of 2 models: nano-400k at" in said["IOI"]
        and "Too few sizes for a trend." in said["IOI"]
    )
    assert "It emerged in 2 of 2 models" in said["Gendered pronoun"]
    for _, row in result.emergence.iterrows():
        sentence = emergence_sentence(row, result.facts)
        assert sentence.endswith(".") and (row["status"] != "emerged" or "emerged at" in sentence)


def test_what_falls_is_said_to_have_fallen_and_risen() -> None:
    """Of a quantity that falls as a model learns; of others the other way round."""
    row = {"status": "transient", "note": "", "model": "m", "seed": 0, "reason": None, "task": "t"}
    for quantity, said in (("ppl", "Ppl fell and rose."), ("acc", "Acc rose and fell.")):
        rows = pd.DataFrame([row | {"quantity": quantity, "model": name} for name in "ab"])
        assert emergence_sentence(rows.iloc[0], Facts()) == said
        ((_, findings_of_it),) = emergence_findings(rows, pd.DataFrame(), Facts())
        assert said.split(maxsplit=1)[1].rstrip(".").capitalize() in findings_of_it
