"""A user's role: heads that look at the present token."""

from __future__ import annotations

from typing import Any

from circuitwatch.catalogue import Role, later


def score(measuring: Any, probe: Any) -> Any:
    """Mean attention of every token to itself: [layer, head, sequence]."""
    patterns = measuring.model.attention_patterns(probe.tokens)  # [layer, sequence, head, to, from]
    return patterns.diagonal(dim1=-2, dim2=-1).mean(-1).transpose(1, 2)


ROLE = Role(
    name="self_attention",
    words="looks at itself",
    about="mean attention of a token to itself, on random tokens that are written twice",
    threshold=0.2,
    source="a guess",
    probe=later("circuitwatch.heads.attention:segments"),
    score=score,
    confirmed_on={"she_or_he": "logits"},
    colour="#123456",
)
