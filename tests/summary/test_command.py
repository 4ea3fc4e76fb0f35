"""`circuitwatch summarize from=… to=…`: mixes of sources, and what is wrong with a source in one
line while the rest is still summarised.
"""

from __future__ import annotations

import gc
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from circuitwatch.cli import main

STEPS = np.array([0, 100, 200, 400, 800, 1600, 3200, 6400, 12800, 25600])
TOKENS = STEPS * 1000.0


def curve(model: str, params: float, middle: float = 1e6, **more: object) -> pd.DataFrame:
    """A rise at `middle` tokens."""
    values = 1 / (1 + np.exp(-3 * (np.log(np.maximum(TOKENS, 1e4)) - np.log(middle))))
    table = {
        "model": model,
        "params": params,
        "tokens": TOKENS,
        "task": "arith",
        "quantity": "acc",
        "value": values,
    }
    return pd.DataFrame(table | more)


def summarise(
    capsys: pytest.CaptureFixture[str], to: Path, *tables: pd.DataFrame, **options: str
) -> tuple[str, Path]:
    """What the command says of some tables; raises SystemExit where it fails."""
    to.parent.mkdir(parents=True, exist_ok=True)
    paths = []
    for place, table in enumerate(tables):
        paths.append(to.parent / f"table{place}.csv")
        table.to_csv(paths[-1], index=False)
    arguments = [
        f"from={','.join(map(str, paths))}",
        f"to={to}",
        *(f"{k}={v}" for k, v in options.items()),
    ]
    main(["summarize", *arguments])
    return capsys.readouterr().out, to


GOOD = [curve("m-small", 1e6, 4e6), curve("m-large", 8e6, 1e6)]
BAD = {
    "mixed units": (
        curve("odd", 2e6).assign(tokens=np.where(np.arange(10) < 5, TOKENS, TOKENS / 1e6)),
        r"table2\.csv: tokens of odd have fractions, such as 1\.6, so may be no counts",
    ),
    "tokens that go back": (
        curve("odd", 2e6).assign(step=STEPS, tokens=TOKENS[[0, 1, 2, 4, 3, 5, 7, 6, 8, 9]]),
        r"table2\.csv: tokens of odd arith acc do not rise with their steps",
    ),
    "one checkpoint": (
        curve("odd", 2e6).iloc[[4]],
        r"one checkpoint only in 1 curve \(odd arith acc\)",
    ),
    "no value": (
        curve("odd", 2e6).assign(value=np.nan),
        r"table2\.csv: .*(no|missing|not finite).*",
    ),
    "a column missing": (
        curve("odd", 2e6).drop(columns="task"),
        r"left out: .*table2\.csv: no column task; it has",
    ),
    "two sizes only": (curve("m-small", 1e6, task="other"), r"fewer than 3 model sizes"),
}


@pytest.mark.parametrize("what", BAD)
def test_a_bad_source_is_a_line_and_costs_no_other(
    what: str, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(
        "circuitwatch.summary.writing.draw_figures", lambda *_: {}
    )  # drawn in another test
    table, says = BAD[what]
    said, folder = summarise(capsys, tmp_path / "out", *GOOD, table)
    lines = [line for line in said.splitlines() if re.search(says, line)]
    assert len(lines) == 1 and lines[0].startswith("note: "), said
    rows = pd.read_csv(folder / "emergence.csv").query("task == 'arith'").set_index("model")
    assert rows.loc["m-small", "tokens"] == pytest.approx(4e6, rel=0.05)
    assert rows.loc["m-large", "tokens"] == pytest.approx(1e6, rel=0.05)
    assert "odd" not in rows[rows["status"] == "emerged"].index
    note = lines[0].removeprefix("note: ")
    assert note in (folder / "notes.txt").read_text(encoding="utf-8")
    report = (folder / "report.html").read_text(encoding="utf-8")
    assert ">What was left out or is doubtful</h2>" in report


@pytest.mark.parametrize(
    ("table", "says"),
    [
        (GOOD[0].drop(columns="value"), "no column value"),
        (GOOD[0].assign(value=np.nan), "nothing to summarise"),
        (GOOD[0].iloc[:0], "has no rows"),
    ],
)
def test_nothing_left_is_an_error(
    table: pd.DataFrame, says: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit, match="2"):
        summarise(capsys, tmp_path / "out", table)
    said = capsys.readouterr().err.splitlines()
    assert len(said) == 1 and says in said[0] and not (tmp_path / "out").exists()


def test_a_mix_of_cells_and_a_table(
    sweep_folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Figures and report have both."""
    (tmp_path / "mine.csv").write_text(pd.concat(GOOD).to_csv(index=False), encoding="utf-8")
    arguments = [
        f"from={sweep_folder / 'nano-400k/gendered_pronoun'},{tmp_path / 'mine.csv'}",
        f"to={tmp_path / 'out'}",
        "thresholds=arith/acc:0.25",
    ]
    main(["summarize", *arguments])
    said = capsys.readouterr().out
    assert "m-small" in said and "nano-400k" in said and "report: " in said
    names = {path.name for path in (tmp_path / "out").iterdir()}
    assert {
        "behaviour.png",
        "curves_acc.svg",
        "emergence_acc.pdf",
        "report.html",
        "metrics.csv",
    } <= names
    rows = pd.read_csv(tmp_path / "out/emergence.csv")
    assert rows.loc[rows["quantity"] == "acc", "level"].tolist() == [0.25, 0.25]
    page = (tmp_path / "out/report.html").read_text(encoding="utf-8")
    assert "Curves from elsewhere" in page and "Arith, acc" in page
    main(
        ["summarize", f"from={tmp_path / 'mine.csv'}", f"to={tmp_path / 'out'}"]
    )  # a summary may be replaced
    assert not (tmp_path / "out/behaviour.png").exists()
    with pytest.raises(SystemExit, match="2"):
        main(["summarize", f"from={tmp_path / 'mine.csv'}", f"to={tmp_path}"])
    assert (
        "is there and is no summary" in capsys.readouterr().err and (tmp_path / "mine.csv").exists()
    )


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["from=x.csv"], "give from="),
        (["to=x"], "give from="),
        (["from=nowhere.csv", "to=x"], "nowhere.csv: no such file or folder"),
        (["from=x", "to=y", "sweep=z"], "give from="),
        (["from=x", "to=y", "thresholds=acc"], "thresholds=acc: acc is no pair"),
    ],
)
def test_a_mistake_in_the_command_is_one_line(
    arguments: list[str], says: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit, match="2"):
        main(["summarize", *arguments])
    said = capsys.readouterr().err.splitlines()
    assert len(said) == 1 and said[0].startswith("circuitwatch: error: ") and says in said[0]


def test_it_starts_without_torch(tmp_path: Path) -> None:
    GOOD[0].to_csv(tmp_path / "a.csv", index=False)
    code = (
        "import sys; from circuitwatch.cli import main; main(['summarize', 'from=a.csv', "
        "'to=out']); "
        "assert not {'torch', 'transformers', 'wandb'} & set(sys.modules)"
    )
    subprocess.run([sys.executable, "-c", code], check=True, cwd=tmp_path, capture_output=True)


def test_garbage_is_looked_for_again_afterwards(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Also where the summary failed: who calls the command line goes on."""
    summarise(capsys, tmp_path / "done", curve("a", 1e6))
    assert gc.isenabled()
    with pytest.raises(SystemExit):
        summarise(capsys, tmp_path / "failed", curve("a", 1e6), thresholds="nothing:1")
    assert gc.isenabled()
