"""Sources that tests read: small files of our own in tests/data, and published cases where they are
here.
"""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from circuitwatch.checkpoints.suites import read_suites
from circuitwatch.cli.choices import conf_dir
from circuitwatch.summary.curves import Curves
from circuitwatch.summary.importers import parse_request, read_sources
from support.tokenizers import PUBLISHED

FORMATS = Path(__file__).parents[1] / "data" / "formats"
"""One small file, or folder, of each format."""
CASES = PUBLISHED.parent / "cases" / "curves"
"""Published curves and result files that went wrong once; what is right is in their README."""
SUITES = read_suites([conf_dir()])


def curves_of(*sources: Path | str, **options: str) -> Curves:
    """What `summarize from=…` reads, with options as on the command line."""
    given = {"from": ",".join(map(str, sources)), "to": "x"} | options
    curves = read_sources(parse_request(given), SUITES).curves
    assert all("\n" not in note for note in curves.notes)
    return curves


def case(name: str) -> Path:
    """A published case; the test is skipped where it is absent."""
    if not (CASES / name).exists():
        pytest.skip("the published cases are not here")
    return CASES / name


def write_json(path: Path, content: object) -> Path:
    """A JSON file, with the folders above it."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(content), encoding="utf-8")
    return path


def points(
    curves: Curves, model: str, task: str, quantity: str, seed: int = 0
) -> dict[float, float]:
    """The values of one curve by tokens."""
    found = curves.curve(model, task, quantity, seed)
    return {float(tokens): float(value) for tokens, value in found.items()}


def names(curves: Curves, column: str) -> set[str]:
    """What a column of the table holds."""
    return set(curves.table[column])


def said(curves: Curves) -> str:
    """All notes, a line each."""
    return "\n".join(curves.notes)
