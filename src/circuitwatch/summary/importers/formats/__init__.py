"""The formats that are read, one module each; here they are put in order.

To add one: a module with a `Format` (what its files are recognised by, and how they become rows for
`checks.complete`), its name in `FORMATS`, a small file in tests/data and a test. The first that
recognises a file reads it, so what is special comes before what is general.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from circuitwatch.errors import UserError
from circuitwatch.summary.curves import Curves, named
from circuitwatch.summary.importers import harness, tidy
from circuitwatch.summary.importers.format import Asked, File, Format
from circuitwatch.summary.importers.formats import (
    bigscience,
    dclm,
    lighteval,
    tensorboard_csv,
    tensorboard_events,
    trainer_state,
    wandb_chart,
    wandb_history,
    wide,
)

FORMATS: tuple[Format, ...] = (
    trainer_state.FORMAT,
    lighteval.FORMAT,
    dclm.FORMAT,
    bigscience.FORMAT,
    harness.FORMAT,
    tensorboard_events.FORMAT,
    tensorboard_csv.FORMAT,
    wandb_chart.FORMAT,
    wandb_history.FORMAT,
    wide.FORMAT,
    tidy.FORMAT,
)
LOOKED_AT = 20
"""Files of a folder that are opened for each format to tell whether it holds any of it."""
KEYS = 6
"""Keys of an unknown file that a message names."""


def format_of_file(file: File, columns: Mapping[str, str]) -> Format:
    """The format of a file; columns: those that the user named.

    Raises UserError, saying what was looked for, if it is of none.
    """
    path = file.path
    for known in FORMATS:
        if known.recognises(file, columns):
            return known
    if path.suffix != ".json":
        looks = "; ".join(known.looks for known in reversed(FORMATS))
        raise UserError(f"{path}: not {looks}")
    looks = "; ".join(known.looks for known in FORMATS if "*.json" in known.files)
    raise UserError(f"{path}: {_what_json(file)}; looked for {trainer_state.FORMAT.looks}; {looks}")


def _what_json(file: File) -> str:
    """What a JSON file is that no format knows."""
    if file.json is None:
        return "can't be read as JSON (cut off, or no JSON at all)"
    if isinstance(file.json, dict):
        return f"JSON of no known kind, with the keys {', '.join(list(file.json)[:KEYS]) or 'none'}"
    return f"JSON of no known kind, a {type(file.json).__name__}"


def formats_in(folder: Path) -> list[Format]:
    """The formats of which a folder holds files, in order; a file is of the first that recognises
    it.
    """
    opened: dict[Path, File] = {}
    kinds: dict[Path, str] = {}
    for known in FORMATS:
        for path in files_of(known, folder)[:LOOKED_AT]:
            file = opened.setdefault(path, File(path))
            if path not in kinds and known.recognises(file, {}):
                kinds[path] = known.name
    return [known for known in FORMATS if known.name in kinds.values()]


def files_of(known: Format, source: Path) -> list[Path]:
    """The files below a folder that have a name as a format's files have, or the file itself."""
    if source.is_file():
        return [source]
    paths = {path for pattern in known.files for path in source.rglob(pattern) if path.is_file()}
    return sorted(paths)


def read_source(source: Path, asked: Asked) -> Curves:
    """The curves of a file or a folder.

    Raises UserError if it is of no format, or nothing in it can be used.
    """
    if source.is_file():
        file = File(source)
        return format_of_file(file, asked.columns).read([file], source, asked)
    known, *others = formats_in(source)
    curves = known.read([File(path) for path in files_of(known, source)], source, asked)
    if others:
        more = named(other.looks for other in others)
        curves.notes.append(
            f"{source.name}: read as {known.looks}; it also holds {more}: give these files by "
            f"themselves to read them"
        )
    return curves
