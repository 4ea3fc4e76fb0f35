"""Which parts of a model can hold a role at all; read wherever a score is compared with its
cut-off.

Copy suppression is scored in every layer but held in none of the first two, as in the code of
McDougall et al. (arXiv 2310.04625) that Tigges et al. (2407.10827) follow: there is nothing yet
that earlier layers could have predicted and a head could take back.
"""

from __future__ import annotations

import pandas as pd

FIRST_LAYER = {"copy_suppression": 2}
"""The first layer whose heads can hold the role; 0 for roles that are not named."""


def can_hold(role: str, layer: int) -> bool:
    """Whether a head (or MLP) of this layer may hold the role, whatever its score."""
    return layer >= FIRST_LAYER.get(role, 0)


def that_can_hold(roles: pd.DataFrame) -> pd.DataFrame:
    """The rows of a role table (columns role, layer, …) whose head or MLP may hold the row's
    role.
    """
    first = roles["role"].map(FIRST_LAYER).fillna(0).astype(int)
    return roles[roles["layer"].astype(int) >= first]


def why_none_can(role: str, n_layers: int) -> str:
    """Why no head of a model of so many layers can hold the role, although it is scored."""
    return (
        f"scored, but heads of the first {FIRST_LAYER[role]} layers hold no "
        f"{role.replace('_', ' ')}, and this model has {n_layers}"
    )
