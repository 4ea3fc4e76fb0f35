"""Successor heads (Gould et al., arXiv 2312.09230): they write the next item of an ordered list."""

from circuitwatch.catalogue import Role, later
from circuitwatch.heads.checks import CIRCUIT_MLPS

ROLE = Role(
    name="successor",
    words="successor",
    about=(
        "share of items of ordered lists whose top target, from the first MLP's output through"
        " the head alone, is the next item"
    ),
    threshold=0.5,
    source=(
        "Gould et al. (2312.09230) call heads above about half successor heads: theirs score "
        "0.5 to 0.9, others near chance."
    ),
    probe=later("circuitwatch.heads.successor:lists"),
    score=later("circuitwatch.heads.successor:successor"),
    confirmed_on={"greater_than": CIRCUIT_MLPS},
    colour="#009e73",
    line="solid",
    place=80,
)
