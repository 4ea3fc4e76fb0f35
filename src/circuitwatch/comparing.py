"""Whether two configurations are of the same cell, so that one run can go on with what another
made.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from circuitwatch.errors import UserError

NOT_COMPARED = (
    "out",
    "sweep",
    "cache",
    "device",
    "threads",
    "tracking",
    "experiment",
    "checkpoints",
    "follow",
    "follow_idle",
    "follow_every",
    "shard",
)
"""Parts of the configuration that do not decide what a record says, and so may differ when a cell
is resumed.
"""
TASK_FILE, TASK_HASH = "task.path", "task.sha256"
"""A user's own file of prompts may be moved, but must have the same content."""


def require_same(old: dict[str, Any], new: dict[str, Any], folder: Path) -> None:
    """Require that a cell can be gone on with.

    Args:
        old: what its cell.json says, with the schedule.
        new: what it would say were it made now; its schedule may have more checkpoints.
        folder: of the cell, for the message.

    Raises:
        UserError: what decides its records is another, or a checkpoint is no longer there.
    """
    before, now = compared(old["config"]), compared(new["config"])
    if before.get(TASK_HASH) != now.get(TASK_HASH):
        raise UserError(
            f"{folder} was made from a file of prompts with another content than "
            f"{new['config']['task']['path']} has now; choose another sweep= name or delete that "
            f"folder"
        )
    for key in sorted(before.keys() | now.keys()):
        if before.get(key) != now.get(key):
            raise UserError(
                f"{folder} was made with {key}={before.get(key)}, you ask for "
                f"{now.get(key)}; choose another sweep= name or delete that folder"
            )
    gone = [entry for entry in old["schedule"] if entry not in new["schedule"]]
    if gone:
        raise UserError(
            f"{folder} was made with another list of checkpoints: {gone[0]['revision']} (step "
            f"{gone[0]['step']}, {gone[0]['tokens']} tokens) is not among those there are now; "
            f"choose another sweep= name or delete that folder"
        )


def compared(config: dict[str, Any]) -> dict[str, Any]:
    """The parts of a configuration that decide what records say."""
    deciding = _flat({key: value for key, value in config.items() if key not in NOT_COMPARED})
    return {key: value for key, value in deciding.items() if key != TASK_FILE}


def _flat(tree: Any, prefix: str = "") -> dict[str, Any]:
    """Nested dictionaries as dotted keys."""
    if not isinstance(tree, dict):
        return {prefix: tree}
    return {
        key: value
        for name, branch in tree.items()
        for key, value in _flat(branch, f"{prefix}.{name}" if prefix else name).items()
    }
