"""The W&B report of a sweep: each question with its answer in words, a table, and the panels of the
runs that show it, a grid for each task.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from typing import Any

from circuitwatch.tracking.charts import Chart, Watched
from circuitwatch.tracking.library import Library, name_of, stable_id, title_of
from circuitwatch.tracking.questions import MOST_ROWS, Answer
from circuitwatch.tracking.workspace import PARAMS, panels_of

SHOWN = {
    "circuits": ("circuit/edges_share", "circuit/nodes", "circuit/faithfulness"),
    "overlaps": (
        "overlap/edge_jaccard_resampled",
        "overlap/node_jaccard_resampled",
        "overlap/edge_jaccard",
    ),
}
"""Of these sections the report shows so many charts; the workspace has all."""
PER_TASK = ("behaviour", "circuits", "overlaps", "roles", "algorithm")
TABLES = ("emergence", "scaling")
"""Tables of the sweep's summary run that the report shows."""
DESCRIPTION = "When abilities emerge, which circuits compute them, and whether those stay"
ESCAPED = str.maketrans({
    "|": "\\|", "*": "\\*", "`": "\\`", "[": "\\[", "]": "\\]", "_": "\\_", "<": "&lt;",
})  # fmt: skip


@dataclass(frozen=True)
class Content:
    """What a report says.

    Attributes:
        introduction: sentences at the beginning.
        answers: to the questions, in order.
        by_model: of each model the sentences that are found.
        figures: names of the figures that the summary run has.
        workspace: where the workspace is seen; empty where it is not saved.
    """

    introduction: Sequence[str]
    answers: Sequence[Answer]
    by_model: Sequence[tuple[str, Sequence[str]]] = ()
    figures: Collection[str] = ()
    workspace: str = ""


def report_of(
    content: Content,
    watched: Watched,
    library: Library,
    *,
    entity: str,
    project: str,
    internal_id: str | None = None,
) -> Any:
    """The report of a sweep, as the library's model of it (`ReportViewspec`), without an id.

    entity: empty where it is not known yet; internal_id: of the project, as the server has it.
    """
    report = library.reports.Report(
        project=project,
        entity=entity,
        title=title_of(watched.name),
        description=DESCRIPTION,
        blocks=_blocks(content, watched, library),
        width="fluid",
    )
    model = report._to_model()
    model.name = name_of("report", entity, project, watched.name)
    if internal_id is not None:
        own = library.report_models.Project(name=project, entity_name=entity, id=internal_id)
        for block in model.spec.blocks:
            for runs in block.metadata.run_sets if block.type == "panel-grid" else ():
                runs.project = own
    return model


def markdown_table(header: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """A table in Markdown; what a cell says is shown as it is."""
    lines = [header, ["---"] * len(header), *rows[:MOST_ROWS]]
    cells = [
        [cell if k == 1 else " ".join(cell.split()).translate(ESCAPED) for cell in line]
        for k, line in enumerate(lines)
    ]
    return "\n".join(f"| {' | '.join(line)} |" for line in cells)


def _blocks(content: Content, watched: Watched, library: Library) -> list[Any]:
    wr = library.reports
    blocks = [wr.P(words) for words in content.introduction]
    if content.workspace:
        blocks.append(wr.P(["All panels: ", wr.Link("the workspace", content.workspace), "."]))
    blocks.append(wr.TableOfContents())
    for answer in content.answers:
        blocks += [wr.H2(answer.question), *_said(answer.sentences, wr)]
        if answer.rows:
            blocks.append(wr.MarkdownBlock(markdown_table(answer.header, answer.rows)))
        if answer.hidden:
            blocks.append(wr.P(f"{answer.hidden} more rows are in the tables of the summary."))
        blocks += _grids(answer.section, watched, library)
    if content.by_model:
        blocks.append(wr.H2("What is found, by model"))
        for who, sentences in content.by_model:
            blocks += [wr.H3(who), *_said(sentences, wr)]
    return blocks + _of_summary(content, watched, library)


def _said(sentences: Sequence[str], wr: Any) -> list[Any]:
    """One sentence as a paragraph, several as a list."""
    if len(sentences) < 2:
        return [wr.P(words) for words in sentences]
    return [wr.UnorderedList(items=list(sentences))]


def _grids(section: str, watched: Watched, library: Library) -> list[Any]:
    """The panels of a section: of each task a grid with its runs alone, where they can be told
    apart by their colour.
    """
    charts = watched.sections().get(section, [])
    wanted = SHOWN.get(section)
    charts = [chart for chart in charts if wanted is None or chart.names[0] in wanted]
    if section not in PER_TASK:
        return [_grid(section, charts, None, watched, library)] if charts else []
    blocks: list[Any] = []
    for task in watched.tasks:
        own = [chart for chart in charts if task in chart.tasks and _serves(chart, task, watched)]
        if own:
            words = watched.facts.task(task).words
            blocks += [library.reports.H3(words), _grid(section, own, task, watched, library)]
    return blocks


def _serves(chart: Chart, task: str, watched: Watched) -> bool:
    """Whether a chart belongs to a task: of head roles those that serve it, once each."""
    known = watched.facts.task(task).roles
    return not chart.role or (chart.role in known and chart.names[0].endswith("/max"))


def _grid(
    section: str, charts: Sequence[Chart], task: str | None, watched: Watched, library: Library
) -> Any:
    """Panels of the runs of a task, or of all."""
    runs = _runs("watch", watched, library, task)
    runs.order = [
        library.reports.OrderBy(library.reports.Config(f"{PARAMS}.value"), ascending=True)
    ]
    runs.run_settings = {
        run.id: library.reports.RunSettings(color=watched.colours[run.id])
        for run in watched.runs
        if task in (None, run.task)
    }
    runs._id = stable_id("runs", watched.name, section, task)
    panels = panels_of(charts, watched, library)
    for panel in panels:
        panel._id = stable_id(panel._id, section, task)
    return library.reports.PanelGrid(runsets=[runs], panels=panels)


def _runs(job: str, watched: Watched, library: Library, task: str | None = None) -> Any:
    """The runs of a job type, of a task by its tag."""
    wanted = library.expressions
    conditions = [wanted.Metric("Group") == watched.name, wanted.Metric("JobType") == job]
    if task is not None:
        conditions.append(wanted.Tags().isin([task]))
    name = watched.name if task is None else f"{watched.name}: {watched.facts.task(task).words}"
    return library.reports.Runset(name=name, filters=wanted.And(*conditions))


def _of_summary(content: Content, watched: Watched, library: Library) -> list[Any]:
    """The tables and figures of the sweep's summary run."""
    wr = library.reports
    panels: list[Any] = [
        wr.WeavePanelSummaryTable(table_name=name, layout=wr.Layout(x=0, y=12 * k, w=24, h=12))
        for k, name in enumerate(TABLES)
    ]
    if content.figures:
        keys = [f"figures/{name}" for name in sorted(content.figures)]
        panels.append(
            wr.MediaBrowser(
                title="figures",
                media_keys=keys,
                num_columns=2,
                layout=wr.Layout(x=0, y=12 * len(TABLES), w=24, h=16),
            )
        )
    runs = _runs("summary", watched, library)
    runs._id = stable_id("runs", watched.name, "summary")
    for panel in panels:
        panel._id = stable_id("summary", getattr(panel, "table_name", "figures"), watched.name)
    words = (
        "These are of the sweep's summary run; without one they are empty. `circuitwatch "
        "summarize` writes the same tables, and more, as files."
    )
    return [
        wr.H2("Tables and figures"),
        wr.P(words.replace("`", "")),
        wr.PanelGrid(runsets=[runs], panels=panels),
    ]
