"""The page's script has some rules of Python's over again: how numbers and cells are written, where
an axis has ticks. tests/web/rules.json says what both must do; tests/web/*.test.mjs ask the script.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from circuitwatch.spreadsheets import csv_of
from circuitwatch.summary.charts.looks import log_ticks
from circuitwatch.units import format_number, format_tokens

RULES = json.loads((Path(__file__).parent / "web" / "rules.json").read_text(encoding="utf-8"))


@pytest.mark.parametrize(("count", "shown"), RULES["short"])
def test_token_counts(count: float | None, shown: str) -> None:
    assert format_tokens(count) == shown


@pytest.mark.parametrize(("number", "shown"), RULES["value"])
def test_numbers(number: float, shown: str) -> None:
    assert format_number(number) == shown


@pytest.mark.parametrize(("content", "cell"), RULES["csv"])
def test_cells(content: str, cell: str) -> None:
    assert csv_of(pd.DataFrame({"name": [content], "more": ["x"]})) == f"name,more\n{cell},x\n"


@pytest.mark.parametrize(("low", "high", "most", "labelled"), RULES["logTicks"])
def test_ticks(low: float, high: float, most: int, labelled: list[Any]) -> None:
    assert log_ticks(low, high, most)[0] == pytest.approx(labelled)
