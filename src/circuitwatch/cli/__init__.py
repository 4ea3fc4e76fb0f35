"""The command line: one thin file a command, named after it; how to use it is what
`circuitwatch --help` prints.

Errors that a user can mend are one line on standard error and exit code 2.
"""

from __future__ import annotations

import re
import signal
import sys
from collections.abc import Sequence
from types import FrameType

from circuitwatch import __version__
from circuitwatch.cli.command import COMMANDS, Command, load
from circuitwatch.errors import UserError

__all__ = ["COMMANDS", "Command", "main"]


def main(argv: Sequence[str] | None = None) -> None:
    """Run the command line and exit."""
    arguments = list(sys.argv[1:] if argv is None else argv)
    words = [argument for argument in arguments if argument not in COMMANDS]
    if words[:1] in (["-h"], ["--help"], ["help"]):
        from circuitwatch.cli.help import help_text

        print(help_text())
        return
    if arguments == ["--version"]:
        print(f"circuitwatch {__version__}")
        return
    name = COMMANDS[0]
    if arguments and re.fullmatch(r"\w[\w-]*", arguments[0]):
        name = arguments.pop(0)
        if name not in COMMANDS:
            _fail(f"{name}: no such command; there are {', '.join(COMMANDS)}, and --help")
    command = load(name)
    signal.signal(signal.SIGTERM, _terminate)
    try:
        command.run(arguments)
    except UserError as error:
        _fail(str(error))
    except KeyboardInterrupt:
        print(f"circuitwatch: interrupted; {command.when_interrupted}", file=sys.stderr)
        sys.exit(130)


def _terminate(signum: int, frame: FrameType | None) -> None:
    """Leave as after Ctrl-C, so that files are closed and W&B writes out what it holds."""
    raise KeyboardInterrupt


def _fail(message: str) -> None:
    print(f"circuitwatch: error: {' '.join(message.split())}", file=sys.stderr)
    sys.exit(2)
