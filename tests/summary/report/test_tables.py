"""What the cells of the report's tables show: numbers of at most two decimals, counts whole, stored
names in words; they are sorted by the full value.
"""

from __future__ import annotations

import pandas as pd
import pytest

from circuitwatch.facts import Facts
from circuitwatch.summary.report import columns
from circuitwatch.summary.report.tables import emergence_tables, table

FACTS = Facts.of_installation()


def shown(column: str, *values: object, beside: str = "") -> list[str]:
    """The texts of a column, in a table that may have another beside it."""
    frame = pd.DataFrame({column: list(values)} | ({beside: 1.0} if beside else {}))
    made = table(frame, {column: None}, FACTS)
    assert made is not None
    return [row[0].text for row in made.rows]


@pytest.mark.parametrize(
    ("column", "values", "texts"),
    [
        ("mean", (0.12345, 1.0, -0.00341), ["0.12", "1.00", "−0.0034"]),
        ("n", (3, 12), ["3", "12"]),
        ("circuit_edges", (3.0, None, 12.0), ["3", "", "12"]),
        ("mean_edge_jaccard", (1.0, 0.0), ["1.00", "0.00"]),
        ("circuit_edges_share", (0.0588, 1.0), ["5.9 %", "100.0 %"]),
        ("strongest_share", (0.5, 0.25), ["0.50", "0.25"]),
        ("tokens_median", (1.5e6, 0.0), ["1.5M", "0"]),
        ("last_tokens", (3e5, None), ["300k", ""]),
        ("ratio", (float("inf"), 2.5), ["inf", "2.50"]),
        ("edges", (25_000_000, 3), ["25M", "3"]),
        ("old_still_holds", (True, False), ["yes", "no"]),
        ("quantity", ("B", "mlp_push", "behaviour/value"),
         ["B: name movers → logits", "raising later years (MLPs)", "behaviour"]),
        ("task", ("greater_than", "-"), ["greater-than", "-"]),
        ("measure", ("weighted_edge_jaccard",), ["weighted edge Jaccard"]),
        ("finding", ("alike", "only the thresholded one jumps"), ["alike", "only accuracy jumps"]),
        ("knee_status", ("no knee: a straight line fits as well",), ["none seen"]),
        ("confirmed_at_end", ("repeated: a0.h1 helps; greater_than: m2 helps, m3 hurts", ""),
         ["repeated tokens: a0.h1 helps; greater-than: m2 helps, m3 hurts", ""]),
        ("heads", ("a1.h0 -0.27, a0.h0 +0.21",), ["a1.h0 −0.27, a0.h0 +0.21"]),
        ("note", ("its lowest value -1.3",), ["its lowest value −1.3"]),
    ],
)  # fmt: skip
def test_what_a_column_shows(column: str, values: tuple[object, ...], texts: list[str]) -> None:
    assert shown(column, *values) == texts


def test_ends_of_an_interval_of_tokens_are_tokens() -> None:
    assert shown("low", 3e5, 2.5e6, beside="tokens_before") == ["300k", "2.5M"]
    assert shown("low", 0.25, 2.0, beside="ratio") == ["0.25", "2.00"]


def test_sorted_by_the_full_value() -> None:
    made = table(pd.DataFrame({"mean": [0.123456789]}), {"mean": None}, FACTS)
    assert made is not None and made.rows[0][0].sort == "0.123456789"


HEADINGS = [
    heading
    for name, chosen in vars(columns).items()
    if name.isupper()
    for heading in (words or column.replace("_", " ") for column, words in chosen.items())
]


def test_headings_have_no_private_jargon() -> None:
    assert len(HEADINGS) > 100
    for heading in HEADINGS:
        assert "knee" not in heading and "corr." not in heading and "_" not in heading, heading


def test_models_are_beside_one_another() -> None:
    """A table of curves has the sizes of one task and quantity in neighbouring rows."""
    rows = [
        {
            "model": model, "task": task, "quantity": quantity, "seed": 0, "status": "emerged",
            "tokens": 1e6, "tokens_low": 9e5, "tokens_high": 1.1e6, "crossing_low": 9e5,
            "crossing_high": 1e6, "final": 1.0, "head": "a1.h0", "note": "",
        }
        for model in ("small", "large")
        for task, quantity in [
            ("agreement", "behaviour/value"), ("ioi", "behaviour/effect"),
            ("ioi", "behaviour/value"), ("-", "roles/induction/max"),
        ]
    ]  # fmt: skip
    made = emergence_tables(pd.DataFrame(rows), FACTS)
    assert list(made) == ["behaviours", "head roles"]
    names = made["behaviours"].headings
    places = [names.index(name) for name in ("task", "quantity", "model")]
    assert [[row[place].text for place in places] for row in made["behaviours"].rows] == [
        [task, quantity, model]
        for task, quantity in [
            ("IOI", "behaviour"),
            ("IOI", "effect of the deciding word"),
            ("agreement", "behaviour"),
        ]
        for model in ("small", "large")
    ]
    assert made["head roles"].headings[:3] == ["role", "model", "status"]
    assert "strongest head at the end" in made["head roles"].headings
    assert "strongest head at the end" not in names
