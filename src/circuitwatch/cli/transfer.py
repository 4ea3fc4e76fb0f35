"""`circuitwatch transfer`: a sweep's circuits at other checkpoints, and on other tasks' prompts."""

from __future__ import annotations

from circuitwatch.cli.command import Command
from circuitwatch.cli.stopping import STOPPING
from circuitwatch.limits import MOST_CHECKPOINTS, whole_of


def transfer(arguments: list[str]) -> None:
    """Impose the circuits of a sweep (sweep=…)."""
    from circuitwatch.cli.given import files_that, given, sweep_folder

    hint = (
        "give sweep=<name>, and out=<folder> if it is not multirun, checkpoints=<number> if not 12"
    )
    optional = {"out", "checkpoints"}
    values = given("transfer", arguments, needed={"sweep"}, optional=optional, hint=hint)
    at_most = whole_of(values.get("checkpoints", "12"), "checkpoints", 2, MOST_CHECKPOINTS)
    folder = sweep_folder(values)
    from circuitwatch import transfer

    STOPPING.begin()
    with files_that(folder, "used"):
        transfer.transfer(folder, checkpoints=at_most)


COMMAND = Command(
    transfer,
    {
        "transfer sweep=<name>": "circuits of each checkpoint imposed on the model at the others, "
        "and on the other tasks' prompts: what is kept  [out=multirun] [checkpoints=12, at most, "
        "of each model]",
    },
)
