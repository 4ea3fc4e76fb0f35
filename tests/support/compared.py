"""Hand-made rows of the emergence and the scaling table, to be compared across sizes."""

from __future__ import annotations

from typing import Any

from circuitwatch.summary.rows import EmergenceRow, ScalingRow

BEHAVIOUR = "behaviour/value"


def point(model: str, tokens: float | None, **more: Any) -> EmergenceRow:
    """A row of the emergence table; without tokens it never emerged, unless a status is given."""
    given = {
        "status": "never" if tokens is None else "emerged",
        "rule": "half rise",
        "n": 12,
        "first_tokens": 0.0,
        "last_tokens": 1e9,
        "final": 1.0,
        "low": None if tokens is None else tokens / 2,
        "high": None if tokens is None else tokens * 2,
        "task": "ioi",
        "quantity": BEHAVIOUR,
        "seed": 0,
        "params_total": 1e6,
        "source": "x",
    }
    return EmergenceRow(**(given | {"model": model, "tokens": tokens} | more))


def trend(**more: Any) -> ScalingRow:
    """A row of the scaling table."""
    given = {
        "task": "ioi",
        "quantity": BEHAVIOUR,
        "of": "tokens of emergence",
        "models": "",
        "left_out": "",
        "status": "fitted",
        "n_sizes": 4,
        "n_observed": 4,
        "n_censored": 0,
    }
    return ScalingRow(**(given | more))
