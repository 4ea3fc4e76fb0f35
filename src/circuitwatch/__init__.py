"""circuitwatch: a monitor of training dynamics that follows behaviours, circuits and head roles
over a model's checkpoints.

    import circuitwatch as cw

    cw.open("multirun/demo").emergence.frame()   what a sweep found
    model = cw.load_model("path/step1000")       one checkpoint, to look at by hand
    cw.callback.CircuitwatchCallback(["ioi"])    for a Trainer: a training watched live

Names are imported when they are first used: importing this imports no torch.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from circuitwatch import callback
    from circuitwatch.api import (
        Circuit,
        Model,
        edge_scores,
        find_circuit,
        load_model,
        measure,
        patch,
        prepare,
        prompts,
    )
    from circuitwatch.behaviour import TaskMetric
    from circuitwatch.bridge import load_bridge
    from circuitwatch.catalogue import Quantity, Role, Task, add
    from circuitwatch.circuits.patching import PathPatcher
    from circuitwatch.errors import UserError
    from circuitwatch.results import Results, open
    from circuitwatch.summary.statistics.emergence import fit_emergence
    from circuitwatch.tasks import own_task
    from circuitwatch.watcher import Watcher

__version__ = "0.1.0"
__all__ = [
    "Circuit",
    "Model",
    "PathPatcher",
    "Quantity",
    "Results",
    "Role",
    "Task",
    "TaskMetric",
    "UserError",
    "Watcher",
    "add",
    "callback",
    "edge_scores",
    "find_circuit",
    "fit_emergence",
    "load_bridge",
    "load_model",
    "measure",
    "open",
    "own_task",
    "patch",
    "prepare",
    "prompts",
]
_MODULES = {
    "circuitwatch.api": (
        "Circuit Model edge_scores find_circuit load_model measure patch prepare prompts"
    ),
    "circuitwatch.behaviour": "TaskMetric",
    "circuitwatch.catalogue": "Quantity Role Task add",
    "circuitwatch.bridge": "load_bridge",
    "circuitwatch.circuits.patching": "PathPatcher",
    "circuitwatch.errors": "UserError",
    "circuitwatch.results": "Results open",
    "circuitwatch.summary.statistics.emergence": "fit_emergence",
    "circuitwatch.tasks": "own_task",
    "circuitwatch.watcher": "Watcher",
}
_SUBMODULES = ("callback",)
_WHERE = {name: module for module, names in _MODULES.items() for name in names.split()}


def __getattr__(name: str) -> Any:
    """A public name, imported from where it is; or a public module, `circuitwatch.callback`."""
    if name in _SUBMODULES:
        return importlib.import_module(f"circuitwatch.{name}")
    if name not in _WHERE:
        raise AttributeError(f"module 'circuitwatch' has no attribute {name!r}")
    return getattr(importlib.import_module(_WHERE[name]), name)


def __dir__() -> list[str]:
    """The public names."""
    return sorted([*__all__, "__version__"])
