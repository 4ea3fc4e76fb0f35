"""The sizes beside each other, from hand-made rows: seeds, censored sizes, sizes that nobody knows,
and what can't be said with few of them.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from circuitwatch.facts import Facts
from circuitwatch.summary import SummaryResult
from circuitwatch.summary.cells import CellData
from circuitwatch.summary.comparison import (
    CircuitSize,
    ComparisonRows,
    circuit_sizes,
    comparison_rows,
    slope_words,
)
from circuitwatch.summary.report.comparison_table import comparison_table
from circuitwatch.summary.rows import EmergenceRow, ScalingRow
from support.compared import BEHAVIOUR, point, trend

FACTS = Facts.of_installation()


def compared(*rows: EmergenceRow, scaling: tuple[ScalingRow, ...] = ()) -> ComparisonRows:
    """The comparison of some rows, with no circuit."""
    return comparison_rows(rows, scaling, {}, FACTS)


def test_a_row_has_every_size_the_smallest_first_and_unknown_ones_last() -> None:
    rows = compared(
        point("unknown", 3e6, params_total=float("nan")),
        point("large", 1.2e6, params_total=4e6, high=None),
        point("small", None, params_total=1e6),
    )
    (row,) = rows
    assert [one.model for one in row.sizes] == rows.models == ["small", "large", "unknown"]
    assert [one.words for one in row.sizes] == [
        *("never", "1.2M [600k – beyond]", "3M [1.5M – 6M]"),
    ]
    assert row.sizes[2].params is None and row.sizes[0].tokens is None
    frame = rows.frame()
    assert frame["small status"][0] == "never" and pd.isna(frame["small tokens"][0])
    assert frame["large tokens"][0] == 1.2e6 and pd.isna(frame["large high"][0])
    assert not [name for name in frame if "seeds" in name or "circuit" in name]


@pytest.mark.parametrize(
    ("seeds", "words", "status"),
    [
        ((1e6, 4e6, 2e6), "2M [1M – 4M] (3 of 3 seeds)", "emerged"),
        ((1e6, 4e6, None), "4M [1M – 4M] (2 of 3 seeds)", "emerged"),
        ((1e6, None, None), "in 1 of 3 seeds", "in some seeds"),
        ((None, None), "never", "never"),
        ((None, "ambiguous", "ambiguous"), "ambiguous", "ambiguous"),
        (("already", "already", 1e6), "in 1 of 3 seeds", "in some seeds"),
    ],
)
def test_seeds_have_their_median_and_how_many_they_are(
    seeds: tuple[float | str | None, ...], words: str, status: str
) -> None:
    """A seed that never got there is later than all that did, as in the trends over size."""
    rows = compared(
        *(
            point("m", None, status=one, seed=seed)
            if isinstance(one, str)
            else point("m", one, seed=seed)
            for seed, one in enumerate(seeds)
        )
    )
    (size,) = rows[0].sizes
    assert (size.words, size.status) == (words, status)
    assert (size.tokens is None) == (status != "emerged")
    number = sum(isinstance(one, float) for one in seeds)
    assert rows.frame()["m seeds"][0] == f"{number} of {len(seeds)} seeds"


def test_one_size_has_no_trend_and_no_limit_but_says_why() -> None:
    few = trend(status="too few sizes", n_sizes=1, n_observed=1)
    (row,) = compared(point("m", 1e6), scaling=(few,))
    assert row.slope is None and slope_words(row) == ""
    assert row.trend == "too few sizes: 1, a trend needs 3"
    assert row.limit == "too few sizes: 1, a limit needs 5"
    table = comparison_table(ComparisonRows((row,)), FACTS)
    assert table is not None and table.headings == ["task or role", "m (1M)"]


@pytest.mark.parametrize(
    ("given", "slope", "said", "limit"),
    [
        (
            {"slope": -0.52, "slope_low": -1.1, "slope_high": -0.1},
            "−0.52 [−1.10, −0.10]",
            "sooner in larger models",
            "too few sizes: 4, a limit needs 5",
        ),
        (
            {"slope": -0.5, "slope_low": None, "slope_high": 0.25},
            "−0.50 [unbounded, 0.25]",
            "no clear change with size",
            "too few sizes: 4, a limit needs 5",
        ),
        (
            {
                "slope": 0.5,
                "slope_low": 0.2,
                "slope_high": 0.8,
                "knee_status": "levels off",
                "knee": 4e8,
                "knee_low": 3e8,
            },
            "0.50 [0.20, 0.80]",
            "later in larger models",
            "400M parameters [300M – beyond the largest]",
        ),
        (
            {"knee_status": "not determined by these sizes", "n_observed": 5},
            "",
            "no clear change with size",
            "not determined by 5 sizes",
        ),
        (
            {"knee_status": "no knee: a straight line fits as well"},
            "",
            "no clear change with size",
            "none seen: a straight line fits as well",
        ),
        (
            {"status": "too few observed sizes", "n_observed": 2},
            "",
            "emerged at 2 of 4 sizes, a trend needs 3",
            "too few sizes: 2, a limit needs 5",
        ),
    ],
)
def test_the_trend_and_the_limit_are_said_in_words(
    given: dict[str, Any], slope: str, said: str, limit: str
) -> None:
    other = trend(of="value of the model", slope=9.0)
    (row,) = compared(point("m", 1e6), scaling=(other, trend(**given)))
    assert (slope_words(row), row.trend, row.limit) == (slope, said, limit)
    frame = ComparisonRows((row,)).frame()
    assert frame["trend"][0] == said and frame["limit"][0] == limit
    assert row.slope == given.get("slope") and row.knee == given.get("knee")


def test_tasks_come_first_then_roles_and_curves_that_only_one_model_has_are_left_out() -> None:
    role = {"task": "-", "quantity": "roles/induction/max"}
    rows = compared(
        point("m", 1e6, **role),
        point("m", 1e6, task="-", quantity="text/in_context_learning"),
        point("m", 1e6, task="arc", quantity="score"),
        point("m", 1e6, quantity="behaviour/accuracy"),
        point("m", 1e6, quantity="behaviour/effect"),
        point("n", 2e6, task="arc", quantity="score", params_total=2e6),
        point("n", 2e6, task="arc", quantity="loss", params_total=2e6),
        point("n", 2e6, params_total=2e6),
        point("n", None, **role, params_total=2e6),
        point("m", 1e6, task="greater_than"),
    )
    assert [(row.kind, row.named(FACTS)) for row in rows] == [
        ("behaviour", "IOI"),
        ("behaviour", "IOI, effect of the deciding word"),
        ("behaviour", "greater-than"),
        ("curve from elsewhere", "arc, score"),
        ("head role", "induction"),
        ("model", "in-context-learning score"),
    ]
    assert [point.model for point in rows[0].sizes] == ["n"]
    assert rows[0].size("m") is None
    frame = rows.frame()
    assert pd.isna(frame["m status"][0]) and frame["n status"][4] == "never"
    (alone,) = compared(point("m", 1e6, task="arc", quantity="score"))
    assert alone.kind == "curve from elsewhere"


def a_cell(model: str, seed: int, edges: list[float | None]) -> CellData:
    """A cell with circuits of some sizes, of 1000 edges."""
    curves = pd.DataFrame(
        {
            "step": range(len(edges)),
            "tokens": [1000 * step for step in range(len(edges))],
            "circuit/edges": edges,
            "circuit/edges_share": [None if one is None else one / 1000 for one in edges],
        }
    )
    header = {"model": {"name": model}, "task": "ioi", "seed": seed}
    return CellData(Path("x"), header, True, curves, pd.DataFrame())


def test_circuits_are_those_of_the_last_checkpoint_that_has_one() -> None:
    sizes = circuit_sizes(
        [
            a_cell("m", 0, [10, 20, None]),
            a_cell("m", 1, [40, 30]),
            a_cell("none", 0, [None, None]),
        ]
    )
    assert sizes == {("m", "ioi"): CircuitSize(25, 0.025)}
    rows = comparison_rows(
        [point("m", 1e6), point("none", None), point("m", 1e6, task="-", quantity="roles/x/max")],
        [],
        sizes,
        FACTS,
    )
    frame = rows.frame()
    assert frame["m circuit edges"][0] == 25 and frame["m circuit share"][0] == 0.025
    assert pd.isna(frame["m circuit edges"][1]) and "none circuit edges" not in frame


def test_the_table_of_the_page_sorts_by_tokens_and_has_a_circuit_beside_each_model() -> None:
    rows = comparison_rows(
        [
            point("m", 2e6),
            point("n", None, params_total=2e6),
            point("m", None, status="already", task="greater_than"),
            point("m", None, status="ambiguous", task="-", quantity="roles/induction/max"),
        ],
        [trend(slope=-1.0, slope_low=-2.0, slope_high=-0.5)],
        {("m", "ioi"): CircuitSize(25, 0.025)},
        FACTS,
    )
    table = comparison_table(rows, FACTS)
    assert table is not None and table.of == 3
    assert table.headings == [
        *("task or role", "m (1M)", "n (2M)", "slope (log–log)", "with size", "circuit in m")
    ]
    ioi, years, role = table.rows
    assert [cell.text for cell in ioi] == [
        *("IOI", "2M [1M – 4M]", "never", "−1.00 [−2.00, −0.50]", "sooner in larger models"),
        "2.5% (25)",  # that the sizes are too few for a limit is no column
    ]
    sorts = [ioi[2].sort, ioi[1].sort, years[1].sort]
    assert sorted(sorts, key=lambda text: float(str(text)), reverse=True) == sorts
    assert [cell.sort for cell in (ioi[3], role[1], years[2])] == ["-1.0", "", ""]
    assert ioi[2].kind == "status-never" and role[0].text == "induction"
    of_roles = comparison_table(rows, FACTS, ("head role",))
    assert of_roles is not None and of_roles.headings == ["task or role", "m (1M)"]
    assert comparison_table(ComparisonRows(), FACTS) is None
    assert ComparisonRows().frame().empty and ComparisonRows().models == []


def test_a_sweeps_comparison_says_what_its_emergence_table_says(result: SummaryResult) -> None:
    frame = pd.read_csv(result.folder / "comparison.csv")
    assert list(frame["kind"].drop_duplicates()) == ["behaviour", "head role"]
    assert len(frame) == len(result.comparison)
    emergence = result.emergence.set_index(["model", "task", "quantity"])
    for _, row in frame.iterrows():
        for model in ("nano-100k", "nano-400k"):
            said = emergence.loc[(model, row["task"], row["quantity"])]
            assert row[f"{model} status"] == said["status"]
            emerged = said["status"] == "emerged"
            assert pd.notna(row[f"{model} tokens"]) == emerged
            if emerged:
                assert row[f"{model} tokens"] == pytest.approx(said["tokens"])
    assert frame["trend"].str.fullmatch(r"too few sizes: [012], a trend needs 3").all()
    last = result.cells.set_index(["model", "task"])["circuit_edges"]
    values = frame[frame["quantity"] == BEHAVIOUR].set_index("task")
    for task, row in values.iterrows():
        if pd.notna(last["nano-100k", task]):
            assert row["nano-100k circuit edges"] == last["nano-100k", task]
