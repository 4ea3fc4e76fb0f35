"""MLPs that raise the years after the start year (Hanna et al., arXiv 2305.00586). Scored by the
algorithm of greater-than, on its prompts.
"""

from circuitwatch.catalogue import Role
from circuitwatch.heads.checks import LOGITS

ROLE = Role(
    name="year_push",
    words="later-year MLP",
    about=(
        "share of greater-than prompts on which what the MLP writes raises later years above "
        "earlier ones"
    ),
    threshold=0.75,
    source=(
        "On three prompts of four, chance being two, the MLP raises later years above earlier "
        "ones (Hanna et al., 2305.00586, give no number)."
    ),
    confirmed_on={"greater_than": LOGITS},
    colour="#e69f00",
    line="dotted",
    place=100,
)
