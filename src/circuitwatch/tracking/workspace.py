"""The workspace of a sweep: a saved view of the project that shows the runs of its cells, by
section.

Every panel over tokens has a logarithmic axis, and each run its own line in the colour of its model
size. The list of runs is grouped by task, which is where one task is shown or hidden; the panels
are not, since W&B would draw one line a task, the mean over sizes.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from circuitwatch.tracking.charts import EMERGENCE, SECTIONS, Chart, Watched, section_title
from circuitwatch.tracking.library import Library, name_of, stable_id, title_of

COLUMNS, MOST_ROWS = 3, 4
"""Panels of a section beside each other, and above each other on a page of it."""
ALL_POINTS = "sampling"
"""How W&B thins out long histories: it shows all points of one with fewer than 1500. Its other
way has buckets along tokens, which pool the many checkpoints at the beginning of training.
"""
FEWEST_RUNS = 10
PARAMS = "params_total"
WIDTH, HEIGHT = 8, 6
"""Of a panel, on a page that is 24 wide."""
NO_POINT = (
    "Each point is a run: the tokens at which the curve emerged, by the parameters of its model. "
    "A run without a point has not emerged by its last checkpoint, was there at the first, or has "
    "no one emergence point: `emergence/…/status` in its summary says which."
)


def workspace_of(watched: Watched, library: Library, *, entity: str, project: str) -> Any:
    """The workspace of a sweep, as the library's model of it (`View`), without an id.

    entity: empty where it is not known yet.
    """
    ws = library.workspaces
    sections = [
        _section(name, charts, watched, library) for name, charts in watched.sections().items()
    ]
    made = ws.Workspace(
        entity=entity,
        project=project,
        name=title_of(watched.name),
        sections=sections,
        settings=ws.WorkspaceSettings(
            x_axis="tokens",
            smoothing_type="none",
            point_visualization_method="downsampling",
            group_by_prefix="first",
            max_runs=max(FEWEST_RUNS, len(watched.runs)),
        ),
        runset_settings=ws.RunsetSettings(
            filters=ws.And(ws.Metric("Group") == watched.name, ws.Metric("JobType") == "watch"),
            groupby=[ws.Config("task.name")],
            order=[ws.Ordering(ws.Config(f"{PARAMS}.value"), ascending=True)],
            run_settings={
                id: ws.RunSettings(color=colour) for id, colour in watched.colours.items()
            },
            pinned_columns=[f"config:{PARAMS}.value"],
        ),
    )
    view = made._to_model()
    view.name = name_of("workspace", entity, project, watched.name)
    section = view.spec.section
    section.run_sets[0].id = stable_id("runs", watched.name)
    section.settings.use_runs_table_grouping_in_panels = False
    for one in section.panel_bank_config.sections:
        one.local_panel_settings.use_runs_table_grouping_in_panels = False
    return view


def panels_of(charts: Sequence[Chart], watched: Watched, library: Library) -> list[Any]:
    """Panels of the library beside and above each other, one a chart."""
    return [
        _panel(chart, watched, library, library.reports.Layout(
            x=WIDTH * (place % COLUMNS), y=HEIGHT * (place // COLUMNS), w=WIDTH, h=HEIGHT
        ))
        for place, chart in enumerate(charts)
    ]  # fmt: skip


def _section(name: str, charts: Sequence[Chart], watched: Watched, library: Library) -> Any:
    ws = library.workspaces
    panels = panels_of(charts, watched, library)
    if name == EMERGENCE:
        words = library.reports.MarkdownPanel(markdown=NO_POINT)
        words._id = stable_id("words", watched.name)
        panels.append(words)
    return ws.Section(
        name=section_title(name),
        panels=panels,
        is_open=name in SECTIONS,
        layout_settings=ws.SectionLayoutSettings(
            columns=COLUMNS, rows=min(MOST_ROWS, -(-len(panels) // COLUMNS))
        ),
        panel_settings=ws.SectionPanelSettings(x_axis="tokens", smoothing_type="none"),
    )


def _panel(chart: Chart, watched: Watched, library: Library, layout: Any) -> Any:
    wr = library.reports
    if chart.by_size:
        panel = wr.ScatterPlot(
            title=chart.title,
            x=wr.Config(PARAMS),
            y=wr.SummaryMetric(chart.names[0]),
            log_x=True,
            log_y=True,
            layout=layout,
        )
    else:
        runs = [run.id for run in watched.runs if run.task in chart.tasks]
        marks = {
            f"{run}:{name}": mark
            for name, mark in zip(chart.names, chart.marks, strict=True)
            if mark != "solid"
            for run in runs
        }
        panel = wr.LinePlot(
            title=chart.title,
            x="tokens",
            y=list(chart.names),
            log_x=True,
            range_y=chart.limits,
            title_x="training tokens",
            title_y=chart.axis,
            smoothing_type="none",
            max_runs_to_show=max(FEWEST_RUNS, len(watched.runs)),
            point_visualization_method=ALL_POINTS,
            line_marks=marks or None,
            layout=layout,
        )
    panel._id = stable_id(watched.name, chart.section, *chart.names)
    return panel
