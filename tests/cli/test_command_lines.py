"""Command lines at random, composed and checked: each is done or refused in one line."""

from __future__ import annotations

from pathlib import Path

import pytest

from support.command_lines import TRUE, outcome, outcomes


@pytest.mark.parametrize("line", TRUE, ids=" ".join)
def test_a_line_that_is_right(
    line: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    assert outcome(["watch", *line]) == "done"


@pytest.mark.parametrize("seed", range(3))
def test_nothing_but_success_or_one_line(
    seed: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    became = list(outcomes(60, seed))
    wrong = [(arguments, what) for arguments, what in became if what not in ("done", "refused")]
    assert wrong == []
    assert {what for _, what in became} == {"done", "refused"}
