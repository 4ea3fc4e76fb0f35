"""Attention sinks: heads that look at the first token of a text, whatever it is (Xiao et al., arXiv
2309.17453; Gu et al., 2410.10781).

The first token is BOS where the tokenizer has one, else the first word. A head that attends
everywhere alike pays the first of n tokens (1/2 + … + 1/n) / (n − 1): 0.1 of texts of 32 tokens.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from circuitwatch.catalogue import Role, later

if TYPE_CHECKING:
    from torch import Tensor

    from circuitwatch.heads.measuring import Measuring
    from circuitwatch.heads.text import Pieces

TEXTS_AT_A_TIME = 16


def score(measuring: Measuring, probe: Pieces) -> Tensor:
    """Score of the role for each piece of text, in pieces that the model's context has room for:
    [layer, head, piece].
    """
    import torch  # the catalogue is read without it

    model, found = measuring.model, []
    with torch.no_grad():
        for batch in probe.fitting(measuring.context).tokens.split(TEXTS_AT_A_TIME):
            patterns = model.attention_patterns(batch.to(model.device))
            # [layer, piece, head, query] → [layer, head, piece]
            found.append(patterns[..., 1:, 0].mean(-1).transpose(1, 2).cpu())
    return torch.cat(found, 2)


ROLE = Role(
    name="attention_sink",
    words="attention sink",
    about="mean attention to the first token of a text from all later positions",
    threshold=0.3,
    source=(
        "Gu et al. (2410.10781) count heads whose mean attention to the first token is above 0.3, "
        "on texts of 64 tokens."
    ),
    probe=later("circuitwatch.heads.text:pieces"),
    score=score,
    colour="#999933",
    line="solid",
    place=110,
)
