"""A summary's folder is there whole or not at all: built beside the old one, and put in its place
in two renames.
"""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from circuitwatch.errors import UserError

MARK = "circuitwatch summary"
"""First line of notes.txt: a folder that has it is a summary and may be replaced."""


def is_summary(folder: Path) -> bool:
    """Whether a folder is a summary, or empty, and so may be replaced."""
    if not folder.is_dir():
        return False
    notes = folder / "notes.txt"
    return not any(folder.iterdir()) or (
        notes.is_file() and notes.read_text(encoding="utf-8").startswith(MARK)
    )


@contextmanager
def replaced_folder(folder: Path) -> Iterator[Path]:
    """A folder to write a summary into, which then takes the place of `folder`; if anything goes
    wrong, that stays as it was.

    Killed at any moment, it leaves the old summary or the new one, at worst under a hidden name
    that the next run looks after. Raises UserError where such a name is taken by something else.
    """
    folder = folder.resolve()
    building, old = (folder.with_name(f".{folder.name}.{part}") for part in ("building", "old"))
    for leftover in (building, old):
        if leftover.exists() and not is_summary(leftover):
            raise UserError(f"{leftover}: is in the way and is no summary; move it elsewhere")
    if old.exists() and not folder.exists():
        old.rename(folder)  # killed between the two renames
    for leftover in (building, old):
        shutil.rmtree(leftover, ignore_errors=True)
    building.mkdir(parents=True)
    try:
        (building / "notes.txt").write_text(f"{MARK}\n", encoding="utf-8")
        yield building
        if folder.exists():
            folder.rename(old)
        building.rename(folder)
    except BaseException:
        if old.exists() and not folder.exists():
            old.rename(folder)
        shutil.rmtree(building, ignore_errors=True)
        raise
    shutil.rmtree(old, ignore_errors=True)
