"""`circuitwatch workspace`: the W&B workspace of a sweep, and a W&B report with its answers."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING

from circuitwatch.cli.command import Command
from circuitwatch.cli.stopping import STOPPING
from circuitwatch.errors import UserError

if TYPE_CHECKING:
    from circuitwatch.results import Results
    from circuitwatch.tracking.report import Content
    from circuitwatch.tracking.views import Place


def workspace(arguments: list[str]) -> None:
    """Make the workspace and the report of a sweep (sweep=…), or print them (dry_run=true)."""
    from circuitwatch.cli.given import files_that, given, sweep_folder

    hint = (
        "give sweep=<name>, and out=<folder> if it is not multirun; project=, entity=, dry_run=true"
    )
    optional = {"out", "project", "entity", "dry_run"}
    values = given("workspace", arguments, needed={"sweep"}, optional=optional, hint=hint)
    said = values.get("dry_run", "false").lower()
    if said not in ("true", "false"):
        raise UserError(f"dry_run={values['dry_run']}: give true or false")
    for name in ("project", "entity"):
        if name in values and not values[name]:
            raise UserError(f"{name}=: give a name, or leave it out")
    folder = sweep_folder(values)
    from circuitwatch.tracking.account import connect
    from circuitwatch.tracking.charts import watched
    from circuitwatch.tracking.library import load_library

    library = load_library()
    from circuitwatch.tracking.views import both_as_json, save_both

    STOPPING.begin()
    with files_that(folder, "read"):
        results = _results(folder)
        charts = watched(results, folder.name)
        content = _content(results, folder)
        place = _place(results, values)
    if said == "true":
        both = both_as_json(content, charts, library, place)
        print(json.dumps(both, indent=1, ensure_ascii=False))
        return
    from circuitwatch.locks import hold

    with hold(folder / ".workspace.lock", f"{folder}: its workspace is being made"):
        saved = save_both(connect(), content, charts, library, place)
    for kind, url in saved.items():
        print(f"{kind}: {url}")


def _results(folder: Path) -> Results:
    """The results of a sweep with every curve fitted. Raises UserError if it has no record."""
    from circuitwatch import results
    from circuitwatch.progress import CellProgress

    if not any(folder.rglob("cell.json")):
        raise UserError(f"{folder}: no cell there; run circuitwatch sweep={folder.name} first")
    found = results.open(folder)
    with CellProgress("emergence", 1) as progress:
        found.fit(lambda done, total: progress.at(f"{done} of {total} curves"))
    return found


def _content(results: Results, folder: Path) -> Content:
    """What the report says; it shows the figures that `summarize` has drawn."""
    from circuitwatch.tracking.questions import answers, by_model, introduction
    from circuitwatch.tracking.report import Content

    figures = [path.stem for path in (folder / "summary").glob("*.png")]
    return Content(introduction(results), answers(results), by_model(results), figures)


def _place(results: Results, values: dict[str, str]) -> Place:
    """W&B's project and entity. Raises UserError where the cells were logged to several."""
    from circuitwatch.tracking.settings import destination
    from circuitwatch.tracking.views import Place

    config = destination([cell.header for cell in results.cells], values)
    return Place(config.entity or "", config.project)


COMMAND = Command(
    workspace,
    {
        "workspace sweep=<name>": "the W&B workspace of a sweep, by section, and a W&B report with "
        "its answers; again replaces both  [out=multirun] [project=circuitwatch] [entity=…] "
        "[dry_run=true: print them as JSON, without account or network]",
    },
    when_interrupted="the same command makes or replaces both",
)
