"""Induction heads (Olsson et al., arXiv 2209.11895): they look at the token that came after the
earlier occurrence of the present one.
"""

from circuitwatch.catalogue import Role, later
from circuitwatch.heads.checks import CIRCUIT_MLPS, INHIBITION_INPUTS

ROLE = Role(
    name="induction",
    words="induction",
    about=(
        "mean attention to the token after the earlier occurrence of the present one, on "
        "random tokens that are written twice"
    ),
    threshold=0.5,
    source=(
        "Half of the attention goes to the token after the earlier occurrence (Olsson et al., "
        "2209.11895, give no number)."
    ),
    probe=later("circuitwatch.heads.attention:segments"),
    score=later("circuitwatch.heads.attention:induction"),
    confirmed_on={"ioi": INHIBITION_INPUTS, "greater_than": CIRCUIT_MLPS},
    colour="#d55e00",
    line="solid",
    place=30,
)
