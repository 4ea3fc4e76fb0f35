"""Duplicate-token heads (Wang et al., arXiv 2211.00593): they look at the earlier occurrence of the
present token.
"""

from circuitwatch.catalogue import Role, later
from circuitwatch.heads.checks import INHIBITION_INPUTS

ROLE = Role(
    name="duplicate_token",
    words="duplicate token",
    about=(
        "mean attention to the earlier occurrence of the present token, on random tokens that "
        "are written twice"
    ),
    threshold=0.5,
    source=(
        "Half of the attention goes to the earlier occurrence (Wang et al., 2211.00593, give "
        "no number)."
    ),
    probe=later("circuitwatch.heads.attention:segments"),
    score=later("circuitwatch.heads.attention:duplicate_token"),
    confirmed_on={"ioi": INHIBITION_INPUTS},
    colour="#56b4e9",
    line="solid",
    place=20,
)
