"""When a step is due."""

from __future__ import annotations

import pytest

from circuitwatch.errors import UserError
from circuitwatch.live.due import Every


def due(every: int | str, steps: list[int], tokens_per_step: int = 10) -> list[int]:
    rule, before, found = Every(every), None, []
    for step in steps:
        if rule.is_due(step, step * tokens_per_step, before):
            found.append(step)
        before = (step, step * tokens_per_step)
    return found


@pytest.mark.parametrize(
    ("every", "expected"),
    [
        (3, [0, 3, 6, 9]),
        ("3steps", [0, 3, 6, 9]),
        ("log", [1, 2, 4, 8]),
        ("25tokens", [3, 5, 8, 10]),
        ("0.1k", [10]),
    ],
)
def test_every_step_looked_at(every: int | str, expected: list[int]) -> None:
    assert due(every, list(range(12))) == expected


def test_a_mark_that_was_passed_over_is_made_up_for() -> None:
    """A loop that tells of each tenth step alone."""
    steps = list(range(0, 100, 10))
    assert due(25, steps) == [0, 30, 50, 80]
    assert due("log", steps) == [10, 20, 40, 70]


def test_where_a_training_goes_on_only_a_mark_itself_is_due() -> None:
    assert Every(4).is_due(8, 0, None) and not Every(4).is_due(9, 0, None)
    assert Every("log").is_due(8, 0, None) and not Every("log").is_due(9, 0, None)
    assert not Every("1k").is_due(9, 5000, None)


@pytest.mark.parametrize("every", ["often", 0, -3, True, 2.5, None, "1.5steps", "0.5tokens", ""])
def test_what_is_no_rule(every: object) -> None:
    with pytest.raises(UserError, match=r"every=.*give a number of steps such as 1000, tokens"):
        Every(every)  # type: ignore[arg-type]
