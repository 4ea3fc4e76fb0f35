"""Negative name movers (Wang et al., arXiv 2211.00593): they write against the name that
they look at.
"""

from circuitwatch.catalogue import Role, later
from circuitwatch.heads.checks import LOGITS

ROLE = Role(
    name="negative_name_mover",
    words="negative name mover",
    about=(
        "share of names that the head, looking at them alone and its sign flipped, puts among "
        "the top 5 tokens"
    ),
    threshold=0.1,
    source=(
        "As for name movers, with the sign flipped (Wang et al., 2211.00593: 98 % for the two "
        "they name, 12 % on average)."
    ),
    probe=later("circuitwatch.heads.copying:names"),
    score=later("circuitwatch.heads.copying:negative_name_mover"),
    confirmed_on={"ioi": LOGITS},
    writes_answer=True,
    colour="#777777",
    line="solid",
    place=60,
)
