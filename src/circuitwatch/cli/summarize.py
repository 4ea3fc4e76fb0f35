"""`circuitwatch summarize`: emergence, scaling, figures and the report, of a sweep or of others'
results.
"""

from __future__ import annotations

import gc
from collections.abc import Iterator
from contextlib import contextmanager

from circuitwatch.cli.command import Command
from circuitwatch.cli.stopping import STOPPING


def summarize(arguments: list[str]) -> None:
    """Summarise a sweep (sweep=…), or any mix of sources (from=… to=…)."""
    from circuitwatch.cli.given import files_that, given, sweep_folder

    if any(argument.startswith(("from=", "to=")) for argument in arguments):
        from circuitwatch import summary
        from circuitwatch.cli.choices import suites
        from circuitwatch.summary import importers

        values = given(
            "summarize",
            arguments,
            needed={"from", "to"},
            optional=importers.OPTIONS,
            hint=importers.HINT,
        )
        STOPPING.begin()
        request = importers.parse_request(values)
        with files_that(request.to, "written"), without_collecting():
            summary.print_summary(summary.summarize_sources(request, suites()))
        return
    hint = (
        "give sweep=<name>, and out=<folder> if it is not multirun; or "
        "from=<path>[,…] and to=<folder>"
    )
    values = given("summarize", arguments, needed={"sweep"}, optional={"out"}, hint=hint)
    folder = sweep_folder(values)
    from circuitwatch import summary

    STOPPING.begin()
    with files_that(folder, "written"), without_collecting():
        summary.print_summary(summary.summarize(folder))


@contextmanager
def without_collecting() -> Iterator[None]:
    """No garbage is looked for: figures are kept to the end, and looking takes a tenth of the
    time.
    """
    gc.disable()
    try:
        yield
    finally:
        gc.enable()


COMMAND = Command(
    summarize,
    {
        "summarize sweep=<name>": "emergence table, scaling, figures and report.html of a sweep  "
        "[out=multirun]",
        "summarize from=<source>[,…] to=<folder>": "the same of any mix of sources: cells, results "
        "of lm-evaluation-harness, lighteval, DCLM or BigScience, trainer_state.json, logs of W&B "
        "(charts, histories) and TensorBoard, tidy or wide tables (CSV, TSV, Parquet, JSON lines: "
        "model, params, step or tokens, task, quantity, value[, stderr, seed]; or a column a "
        "metric, task, model or step), wandb:<entity>/<project>  "
        "[columns=<ours>:<the file's, or a constant in quotes>,…] "
        "[tokens_per_step=<number, or model:number,…>] [thresholds=<task>/<quantity>:<level>,…] "
        "[direction=<quantity>:falls|rises,…] "
        "[params=<model>:160M,…] [stages=join]",
    },
    when_interrupted="nothing was changed",
)
