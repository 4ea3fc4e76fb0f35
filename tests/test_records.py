"""Records: whole or not at all, the same bytes for the same content, and refusals with one clear
line.
"""

from __future__ import annotations

import json
import shutil
from dataclasses import fields, replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from circuitwatch.errors import UserError
from circuitwatch.record_files import CheckpointRecord, Edges
from circuitwatch.records import Cell, find_cells

HEADER: dict[str, Any] = {
    "config": {"sweep": "s", "seed": 0, "circuit": {"threshold": 0.8}, "tracking": {"mode": "off"}},
    "code_version": "0",
    "model": {"name": "m"},
    "task": "ioi",
    "seed": 0,
    "schedule": [
        {"step": 0, "tokens": 0, "revision": "step0"},
        {"step": 8, "tokens": 80, "revision": "step8"},
    ],
    "graph": {
        "senders": ["input", "a0.h0", "m0"],
        "receivers": ["a0.h0<q>", "a0.h0<k>", "a0.h0<v>", "logits"],
        "n_edges": 1,
    },
}


def record(step: int, **scalars: Any) -> CheckpointRecord:
    rng = np.random.default_rng(step)
    return CheckpointRecord(
        step=step,
        tokens=10 * step,
        revision=f"step{step}",
        scalars={"behaviour/value": 0.1 + step, "circuit/status": "found", **scalars},
        prompts=pd.DataFrame(
            {
                "prompt": [0, 1],
                "value": [step - 0.4, step + 0.6],
                "corrupted": rng.normal(size=2),
                "correct": [True, False],
                "log_prob": [-1.0, -2.0],
            }
        ),
        roles=pd.DataFrame({"role": ["induction"], "layer": [0], "head": [1], "score": [0.5]}),
        curve=pd.DataFrame(
            {
                "edges_before_pruning": [1, 2],
                "edges": [1, 2],
                "value": [0.1, 0.2],
                "recovery": [0.5, 1.0],
                "faithfulness": [0.5, 1.0],
            }
        ),
        scores=rng.normal(size=(3, 4)).astype(np.float32),
        mask=rng.random((3, 4)) > 0.5,
        bands=pd.DataFrame(
            {"measure": ["B"], "cutoff": [0.1], "value": [0.5], "low": [0.4], "high": [0.6]}
        ),
        resamples=(
            Edges(np.array([1, 5], dtype=np.int32), rng.normal(size=2).astype(np.float32)),
            None,
        ),
    )


def content(folder: Path) -> dict[str, bytes]:
    return {
        str(path.relative_to(folder)): path.read_bytes()
        for path in sorted(folder.rglob("*"))
        if path.is_file()
    }


def test_round_trip(tmp_path: Path) -> None:
    cell = Cell.create(tmp_path / "cell", HEADER)
    written = record(8)
    cell.write(written)
    read = Cell.open(tmp_path / "cell").read(8)
    for field in fields(CheckpointRecord):
        one, other = getattr(written, field.name), getattr(read, field.name)
        if isinstance(one, pd.DataFrame):
            pd.testing.assert_frame_equal(one, other)
        elif isinstance(one, np.ndarray):
            np.testing.assert_array_equal(one, other)
            assert one.dtype == other.dtype
        elif field.name == "resamples":
            assert (
                [edges is None for edges in one]
                == [edges is None for edges in other]
                == [False, True]
            )
            np.testing.assert_array_equal(one[0].places, other[0].places)
            np.testing.assert_array_equal(one[0].scores, other[0].scores)
        else:
            assert one == other


@settings(max_examples=30, deadline=None)
@given(
    st.dictionaries(
        st.text(min_size=1),
        st.one_of(
            st.booleans(),
            st.integers(-(2**53), 2**53),
            st.text(),
            st.floats(allow_nan=False, allow_infinity=False),
        ),
    )
)
def test_scalars_survive_exactly(
    tmp_path_factory: pytest.TempPathFactory, scalars: dict[str, Any]
) -> None:
    cell = Cell.create(tmp_path_factory.mktemp("cell"), HEADER)
    cell.write(record(0, **scalars))
    assert cell.read(0).scalars == {**record(0).scalars, **scalars}


def test_the_same_content_gives_the_same_bytes(tmp_path: Path) -> None:
    for name in ("a", "b"):
        cell = Cell.create(tmp_path / name, HEADER)
        for step in (0, 8):
            cell.write(record(step))
        cell.mark_done()
    assert content(tmp_path / "a") == content(tmp_path / "b")


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_what_does_not_exist_must_be_left_out(tmp_path: Path, value: float) -> None:
    cell = Cell.create(tmp_path, HEADER)
    with pytest.raises(ValueError, match="scalar x at step 0"):
        cell.write(record(0, x=value))
    assert cell.steps_done() == []


def test_a_killed_write_leaves_no_record(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whichever file the kill hits, the record is not there, and the next run starts clean."""
    cell = Cell.create(tmp_path, HEADER)
    real = pd.DataFrame.to_parquet

    def killed(self: pd.DataFrame, path: Path, **options: Any) -> None:
        real(self, path, **options)
        raise KeyboardInterrupt

    monkeypatch.setattr(pd.DataFrame, "to_parquet", killed)
    with pytest.raises(KeyboardInterrupt):
        cell.write(record(0))
    monkeypatch.undo()
    assert cell.steps_done() == [] and list((tmp_path / "checkpoints").iterdir())
    again = Cell.create(tmp_path, HEADER)
    assert not list((tmp_path / "checkpoints").iterdir())
    again.write(record(0))
    assert again.steps_done() == [0]


def test_done_only_with_every_record(tmp_path: Path) -> None:
    cell = Cell.create(tmp_path, HEADER)
    cell.write(record(8))
    cell.mark_done()
    assert not cell.is_done()
    cell.write(record(0))
    assert not cell.is_done() and not cell.said_done()  # what is written is not in the seal
    cell.mark_done()
    assert cell.is_done() and cell.steps_done() == [0, 8]
    shutil.rmtree(tmp_path / "checkpoints" / "step000000")
    assert not cell.is_done()


def test_damage_is_named(tmp_path: Path) -> None:
    cell = Cell.create(tmp_path, HEADER)
    cell.write(record(8))
    with (tmp_path / "checkpoints/step000008/roles.parquet").open("ab") as file:
        file.write(b"x")
    with pytest.raises(UserError, match=r"roles\.parquet: damaged; delete"):
        cell.read(8)
    with pytest.raises(UserError, match="no record of step 4"):
        cell.read(4)


def test_another_configuration_is_refused(tmp_path: Path) -> None:
    Cell.create(tmp_path, HEADER)
    other = json.loads(json.dumps(HEADER))
    other["config"]["circuit"]["threshold"] = 0.9
    with pytest.raises(
        UserError,
        match=r"made with circuit\.threshold=0\.8, you ask for 0\.9; choose another sweep=",
    ):
        Cell.create(tmp_path, other)
    shorter = {**HEADER, "schedule": HEADER["schedule"][:1]}
    with pytest.raises(UserError, match="another list of checkpoints"):
        Cell.create(tmp_path, shorter)
    harmless = json.loads(json.dumps(HEADER))
    harmless["config"]["tracking"]["mode"] = "offline"
    Cell.create(tmp_path, harmless)


def test_a_cell_takes_checkpoints_that_came_later(tmp_path: Path) -> None:
    short = {**HEADER, "schedule": HEADER["schedule"][:1]}
    cell = Cell.create(tmp_path, short)
    cell.write(record(0))
    cell.mark_done()
    assert cell.is_done()
    cell.grow(HEADER["schedule"])
    assert not cell.is_done()
    assert Cell.open(tmp_path).header["schedule"] == HEADER["schedule"]
    with pytest.raises(UserError, match=r"step8 \(step 8, 80 tokens\) is not among those"):
        cell.grow(short["schedule"])
    moved = [HEADER["schedule"][0], {**HEADER["schedule"][1], "tokens": 41}]
    with pytest.raises(UserError, match="another list of checkpoints"):
        Cell.create(tmp_path, {**HEADER, "schedule": moved})


def test_what_was_seen_of_a_skipped_checkpoint_is_kept(tmp_path: Path) -> None:
    cell = Cell.create(tmp_path, HEADER)
    cell.skip(0, 0, "step0", "half", again=False, seen="a")
    cell.skip(8, 80, "step8", "no such revision", again=False)
    entries = Cell.open(tmp_path).skipped()
    assert entries["0"]["seen"] == "a" and "seen" not in entries["8"]
    cell.mark_done()
    assert not cell.is_done()  # without a single record
    cell.write(record(0))
    assert list(cell.skipped()) == ["8"]
    cell.mark_done()
    assert cell.is_done()
    cell.reopen()
    assert not cell.is_done()
    cell.reopen()  # which changes nothing any more


def test_whether_it_was_followed_does_not_matter(tmp_path: Path) -> None:
    """Nor for a cell of a version that could not follow."""
    Cell.create(tmp_path, HEADER)
    other = json.loads(json.dumps(HEADER))
    other["config"] |= {"follow": True, "follow_idle": "1h", "follow_every": "1s"}
    Cell.create(tmp_path, other)
    Cell.create(tmp_path, HEADER)


def test_unwritable_and_missing_folders(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(UserError, match="can't be written"):
        Cell.create(tmp_path / "file" / "cell", HEADER)
    with pytest.raises(UserError, match=r"no cell\.json"):
        Cell.open(tmp_path)
    Cell.create(tmp_path, {**HEADER, "format": 99})
    with pytest.raises(UserError, match="format 99"):
        Cell.open(tmp_path)


def test_tables_and_finding(tmp_path: Path) -> None:
    folder = tmp_path / "m" / "ioi" / "seed0"
    cell = Cell.create(folder, HEADER)
    assert list(cell.scalars_table()) == ["step", "tokens"] and len(cell.roles_table()) == 0
    for step in (8, 0):
        cell.write(record(step))
    assert cell.scalars_table()["step"].tolist() == [0, 8]
    assert list(cell.roles_table()) == ["step", "tokens", "role", "layer", "head", "score"]
    assert list(cell.prompts_table()) == [
        "step",
        "tokens",
        "prompt",
        "value",
        "corrupted",
        "correct",
        "log_prob",
    ]
    assert [found.folder for found in find_cells(tmp_path)] == [folder]


def test_a_cell_of_the_format_before_is_read_by_todays_names_but_not_gone_on_with(
    tmp_path: Path,
) -> None:
    cell = Cell.create(tmp_path, HEADER)
    written = record(128)
    old = {"circuit/edges_asked": 7, "behaviour/value": 1.0}
    curve = pd.DataFrame({"edges_asked": [7], "edges": [5], "value": [1.0]})
    cell.write(replace(written, scalars=old, curve=curve))
    header = json.loads((tmp_path / "cell.json").read_text())
    (tmp_path / "cell.json").write_text(json.dumps(header | {"format": 3}))
    read = Cell.open(tmp_path).read(128)
    assert read.scalars == {"circuit/edges_before_pruning": 7, "behaviour/value": 1.0}
    assert read.curve is not None and next(iter(read.curve)) == "edges_before_pruning"
    with pytest.raises(UserError, match=r"format 3 is of an earlier version; .* choose another"):
        Cell.create(tmp_path, HEADER)


def test_the_identity_is_written_once_and_the_list_may_grow(tmp_path: Path) -> None:
    short = {**HEADER, "schedule": HEADER["schedule"][:1]}
    Cell.create(tmp_path, short)
    written = (tmp_path / "cell.json").read_bytes()
    assert b'"schedule"' not in written
    other = {**HEADER, "config": {**HEADER["config"], "threads": 2}, "code_version": "1"}
    cell = Cell.create(tmp_path, other)
    assert (tmp_path / "cell.json").read_bytes() == written
    assert cell.header["schedule"] == HEADER["schedule"] == Cell.open(tmp_path).header["schedule"]
    assert cell.header["code_version"] == "0" and "threads" not in cell.header["config"]


def test_a_cell_of_one_file_is_gone_on_with(tmp_path: Path) -> None:
    cell = Cell.create(tmp_path, HEADER)
    cell.write(record(0))
    (tmp_path / "checkpoints.json").unlink()
    (tmp_path / "cell.json").write_text(json.dumps({**HEADER, "format": 4}))
    assert Cell.open(tmp_path).header["schedule"] == HEADER["schedule"]
    again = Cell.create(tmp_path, HEADER)
    assert again.steps_done() == [0] and again.header["format"] == 5
    assert "schedule" not in json.loads((tmp_path / "cell.json").read_text())
    assert Cell.open(tmp_path).header == again.header


def test_what_made_a_record_is_in_it(tmp_path: Path) -> None:
    cell = Cell.create(tmp_path, HEADER)
    cell.write(replace(record(0), made_by={"threads": 2}))
    assert cell.read(0).made_by == {"threads": 2}
    cell.write(record(8))
    assert cell.read(8).made_by == {}


def rewritten(folder: Path, name: str, content: bytes) -> None:
    """Put content into a record's file under a fitting hash."""
    import hashlib

    (folder / name).write_bytes(content)
    manifest = json.loads((folder / "manifest.json").read_text())
    manifest[name] = {"bytes": len(content), "sha256": hashlib.sha256(content).hexdigest()}
    (folder / "manifest.json").write_text(json.dumps(manifest))


def changed_scalars(folder: Path, **changes: Any) -> None:
    about = json.loads((folder / "scalars.json").read_text())
    about["scalars"] |= changes.pop("scalars", {})
    rewritten(folder, "scalars.json", json.dumps({**about, **changes}).encode())


def swap(folder: Path) -> None:
    other = folder.with_name("step000008")
    folder.rename(folder.with_name("x"))
    other.rename(folder)
    folder.with_name("x").rename(other)


def unlist(folder: Path) -> None:
    manifest = json.loads((folder / "manifest.json").read_text())
    del manifest["curve.parquet"]
    (folder / "manifest.json").write_text(json.dumps(manifest))


WRONG = {
    "swapped folders": (swap, "it is of step 8"),
    "a manifest that lists fewer files": (unlist, r"curve\.parquet is not in its manifest"),
    "a file that nobody wrote": (lambda f: (f / "x").write_text(""), "x is not in its manifest"),
    "a value that is not that of its prompts": (
        lambda f: changed_scalars(f, scalars={"behaviour/value": 5.0}),
        r"behaviour/value is 5, the mean over its prompts 0\.1",
    ),
    "a value that is no number": (
        lambda f: changed_scalars(f, scalars={"text/loss": float("nan")}),
        r"can't be read \(scalars\.text/loss is nan, not a number",
    ),
    "a list for a value": (
        lambda f: changed_scalars(f, scalars={"a/b": [1]}),
        r"can't be read \(scalars\.a/b is \[1\]",
    ),
    "another size of the circuit": (
        lambda f: changed_scalars(f, scalars={"circuit/edges": 99}),
        "circuit/edges is 99, its circuit has",
    ),
    "tokens of another checkpoint": (
        lambda f: changed_scalars(f, tokens=80),
        "it is of tokens 80, the checkpoint of 0",
    ),
    "a field that nobody knows": (lambda f: changed_scalars(f, x=1), "can't be read"),
    "no table": (lambda f: rewritten(f, "prompts.parquet", b"PAR1"), "can't be read"),
    "no tensors": (lambda f: rewritten(f, "edges.safetensors", b"\x00" * 20), "can't be read"),
    "a table without its columns": (
        lambda f: rewritten(f, "prompts.parquet", pd.DataFrame({"a": [1]}).to_parquet()),
        r"prompts\.parquet has no column prompt",
    ),
}


@pytest.mark.parametrize("what", WRONG)
def test_what_is_wrong_under_fitting_hashes_is_found(what: str, tmp_path: Path) -> None:
    damage, says = WRONG[what]
    cell = Cell.create(tmp_path, HEADER)
    for step in (0, 8):
        cell.write(record(step), {"total": 1.0})
        cell.read(step)
    damage(tmp_path / "checkpoints/step000000")  # type: ignore[no-untyped-call]
    with pytest.raises(UserError, match=f"damaged: {says}"):
        cell.read(0)


def test_a_record_of_no_checkpoint_of_the_cell_is_found(tmp_path: Path) -> None:
    cell = Cell.create(tmp_path, HEADER)
    cell.write(record(4))
    with pytest.raises(UserError, match="step 4 is not among the cell's checkpoints"):
        cell.read(4)


@pytest.mark.parametrize("content", ["", "{}", "[]", '{"checkpoints": 3}', '{"checkpoints": "2"}'])
def test_a_wrong_done_file_is_not_believed(content: str, tmp_path: Path) -> None:
    cell = Cell.create(tmp_path, HEADER)
    for step in (0, 8):
        cell.write(record(step))
    (tmp_path / "done.json").write_text(content)
    assert not cell.is_done()
    cell.mark_done()
    assert cell.is_done()


def test_what_was_skipped_and_is_recorded_counts_as_recorded(tmp_path: Path) -> None:
    cell = Cell.create(tmp_path, HEADER)
    cell.skip(0, 0, "step0", "missing", again=True)
    kept = (tmp_path / "skipped.json").read_bytes()
    cell.write(record(0))
    (tmp_path / "skipped.json").write_bytes(kept)
    assert cell.skipped() == {}
    (tmp_path / "skipped.json").write_text('{"0": {"tokens": 0}}')
    with pytest.raises(UserError, match=r"skipped\.json: damaged: 0 has no revision"):
        cell.skipped()
