"""Columns of tables: what is said where one is missing, shared, or holds names of checkpoints."""

from __future__ import annotations

import re
from pathlib import Path

import pandas as pd
import pytest

from circuitwatch.errors import UserError
from circuitwatch.summary.importers.tidy import few, nearest
from support.sources import curves_of, names, points, said


def table(tmp_path: Path, **columns: object) -> Path:
    """A tidy table of two checkpoints; a column given as None is left out."""
    plain = {"model": "m", "tokens": [1e6, 2e6], "task": "t", "metric": "acc", "value": [0.1, 0.2]}
    given = {name: held for name, held in (plain | columns).items() if held is not None}
    path = tmp_path / "table.csv"
    pd.DataFrame(given).to_csv(path, index=False)
    return path


def test_task_and_quantity_may_be_one_column(tmp_path: Path) -> None:
    path = table(tmp_path, task=None)
    curves = curves_of(path, columns="task:metric,quantity:metric")
    assert points(curves, "m", "acc", "acc") == {1e6: 0.1, 2e6: 0.2}


def test_a_value_can_be_nothing_else(tmp_path: Path) -> None:
    with pytest.raises(
        UserError,
        match=r"^columns=value:value,stderr:value: one column can't be value and stderr at once; "
        r"only model, task, quantity may share one$",
    ):
        curves_of(table(tmp_path), columns="value:value,stderr:value")


def test_an_error_names_few_columns_the_nearest_first(tmp_path: Path) -> None:
    many = {f"extra{k}": 1.0 for k in range(200)} | {"values": [0.1, 0.2]}
    with pytest.raises(UserError) as caught:
        curves_of(table(tmp_path, value=None, **many))
    text = str(caught.value)
    assert "no column value; it has values, model," in text and "and 199 more" in text
    assert text.endswith("such as columns=value:values") and len(text) < 400
    with pytest.raises(UserError, match=r"table.csv has extra7, extra\d\d, .* more$") as caught:
        curves_of(table(tmp_path, **many), columns="value:extra7x")
    assert len(str(caught.value)) < 400


@pytest.mark.parametrize(
    ("columns", "remedy"),
    [
        ({"model": None}, 'columns=model:"table"'),
        ({"model": None, "who": "x", "n": [1, 2]}, "columns=model:who"),
        ({"value": None, "n": [0.1, 0.2], "who": "x"}, "columns=value:n"),
        ({"tokens": None, "value": [0.1, 0.2], "at": [1, 2], "who": "x"}, "columns=step:at"),
        ({"metric": None, "note": None}, 'columns=quantity:"table"'),
    ],
)
def test_what_an_error_proposes_is_not_refused_next(
    tmp_path: Path, columns: dict[str, object], remedy: str
) -> None:
    path = table(tmp_path, **columns)
    with pytest.raises(UserError) as caught:
        curves_of(path)
    proposed = re.search(r"such as columns=(.*)$", str(caught.value))
    assert proposed is not None and proposed[0].removeprefix("such as ") == remedy
    curves = curves_of(path, columns=proposed[1], tokens_per_step="10")
    assert len(curves.table) == 2


def test_nothing_is_proposed_where_no_column_can_be_it(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"no column value; .*; none of them can be the value$"):
        curves_of(table(tmp_path, value=None, who="x"))


def test_nearest_names() -> None:
    assert nearest("value", ["model", "Values", "eval/value", "x"]) == ["eval/value", "Values"]
    assert few(["a", "b"]) == "a, b"
    assert few(list("abcdefgh")) == "a, b, c, d, e, f and 2 more"


def test_steps_may_be_names_of_checkpoints(tmp_path: Path) -> None:
    for column in ("step", "revision", "checkpoint"):
        path = table(tmp_path, tokens=None, **{column: ["step1000", "step143000"]})
        curves = curves_of(path, tokens_per_step="10")
        assert points(curves, "m", "t", "acc") == {10_000: 0.1, 1_430_000: 0.2}
        assert "step: names of checkpoints are read, such as step1000 as step 1000" in said(curves)
    path = table(tmp_path, tokens=None, step=["main", "step5"])
    curves = curves_of(path, tokens_per_step="10")
    assert points(curves, "m", "t", "acc") == {50: 0.2}
    assert "step: 1 entry is no number ('main'): taken as missing" in said(curves)


def test_tables_are_known_by_what_is_in_them(tmp_path: Path) -> None:
    text = table(tmp_path).read_text()
    (tmp_path / "results.txt").write_text(text)
    assert points(curves_of(tmp_path / "results.txt"), "m", "t", "acc")[1e6] == 0.1
    pd.read_csv(table(tmp_path)).to_parquet(tmp_path / "results.bin")
    assert points(curves_of(tmp_path / "results.bin"), "m", "t", "acc")[1e6] == 0.1
    (tmp_path / "notes.txt").write_text("just words, and a comma, or two\n")
    with pytest.raises(UserError):
        curves_of(tmp_path / "notes.txt")


def test_a_constant_fills_in_what_a_table_does_not_say(tmp_path: Path) -> None:
    path = table(tmp_path, model=None, metric=None)
    curves = curves_of(path, columns='model:"mine",quantity:"acc",params:"160M",task:"x"')
    assert points(curves, "mine", "t", "acc") == {1e6: 0.1, 2e6: 0.2}
    assert names(curves, "params") == {1.6e8}
    assert 'says task itself, so columns=task:"x" is not used' in said(curves)


def test_seeds_in_names_of_models(tmp_path: Path) -> None:
    path = table(tmp_path, model=["small-seed1", "small_seed2"])
    curves = curves_of(path)
    assert points(curves, "small", "t", "acc", 1) == {1e6: 0.1}
    assert points(curves, "small", "t", "acc", 2) == {2e6: 0.2}
    assert (
        "names of models say seeds: small-seed1 is seed 1 of small, small_seed2 is seed 2 of small"
        in said(curves)
    )


def test_seeds_in_names_of_published_models(tmp_path: Path) -> None:
    """A model that the registry knows with a seed of the data alone is not another seed."""
    given = ["EleutherAI/pythia-160m-seed3", "pythia-160m-data-seed1"]
    curves = curves_of(table(tmp_path, model=given, tokens=[2e9, 4e9]))
    assert points(curves, "pythia-160m", "t", "acc", 3) == {2e9: 0.1}
    assert points(curves, "pythia-160m-data-seed1", "t", "acc") == {4e9: 0.2}


def test_a_column_of_seeds_goes_before_names(tmp_path: Path) -> None:
    curves = curves_of(table(tmp_path, model="small-seed1", seed=5))
    assert points(curves, "small-seed1", "t", "acc", 5) == {1e6: 0.1, 2e6: 0.2}
