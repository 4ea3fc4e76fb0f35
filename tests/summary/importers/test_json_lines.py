"""Logs of one JSON object a line."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest

from circuitwatch.errors import UserError
from circuitwatch.summary.importers import kind_of
from circuitwatch.summary.importers.json_lines import flattened
from support.sources import FORMATS, curves_of, names, points, said

LOG = FORMATS / "log.jsonl"


@pytest.mark.parametrize("name", ["log.jsonl", "train.log", "log.json"])
def test_groups_within_groups_are_curves(tmp_path: Path, name: str) -> None:
    path = tmp_path / name
    shutil.copy(LOG, path)
    assert kind_of(str(path)) == "wide"
    curves = curves_of(path, tokens_per_step="10", columns='model:"mine"')
    assert points(curves, "mine", "run", "train/loss") == {
        0: 5.0, 1000: 4.5, 2000: 4.0, 3000: 3.5, 4000: 3.0
    }  # fmt: skip
    assert points(curves, "mine", "run", "eval/piqa/acc") == {2000: 0.5, 4000: 0.6}
    assert names(curves, "quantity") == {"train/loss", "eval/piqa/acc"}  # no learning rate
    # The run was killed within its last line.
    assert "1 line is no JSON object (line 8): left out" in said(curves)


def test_lists_are_no_columns() -> None:
    assert flattened({"a": {"b": 1, "c": {"d": 2}, "e": [3]}, "f": None}) == {
        "a/b": 1, "a/c/d": 2, "f": None
    }  # fmt: skip


def test_tidy_rows_may_be_lines(tmp_path: Path) -> None:
    rows = [
        {"model": "m", "tokens": 10.0**k, "task": "t", "metric": "acc", "value": k / 10, "seed": 1}
        for k in (6, 7)
    ]
    path = tmp_path / "rows.jsonl"
    path.write_text("\n".join(map(json.dumps, rows)))
    assert kind_of(str(path)) == "tidy"
    assert points(curves_of(path), "m", "t", "acc", 1) == {1e6: 0.6, 1e7: 0.7}


@pytest.mark.parametrize(
    ("content", "says"),
    [
        (b"", "no column|no line of it is a JSON object"),
        (b"3\n[4]\n", "no line of it is a JSON object|no column"),
        (b'{"step": 1, "loss": "\xe9"}\n{"step": 2}\n', "is not text in UTF-8"),
        (b'{"step": 1, "loss": "low"}\n{"step": 2}\n', "no column of loss holds a number"),
    ],
)
def test_logs_that_cannot_be_read(tmp_path: Path, content: bytes, says: str) -> None:
    path = tmp_path / "bad.jsonl"
    path.write_bytes(content)
    with pytest.raises(UserError, match=says) as caught:
        curves_of(path, tokens_per_step="1")
    assert "\n" not in str(caught.value)
