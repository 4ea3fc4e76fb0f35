"""The sentences of the report say what the tables hold."""

from __future__ import annotations

import re
from dataclasses import replace
from pathlib import Path

import pandas as pd
import pytest

from circuitwatch.facts import Facts
from circuitwatch.summary import SummaryResult
from circuitwatch.summary.report.algorithm_words import algorithm_over_seeds, algorithm_sentences
from circuitwatch.summary.report.findings import findings, order_of
from circuitwatch.summary.report.head_words import CONFIRMED, KEY, handover_sentences


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
    before = said[0].split("Before it: ")[1].split(". After it: ")[0]
    ratio, low, high = (own[name] for name in ("ratio", "ratio_low", "ratio_high"))
    assert (
        f"IOI needed {ratio:.2f} [{low:.2f}, {high:.2f}] times as many"
        in before.split("induction (")[1].split(")")[0]
    )


def test_of_two_the_later_one_needed_more(result: SummaryResult) -> None:
    """Also where the role is the later one: the ratio that is said is then the inverse."""
    lags = result.comparisons.lags
    own = lags[
        (lags["model"] == "nano-400k") & (lags["task"] == "ioi") & (lags["role"] == "name_mover")
    ].iloc[0]
    found = findings(result.emergence, result.heads, result.comparisons, result.facts)
    said = next(f.sentences[0] for f in found if f.model == "nano-400k")
    after = said.split("After it: ")[1].split("name mover (")[1].split(")")[0]
    inverse = [1 / own[name] for name in ("ratio", "ratio_high", "ratio_low")]
    assert own["verdict"] == "after" and inverse[0] > 1
    assert f"{inverse[0]:.2f} [{inverse[1]:.2f}, {inverse[2]:.2f}] times as many as IOI" in after


def test_sentences_of_the_made_up_sweep(result: SummaryResult) -> None:
    said = {
        finding.model: finding.sentences
        for finding in findings(result.emergence, result.heads, result.comparisons, result.facts)
    }
    large, small = " ".join(said["nano-400k"]), " ".join(said["nano-100k"])
    assert re.search(r"^IOI emerged at 4\d\dk tokens.*\. Before it: .*induction \(42", large)
    assert re.search(r"Greater-than emerged at 3\d\dk.*Before it: successor \(", large)
    assert (
        "induction (IOI) ✓ a1.h2 helps; induction (greater-than) a1.h2 by score alone; "
        "S-inhibition (IOI) ✓ a1.h0 helps" in large
    )
    assert (
        "duplicate token (IOI) ✓ a0.h3 helps, and a0.h0 by score alone;" in large
    )  # a0.h0 looks like its role and does nothing
    assert "negative name mover (IOI) ✓ a1.h2 hurts" in large
    assert "previous token (repeated tokens) ✓ a0.h1 helps" in large
    assert "No head holds this role at the last checkpoint: negative name mover." in small
    assert "At the last checkpoint heads without any role have 0.3" in large
    assert "the strongest a1.h0 −0.27, a0.h0 +0.21." in large
    assert (
        "The strongest head of a role changed once, for induction. Heads lost a role twice and "
        "took one up again once." in large
    )
    assert "B (name movers → logits) stays about the same (" in large
    assert re.search(r"D \(.*?\) falls by 0\.9\d \[.*\] for every tenfold of tokens \(", large)
    assert "IOI had not emerged by 1.01M tokens. There without it: " in small
    assert "name mover a1.h1, a1.h3 (not checked)" in small and "(IOI)" not in small
    assert "Not measured: copy suppression (heads of the first 2 layers hold none)." in small
    assert re.search(r"IOI: B \(.*\), C \(.*\) and D \(.*\) can't be measured \(beh", small)


def test_the_mark_of_a_confirmed_head_is_explained_once(result: SummaryResult) -> None:
    found = findings(result.emergence, result.heads, result.comparisons, result.facts)
    said = [words for finding in found for words in finding.sentences]
    assert len(found) == 2 and sum(KEY in words for words in said) == 1
    assert sum(CONFIRMED in words for words in said) == 2


PRIVATE = (
    "lost a role never", "at no one moment", "by no head there", "took", "1 models", "1 sizes",
    "mlp push", "year push", " nan", "None",
)  # fmt: skip


def test_sentences_are_plain(result: SummaryResult) -> None:
    for finding in findings(result.emergence, result.heads, result.comparisons, result.facts):
        for words in finding.sentences:
            assert words.endswith(".") and words[0].isupper(), words
            assert not [part for part in PRIVATE if part in words.replace("took one up", "")], words


ROLE = {"model": "m", "seed": 0, "checkpoints": 5, "lost": 0, "regained": 0}


@pytest.mark.parametrize(
    ("lost", "regained", "changes", "said"),
    [
        (0, 0, [], "Every role kept its strongest head. No head lost a role."),
        (1, 0, [], "Every role kept its strongest head. Heads lost a role once, and took none up "
         "again."),
        (3, 1, ["induction"], "The strongest head of a role changed once, for induction. Heads "
         "lost a role 3 times and took one up again once."),
        (2, 2, ["induction", "name_mover", "induction"], "The strongest head of a role changed 3 "
         "times: twice for induction and once for name mover. Heads lost a role twice and took "
         "one up again twice."),
    ],
)  # fmt: skip
def test_how_often_heads_changed(lost: int, regained: int, changes: list[str], said: str) -> None:
    roles = pd.DataFrame([ROLE | {"role": "induction", "lost": lost, "regained": regained}])
    handovers = pd.DataFrame({"role": changes})
    assert handover_sentences(roles, handovers, Facts.of_installation()) == [said]
    assert handover_sentences(roles.assign(checkpoints=0), handovers, Facts()) == []


def share(verdict: str, **more: object) -> pd.DataFrame:
    """A row of the algorithm's table on C, between 0.4 and 0.5, without a sure trend."""
    known = {
        "task": "ioi", "quantity": "C", "verdict": verdict, "verdicts": "", "why_missing": "",
        "min": 0.4, "max": 0.5, "last": 0.45, "heads": "", "trend": 0.02, "trend_low": -0.1,
        "trend_high": 0.2,
    }  # fmt: skip
    return pd.DataFrame([known | more])


@pytest.mark.parametrize(
    ("rows", "said"),
    [
        (share("stays"), "IOI: {C} stays about the same (0.40 to 0.50)."),
        (
            share("stays", trend=-0.038, trend_low=-0.05, trend_high=-0.01),
            "IOI: {C} stays about the same (0.40 to 0.50), though it slowly falls by 0.038 "
            "[0.01, 0.05] for every tenfold of tokens.",
        ),
        (
            share("rises", trend=0.3, trend_low=0.1, trend_high=0.5, band_min=0.3, band_max=0.6),
            "IOI: {C} rises by 0.30 [0.10, 0.50] for every tenfold of tokens (0.40 to 0.50; 0.30 "
            "to 0.60 over all cut-offs).",
        ),
        (
            share("varies without a trend"),
            "IOI: {C} goes up and down without a trend (0.40 to 0.50).",
        ),
        (
            share("too few checkpoints", trend=None, trend_low=None, trend_high=None),
            "IOI: {C} has too few checkpoints for a verdict (0.40 to 0.50).",
        ),
        (
            share("depends on the cut-off", verdicts="stays at 0.1–0.6, rises at 0.7"),
            "IOI: what {C} does depends on the cut-off: stays at 0.1–0.6, rises at 0.7 (0.40 to "
            "0.50).",
        ),
        (
            share("not checked over cut-offs"),
            "IOI: {C} was not checked over cut-offs, so there is no verdict (0.40 to 0.50).",
        ),
        (
            share("missing", why_missing="no head copies names", last=None),
            "IOI: {C} can't be measured (no head copies names).",
        ),
    ],
)
def test_what_a_share_of_the_algorithm_does(rows: pd.DataFrame, said: str) -> None:
    name = "C (S-inhibition → name movers)"
    assert algorithm_sentences(rows, Facts.of_installation()) == [said.replace("{C}", name)]


def test_a_share_over_seeds() -> None:
    rows = pd.concat([share("stays").assign(seed=0), share("missing").assign(seed=1)])
    assert algorithm_over_seeds(rows, Facts.of_installation()) == [
        "IOI, over 2 seeds: C (S-inhibition → name movers) stays in 1, can't be measured in 1."
    ]


@pytest.mark.parametrize("missing", [None, float("nan")])
def test_circuits_without_resamples_say_what_they_share(
    missing: float | None, result: SummaryResult
) -> None:
    """A sweep with few circuits has no pair of resamples at all; the columns are empty then."""
    circuits = result.comparisons.circuits.copy()
    bare = ["jaccard", "chance", "ceiling", "stability", "low", "high"]
    circuits[bare] = pd.DataFrame(missing, index=circuits.index, columns=bare, dtype=object)
    compared = replace(result.comparisons, circuits=circuits)
    found = findings(result.emergence, result.heads, compared, result.facts)
    said = [
        line for one in found for line in one.sentences if "neighbouring checkpoints share" in line
    ]
    assert said and all(line.endswith("of their edges (Jaccard).") for line in said)


def test_the_report_has_the_answers_first_and_the_findings_of_each_model(
    result: SummaryResult,
) -> None:
    page = Path(result.folder / "report.html").read_text(encoding="utf-8")
    titles = [title for title in page.split("<h2")[1:]]
    assert "When things emerged" in titles[0] and "IOI emerged in 1 of 2 models" in titles[0]
    assert ">Circuits</h2>" in titles[1] and ">Sizes compared</h2>" in titles[2]
    (each,) = [part for part in titles if ">Every curve, and each model</h2>" in part]
    assert "Before it: " in each and "What was found in nano-400k" in each
    for title in (
        "Head roles over tokens",
        "Which heads hold a role, and when",
        "Does the algorithm stay the same?",
        "Circuits of one checkpoint on another",
        "Data to download",
    ):
        assert sum(f">{title}</h2>" in part for part in titles) == 1, title
