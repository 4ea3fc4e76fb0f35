"""Sizes, durations and numbers as people write them."""

from __future__ import annotations

import re
from typing import Any

from circuitwatch.errors import UserError
from circuitwatch.limits import LEAST_SECONDS, MOST_BYTES, MOST_SECONDS, shown

UNITS = {
    "KiB": 2**10,
    "MiB": 2**20,
    "GiB": 2**30,
    "TiB": 2**40,
    "kB": 10**3,
    "MB": 10**6,
    "GB": 10**9,
    "TB": 10**12,
}

SECONDS = {"s": 1, "min": 60, "h": 3600, "d": 86400}


def parse_size(text: str, key: str) -> int:
    """Bytes of a size such as 4GiB or 500MB. Raises UserError for anything else."""
    match = re.fullmatch(r"(\d+(?:\.\d+)?)\s*(\w+)", text.strip())
    if not match or match[2] not in UNITS or float(match[1]) <= 0:
        raise UserError(
            f"{key}={shown(text)}: give a size above 0 such as 4GiB or 500MiB "
            f"(units: {', '.join(UNITS)})"
        )
    size = float(match[1]) * UNITS[match[2]]
    if not 1 <= size <= MOST_BYTES:
        most = f"{MOST_BYTES // UNITS['TiB']}TiB"
        raise UserError(f"{key}={shown(text)}: must be at least 1 byte, at most {most}")
    return int(size)


def parse_duration(text: str, key: str) -> float:
    """Seconds of a duration such as 30min or 10s. Raises UserError for anything else."""
    match = re.fullmatch(r"(\d+(?:\.\d+)?)\s*(\w+)", text.strip())
    if not match or match[2] not in SECONDS or float(match[1]) <= 0:
        raise UserError(
            f"{key}={shown(text)}: give a time above 0 such as 10s or 30min "
            f"(units: {', '.join(SECONDS)})"
        )
    seconds = float(match[1]) * SECONDS[match[2]]
    if not LEAST_SECONDS <= seconds <= MOST_SECONDS:
        most = f"{MOST_SECONDS / SECONDS['d']:.0f}d"
        raise UserError(f"{key}={shown(text)}: must be at least {LEAST_SECONDS}s, at most {most}")
    return seconds


def format_duration(seconds: float) -> str:
    """1800 → 30 min: in the largest unit of which it has one, rounded down."""
    unit, size = next(
        ((unit, size) for unit, size in reversed(SECONDS.items()) if seconds >= size), ("s", 1)
    )
    return f"{int(seconds // size)} {unit}"


def format_tokens(tokens: Any) -> str:
    """1234567 → 1.23M; nothing for a value that does not exist."""
    if tokens is None or tokens != tokens:  # NaN
        return ""
    for size, letter in ((1e12, "T"), (1e9, "B"), (1e6, "M"), (1e3, "k")):
        if tokens >= size * 0.9995:  # what is rounded up to a unit is one
            return f"{tokens / size:.3g}{letter}"
    return f"{tokens:.0f}"


def format_interval(low: Any, high: Any) -> str:
    """1.2M – 3M; an upper end that is missing lies beyond the last checkpoint.

    Nothing where both are missing.
    """
    if (low is None or low != low) and (high is None or high != high):  # NaN
        return ""
    return f"{format_tokens(low) or '0'} – {format_tokens(high) or 'beyond'}"


def format_number(value: Any) -> str:
    """0.12345 → 0.12, −0.00341 → −0.0034, 123.4 → 123: at most two significant decimals, and a
    minus sign instead of a hyphen. Nothing for a value that does not exist.
    """
    if value is None or value != value:  # NaN
        return ""
    size = abs(float(value))
    if isinstance(value, int) or size >= 100:
        text = f"{size:.0f}" if size < 1e9 else f"{size:.2g}"
    elif size >= 0.095 or size == 0:
        text = f"{size:.2f}"
    elif size >= 1e-4:
        text = f"{size:.2g}"
    else:
        mantissa, _, power = f"{size:.1e}".partition("e")
        text = f"{mantissa.removesuffix('.0')}e{int(power)}"
    return (f"-{text}" if value < 0 else text).replace("-", "−")


def counted(number: int, noun: str, plural: str = "") -> str:
    """How many of something, with the noun as it is then: 1 model, 2 models, 0 models; plural: of a
    noun that takes more than an s.
    """
    return f"{number} {noun if number == 1 else plural or noun + 's'}"
