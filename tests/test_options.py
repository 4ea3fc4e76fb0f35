"""Options: what the help says of one is what is refused, and every option says what it is."""

from __future__ import annotations

from dataclasses import dataclass, field

import pytest

from circuitwatch.errors import UserError
from circuitwatch.options import as_written, check_options, option, options_of, value_of


def refuse_odd(value: int, key: str) -> None:
    if value % 2:
        raise UserError(f"{key}={value}: must be even")


@dataclass
class Inner:
    share: float = option("A share", 0.5, share=True)
    kind: str = option("Which kind", "b", choices={"a": "the first", "b": ""})
    start: int | None = option("Where it starts", None, least=3, written="from")


@dataclass
class Outer:
    inner: Inner = field(default_factory=Inner)
    even: int = option("A number", 2, check=refuse_odd)


def test_keys_are_dotted_and_a_parts_come_after_the_wholes() -> None:
    assert [as_written(key, spec) for key, spec in options_of(Outer)] == [
        "even",
        "inner.share",
        "inner.kind",
        "inner.from",
    ]
    assert value_of(Outer(Inner(share=0.25)), "inner.share") == 0.25


def test_the_help_has_choices_bounds_and_default() -> None:
    texts = {key: spec.explained() for key, spec in options_of(Outer)}
    assert texts == {
        "even": "A number  [2]",
        "inner.share": "A share  [0.5; above 0, at most 1]",
        "inner.kind": "Which kind: a (the first), b  [b]",
        "inner.start": "Where it starts  [at least 3]",
    }


@pytest.mark.parametrize(
    ("config", "message"),
    [
        (Outer(Inner(share=0.0)), "inner.share=0.0: must be above 0 and at most 1, e.g. 0.8"),
        (Outer(Inner(share=1.5)), "inner.share=1.5: must be above 0 and at most 1, e.g. 0.8"),
        (Outer(Inner(kind="c")), "inner.kind=c: choose one of a, b"),
        (Outer(Inner(start=2)), "inner.from=2: must be at least 3"),
        (Outer(even=3), "even=3: must be even"),
    ],
)
def test_what_is_refused(config: Outer, message: str) -> None:
    with pytest.raises(UserError) as error:
        check_options(config)
    assert str(error.value) == message


def test_bounds_themselves_and_null_pass() -> None:
    check_options(Outer(Inner(share=1.0, kind="a", start=3), even=4))
    check_options(Outer(Inner(start=None)))
