"""Where tokens stand, and what they see from there: rotary embedding, masks, ALiBi."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from circuitwatch.components.norms import Heads


@dataclass(frozen=True)
class Rotary:
    """Rotary embedding of the first `cos.shape[1]` dimensions of each head, in the half-split
    layout; tables are [pos, dim].
    """

    cos: Tensor
    sin: Tensor

    def at(self, positions: Tensor) -> tuple[Tensor, Tensor]:
        """Cosines and sines [batch, pos, 1, dim] at positions [batch, pos]."""
        return self.cos[positions].unsqueeze(2), self.sin[positions].unsqueeze(2)


Rotation = tuple[Tensor, Tensor]
"""Cosines and sines, of a shape that goes with the queries or keys that they turn."""


def rotate(x: Tensor, rotation: Rotation | None) -> Tensor:
    """Apply what `Rotary.at` gave, if anything, to x [batch, pos, head, d_head]."""
    if rotation is None:
        return x
    cos, sin = rotation
    turned, kept = x[..., : cos.shape[-1]], x[..., cos.shape[-1] :]
    first, second = turned.chunk(2, dim=-1)
    return torch.cat([turned * cos + torch.cat([-second, first], dim=-1) * sin, kept], dim=-1)


@dataclass(frozen=True)
class Sight:
    """What the tokens of a run may attend to in a layer, and how their places count there.

    mask [batch or 1, 1, pos, key]: what may be attended to; rotation: of the rotary embedding at
    the tokens' positions [batch or 1, pos, 1, dim]; bias [batch or 1, head, 1, key]: what ALiBi
    adds to the scores. Both None where a layer has none.
    """

    mask: Tensor
    rotation: Rotation | None = None
    bias: Tensor | None = None

    def last(self, n: int = 1) -> Sight:
        """Of the last n tokens alone."""
        rotation = self.rotation and (self.rotation[0][:, -n:], self.rotation[1][:, -n:])
        return Sight(self.mask[:, :, -n:], rotation, self.bias)

    def of_tokens(self, places: Tensor) -> Sight:
        """Of single tokens of whole rows from position 0 on, at places [token], each with a row of
        its own; their rotation is left out.
        """
        return Sight(self.mask[0, :, places].transpose(0, 1)[:, :, None], None, self.bias)

    def rotation_at(self, rows: Tensor | None, n_rows: int) -> Rotation | None:
        """The rotation [row, 1, dim] at rows, flat indices into batch · pos (None: all), of a run
        of n_rows of them.
        """
        if self.rotation is None:
            return None
        batch, n_pos = n_rows // self.rotation[0].shape[1], self.rotation[0].shape[1]
        cos, sin = (table.expand(batch, n_pos, 1, -1).flatten(0, 1) for table in self.rotation)
        return (cos, sin) if rows is None else (cos[rows], sin[rows])

    def added(self, heads: Heads | slice = slice(None)) -> Tensor:
        """The mask as attention functions want it: true or false, or with ALiBi's bias for some
        heads as numbers to add, [batch, head, pos, key].
        """
        if self.bias is None:
            return self.mask
        return self.bias[:, heads].masked_fill(~self.mask, float("-inf"))
