"""Heads that bring the start year (Hanna et al., arXiv 2305.00586). Scored by the algorithm of
greater-than, on its prompts.
"""

from circuitwatch.catalogue import Role
from circuitwatch.heads.checks import LOGITS

ROLE = Role(
    name="year_attention",
    words="year attention",
    about="attention of the last token of greater-than prompts to the start year's two digits",
    threshold=0.25,
    source=(
        "A quarter of the attention of the last token goes to the start year (Hanna et al., "
        "2305.00586, give no number)."
    ),
    confirmed_on={"greater_than": LOGITS},
    colour="#0072b2",
    line="dotted",
    place=90,
)
