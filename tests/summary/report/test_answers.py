"""The one sentence on each task says what the rows say, and no more."""

from __future__ import annotations

import re
from dataclasses import replace
from typing import Any

import numpy as np
import pandas as pd
import pytest

from circuitwatch.facts import Facts
from circuitwatch.summary import SummaryResult
from circuitwatch.summary.report.answers import Answer, answers, trend_note
from circuitwatch.summary.rows import EmergenceRow, Rows, ScalingRow
from circuitwatch.summary.statistics.scaling import Kind, trend

SIZES = {"small": 1e6, "large": 1e7, "huge": 1e8, "vast": 1e9, "giant": 1e10}
WIDTH = 140
FACTS = Facts.of_installation()
NO_ENDS = pd.DataFrame()


def row(status: Any, tokens: float | None = None, **more: Any) -> EmergenceRow:
    """A behaviour of IOI by default, with an interval of ± 10 %, seen up to 60M tokens."""
    known: dict[str, Any] = {
        "rule": "half rise", "n": 20, "first_tokens": 0.0, "last_tokens": 6e7, "final": 1.0,
        "tokens": tokens, "low": tokens and 0.9 * tokens, "high": tokens and 1.1 * tokens,
        "model": "small", "task": "ioi", "quantity": "behaviour/value", "seed": 0,
        "params_total": 1e6, "source": "x",
    }  # fmt: skip
    return EmergenceRow(status=status, **(known | more))


def of_models(*rows: EmergenceRow) -> list[EmergenceRow]:
    """The rows as those of models of growing size."""
    names = list(SIZES.items())
    return [
        replace(one, model=model, params_total=params)
        for one, (model, params) in zip(rows, names[: len(rows)], strict=True)
    ]


def scaling_of(rows: list[EmergenceRow]) -> pd.DataFrame:
    """Their trend with size."""
    kinds: dict[str, Kind] = {
        "emerged": "observed", "never": "right-censored", "already": "left-censored",
    }  # fmt: skip
    known = [r for r in rows if r.status in kinds]
    found = trend(
        [r.params_total for r in known],
        [r.tokens or (r.last_tokens if r.status == "never" else 1.0) for r in known],
        [kinds[r.status] for r in known],
    )
    said = ScalingRow(
        **vars(found), task=rows[0].task, quantity=rows[0].quantity, of="tokens of emergence",
        models="", left_out="",
    )  # fmt: skip
    return Rows.of([said]).frame()


def answer(
    *rows: EmergenceRow, facts: Facts = FACTS, ends: pd.DataFrame = NO_ENDS, sizes: bool = True
) -> Answer:
    """The one answer on the rows, as those of models of growing size."""
    own = of_models(*rows) if sizes else list(rows)
    (found,) = answers(Rows.of(own).frame(), scaling_of(own), ends, facts)
    return found


@pytest.mark.parametrize(
    ("rows", "sentence"),
    [
        ([row("emerged", 1.2e7)], "IOI emerged at 12M tokens."),
        ([row("already")], "IOI was there from the first checkpoint."),
        ([row("never")], "IOI had not emerged by 60M tokens."),
        ([row("transient")], "IOI rose and fell again."),
        ([row("ambiguous")], "IOI has no clear emergence point."),
        (
            [row("ambiguous", reason="too few checkpoints")],
            "IOI has no clear emergence point: too few checkpoints.",
        ),
        (
            [row("emerged", 2.5e7), row("emerged", 1.2e7)],
            "IOI emerged in both models, sooner in the larger: at 12M tokens in large, at 25M in "
            "small.",
        ),
        (
            [row("emerged", 1.2e7), row("emerged", 2.5e7)],
            "IOI emerged in both models, sooner in the smaller: at 12M tokens in small, at 25M in "
            "large.",
        ),
        (
            [row("emerged", 2.5e7), row("emerged", 2.4e7)],
            "IOI emerged in both models, at about the same number of tokens: 24M in large, 25M in "
            "small.",
        ),
        (
            [row("emerged", 2.5e7, low=1e7, high=5e7), row("emerged", 1.2e7)],
            "IOI emerged in both models, at 12M tokens in large, at 25M in small; the intervals "
            "overlap, so the order is open.",
        ),
        (
            [row("emerged", 2.5e7), row("emerged", 1.2e7, high=None)],
            "IOI emerged in both models, at 12M tokens in large, at 25M in small; the intervals "
            "overlap, so the order is open.",
        ),
        ([row("already")] * 2, "IOI was there from the first checkpoint in both models."),
        ([row("never")] * 2, "IOI had not emerged by 60M tokens in either model."),
        ([row("transient")] * 2, "IOI rose and fell again in both models."),
        ([row("ambiguous")] * 2, "IOI has no clear emergence point in either model."),
        (
            [row("ambiguous", reason="not steady")] * 2,
            "IOI has no clear emergence point in either model: not steady.",
        ),
        (
            [row("ambiguous", reason="not steady"), row("ambiguous", reason="about the threshold")],
            "IOI has no clear emergence point in either model.",
        ),
        ([row("already")] * 3, "IOI was there from the first checkpoint in all of the 3 models."),
        (
            [row("never"), row("never", last_tokens=7e7), row("never")],
            "IOI had not emerged by the last checkpoint in any of the 3 models.",
        ),
        (
            [row("never"), row("emerged", 9.1e6)],
            "IOI emerged in 1 of 2 models: large at 9.1M tokens; small had not learned it by 60M "
            "tokens.",
        ),
        (
            [row("already"), row("emerged", 9.1e6)],
            "IOI emerged in 1 of 2 models: large at 9.1M tokens; small had it from the first "
            "checkpoint.",
        ),
        (
            [row("transient"), row("emerged", 9.1e6)],
            "IOI emerged in 1 of 2 models: large at 9.1M tokens; in small it rose and fell again.",
        ),
        (
            [row("ambiguous"), row("emerged", 9.1e6)],
            "IOI emerged in 1 of 2 models: large at 9.1M tokens; small is unclear.",
        ),
        (
            [row("never"), row("emerged", 2e7), row("emerged", 9.1e6)],
            "IOI emerged in 2 of 3 models: large at 20M tokens, huge at 9.1M; small had not "
            "learned it by 60M tokens.",
        ),
        (
            [row("never"), row("never"), row("emerged", 9.1e6)],
            "IOI emerged in 1 of 3 models: huge at 9.1M tokens; small and large had not learned "
            "it by 60M tokens.",
        ),
        (
            [row("never"), row("already")],
            "IOI: small had not learned it by 60M tokens; large had it from the first checkpoint.",
        ),
        (
            [row("transient"), row("ambiguous"), row("never")],
            "IOI: in small it rose and fell again; large is unclear; huge had not "
            "learned it by 60M tokens.",
        ),
        (
            [row("emerged", 3e7), row("emerged", 2e7), row("emerged", 2.9e7)],
            "IOI emerged in all 3 models, between 20M tokens (large) and 30M (small).",
        ),
        (
            [row("emerged", 2e7)] * 3,
            "IOI emerged in all 3 models, at 20M tokens.",
        ),
        (
            [row("emerged", t) for t in (4e7, 2e7, 1e7, 5e6, 2.5e6)],
            "IOI emerged in all 5 models, sooner in larger ones, between 2.5M tokens (giant) and "
            "40M (small).",
        ),
        (
            [row("emerged", t) for t in (2.5e6, 5e6, 1e7, 2e7, 4e7)],
            "IOI emerged in all 5 models, later in larger ones, between 2.5M tokens (small) and "
            "40M (giant).",
        ),
        (
            [row("emerged", 3e7), row("never"), row("already"), row("never"), row("ambiguous")],
            "IOI emerged in 1 of 5 models, at 30M tokens; 2 had not learned it by 60M tokens, 1 "
            "had it from the first checkpoint and 1 is unclear.",
        ),
        (
            [row("transient"), row("never"), row("already"), row("never")],
            "IOI: of 4 models, in 1 it rose and fell again, 2 had not learned it by 60M tokens "
            "and 1 had it from the first checkpoint.",
        ),
    ],
)  # fmt: skip
def test_one_sentence(rows: list[EmergenceRow], sentence: str) -> None:
    assert answer(*rows).sentence == sentence
    assert len(sentence) <= WIDTH


def test_models_of_one_size_have_names() -> None:
    """Nothing is said of larger and smaller where sizes are equal or not known."""
    for params in (1e6, np.nan):
        rows = [
            row("emerged", 2e7, model="a", params_total=params),
            row("emerged", 1e7, model="b", params_total=params),
        ]
        said = answer(*rows, sizes=False) if params == params else _without_sizes(rows)
        assert said.sentence.startswith("IOI emerged in both models, sooner in b: at 10M tokens")


def _without_sizes(rows: list[EmergenceRow]) -> Answer:
    (found,) = answers(Rows.of(rows).frame(), pd.DataFrame(), NO_ENDS, FACTS)
    return found


def seeds(model: str, params: float, *rows: EmergenceRow) -> list[EmergenceRow]:
    return [replace(r, model=model, params_total=params, seed=k) for k, r in enumerate(rows)]


@pytest.mark.parametrize(
    ("small", "large", "sentence"),
    [
        (
            [row("emerged", 2e7), row("emerged", 3e7), row("emerged", 2.2e7)],
            [row("emerged", 1e7), row("never"), row("emerged", 1.2e7)],
            "IOI emerged in all 3 seeds of small (20M to 30M tokens) and 2 of 3 seeds of large "
            "(10M to 12M tokens); the other run had not learned it by 60M tokens.",
        ),
        (
            [row("never")] * 3,
            [row("emerged", 1e7), row("already"), row("emerged", 1.2e7)],
            "IOI emerged in none of 3 seeds of small and 2 of 3 seeds of large (10M to 12M "
            "tokens); of the other 4 runs, 3 had not learned it by 60M tokens and 1 had it from "
            "the first checkpoint.",
        ),
        (
            [row("never")] * 2,
            [row("never")] * 2,
            "IOI had not emerged by 60M tokens in any of the 4 runs.",
        ),
        (
            [row("already")],
            [row("already"), row("already")],
            "IOI was there from the first checkpoint in all of the 3 runs.",
        ),
        (
            [row("never")] * 2,
            [row("already"), row("never")],
            "IOI: of 4 runs, 3 had not learned it by 60M tokens and 1 had it from the first "
            "checkpoint.",
        ),
    ],
)
def test_over_seeds(small: list[EmergenceRow], large: list[EmergenceRow], sentence: str) -> None:
    rows = [*seeds("small", 1e6, *small), *seeds("large", 1e7, *large)]
    assert answer(*rows, sizes=False).sentence == sentence


def test_two_seeds_of_one_model_are_runs() -> None:
    rows = seeds("small", 1e6, row("never"), row("never"))
    assert answer(*rows, sizes=False).sentence == (
        "IOI had not emerged by 60M tokens in either run."
    )


def test_seeds_of_many_models_are_counted() -> None:
    rows = [r for m, p in SIZES.items() for r in seeds(m, p, row("emerged", p), row("emerged", p))]
    rows[0] = replace(rows[0], status="never", tokens=None)
    assert answer(*rows, sizes=False).sentence == (
        "IOI emerged in 9 of 10 runs of 5 models (1M to 10B tokens); the other run had "
        "not learned it by 60M tokens."
    )


def test_details_are_what_it_rests_on() -> None:
    ends = pd.DataFrame(
        {
            "task": ["ioi", "ioi", "agreement"],
            "model": ["small", "large", "large"],
            "seed": 0,
            "circuit_edges": [None, 45.0, 7.0],
            "circuit_edges_share": [None, 0.144, 0.1],
            "n_edges": [313, 313, 313],
            "circuit_status": ["none: behaviour not above chance", "found", "found"],
        }
    )
    found = answer(row("never", note="highest value 0.1"), row("emerged", 9.1e6), ends=ends)
    assert found.details == (
        "Tokens, with 95 % intervals: large 9.1M [8.19M – 10M].",
        "small: highest value 0.1.",
        "Circuit at the last checkpoint: small none, behaviour not above chance; large 45 of 313 "
        "edges (14.4 %).",
    )
    so_far = answer(row("emerged", 9.1e6, finished=False), row("emerged", 2e7))
    assert so_far.details[-1] == "Not finished, so this is about the checkpoints so far: small."


def test_the_trend_is_a_detail() -> None:
    found = answer(*[row("emerged", t) for t in (4e7, 2.1e7, 1e7, 5e6, 2.4e6)])
    assert found.details[1].startswith("A model twice as large needs 0.81 [0.80, 0.82] times")
    assert "beyond which more changes nothing" in found.details[2]
    flat = answer(*[row("emerged", t) for t in (2e7, 1e7, 3e7, 1e7, 2e7)])
    assert flat.details[1].startswith("No sure trend with model size: ")
    assert "sooner" not in flat.sentence and "later" not in flat.sentence


def test_too_few_sizes_are_said_once() -> None:
    """Not with every task, unless another task has a trend."""
    few = of_models(row("emerged", 2e7), row("emerged", 1e7))
    scaling = scaling_of(few)
    assert trend_note(scaling) == (
        "A trend with model size needs at least 3 sizes with an emergence point; there are at most "
        "2 here, so none is given."
    )
    assert not any("trend" in words for words in answer(*few).details)
    never = of_models(row("never"), row("never"))
    assert "there are none here" in str(trend_note(scaling_of(never)))
    many = of_models(*[replace(row("emerged", t), task="agreement") for t in (1e7, 2e7, 3e7, 4e7)])
    both = pd.concat([scaling, scaling_of(many)], ignore_index=True)
    assert trend_note(both) is None and trend_note(pd.DataFrame()) is None
    first, second = answers(Rows.of([*few, *many]).frame(), both, NO_ENDS, FACTS)
    assert "Too few sizes with an emergence point for a trend." in first.details
    assert second.task == "agreement" and "Too few" not in " ".join(second.details)


@pytest.mark.parametrize(
    ("rows", "sentence"),
    [
        ([row("emerged", 1e7), row("emerged", 2e7)], "fell in both models, sooner in the smaller"),
        ([row("never"), row("never")], "had not fallen by 60M tokens in either model."),
        ([row("transient"), row("transient")], "fell and rose again in both models."),
        ([row("already"), row("emerged", 2e7)], "small had fallen by the first checkpoint."),
        ([row("never"), row("emerged", 2e7)], "small had no such fall by 60M tokens."),
    ],
)
def test_what_falls_is_said_to_fall(rows: list[EmergenceRow], sentence: str) -> None:
    own = [replace(r, task="wiki", quantity="ppl") for r in rows]
    found = answer(*own, facts=Facts())
    assert found.words == "Wiki, ppl" and sentence in found.sentence


def test_a_curve_of_one_model_from_elsewhere_has_no_answer() -> None:
    assert not answers(Rows.of([row("never", quantity="acc")]).frame(), *[NO_ENDS] * 2, FACTS)
    assert not answers(NO_ENDS, NO_ENDS, NO_ENDS, FACTS)


def test_answers_of_the_made_up_sweep(result: SummaryResult) -> None:
    found = answers(result.emergence, result.scaling, result.cells, result.facts)
    assert [one.words for one in found] == ["IOI", "Greater-than", "Gendered pronoun", "Agreement"]
    assert found[0].sentence.startswith("IOI emerged in 1 of 2 models: nano-400k at 4")
    assert found[0].sentence.endswith("; nano-100k had not learned it by 1.01M tokens.")
    for one in found:
        assert len(one.sentence) <= WIDTH and one.sentence.startswith(one.words)
        assert all(words.endswith(".") for words in one.details)
        assert not re.search(r"\b(None|nan|inf)\b", " ".join(one.details))
