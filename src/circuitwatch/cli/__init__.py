"""The command line: one thin file a command, named after it; how to use it is what
`circuitwatch --help` prints.

Errors that a user can mend are one line on standard error and exit code 2. What is imported here
is imported before a signal can be answered, so it is as little as can be.
"""

from __future__ import annotations

import sys

from circuitwatch.cli.stopping import STOPPING

__all__ = ["main"]

HELP = ("-h", "--help")


def main(argv: list[str] | None = None) -> None:
    """Run the command line and exit; without arguments it is that of the process."""
    import signal

    if argv is not None:  # called from Python, whose signals are its own
        before = [(one, signal.getsignal(one)) for one in (signal.SIGINT, signal.SIGTERM)]
        hook = sys.unraisablehook
        try:
            STOPPING.listen()
            _main(list(argv))
        finally:
            sys.unraisablehook = hook
            for one, handler in before:
                signal.signal(one, handler)
        return
    STOPPING.listen()
    _main(sys.argv[1:])


def _main(arguments: list[str]) -> None:
    from circuitwatch.errors import UserError

    try:
        _run(arguments)
    except UserError as error:
        if STOPPING.was_asked:  # what was made of the interrupt on its way
            _interrupted()
        print(f"circuitwatch: error: {' '.join(str(error).split())}", file=sys.stderr)
        sys.exit(2)
    except KeyboardInterrupt:
        _interrupted()
    except Exception:
        if not STOPPING.was_asked:
            raise
        _interrupted()


def _interrupted() -> None:
    print(STOPPING.line, file=sys.stderr)
    sys.exit(STOPPING.exit_code)


def _run(arguments: list[str]) -> None:
    """Show help or the version, or run the command that is named."""
    from circuitwatch.cli.command import COMMANDS, load
    from circuitwatch.errors import UserError, meant
    from circuitwatch.limits import shown

    if not arguments:
        from circuitwatch.cli.help import short_help

        print(short_help())
        return
    if arguments[0] == "help" or any(argument in HELP for argument in arguments):
        from circuitwatch.cli.help import command_help, help_text

        named = next((argument for argument in arguments if argument in COMMANDS), None)
        print(command_help(named, arguments) if named else help_text(arguments))
        return
    if "--version" in arguments:
        from circuitwatch import __version__

        print(f"circuitwatch {__version__}")
        return
    if arguments[0] in ("-sc", "--shell-completion"):  # Hydra's knows none of our commands
        arguments = ["completion", *(one.removeprefix("install=") for one in arguments[1:])]
    name = COMMANDS[0]
    if (
        "=" not in arguments[0]
        and arguments[0].replace("-", "_").isidentifier()
        and (not arguments[0].startswith("-"))
    ):
        name = arguments[0]
        arguments = arguments[1:]
        if name not in COMMANDS:
            raise UserError(
                f"{shown(name)}: no such command; {meant(name, COMMANDS)}there are "
                f"{', '.join(COMMANDS)}, and --help"
            )
    command = load(name)
    STOPPING.says = command.when_interrupted
    command.run(arguments)
