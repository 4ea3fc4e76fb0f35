"""What `circuitwatch summarize` prints: sizes beside each other, short notes, the report last."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from circuitwatch.facts import Facts
from circuitwatch.summary import SummaryResult, print_summary
from circuitwatch.summary.comparison import CircuitSize, comparison_rows
from circuitwatch.summary.heads.tables import HeadTables
from circuitwatch.summary.printing import MOST_ROWS
from circuitwatch.summary.rows import EmergenceRow, Rows, ScalingRow
from circuitwatch.summary.together import Compared
from support.compared import point, trend

FACTS = Facts.of_installation()


def summary(
    emergence: list[EmergenceRow],
    scaling: list[ScalingRow] | None = None,
    *,
    circuits: dict[tuple[str, str], CircuitSize] | None = None,
    notes: list[str] | None = None,
) -> SummaryResult:
    """A summary with these rows, without cells."""
    compared = comparison_rows(emergence, scaling or [], circuits or {}, FACTS)
    nothing = pd.DataFrame()
    return SummaryResult(
        Path("out"),
        Rows.of(emergence).frame(),
        nothing,
        nothing,
        HeadTables({}, *[nothing] * 8),
        Compared().frames(),
        notes or [],
        FACTS,
        compared,
    )


def shown(
    result: SummaryResult,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
    columns: int | None = None,
) -> list[str]:
    """The lines that are printed, to a file, where the environment says how wide."""
    monkeypatch.delenv("COLUMNS", raising=False)
    if columns is not None:
        monkeypatch.setenv("COLUMNS", str(columns))
    print_summary(result)
    return [line.rstrip() for line in capsys.readouterr().out.splitlines()]


def two_sizes() -> list[EmergenceRow]:
    role: dict[str, Any] = {"task": "-", "quantity": "roles/induction/max"}
    return [
        point("small", None, params_total=1e6),
        point("large", 1.2e6, params_total=4e6),
        point("large", 1.3e6, params_total=4e6, quantity="behaviour/effect"),
        point("large", 1.4e6, params_total=4e6, quantity="behaviour/accuracy"),
        point("small", 3e6, params_total=1e6, **role),
        point("large", None, params_total=4e6, **role, status="ambiguous"),
    ]


@pytest.mark.parametrize("columns", [80, 120, None])
def test_sizes_stand_beside_each_other(
    columns: int | None, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    result = summary(two_sizes(), circuits={("large", "ioi"): CircuitSize(25, 0.025)})
    lines = shown(result, capsys, monkeypatch, columns)
    assert lines[0] == "Tokens of emergence, models by size [95 % interval]"
    words = [line.split() for line in lines if line]
    assert ["small", "large"] in words and ["1M", "parameters", "4M", "parameters"] in words
    assert ["IOI", "never", "1.2M", "[600k", "–", "2.4M]"] in words
    assert ["induction", "3M", "[1.5M", "–", "6M]", "ambiguous"] in words
    assert ["effect", "of", "the", "deciding", "word", "–", "1.3M", "[650k", "–", "2.6M]"] in words
    assert ["IOI", "–", "2.5%"] in words
    headings = [line.strip() for line in lines if line.startswith(" ") and line[1] != " "]
    assert headings[1:] == ["behaviours", "head roles", "last circuit, share of all edges"]
    assert lines[-2:] == ["1 more curves in out/emergence.csv", "report: out/report.html"]
    assert max(map(len, lines)) <= (columns or 120)


def test_without_room_the_intervals_go_first_and_then_models_go_below(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    rows = [point(f"m{k}", 1e6 * (k + 1), params_total=1e6 * 2**k) for k in range(9)]
    lines = shown(summary(rows), capsys, monkeypatch, 80)
    assert lines[0] == "Tokens of emergence, models by size; intervals are in comparison.csv"
    assert max(map(len, lines)) <= 80
    found = [line.split()[1:] for line in lines if line.strip().startswith("IOI")]
    assert len(found) > 1
    assert [word for words in found for word in words] == [f"{k}M" for k in range(1, 10)]
    heads = [word for line in lines for word in line.split() if word in {f"m{k}" for k in range(9)}]
    assert heads == [f"m{k}" for k in range(9)]


def test_a_trend_has_its_slope_and_says_where_size_stops_to_help(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    slope = {"slope": -0.52, "slope_low": -1.1, "slope_high": -0.1}
    levels: dict[str, Any] = {"knee_status": "levels off", "knee": 4e8, "knee_low": 3e8}
    result = summary(
        [*two_sizes(), point("large", 1e6, params_total=4e6, task="agreement")],
        [trend(**slope, **levels), trend(task="agreement", status="too few sizes", n_sizes=1)],
    )
    lines = shown(result, capsys, monkeypatch)
    (ioi,) = [line for line in lines if line.strip().startswith("IOI")]
    assert ioi.endswith("−0.52 [−1.10, −0.10]") and any("slope (log–log)" in x for x in lines)
    said = [line for line in lines if "size beyond which" in line]
    assert said == [
        "size beyond which more doesn't help: 400M parameters [300M – beyond the largest] "
        "(1 of 1 rows)"
    ]
    assert not any("slope" in x for x in shown(summary(two_sizes()), capsys, monkeypatch))


def test_of_many_curves_those_that_emerged_in_most_models_and_few_notes(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    rows = [
        point(model, 1e6 if k >= 50 else None, task="bench", quantity=f"score{k:02}")
        for k in range(50 + MOST_ROWS)
        for model in "mn"
    ]
    result = summary(rows, notes=[f"this is odd {k}" for k in range(8)])
    lines = shown(result, capsys, monkeypatch)
    named = [line.split()[1] for line in lines if line.strip().startswith("bench, ")]
    assert named == [f"score{k}" for k in range(50, 50 + MOST_ROWS)]
    assert "100 more curves in out/emergence.csv" in lines
    assert [line for line in lines if line.startswith("note: ")] == [
        f"note: this is odd {k}" for k in range(5)
    ]
    assert lines[-2:] == ["3 more notes are in the report", "report: out/report.html"]


def test_seeds_are_counted_and_a_summary_without_curves_names_its_report(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    rows = [point("m", tokens, seed=k) for k, tokens in enumerate((1e6, 2e6, None))]
    lines = shown(summary(rows), capsys, monkeypatch)
    assert any("2M [1M – 2M] (2 of 3 seeds)" in line for line in lines)
    assert not any("more curves" in line for line in lines)
    assert shown(summary([]), capsys, monkeypatch) == ["report: out/report.html"]
