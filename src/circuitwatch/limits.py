"""The largest sizes that are taken, each with its reason, and the checks that say so.

A number far beyond them is a slip of the pen (an exponent, a pasted word), and would end in a
program killed for memory, in a traceback of a library, or in years of work. They are the same on
every machine, since a cell that was made on one is gone on with on another.
"""

from __future__ import annotations

from numbers import Integral
from typing import Any

from circuitwatch.errors import UserError

MOST_PROMPTS = 10_000
"""With as many resamples of a bootstrap its draws alone take 0.8 GB."""
MOST_RESAMPLES = 10_000
"""Of a bootstrap: the ends of a 95 % interval then move by less than 1 % of its width."""
MOST_SEARCHES = 100
"""Resamples that a circuit is searched for: each takes as long as the circuit itself."""
MOST_IG_STEPS = 1000
"""Scores converge with some 30; each step is a pass forwards and backwards."""
MOST_SEED = 2**32 - 1
"""What all generators of random numbers take: numpy's older one takes no more."""
MOST_THREADS = 1024
"""More than any machine has cores; OpenMP aborts the program where it can't start them."""
MOST_STEP = 10**9
"""A thousand times the longest training that is published; times MOST_TOKENS_PER_STEP it is a
64-bit number, which is what tables hold.
"""
MOST_TOKENS_PER_STEP = 9 * 10**9
"""Twice what checkpoints of Amber and K2 lie apart, which are numbered by chunks of their data; the
largest batches that are published have a hundredth of it.
"""
MOST_TOKENS = MOST_STEP * MOST_TOKENS_PER_STEP
MOST_STEPS_LISTED = 100_000
"""Checkpoints that a schedule or a suite lists."""
MOST_PARAMETERS = 10**15
"""A hundred times the largest models there are."""
MOST_SEQUENCES = 10_000
"""Segments or pieces of text that roles are measured on; as `MOST_PROMPTS`."""
MOST_LENGTH = 8192
"""Tokens of what roles are measured on: attention takes the square of it for every head."""
MOST_LOSS_LENGTH = 131_072
"""Tokens of a piece for the loss: the longest contexts of the models that are supported."""
MOST_NEIGHBOURS = 1000
"""Tokens that count as one: they are to mean the same, of which no word has so many."""
MOST_PICTURES = 1000
"""Checkpoints drawn for W&B, some seconds and 100 kB each."""
MOST_CHECKPOINTS = 1000
"""Of a model, for circuits imposed on others: the work grows with the square."""
MOST_BYTES = 2**60
"""Of a disk or memory: an exbibyte, a thousand times what a large cluster has."""
MOST_SECONDS = 10 * 366 * 86400.0
"""Ten years; what a system call can wait for ends at some hundreds."""
LEAST_SECONDS = 0.001
"""Looking at a folder takes as long."""
MOST_TEXT = 2000
"""Characters of any value: half of what the path of a file may have."""

SHOWN = 60
"""Characters of a value that a message repeats."""


def shown(value: Any) -> str:
    """A value as a message repeats it: a long one is cut, with how long it is."""
    try:
        text = str(value)
    except ValueError:  # Python writes no whole number of more than 4,300 digits
        return "a number of thousands of digits"
    if len(text) <= SHOWN:
        return text
    return f"{text[:SHOWN]}… ({len(text)} characters)"


def require_whole(
    value: Any, key: str, least: float | None = None, most: float | None = None
) -> None:
    """Raise UserError unless a value is a whole number within its bounds."""
    is_whole = isinstance(value, Integral) and not isinstance(value, bool)
    if is_whole and (least is None or value >= least) and (most is None or value <= most):
        return
    kind = "" if is_whole else "a whole number of "
    ends = [f"at least {least:.0f}"] if least is not None else []
    ends += [f"at most {most:.0f}"] if most is not None else []
    raise UserError(f"{key}={shown(value)}: must be {kind}{', '.join(ends)}")


def whole_of(text: str, key: str, least: int, most: int) -> int:
    """The whole number that an argument of the command line gives. Raises UserError for another,
    or for none.
    """
    text = text.strip()
    # More digits than that are too many for Python too, which is a traceback of its own.
    given: Any = int(text) if text.isascii() and text.isdecimal() and len(text) < 4000 else text
    require_whole(given, key, least, most)
    return int(given)
