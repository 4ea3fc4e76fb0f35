"""The workspace of a made-up sweep: which panels it has, what they draw, and in which colours."""

from __future__ import annotations

import json
import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from circuitwatch import results
from circuitwatch.errors import UserError
from circuitwatch.records import Cell, find_cells
from circuitwatch.summary.overlaps import FINAL
from circuitwatch.tracking import run_id
from circuitwatch.tracking.charts import UNKNOWN, Watched, colours_of, watched
from circuitwatch.tracking.library import as_json, load_library
from circuitwatch.tracking.workspace import workspace_of
from support.watched import drawn, sections_of, write_watched

LIBRARY = load_library()
TASKS = ("ioi", "greater_than", "gendered_pronoun")


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_watched(tmp_path_factory.mktemp("multirun") / "mine", tasks=TASKS)


@pytest.fixture(scope="module")
def found(folder: Path) -> Watched:
    return watched(results.open(folder, n_bootstrap=20), folder.name)


@pytest.fixture(scope="module")
def view(found: Watched) -> dict[str, Any]:
    return said(found)


def said(found: Watched) -> dict[str, Any]:
    return as_json(workspace_of(found, LIBRARY, entity="us", project="circuitwatch"))


def charted(folder: Path) -> dict[str, list[dict[str, Any]]]:
    """The sections of a sweep's workspace."""
    return sections_of(said(watched(results.open(folder, n_bootstrap=20), folder.name)))


def test_the_sections_in_their_order(view: dict[str, Any]) -> None:
    assert list(sections_of(view)) == [
        *("Behaviour", "Circuits", "Overlap", "Roles", "Algorithm", "Emergence"),
    ]


def test_the_library_reads_it_back_as_it_is(view: dict[str, Any]) -> None:
    models = LIBRARY.workspace_models
    read = models.View.model_validate(view)
    assert read.model_dump(by_alias=True, exclude_none=True, mode="json") == view
    panels = [p for s in read.spec.section.panel_bank_config.sections for p in s.panels]
    known = (models.LinePlot, models.ScatterPlot, models.MarkdownPanel)
    assert all(isinstance(panel, known) for panel in panels)
    again = LIBRARY.workspaces.Workspace._from_model(read)
    assert [section.name for section in again.sections] == list(sections_of(view))


def test_each_metric_has_panels_of_its_own(view: dict[str, Any]) -> None:
    names = drawn(sections_of(view)["Behaviour"])
    assert names == [
        *("behaviour/logit_diff", "behaviour/prob_diff"),
        *("behaviour/logit_diff_effect", "behaviour/prob_diff_effect"),
        *("behaviour/accuracy", "behaviour/log_prob"),
    ]
    titles = [panel["config"]["chartTitle"] for panel in sections_of(view)["Behaviour"]]
    assert titles[:2] == ["behaviour (logit difference)", "behaviour (probability difference)"]
    axes = [panel["config"]["yAxisTitle"] for panel in sections_of(view)["Behaviour"]]
    assert axes == ["logits", "probability", "logits", "probability", "share", "nats"]


def test_only_what_some_cell_has(folder: Path, view: dict[str, Any]) -> None:
    recorded = {
        name
        for path in folder.rglob("scalars.json")
        for name in json.loads(path.read_text())["scalars"]
    }
    made_of = {"logit_diff": "value", "prob_diff": "value", "logit_diff_effect": "effect",
               "prob_diff_effect": "effect"}  # fmt: skip
    for name in [name for panels in sections_of(view).values() for name in drawn(panels)]:
        group, _, rest = name.removeprefix("detail/").partition("/")
        if group == "roles" and rest.endswith(("/holders", "/confirmed")):
            rest = rest.rpartition("/")[0] + "/max"
        assert f"{group}/{made_of.get(rest, rest)}" in recorded, name
    names = drawn(sections_of(view)["Overlap"])
    assert names and not set(FINAL) & set(names)  # the summary's, in no record


def test_a_role_left_out_has_no_panel(view: dict[str, Any]) -> None:
    names = drawn(sections_of(view)["Roles"])
    assert "roles/induction/max" in names and "roles/induction/holders" in names
    assert not [name for name in names if "copy_suppression" in name]
    assert len(names) == len(set(names))


def test_axes(view: dict[str, Any]) -> None:
    settings = view["spec"]["section"]["settings"]
    assert settings["xAxis"] == "tokens" and settings["smoothingType"] == "none"
    for panels in sections_of(view).values():
        for config in (panel["config"] for panel in panels):
            if "metrics" in config:
                assert (config["xAxis"], config["xLogScale"]) == ("tokens", True)
                assert config["pointVisualizationMethod"] == "sampling"
                assert config["smoothingType"] == "none"
    roles = sections_of(view)["Roles"][0]["config"]
    assert (roles["yAxisMin"], roles["yAxisMax"]) == (0, 1)
    assert "yAxisMin" not in sections_of(view)["Behaviour"][0]["config"]


def test_a_value_out_of_range_is_not_cut_off(found: Watched) -> None:
    from circuitwatch.tracking.charts import _limits

    share = found.facts.quantity("algorithm/B")
    assert _limits(share, [(0.2, 0.7), (0.0, 1.0)]) == (0.0, 1.0)
    assert _limits(share, [(-0.2, 0.7)]) == (None, 1.0)
    assert _limits(share, [(0.2, 0.7), (0.1, 1.3)]) == (0.0, None)


def test_ceiling_and_chance_are_drawn_beside_an_overlap(view: dict[str, Any]) -> None:
    (panel,) = [
        panel
        for panel in sections_of(view)["Overlap"]
        if panel["config"]["metrics"][0] == "overlap/edge_jaccard_resampled"
    ]
    ceiling = "detail/overlap/edge_jaccard_resampled_ceiling"
    chance = "detail/overlap/edge_jaccard_resampled_chance"
    assert panel["config"]["metrics"][1:] == [ceiling, chance]
    marks = panel["config"]["overrideMarks"]
    assert {key.partition(":")[2]: mark for key, mark in marks.items()} == {
        ceiling: "dashed",
        chance: "dotted",
    }
    assert panel["config"]["chartTitle"].endswith("dashed: ceiling; dotted: chance")


def test_emergence_against_size(view: dict[str, Any]) -> None:
    panels = sections_of(view)["Emergence"]
    first = panels[0]["config"]
    assert first["xAxis"] == "config:params_total.value"
    assert first["yAxis"] == "summary:emergence/behaviour/logit_diff/tokens"
    assert first["xAxisLogScale"] is True and first["yAxisLogScale"] is True
    asked = [panel["config"].get("yAxis", "") for panel in panels]
    assert "summary:emergence/roles/induction/max/tokens" in asked
    assert "status" in panels[-1]["config"]["value"]  # why a run may have no point


def test_one_colour_for_each_size(folder: Path, found: Watched, view: dict[str, Any]) -> None:
    colours = view["spec"]["section"]["customRunColors"]
    of_model: dict[str, set[str]] = {}
    for path in folder.rglob("cell.json"):
        cell = Cell.open(path.parent)
        of_model.setdefault(cell.header["model"]["name"], set()).add(colours[run_id(cell)])
    assert len(colours) == 6 and {len(shades) for shades in of_model.values()} == {1}
    assert of_model["nano-100k"] != of_model["nano-400k"]
    assert colours == found.colours


def test_colours_go_from_dark_to_light_with_size() -> None:
    shades = colours_of([4_000_000, 100, 0, 2_000, 100])
    assert list(shades) == [0, 100, 2_000, 4_000_000] and shades[0] == UNKNOWN

    def light(shade: str) -> int:
        return sum(int(shade[k : k + 2], 16) for k in (1, 3, 5))

    assert light(shades[100]) < light(shades[2_000]) < light(shades[4_000_000])
    assert colours_of([5]).keys() == {0, 5}


def test_runs_of_the_sweep_by_task_and_size(view: dict[str, Any]) -> None:
    (runs,) = view["spec"]["section"]["runSets"]
    conditions = [(f["key"]["name"], f["op"], f["value"]) for f in runs["filters"]["filters"]]
    assert conditions == [("group", "=", "mine"), ("jobType", "=", "watch")]
    assert runs["grouping"] == [{"section": "config", "name": "task.value.name"}]
    assert runs["sort"]["keys"][0]["key"]["name"] == "params_total.value"


def test_panels_draw_each_run_and_no_mean_over_sizes(view: dict[str, Any]) -> None:
    section = view["spec"]["section"]
    assert section["settings"]["useRunsTableGroupingInPanels"] is False
    for one in section["panelBankConfig"]["sections"]:
        assert one["localPanelSettings"]["useRunsTableGroupingInPanels"] is False
    assert section["settings"]["maxRuns"] >= 6


def test_the_same_sweep_gives_the_same_workspace(folder: Path, view: dict[str, Any]) -> None:
    assert said(watched(results.open(folder, n_bootstrap=20), folder.name)) == view


def test_other_sweeps_and_projects_have_other_views(found: Watched) -> None:
    names = {
        workspace_of(found, LIBRARY, entity=entity, project=project).name
        for entity in ("us", "them")
        for project in ("circuitwatch", "other")
    }
    assert len(names) == 4 and all(name.startswith("nw-") for name in names)


def test_one_size_and_no_circuit(tmp_path: Path) -> None:
    """nano-100k never learns IOI: no checkpoint has a circuit, an overlap or a share."""
    folder = write_watched(tmp_path / "null", models=("nano-100k",), tasks=("ioi",))
    sections = charted(folder)
    assert list(sections) == ["Behaviour", "Roles", "Emergence"]
    asked = [panel["config"].get("yAxis", "") for panel in sections["Emergence"]]
    assert not [name for name in asked if "behaviour" in name]


def test_a_users_own_quantity_has_a_section(tmp_path: Path, monkeypatch: Any) -> None:
    from circuitwatch import catalogue

    own = catalogue.Quantity("mine/entropy", "entropy", "nats", (0, None), panel="my_numbers")
    monkeypatch.setitem(catalogue.ADDED[catalogue.Quantity], own.key, own)
    folder = write_watched(tmp_path / "own", models=("nano-100k",), tasks=("ioi",))
    for cell in find_cells(folder):
        for record in list(cell.records()):
            cell.write(replace(record, scalars={**record.scalars, "mine/entropy": 1.5}))
    sections = charted(folder)
    assert list(sections)[-1] == "My numbers"
    assert drawn(sections["My numbers"]) == ["mine/entropy"]


def test_a_task_with_the_log_probability_for_its_metric(folder: Path, found: Watched) -> None:
    """What is called the same in W&B is charted once, of all tasks that have it."""
    from circuitwatch.tracking.charts import _over_tokens

    runs = [replace(run, metric="log_prob") if run.task == "ioi" else run for run in found.runs]
    named = [c for c in _over_tokens(runs, found.facts) if c.names == ("behaviour/log_prob",)]
    assert [chart.tasks for chart in named] == [frozenset(TASKS)]
    assert named[0].title == "log-probability of the right answer"


def test_cells_of_two_sweeps_are_refused(folder: Path, tmp_path: Path) -> None:
    both = tmp_path / "both"
    shutil.copytree(folder, both)
    path = next(both.rglob("cell.json"))
    header = json.loads(path.read_text())
    header["config"]["sweep"] = "another"
    path.write_text(json.dumps(header))
    with pytest.raises(UserError, match=r"both: cells of several sweeps .another, mine., "):
        watched(results.open(both, n_bootstrap=20), both.name)
