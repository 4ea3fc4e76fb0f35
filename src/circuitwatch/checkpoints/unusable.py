"""Checkpoints that can't be used, and where what libraries raise of them is told apart from faults
of our own.

transformers, tokenizers and safetensors raise all kinds of exceptions of files that are not what
they should be, down to a bare `Exception`. While they read a file, whatever they raise is the
file's fault; elsewhere an exception is ours and stays what it is.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from circuitwatch.circuits.memory import is_out_of_memory
from circuitwatch.errors import UserError

REASON_LENGTH = 160
"""Most characters of a library's own words; some list a hundred classes."""


class Unusable(UserError):
    """The checkpoint can't be analysed, whatever is tried; another one may be."""


class DamagedWeights(Unusable):
    """Its files are not whole, or not what they should be, or the weights are not finite or have
    diverged.
    """


class Unsupported(Unusable):
    """It is whole, and of a kind that can't be analysed."""


@contextmanager
def reading(place: Path | str, fault: str) -> Iterator[None]:
    """Turn what a library raises into DamagedWeights: "<place>: <fault> (<its words>)". Errors of
    ours stay, as does what says that there is no memory left.
    """
    try:
        yield
    except UserError:
        raise
    except BaseException as error:
        # The tokenizers library panics at some files, with an exception that is no Exception.
        if not isinstance(error, Exception) and type(error).__name__ != "PanicException":
            raise
        if is_out_of_memory(error):
            raise
        raise DamagedWeights(f"{place}: {fault} ({reason_of(error)})") from error


def reason_of(error: BaseException) -> str:
    """What an exception says, in a short line."""
    words = " ".join(str(error).split()) or type(error).__name__
    return words if len(words) <= REASON_LENGTH else f"{words[: REASON_LENGTH - 1]}…"
