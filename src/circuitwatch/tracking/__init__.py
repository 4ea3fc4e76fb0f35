"""Weights & Biases: a projection of the records, one run a cell, over training tokens.

`identity` is what a run is called, `names` what its history's keys are called, `rows` and
`pictures` what is sent of a checkpoint, `runs` of a whole cell; `tracker` does so while a cell is
watched, `sending` afterwards, from the records alone. `account` and `server` ask what there is.
With mode `off`, W&B is not even imported.
"""

from circuitwatch.tracking.account import resolve_mode
from circuitwatch.tracking.identity import run_id
from circuitwatch.tracking.settings import TrackingConfig
from circuitwatch.tracking.tracker import Tracker, send_if_needed

__all__ = ["Tracker", "TrackingConfig", "resolve_mode", "run_id", "send_if_needed"]
