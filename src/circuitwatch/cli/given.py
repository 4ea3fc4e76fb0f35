"""The key=value arguments of the commands that Hydra does not read: `summarize`, `transfer`,
`export`.
"""

from __future__ import annotations

from collections.abc import Iterator, Set
from contextlib import contextmanager
from pathlib import Path

from circuitwatch.cli.naming import require_names_given
from circuitwatch.errors import UserError, meant, of_files
from circuitwatch.limits import shown


def given(
    command: str,
    arguments: list[str],
    *,
    needed: set[str],
    optional: Set[str] = frozenset(),
    hint: str,
) -> dict[str, str]:
    """The key=value arguments of a command. Raises UserError with the hint if any is missing or
    unknown.

    Args:
        command: Its name, for the error.
        arguments: What follows it on the command line.
        needed: Keys that must have a value.
        optional: Keys that may be given as well.
        hint: What would be right, for the error.

    Returns:
        Key → value.
    """
    values = dict(argument.split("=", 1) for argument in arguments if "=" in argument)
    keys = [argument.split("=", 1)[0] for argument in arguments]
    for argument in arguments:
        key, equals, _ = argument.partition("=")
        if not equals or key not in needed | optional:
            likely = meant(key, sorted(needed | optional)) if equals else ""
            raise UserError(f"{shown(' '.join([command, *arguments]))}: {likely}{hint}")
        if keys.count(key) > 1:
            raise UserError(f"{command}: {key}= is given twice; give it once")
    if not all(values.get(key) for key in needed):
        raise UserError(f"{shown(' '.join([command, *arguments]))}: {hint}")
    require_names_given(values)
    return values


def sweep_folder(values: dict[str, str]) -> Path:
    """The folder of the sweep that a command was given. Raises UserError if there is none."""
    folder = Path(values.get("out", "multirun")).expanduser() / values["sweep"]
    if not folder.is_dir():
        sweeps = (
            sorted(path.name for path in folder.parent.iterdir() if path.is_dir())
            if folder.parent.is_dir()
            else []
        )
        raise UserError(
            f"{folder}: no such sweep; there {'are ' + ', '.join(sweeps) if sweeps else 'is none'}"
        )
    return folder


@contextmanager
def files_that(folder: Path, cannot: str) -> Iterator[None]:
    """Turn an error of the file system into a UserError: the file, or the folder if none is named,
    can't be `cannot` ("written", "used").
    """
    try:
        yield
    except OSError as error:
        raise of_files(error, folder, cannot) from error
