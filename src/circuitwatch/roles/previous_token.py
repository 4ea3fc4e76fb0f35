"""Previous-token heads (Olsson et al., arXiv 2209.11895): they look at the token before."""

from circuitwatch.catalogue import Role, later
from circuitwatch.heads.checks import INDUCTION_KEYS, REPEATED

ROLE = Role(
    name="previous_token",
    words="previous token",
    about="mean attention to the token before, on random tokens that are written twice",
    threshold=0.5,
    source=(
        "Half of the attention goes to the token before (Olsson et al., 2209.11895, give no "
        "number)."
    ),
    probe=later("circuitwatch.heads.attention:segments"),
    score=later("circuitwatch.heads.attention:previous_token"),
    confirmed_on={REPEATED: INDUCTION_KEYS},
    colour="#0072b2",
    line="solid",
    place=10,
)
