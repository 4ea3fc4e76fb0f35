"""How long each part took, told from what is said, with a clock of our own."""

from __future__ import annotations

from pathlib import Path

from circuitwatch.record_files import TIMING
from circuitwatch.records import Cell
from circuitwatch.timing import Stopwatch
from test_records import HEADER, record


def test_parts_are_told_from_what_is_said() -> None:
    said: list[str] = []
    now = 0.0
    watch = Stopwatch(said.append, clock=lambda: now)
    spoken = [
        ("loading", 3.0),
        ("heads", 4.0),
        ("behaviour", 6.0),
        ("out of memory: 8 prompts at a time", 6.5),
        ("scoring edges", 7.0),
        ("circuit 1", 9.0),
        ("circuit 2", 9.5),
        ("circuit of resampled prompts 1", 10.0),
        ("path patching", 12.0),
    ]
    for words, at in spoken:
        now = at
        watch(words)
    now = 15.0
    assert said == [words for words, _ in spoken]
    assert watch.seconds() == {
        "fetching": 3.0,
        "loading": 1.0,
        "heads": 2.0,
        "behaviour": 1.0,
        "scores": 2.0,
        "circuit": 1.0,
        "resamples": 2.0,
        "patching": 3.0,
        "total": 15.0,
    }


def test_seconds_are_beside_the_record_and_no_part_of_it(tmp_path: Path) -> None:
    cell, other = (Cell.create(tmp_path / name, HEADER) for name in "ab")
    cell.write(record(0), {"total": 1.5})
    other.write(record(0))
    assert cell.seconds(0) == {"total": 1.5} and other.seconds(0) == {}
    assert cell.manifest_bytes(0) == other.manifest_bytes(0)
    (tmp_path / "a/checkpoints/step000000" / TIMING).write_text("{")
    assert cell.seconds(0) == {}
    assert cell.read(0).scalars == other.read(0).scalars
