"""The in-context-learning score of Olsson et al. (arXiv 2209.11895): how much reading more of a
text lowers the loss.

Theirs is the loss at the 500th token of a text less that at the 50th, averaged over many texts. We
have few and shorter texts, so the same tokens are predicted twice, late in a piece of text and
early in it. With a piece of n tokens (BOS not counted) and w = n // 10,

- late: each of the last w tokens, given all that comes before it in the piece;
- early: the same w tokens, where the piece begins w tokens before the first of them.

So they are late at positions n − w + 1 to n and early at w + 1 to 2 w: 451 to 500 and 51 to 100 of
500. The score is the mean of late − early, below 0 for a model that learns in context. It is 0 for
one whose predictions ignore the context, whatever the texts: different tokens late and early would
be other words where texts begin with the beginning of a sentence.

A model whose context is shorter than a piece gets shorter pieces (`text.Pieces.fitting`), whose n
is smaller, so that scores of models with different contexts, or with another heads.loss_length, are
not of one scale.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from circuitwatch.catalogue import HALF_RISE, Quantity, later
from circuitwatch.quantities.text_loss import next_token_losses, text_losses

if TYPE_CHECKING:
    from torch import Tensor

    from circuitwatch.heads.measuring import Measuring

PARTS = 10
"""The tokens that are predicted late and early are one part in so many of a piece."""
SHORTEST = 2 * PARTS
"""Tokens of a piece, below which an early token has one other before it: not to be called context.
"""


def measure(measuring: Measuring) -> Tensor:
    """Late less early loss in each piece of text: [piece].

    Raises NotMeasurable where pieces, or the model's context, have fewer than SHORTEST tokens.
    """
    import torch  # the catalogue is read without it

    from circuitwatch.heads.measuring import NotMeasurable
    from circuitwatch.heads.text import long_pieces

    pieces = measuring.inputs.of(long_pieces).fitting(measuring.context)
    tokens, first = pieces.tokens, int(pieces.has_bos)
    n = tokens.shape[1] - first
    if n < SHORTEST:
        raise NotMeasurable(
            f"the model's context has room for pieces of {n} tokens of text; {SHORTEST} are needed "
            f"to tell late tokens from early ones"
        )
    width = n // PARTS
    early = torch.cat([tokens[:, :first], tokens[:, -2 * width :]], 1)
    late_losses = measuring.of(text_losses)[:, -width:]
    early_losses = next_token_losses(measuring.model, early)[:, -width:]
    return (late_losses - early_losses).mean(1)


QUANTITY = Quantity(
    key="text/in_context_learning",
    words="in-context-learning score",
    unit="nats",
    rise=HALF_RISE,
    falls=True,
    chance=0.0,
    panel="text",
    interval=("text/in_context_learning_low", "text/in_context_learning_high"),
    of="model",
    colour="#d55e00",
    label="in-context-learning score (loss late − early)",
    place=530,
    measure=measure,
    probe=later("circuitwatch.heads.text:long_pieces"),
)
