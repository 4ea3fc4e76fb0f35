"""Loss on text: the cross-entropy of each token given those before it, beside which a behaviour's
emergence can be read.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from circuitwatch.catalogue import HALF_RISE, Quantity, later

if TYPE_CHECKING:
    from torch import Tensor

    from circuitwatch.heads.measuring import Measuring
    from circuitwatch.transformer import Transformer

LOGITS_AT_A_TIME = 2**24


def next_token_losses(model: Transformer, tokens: Tensor) -> Tensor:
    """Cross-entropy in nats of each token but the first, given those before it: tokens [piece, pos]
    → [piece, pos − 1] on the CPU.
    """
    import torch  # the catalogue is read without it

    at_a_time = max(1, LOGITS_AT_A_TIME // (tokens.shape[1] * model.W_U.shape[1]))
    losses = []
    with torch.no_grad():
        for batch in tokens.to(model.device).split(at_a_time):
            logits = model.unembed(model.run(model.embed(batch)).final[:, :-1])
            of_tokens = logits.log_softmax(-1).gather(2, batch[:, 1:, None])
            losses.append(-of_tokens[..., 0].cpu())
    return torch.cat(losses)


def text_losses(measuring: Measuring) -> Tensor:
    """`next_token_losses` of the long pieces of text, in pieces that the model's context has room
    for: [piece, token].
    """
    from circuitwatch.heads.text import long_pieces

    pieces = measuring.inputs.of(long_pieces).fitting(measuring.context)
    return next_token_losses(measuring.model, pieces.tokens)


def measure(measuring: Measuring) -> Tensor:
    """Mean loss of each piece of text: [piece]."""
    return measuring.of(text_losses).mean(1)


QUANTITY = Quantity(
    key="text/loss",
    words="loss on text",
    unit="nats",
    range=(0, None),
    rise=HALF_RISE,
    falls=True,
    panel="text",
    interval=("text/loss_low", "text/loss_high"),
    of="model",
    colour="#000000",
    place=520,
    measure=measure,
    probe=later("circuitwatch.heads.text:long_pieces"),
)
