"""Names that become folders, and paths that people give: checked before anything is made, since
what a file system says of a name that it can't have comes late, and differs between systems.
"""

from __future__ import annotations

import unicodedata
from pathlib import PurePath

from circuitwatch.errors import UserError
from circuitwatch.limits import SHOWN

MOST_NAME = 100
"""Bytes of a name. File systems take 255; the rest is for what is put beside it (`.partial`,
`.lock`, the model's name beside the task's), and W&B takes 128 for the name of an artifact.
"""
MOST_PART = 255
"""Bytes of a folder's or a file's name."""
MOST_PATH = 2000
"""Bytes of a path: Linux takes 4,095, and below `out` lie four names and a file."""
RESERVED = '/\\:*?"<>|'
"""What separates folders, here or on other systems, or stands for something else there."""


def plain_name(name: str, key: str) -> None:
    """Raise UserError unless a name can be a folder's on any system."""
    said = f"{key}={_quoted(name)}: must be a plain name, it becomes a folder"
    if not name or name in (".", ".."):
        raise UserError(said)
    if (size := _size(name, key)) > MOST_NAME:
        raise UserError(
            f"{key}={_quoted(name)}: is {size} bytes long; a name has at most {MOST_NAME}"
        )
    if wrong := next((c for c in name if c in RESERVED or _breaks_lines(c)), None):
        raise UserError(f"{said}; {wrong!r} can't be in it")
    if name[0] in ".-~" or name[-1] == "." or name != name.strip():
        raise UserError(f"{said}; it can't begin with '.', '-' or '~', nor end with '.' or a space")


def plain_path(path: str, key: str) -> None:
    """Raise UserError unless a path can be one: of a file or a folder that need not exist."""
    if not path.strip():
        raise UserError(f"{key}={_quoted(path)}: give a path")
    if wrong := next((c for c in path if _breaks_lines(c)), None):
        raise UserError(f"{key}={_quoted(path)}: {wrong!r} can't be in a path")
    if (size := _size(path, key)) > MOST_PATH:
        raise UserError(
            f"{key}={_quoted(path)}: is {size} bytes long; a path has at most {MOST_PATH}"
        )
    longest = max((len(part.encode()) for part in PurePath(path).parts), default=0)
    if longest > MOST_PART:
        raise UserError(
            f"{key}={_quoted(path)}: has a name of {longest} bytes in it; a file system takes "
            f"{MOST_PART}"
        )


def _size(name: str, key: str) -> int:
    """Bytes of a name. Raises UserError where it is no text, such as an argument of bytes that are
    no UTF-8.
    """
    try:
        return len(name.encode())
    except UnicodeEncodeError as error:
        raise UserError(f"{key}={_quoted(name)}: is not text in UTF-8") from error


def _breaks_lines(character: str) -> bool:
    """Whether a character moves the cursor, ends a line or ends a string of C."""
    return unicodedata.category(character) in ("Cc", "Zl", "Zp")


def _quoted(name: str) -> str:
    return repr(name) if len(name) <= SHOWN else f"{name[:SHOWN]!r}…"
