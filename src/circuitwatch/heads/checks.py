"""In which task a role can be confirmed, and by the effect on what: one table of facts, read by the
checks and by all who show them.

A role that a task gives no chance to show itself is not refuted there: its cell stays empty. This
module imports no torch.
"""

from __future__ import annotations

from collections.abc import Sequence

LOGITS = "logits"
MOVER_QUERIES = "name-mover queries"
INHIBITION_INPUTS = "S-inhibition keys and values"
CIRCUIT_MLPS = "circuit MLPs"
INDUCTION_KEYS = "induction keys"
REPEATED = "repeated"
"""The task of repeated random segments: it is watched by no cell, but measured in every one,
whatever the cell's own task is.
"""

CHECKED_ON: dict[str, dict[str, str]] = {
    "name_mover": {"ioi": LOGITS},
    "negative_name_mover": {"ioi": LOGITS},
    "copy_suppression": {"ioi": LOGITS},
    "s_inhibition": {"ioi": MOVER_QUERIES},
    "duplicate_token": {"ioi": INHIBITION_INPUTS},
    "induction": {"ioi": INHIBITION_INPUTS, "greater_than": CIRCUIT_MLPS},
    "successor": {"greater_than": CIRCUIT_MLPS},
    "year_attention": {"greater_than": LOGITS},
    "year_push": {"greater_than": LOGITS},
    "previous_token": {REPEATED: INDUCTION_KEYS},
}
"""Role → task → what a holder's effect is measured on; in other tasks nothing is said of the role.
"""


def teller(role: str, tasks: Sequence[str]) -> str:
    """Of some tasks' cells, the one that tells a role's curve where curves are over the heads of a
    circuit.

    Circuits differ by task, so a curve must not change from one cell to another: it is the first
    task in which the role can be confirmed, else the first of all.
    """
    known = [task for task in CHECKED_ON.get(role, {}) if task in tasks]
    return (known or list(tasks))[0]


def roles_checked(task: str, on: str) -> list[str]:
    """The roles that a task confirms by the effect on something."""
    return [role for role, tasks in CHECKED_ON.items() if tasks.get(task) == on]


MOVER_ROLES = tuple(roles_checked("ioi", LOGITS))
"""Roles of heads that raise or lower the answer of IOI by themselves: B counts their holders."""
CUTOFFS = tuple(tenths / 10 for tenths in range(1, 10))
"""One for all roles at a time, over which shares are measured beside the roles' own thresholds."""
