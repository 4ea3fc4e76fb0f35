"""Trends over model size: each p-value is adjusted for how many the table has."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from circuitwatch.summary.curve_tables import scaling_rows
from circuitwatch.summary.curves import COLUMNS, Curves, combine
from circuitwatch.summary.statistics.comparisons import benjamini_hochberg, holm


def values_of_models(quantity: str, values: list[float]) -> pd.DataFrame:
    """A value of each of some models as a whole, by size."""
    models = {
        "model": [f"m{k}" for k in range(len(values))],
        "params": [1e6 * 4**k for k in range(len(values))],
    }
    fixed = {"tokens": np.nan, "step": np.nan, "task": "t", "stderr": np.nan, "seed": 0}
    table = pd.DataFrame(models | {"value": values} | fixed)
    return table.assign(quantity=quantity, source="x")[list(COLUMNS)]


def test_p_values_are_adjusted_for_the_tables_number_of_tests() -> None:
    tables = [
        values_of_models("a", [1.0, 2.0, 3.0, 4.0, 5.0]),
        values_of_models("b", [2.0, 1.0, 4.0, 3.0, 5.0]),
        values_of_models("few", [1.0, 2.0]),
    ]
    rows = {row.quantity: row for row in scaling_rows(combine([Curves(pd.concat(tables))]), [])}
    assert rows["few"].spearman_p is None and rows["few"].spearman_p_holm is None
    for name in ("spearman_p", "pearson_p"):
        p = [getattr(rows[quantity], name) for quantity in "ab"]
        assert [getattr(rows[q], f"{name}_holm") for q in "ab"] == pytest.approx(list(holm(p)))
        adjusted = [getattr(rows[q], f"{name}_bh") for q in "ab"]
        assert adjusted == pytest.approx(list(benjamini_hochberg(p)))
        assert {getattr(row, f"{name}_tests") for row in rows.values()} == {2}
    assert rows["a"].of == "value of the model" and rows["a"].models == "m0 m1 m2 m3 m4"
