"""The one kind of error a user can cause and mend."""

from __future__ import annotations

import errno
import os
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from difflib import get_close_matches
from pathlib import Path


class UserError(Exception):
    """One line for the user: what is wrong, where, and what would be right."""


def of_files(error: OSError, otherwise: object, cannot: str = "used") -> UserError:
    """What the system says of a file, as the user's error: that it can't be used, read, written;
    otherwise: what it is about where the system names no file.
    """
    why = error.strerror or error
    if error.filename and error.errno in (errno.EEXIST, errno.ENOTDIR):
        path = Path(os.fsdecode(error.filename))
        for one in (path, *path.parents):
            if one.is_file():  # often one far above what could not be made
                return UserError(f"{one}: is a file; a folder has to be there")
    return UserError(f"{error.filename or otherwise}: can't be {cannot} ({why})")


def meant(word: str, names: Iterable[str]) -> str:
    """What asks whether one of the names was meant, three at most; "" where none is like it."""
    near = get_close_matches(word, list(names), n=3, cutoff=0.7)
    return f"did you mean {' or '.join(near)}? " if near else ""


def nearest(word: str, names: Sequence[str]) -> list[str]:
    """The names that are most like a word, three at most, for a message; the first ones where none
    is.
    """
    return get_close_matches(word, names, n=3, cutoff=0.3) or list(names[:3])


@contextmanager
def errors_of(called: str, *passed: type[Exception]) -> Iterator[None]:
    """Turn whatever a plug-in's function raises into a UserError that begins with what it is called
    ("role attention_sink"); UserError and the `passed` kinds are left as they are.
    """
    try:
        yield
    except Exception as error:  # whatever a user's function may raise
        if isinstance(error, (UserError, *passed)):
            raise
        reason = " ".join(str(error).split())
        kind = type(error).__name__
        raise UserError(f"{called}: {kind}: {reason}" if reason else f"{called}: {kind}") from error
