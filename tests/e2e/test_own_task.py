"""A user's own file of prompts on the real model, from the command line."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from circuitwatch.facts import Facts
from circuitwatch.records import Cell

pytestmark = pytest.mark.e2e
LANGUAGES = {
    "France": "French", "Germany": "German", "Spain": "Spanish", "Italy": "Italian",
    "Japan": "Japanese", "China": "Chinese", "Russia": "Russian", "Sweden": "Swedish of course",
    "Poland": "Polish", "Turkey": "Turkish",
}  # fmt: skip


def test_a_csv_of_facts(watch: Callable[..., Cell], tmp_path: Path) -> None:
    """Languages, one of them in several tokens (it is wrong in another row); the last row is left
    out.
    """
    sentence = "The language that people in {} speak is called"
    countries, rows = list(LANGUAGES), ["clean,corrupted,answer,wrong,position_country"]
    for country, other in zip(countries, countries[1:] + countries[:1], strict=True):
        texts = [sentence.format(country), sentence.format(other)]
        rows.append(",".join([*texts, LANGUAGES[country], LANGUAGES[other], country]))
    rows.append(",".join([sentence.format("France")] * 2 + ["French", "German", "France"]))
    path = tmp_path / "languages.csv"
    path.write_text("\n".join(rows), encoding="utf-8")
    cell = watch("task=file", f"task.path={path}", "circuit=eap")
    scalars = cell.read(1).scalars
    print({name: value for name, value in scalars.items() if name.startswith(("behav", "circ"))})
    assert cell.header["task"] == "languages"
    assert cell.header["lexicon"] == {"rows": 11, "usable rows": 10, "rows used": 10}
    assert cell.header["prompt_notes"] == [
        "1 of 11 rows left out: clean and corrupted are the same (row 11)",
        "2 answers are several tokens; the first stands for each",
    ]
    assert Facts.of_headers([cell.header]).task("languages").unit == "logits"
    assert scalars["behaviour/above_chance"] and scalars["behaviour/accuracy"] >= 0.9
    assert scalars["circuit/status"] == "found"
    assert scalars["circuit/recovery"] >= 0.8 and scalars["circuit/edges_share"] < 0.5
