"""What effects of heads are measured on, and which roles of the catalogue a task confirms by the
effect on what (`Role.confirmed_on`); read by the checks. This module imports no torch.

A role that a task gives no chance to show itself is not refuted there: its cell stays empty.
"""

from __future__ import annotations

from circuitwatch import catalogue

LOGITS = "logits"
MOVER_QUERIES = "name-mover queries"
INHIBITION_INPUTS = "S-inhibition keys and values"
CIRCUIT_MLPS = "circuit MLPs"
INDUCTION_KEYS = "induction keys"
REPEATED = "repeated"
"""The task of repeated random segments: it is watched by no cell, but measured in every one,
whatever the cell's own task is.
"""
CUTOFFS = tuple(tenths / 10 for tenths in range(1, 10))
"""One for all roles at a time, over which shares are measured beside the roles' own thresholds."""


def confirmed_on(role: str) -> dict[str, str]:
    """Task → what a holder's effect is measured on there; empty where no task confirms the role."""
    known = catalogue.roles().get(role)
    return {} if known is None else dict(known.confirmed_on)


def roles_checked(task: str, on: str) -> list[str]:
    """The roles that a task confirms by the effect on something."""
    return [name for name, role in catalogue.roles().items() if role.confirmed_on.get(task) == on]
