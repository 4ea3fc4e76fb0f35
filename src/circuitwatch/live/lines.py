"""What a person reads while a training is watched: single lines on stderr that leave progress bars
whole.
"""

from __future__ import annotations

import sys
from collections.abc import Mapping
from typing import Any

from circuitwatch.record_files import CheckpointRecord
from circuitwatch.units import format_tokens


def say(line: str) -> None:
    """Print a line on stderr, above the bars of tqdm if the training has any."""
    text, tqdm = f"circuitwatch: {line}", sys.modules.get("tqdm")
    if tqdm is None:
        print(text, file=sys.stderr)
    else:
        tqdm.tqdm.write(text, file=sys.stderr)


def reason(error: Exception) -> str:
    """An error in one line."""
    text = " ".join(str(error).split())
    return text[:300] or type(error).__name__


def at(step: int, tokens: int) -> str:
    """Which checkpoint."""
    return f"step {step} ({format_tokens(tokens)} tokens)"


def of_records(records: Mapping[str, CheckpointRecord]) -> str:
    """What was found, of each task its behaviour."""
    found = []
    for task, record in records.items():
        scalars: dict[str, Any] = record.scalars
        edges = f", circuit {scalars['circuit/edges']} edges" if "circuit/edges" in scalars else ""
        found.append(
            f"{task} {scalars['behaviour/value']:.3f} "
            f"(effect {scalars['behaviour/effect']:.3f}{edges})"
        )
    return "; ".join(found)


def of_share(share: float) -> str:
    """What watching has cost."""
    if share > 10:  # at the beginning, where there was hardly any training yet
        return "watching has taken longer than the training so far"
    return f"watching has taken {share:.1%} of the training's time"
