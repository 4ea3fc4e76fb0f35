"""`circuitwatch track`: a sweep's runs in Weights & Biases, made from its records."""

from __future__ import annotations

from circuitwatch.cli.command import Command
from circuitwatch.cli.stopping import STOPPING

HINT = (
    "give sweep=<name>, and out=<folder> if it is not multirun, project=<name> and entity=<user or "
    "team> if they are not those that its cells were made with"
)


def track(arguments: list[str]) -> None:
    """Send a sweep (sweep=…)."""
    from circuitwatch.cli.given import files_that, given, sweep_folder

    optional = {"out", "project", "entity"}
    values = given("track", arguments, needed={"sweep"}, optional=optional, hint=HINT)
    folder = sweep_folder(values)
    from circuitwatch.locks import hold
    from circuitwatch.progress import CellProgress, wide_console
    from circuitwatch.tracking.sending import Sent, cells_of, send_sweep
    from circuitwatch.tracking.settings import destination
    from circuitwatch.tracking.summary_run import has_summary

    STOPPING.begin()
    cells, _ = cells_of(folder)
    config = destination([cell.header for cell in cells], values)
    sent: list[Sent] = []

    def note(one: Sent) -> None:
        sent.append(one)
        progress.advance(f"{one.name}: {one.done}")

    console = wide_console()
    runs = len(cells) + has_summary(folder)
    try:
        with (
            files_that(folder, "read"),
            hold(folder / ".track.lock", f"{folder} is being sent"),
            CellProgress("W&B", runs) as progress,
        ):
            send_sweep(folder, config, progress.at, note)
    finally:  # those that were sent stay so
        for one in sent:
            line = f"{one.name}: {one.done}, {one.rows} rows  {one.url}"
            console.print(line, highlight=False, soft_wrap=True)
    if not has_summary(folder):
        console.print(
            f"no summary yet: `circuitwatch summarize sweep={folder.name}` makes it, and this "
            f"command sends it",
            highlight=False,
            soft_wrap=True,
        )


COMMAND = Command(
    track,
    {
        "track sweep=<name>": "the runs of a sweep in Weights & Biases made from its records, "
        "whatever happened before: every checkpoint once, pictures, and the summary  "
        "[out=multirun] [project=circuitwatch] [entity=…]",
    },
)
