"""Name movers (Wang et al., arXiv 2211.00593): they copy the name that they look at."""

from circuitwatch.catalogue import Role, later
from circuitwatch.heads.checks import LOGITS

ROLE = Role(
    name="name_mover",
    words="name mover",
    about="share of names that the head, looking at them alone, puts among the top 5 tokens",
    threshold=0.1,
    source=(
        "Tigges et al. (2407.10827) count heads from a copy score of 10 %. (Wang et al., "
        "2211.00593: over 95 % for the three they name, below 20 % on average.)"
    ),
    probe=later("circuitwatch.heads.copying:names"),
    score=later("circuitwatch.heads.copying:name_mover"),
    confirmed_on={"ioi": LOGITS},
    writes_answer=True,
    colour="#cc79a7",
    line="solid",
    place=50,
)
