"""A user's quantity: how undecided the model is on text."""

from __future__ import annotations

from typing import Any

from circuitwatch.catalogue import HALF_RISE, Quantity, later


def measure(measuring: Any) -> Any:
    """Mean entropy of the next token's distribution: [piece]."""
    pieces = measuring.inputs.of(QUANTITY.probe).fitting(measuring.context).tokens
    model = measuring.model
    log_p = model.unembed(model.run(model.embed(pieces)).final).log_softmax(-1)
    return -(log_p.exp() * log_p).sum(-1).mean(-1)


QUANTITY = Quantity(
    key="text/entropy",
    words="entropy of the next token",
    unit="nats of mine",
    range=(0, None),
    rise=HALF_RISE,
    falls=True,
    panel="text",
    interval=("text/entropy_low", "text/entropy_high"),
    of="model",
    measure=measure,
    probe=later("circuitwatch.heads.text:pieces"),
)
