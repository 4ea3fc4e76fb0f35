"""Which parts of a model can hold a role at all; read wherever a score is compared with its
threshold. This module imports no torch.

Some roles are scored in every layer but held in none of the first ones (`Role.first_layer`).
"""

from __future__ import annotations

import pandas as pd

from circuitwatch import catalogue


def first_layer(role: str) -> int:
    """The first layer whose heads can hold the role; 0 for one that the catalogue does not know."""
    known = catalogue.roles().get(role)
    return 0 if known is None else known.first_layer


def can_hold(role: str, layer: int) -> bool:
    """Whether a head (or MLP) of this layer may hold the role, whatever its score."""
    return layer >= first_layer(role)


def that_can_hold(roles: pd.DataFrame) -> pd.DataFrame:
    """The rows of a role table (columns role, layer, …) whose head or MLP may hold the row's
    role.
    """
    first = {role: first_layer(role) for role in roles["role"].unique()}
    return roles[roles["layer"].astype(int) >= roles["role"].map(first).astype(int)]


def why_none_can(role: str, n_layers: int) -> str:
    """Why no head of a model of so many layers can hold the role, although it is scored."""
    return (
        f"scored, but heads of the first {first_layer(role)} layers hold no "
        f"{catalogue.roles()[role].words}, and this model has {n_layers}"
    )
