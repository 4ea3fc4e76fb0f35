"""S-inhibition heads (Wang et al., arXiv 2211.00593): they keep name movers from the repeated name.
Scored by the algorithm of IOI, since what they inhibit is in the prompts.
"""

from circuitwatch.catalogue import Role
from circuitwatch.heads.checks import MOVER_QUERIES

ROLE = Role(
    name="s_inhibition",
    words="S-inhibition",
    about=(
        "share of IOI prompts on which patching the head into the name movers' queries lowers "
        "the logit difference and their attention to IO, and raises it to S1"
    ),
    threshold=0.5,
    source=(
        "On half of the prompts the head does all three things that the role asks for (Wang et"
        " al., 2211.00593, give no number)."
    ),
    confirmed_on={"ioi": MOVER_QUERIES},
    colour="#e69f00",
    line="solid",
    place=40,
)
