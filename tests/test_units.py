"""Durations, numbers and counts as people write them, and as they are shown."""

from __future__ import annotations

import pytest

from circuitwatch.errors import UserError
from circuitwatch.units import counted, format_duration, format_number, parse_duration


@pytest.mark.parametrize(
    ("text", "seconds"),
    [("10s", 10), ("30min", 1800), ("1.5 h", 5400), ("2d", 172800), (" 0.05s ", 0.05)],
)
def test_durations(text: str, seconds: float) -> None:
    assert parse_duration(text, "follow_idle") == seconds


@pytest.mark.parametrize("text", ["", "10", "soon", "-5s", "0min", "3 weeks", "1m"])
def test_what_is_no_duration(text: str) -> None:
    with pytest.raises(UserError, match=r"follow_idle=.*: give a time above 0 such as 10s or 30mi"):
        parse_duration(text, "follow_idle")


@pytest.mark.parametrize(
    ("seconds", "shown"),
    [(0, "0 s"), (59.9, "59 s"), (60, "1 min"), (3599, "59 min"), (7200, "2 h"), (90000, "1 d")],
)
def test_durations_are_shown_in_their_largest_unit(seconds: float, shown: str) -> None:
    assert format_duration(seconds) == shown


@pytest.mark.parametrize(
    ("value", "shown"),
    [
        *[(0.8, "0.80"), (1.0, "1.00"), (0.12345, "0.12"), (-0.00341, "−0.0034")],
        (12.345, "12.35"),
        *[
            (123.4, "123"),
            (-250.6, "−251"),
            (0.0, "0.00"),
            (7, "7"),
            (1.2e-7, "1.2e−7"),
            (-4e-5, "−4e−5"),
            (-0.0, "0.00"),
        ],
        *[(float("nan"), ""), (None, ""), (float("inf"), "inf")],
    ],
)
def test_numbers_have_at_most_two_significant_decimals(value: float | None, shown: str) -> None:
    assert format_number(value) == shown


def test_a_noun_has_the_number_of_its_count() -> None:
    assert [counted(n, "model") for n in (0, 1, 2)] == ["0 models", "1 model", "2 models"]
    assert [counted(n, "emergence of it", "emergences") for n in (1, 3)] == [
        "1 emergence of it",
        "3 emergences",
    ]
