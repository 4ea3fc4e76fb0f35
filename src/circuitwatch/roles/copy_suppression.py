"""Copy suppression (McDougall et al., arXiv 2310.04625): heads that write against tokens which are
predicted and which they look at.

Scored in every layer but held in none of the first two, as in the code of McDougall et al. that
Tigges et al. (2407.10827) follow: there is nothing yet that earlier layers could have predicted.
"""

from circuitwatch.catalogue import Role, later
from circuitwatch.heads.checks import LOGITS

ROLE = Role(
    name="copy_suppression",
    words="copy suppression",
    about=(
        "share of the head's effect on the output distribution that its suppression of "
        "predicted, attended tokens keeps (CSPA)"
    ),
    threshold=0.1,
    source=(
        "Tigges et al. (2407.10827) count heads from 10 %. (McDougall et al., 2310.04625: 0.77"
        " for the head they study, most others below a third.)"
    ),
    probe=later("circuitwatch.heads.copy_suppression:suppression_probe"),
    score=later("circuitwatch.heads.copy_suppression:score"),
    confirmed_on={"ioi": LOGITS},
    first_layer=2,
    colour="#009e73",
    line="dotted",
    place=70,
)
