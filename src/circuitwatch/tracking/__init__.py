"""Weights & Biases: a projection of the records, one run a cell, over training tokens.

`identity` is what a run is called, `names` what its history's keys are called, `rows` and
`pictures` what is sent of a checkpoint, `runs` of a whole cell; `tracker` does so while a cell is
watched, `sending` afterwards, from the records alone. `account` and `server` ask what there is.
With mode `off`, W&B is not even imported.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from circuitwatch.tracking.account import resolve_mode
    from circuitwatch.tracking.identity import run_id
    from circuitwatch.tracking.settings import TrackingConfig
    from circuitwatch.tracking.tracker import Tracker, send_if_needed

__all__ = ["Tracker", "TrackingConfig", "resolve_mode", "run_id", "send_if_needed"]
_WHERE = {
    "resolve_mode": "account",
    "run_id": "identity",
    "TrackingConfig": "settings",
    "Tracker": "tracker",
    "send_if_needed": "tracker",
}


def __getattr__(name: str) -> Any:
    """A name of this package, imported when it is first used: the configuration needs the options
    alone, and the others bring pandas.
    """
    if name not in _WHERE:
        raise AttributeError(f"module 'circuitwatch.tracking' has no attribute {name!r}")
    return getattr(importlib.import_module(f"circuitwatch.tracking.{_WHERE[name]}"), name)
