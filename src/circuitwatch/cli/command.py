"""What a command of the command line is: a file of its name in this package with a COMMAND.

A command imports what it works with only when it runs, so that `--help` and a summary start without
torch.
"""

from __future__ import annotations

import importlib
from collections.abc import Callable
from dataclasses import dataclass

COMMANDS = (
    *("watch", "train", "doctor", "prompts", "summarize", "transfer", "export", "track"),
    *("workspace", "status", "models", "completion"),
)
"""The commands in the order of the help; the first is what runs where none is given."""


@dataclass(frozen=True)
class Command:
    """One command.

    usage: what is written after `circuitwatch`, each way with what it does; the help prints these
    as they are. run: does it, given the arguments after the command's name; raises UserError for
    what the user can mend. when_interrupted: what is true after Ctrl-C.
    """

    run: Callable[[list[str]], None]
    usage: dict[str, str]
    when_interrupted: str = "the same command goes on where it stopped"


def load(name: str) -> Command:
    """The command of a name that is among COMMANDS."""
    command = importlib.import_module(f"circuitwatch.cli.{name}").COMMAND
    assert isinstance(command, Command)
    return command
