"""`circuitwatch status`: how far a sweep is, and what is left of it."""

from __future__ import annotations

import json
from dataclasses import asdict

from circuitwatch.cli.command import Command
from circuitwatch.errors import UserError


def status(arguments: list[str]) -> None:
    """Print the state of a sweep (sweep=…) as a table, or as JSON (json=true)."""
    from circuitwatch.cli.given import files_that, given, sweep_folder

    hint = "give sweep=<name>, and out=<folder> if it is not multirun; json=true"
    values = given("status", arguments, needed={"sweep"}, optional={"out", "json"}, hint=hint)
    said = values.get("json", "false").lower()
    if said not in ("true", "false"):
        raise UserError(f"json={values['json']}: give true or false")
    folder = sweep_folder(values)
    from circuitwatch.sweeping.showing import print_state
    from circuitwatch.sweeping.state import state_of

    with files_that(folder, "read"):
        state = state_of(folder)
    if said == "true":
        print(json.dumps(asdict(state), indent=1, ensure_ascii=False))
    else:
        print_state(state)


COMMAND = Command(
    status,
    {
        "status sweep=<name>": "how far a sweep is: each cell done, running (by whom, since when), "
        "failed (error, log) or left, and the time left  [out=multirun] [json=true]",
    },
    when_interrupted="nothing was changed",
)
