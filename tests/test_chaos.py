"""A small selection of `benchmarks.chaos`, and faults that it found, each by itself."""

from __future__ import annotations

import json
import random
from pathlib import Path
from typing import Any

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from benchmarks.chaos import cells, configs, records
from circuitwatch import results
from circuitwatch.checkpoints.suites import read_suite
from circuitwatch.errors import UserError
from circuitwatch.records import Cell
from circuitwatch.shapes import misfit
from circuitwatch.transfer_files import read
from support.headers import refit


@pytest.fixture
def sweep(tmp_path: Path) -> Path:
    return cells.sound_sweep(tmp_path / "sweep")


def test_damaged_cells_are_told_or_change_nothing(tmp_path: Path) -> None:
    tally = records.run(12, 1, tmp_path)
    assert tally.failures == []
    assert tally.counts["told"] >= 4


def test_mutated_options_and_files_are_told_or_taken() -> None:
    tally = configs.run(40, 0)
    assert tally.failures == []
    assert tally.counts["told"] >= 10


HEADERS: dict[str, tuple[tuple[Any, ...], Any, str]] = {
    "facts": (("facts",), "x", "facts is 'x', not an object"),
    "a quantity": (("facts", "quantities", "behaviour/value"), {}, "has no key"),
    "layers": (("model", "n_layers"), [], r"model\.n_layers is \[\], not a whole number"),
    "no layer": (("model", "n_layers"), 0, r"model\.n_layers is 0, not at least 1"),
    "many layers": (("model", "n_layers"), 10**9, "graph.senders are 11, of this model 5000000001"),
    "a huge number": (("seed",), 10**400, "seed is a number of too many digits"),
    "a threshold": (("config", "heads", "thresholds", "induction"), "a", "is 'a', not a number"),
    "another model": (("config", "model", "name"), "other", r"config\.model\.name is 'other'"),
    "versions": (("versions",), 1.5, r"versions is 1\.5, not an object"),
}


@pytest.mark.parametrize("what", HEADERS)
def test_a_header_of_other_types_costs_only_its_cell(what: str, sweep: Path) -> None:
    place, value, says = HEADERS[what]
    path = sweep / cells.TARGET / "cell.json"
    header = json.loads(path.read_text())
    inner = header
    for key in place[:-1]:
        inner = inner[key]
    inner[place[-1]] = value
    path.write_text(json.dumps(header))
    with pytest.raises(UserError, match=f"cell\\.json: damaged: .*{says}"):
        Cell.open(path.parent)
    found = results.open(sweep, n_bootstrap=2)
    assert [cell.model for cell in found.cells] == [cells.MODELS[0]]
    assert any(str(path) in note for note in found.notes)


def _retyped(table: pd.DataFrame) -> pd.DataFrame:
    return table.assign(log_prob=table["log_prob"].astype(str))


TABLES = {
    "text for numbers": (_retyped, "in log_prob, not numbers"),
    "no values": (lambda t: t.assign(value=None), "has no value in 48 rows of value"),
    "a column of its own": (lambda t: t.assign(step=1), "has a column step"),
    "twice": (lambda t: pd.concat([t, t]), "has a prompt twice"),
    "lists": (lambda t: t.assign(x=[[1]] * len(t)), "in x, not others"),
    "wrong answers": (lambda t: t.assign(correct=~t["correct"]), "behaviour/accuracy is"),
}


@pytest.mark.parametrize("what", TABLES)
def test_a_table_that_no_analysis_writes_costs_only_its_record(what: str, sweep: Path) -> None:
    change, says = TABLES[what]
    record = sweep / cells.TARGET / "checkpoints/step000600"
    path = record / "prompts.parquet"
    change(pd.read_parquet(path)).to_parquet(path)  # type: ignore[no-untyped-call]
    refit(record)
    found = results.open(sweep, n_bootstrap=2)
    notes = [note for note in found.notes if str(record) in note]
    assert len(notes) == 1 and says in notes[0]
    assert [len(cell.curves) for cell in found.cells] == [5, 4]


def test_a_scalar_of_another_kind_than_in_other_records_does_not_cost_its_curve(
    sweep: Path,
) -> None:
    record = sweep / cells.TARGET / "checkpoints/step000600"
    path = record / "scalars.json"
    about = json.loads(path.read_text())
    name = "overlap/edge_jaccard_chance"
    about["scalars"][name] = "0.1"
    path.write_text(json.dumps(about))
    refit(record)
    found = results.open(sweep, n_bootstrap=2)
    assert any(f"step 600: damaged: {name}" in n or str(record) in n for n in found.notes)
    assert len(found.curves(model=cells.MODELS[1], quantity=name)) == 1


def test_a_finished_cell_that_lost_a_record_says_so(sweep: Path) -> None:
    record = sweep / cells.TARGET / "checkpoints/step000600"
    record.rename(record.with_name("step7"))
    assert Cell.open(sweep / cells.TARGET).steps_done() == [0, 128, 300, 1000]
    (note,) = (n for n in results.open(sweep, n_bootstrap=2).notes if "was finished" in n)
    assert "no record of step 600" in note


def test_files_of_transfer_are_read_as_written_or_named(tmp_path: Path, sweep: Path) -> None:
    source = sweep / cells.MODELS[1] / "transfer/seed0/step000600.parquet"
    sound, path, told = read(source), tmp_path / source.name, 0
    for seed in range(60):
        path.write_bytes(source.read_bytes())
        cells._bytes_of(random.Random(seed), path)
        try:
            read(path)
        except UserError:
            told += 1
    assert told > 30
    for change in (sound.drop(columns="value"), sound.assign(edges="x"), sound.iloc[[0, 0]]):
        change.to_parquet(path)
        with pytest.raises(UserError, match=r"step000600\.parquet: damaged"):
            read(path)


def test_a_suite_that_is_no_text_is_named(tmp_path: Path) -> None:
    (tmp_path / "mine.yaml").write_bytes(b"models: \xff")
    with pytest.raises(UserError, match=r"mine\.yaml: can't be read as YAML"):
        read_suite(tmp_path / "mine.yaml")


@pytest.mark.parametrize(
    ("value", "kind", "says"),
    [
        (True, int, "it is True, not a whole number"),
        (2**70, int, "it is a number of too many digits, not a whole number"),
        (float("nan"), float, "it is nan, not a number"),
        ([1], tuple[int, int], r"it is \[1\], not a list of 2"),
        ({"a": ["b", 1]}, dict[str, list[str]], "a.1 is 1, not text"),
        (3, float | None, None),
        ({"a": None}, dict[str, int | None], None),
    ],
)
def test_values_and_types(value: Any, kind: Any, says: str | None) -> None:
    assert misfit(value, kind) == (says and says.replace("\\", ""))


def test_a_value_of_transfer_that_was_changed_is_told(sweep: Path) -> None:
    path = next((sweep / cells.MODELS[1] / "transfer/seed0").glob("step001000.parquet"))
    table = pq.read_table(path)
    rows = table.to_pandas()
    rows.loc[0, "value"] += 1
    for metadata in (table.schema.metadata, {}):
        pq.write_table(
            pa.Table.from_pandas(rows, preserve_index=False).replace_schema_metadata(metadata), path
        )
        with pytest.raises(UserError, match="its rows are not those that were written"):
            read(path)
