"""The report of a made-up sweep: what it says is what the tables say, and where they say nothing it
says that.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest

from circuitwatch import results
from circuitwatch.results import Results
from circuitwatch.tracking.charts import watched
from circuitwatch.tracking.library import as_json, load_library
from circuitwatch.tracking.questions import (
    MISSING,
    Answer,
    answers,
    by_model,
    introduction,
    overlap_verdict,
)
from circuitwatch.tracking.report import Content, markdown_table, report_of
from circuitwatch.units import format_tokens
from support.watched import drawn, grids_of, words_of, write_watched

LIBRARY = load_library()
FOUR = ("nano-100k", "nano-400k", "nano-1m", "nano-3m")
TASKS = ("ioi", "greater_than")


def opened(folder: Path) -> Results:
    return results.open(folder, n_bootstrap=20)


def said(found: Results, **more: Any) -> dict[str, Any]:
    content = Content(introduction(found), answers(found), by_model(found), **more)
    charts = watched(found, "mine")
    return as_json(report_of(content, charts, LIBRARY, entity="us", project="circuitwatch"))


@pytest.fixture(scope="module")
def two(tmp_path_factory: pytest.TempPathFactory) -> Results:
    return opened(write_watched(tmp_path_factory.mktemp("two") / "mine", tasks=TASKS))


@pytest.fixture(scope="module")
def report(two: Results) -> dict[str, Any]:
    return said(two, figures=["behaviour", "roles"], workspace="https://example.org/w")


@pytest.fixture(scope="module")
def four(tmp_path_factory: pytest.TempPathFactory) -> list[Answer]:
    folder = write_watched(tmp_path_factory.mktemp("four") / "mine", models=FOUR, tasks=TASKS)
    return answers(opened(folder))


def test_the_library_reads_it_back_as_it_is(report: dict[str, Any]) -> None:
    models = LIBRARY.report_models
    read = models.ReportViewspec.model_validate(report)
    assert as_json(read) == report
    assert not [block for block in read.spec.blocks if isinstance(block, models.UnknownBlock)]
    panels = [
        panel
        for block in read.spec.blocks
        if isinstance(block, models.PanelGrid)
        for panel in block.metadata.panel_bank_section_config.panels
    ]
    assert panels and not [panel for panel in panels if isinstance(panel, models.UnknownPanel)]
    again = LIBRARY.reports.Report._from_model(read)
    assert again.title == "circuitwatch: mine"


def test_each_question_is_a_heading(report: dict[str, Any]) -> None:
    headings = [
        words_of(block)
        for block in report["spec"]["blocks"]
        if block["type"] == "heading" and block["level"] == 2
    ]
    assert headings == [
        "When does each behaviour emerge, by model size?",
        "How large are the circuits?",
        "Do the circuits stay the same over training?",
        "Which heads hold the roles?",
        "Does the algorithm stay?",
        "What changes with model size?",
        "What is found, by model",
        "Tables and figures",
    ]


def test_emergence_is_that_of_the_table(two: Results, report: dict[str, Any]) -> None:
    emerged = [row for row in two.emergence if row.quantity == "behaviour/value" and row.tokens]
    assert len(emerged) == 3
    text = words_of(report)
    for row in emerged:
        assert f"| {row.model} | " in text
        assert f"| emerged | {format_tokens(row.tokens)} | " in text
    assert "| not by the last checkpoint | – | – |" in text  # nano-100k on IOI
    assert "nano-100k had not learned it by" in text


def test_the_smallest_model_has_no_circuit_for_ioi(two: Results) -> None:
    circuits = answers(two)[1]
    (row,) = [row for row in circuits.rows if row[:2] == ("IOI", "nano-100k")]
    assert row[4] == "0 of 27" and row[5:10] == (MISSING,) * 5
    assert row[10] == "behaviour not above chance (27)"


def test_overlap_is_judged_by_its_interval() -> None:
    assert overlap_verdict(0.2, 0.9) == "above chance, below the noise ceiling"
    assert overlap_verdict(0.2, 1.1) == "above chance, at the noise ceiling"
    assert overlap_verdict(-0.1, 0.9) == "not told from chance, below the noise ceiling"
    for low, high in ((None, 0.5), (0.5, None), (float("nan"), float("nan"))):
        assert overlap_verdict(low, high).startswith("can't be told")


def test_roles_and_their_heads(two: Results) -> None:
    roles = {row[3]: row for row in answers(two)[3].rows if row[0] == "nano-400k"}
    assert roles["induction"][4] == "a1.h2" and roles["induction"][7] == "1"  # the handover
    assert roles["copy suppression"][4] == MISSING and roles["copy suppression"][7] == MISSING
    assert roles["copy suppression"][8] == "heads of the first 2 layers hold none"


def test_the_algorithm_by_its_verdict(two: Results) -> None:
    rows = {(row[1], row[4]): row for row in answers(two)[4].rows if row[0] == "IOI"}
    falls = next(row for key, row in rows.items() if key[0] == "nano-400k" and key[1][0] == "D")
    assert falls[9] == "falls" and falls[8].startswith("−")
    none = next(row for key, row in rows.items() if key[0] == "nano-100k" and key[1][0] == "B")
    assert none[5:9] == (MISSING,) * 4 and none[9] == "missing"


def test_two_sizes_are_not_enough(two: Results) -> None:
    scaling = answers(two)[5]
    assert scaling.rows == ()
    assert scaling.sentences == (
        "Not enough sizes for a trend with model size: it needs 3 sizes with a value, and there "
        "are at most 2.",
    )
    assert answers(two)[1].sentences[0] == scaling.sentences[0]


def test_four_sizes_have_a_trend(four: list[Answer]) -> None:
    scaling = four[5]
    assert any("goes with parameters to the power −0." in words for words in scaling.sentences)
    fitted = [row for row in scaling.rows if row[0] == "greater-than, behaviour"]
    assert fitted[0][2] == "4 of 4" and "over 4 sizes" in fitted[0][3]
    assert all(row[3] for row in scaling.rows)


def test_grids_have_the_runs_of_their_task(report: dict[str, Any]) -> None:
    tasks = []
    for grid in grids_of(report):
        (runs,) = grid["runSets"]
        conditions = {f["key"]["name"]: f["value"] for f in runs["filters"]["filters"]}
        assert conditions["group"] == "mine"
        panels = grid["panelBankSectionConfig"]["panels"]
        if conditions["jobType"] == "summary":
            assert not grid["customRunColors"]
            continue
        assert len(set(grid["customRunColors"].values())) == 2  # sizes
        task = conditions.get("tags", [""])[0]
        tasks.append(task)
        assert len(grid["customRunColors"]) == (2 if task else 4)
        names = drawn(panels)
        assert not names or all(p["config"]["xLogScale"] for p in panels)
        assert ("behaviour/prob_diff" in names) <= (task == "greater_than")
        places = {(p["layout"]["x"], p["layout"]["y"]) for p in panels}
        assert len(places) == len(panels)
    assert tasks.count("ioi") == tasks.count("greater_than") == 5
    assert tasks.count("") == 1  # emergence by size


def test_the_summary_run_is_shown(report: dict[str, Any]) -> None:
    (last,) = [g for g in grids_of(report) if "summary" in str(g["runSets"][0]["filters"])]
    panels = last["panelBankSectionConfig"]["panels"]
    assert panels[-1]["config"]["mediaKeys"] == ["figures/behaviour", "figures/roles"]
    assert [panel["viewType"] for panel in panels[:2]] == ["Weave", "Weave"]
    assert "emergence" in str(panels[0]["config"]) and "scaling" in str(panels[1]["config"])


def test_the_workspace_is_linked(two: Results, report: dict[str, Any]) -> None:
    assert "https://example.org/w" in str(report)
    assert "All panels" not in words_of(said(two))


def test_nothing_is_nan(report: dict[str, Any]) -> None:
    assert not re.search(r"\b(nan|None|NaN|inf)\b", words_of(report))


def test_a_sweep_of_one_cell_without_a_circuit(tmp_path: Path) -> None:
    folder = write_watched(tmp_path / "null", models=("nano-100k",), tasks=("ioi",))
    found = opened(folder)
    circuits, overlap = answers(found)[1:3]
    assert circuits.sentences[0] == "No checkpoint has a circuit; the table says why."
    assert overlap.rows == () and "no overlap" in overlap.sentences[0]
    report = said(found)
    assert "no overlap" in words_of(report)
    assert not re.search(r"\b(nan|None|NaN)\b", words_of(report))


def test_an_unfinished_cell_is_named(tmp_path: Path) -> None:
    folder = write_watched(
        tmp_path / "half", models=("nano-400k",), tasks=("ioi",), unfinished=("nano-400k", "ioi")
    )
    assert introduction(opened(folder))[1].startswith("Not finished: nano-400k × ioi;")


def test_seeds_are_told_apart(tmp_path: Path) -> None:
    folder = write_watched(tmp_path / "seeds", models=("nano-400k",), tasks=("ioi",), seeds=(0, 1))
    found = opened(folder)
    assert [row[3] for row in answers(found)[0].rows] == ["0", "1"]
    assert {who for who, _ in by_model(found)} >= {"nano-400k, seed 0", "nano-400k, seed 1"}


def test_names_in_a_table_stay_as_they_are() -> None:
    table = markdown_table(["a", "b"], [["x|y_z", "<b> *1*"], ["two\nlines", "[l](u)"]])
    assert table.splitlines() == [
        "| a | b |",
        "| --- | --- |",
        "| x\\|y\\_z | &lt;b> \\*1\\* |",
        "| two lines | \\[l\\](u) |",
    ]
