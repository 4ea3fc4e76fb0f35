"""Stages of training in tables, and sizes that a person gives."""

from __future__ import annotations

from pathlib import Path

import pandas as pd
import pytest

from circuitwatch.errors import UserError
from circuitwatch.summary.curves import Curves
from circuitwatch.summary.importers import parse_request, read_sources


@pytest.fixture
def table(tmp_path: Path) -> Path:
    steps = [
        *(f"stage1-step{k}000-tokens{2 * k}B" for k in (1, 2, 3)),
        *(f"stage2-ingredient{i}-step1000-tokens2B" for i in (1, 2)),
    ]
    rows = {"model": "lab/staged", "task": "t", "quantity": "acc", "step": steps}
    path = tmp_path / "table.csv"
    pd.DataFrame(rows | {"value": [0.1, 0.2, 0.3, 0.4, 0.5]}).to_csv(path, index=False)
    return path


def read(table: Path, **given: str) -> Curves:
    return read_sources(parse_request({"from": str(table), "to": "x", **given})).curves


def test_stages_of_a_table(table: Path) -> None:
    with pytest.raises(UserError, match=r"lab/staged has several stages .*both step 1000"):
        read(table)
    curves = read(table, stages="join")
    for branch, value in ((1, 0.4), (2, 0.5)):
        found = curves.curve(f"lab/staged ingredient{branch}", "t", "acc").to_dict()
        assert found == {2e9: 0.1, 4e9: 0.2, 6e9: 0.3, 8e9: value}
    with pytest.raises(UserError, match="stages=yes: give stages=join"):
        read(table, stages="yes")


def test_sizes_that_no_source_says(table: Path) -> None:
    table.write_text(table.read_text().replace("stage2-ingredient", "s"))
    plain = pd.read_csv(table).iloc[:3]
    plain.to_csv(table, index=False)
    assert any("give it as params=lab/staged:160M" in note for note in read(table).notes)
    for name in ("lab/staged", "staged"):
        curves = read(table, params=f"{name}:1.5B")
        assert set(curves.table["params"]) == {1.5e9}
        assert not any("no parameter count" in note for note in curves.notes)
    with pytest.raises(
        UserError, match=r"params=stages: no model of that name; there is lab/staged"
    ):
        read(table, params="stages:1B")
    with pytest.raises(UserError, match="params=staged:many: give a number of parameters"):
        read(table, params="staged:many")
