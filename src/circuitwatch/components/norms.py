"""Norms of the residual stream and of what is added to it, and of queries and keys."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch.nn.functional as F
from torch import Tensor

Heads = Tensor | Sequence[int] | npt.NDArray[np.int64]
"""Numbers of some heads of a layer."""


@dataclass(frozen=True)
class Norm:
    """y = x̂ · weight + bias with x̂ = (x − mean) / scale and scale = sqrt(variance + eps), over
    d_model.

    A norm that is not `centred` (RMSNorm) takes 0 for the mean. Weight and bias are [d_model]; the
    bias may be None.
    """

    weight: Tensor
    bias: Tensor | None
    eps: float
    centred: bool = True

    def __call__(self, x: Tensor) -> Tensor:
        """Normalise the residual stream, [..., d_model] → [..., d_model]."""
        if self.centred:
            return F.layer_norm(x, self.weight.shape, self.weight, self.bias, self.eps)
        return F.rms_norm(x, self.weight.shape, self.weight, self.eps)

    def standardise(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """x̂ [..., d_model] and scale [..., 1] of the formula above."""
        if self.centred:
            x = x - x.mean(-1, keepdim=True)
        scale = (x.square().mean(-1, keepdim=True) + self.eps).sqrt()
        return x / scale, scale


@dataclass(frozen=True)
class HeadNorm:
    """The norm of queries, or of keys, before the rotary embedding: of each head over its own
    dimensions, or (`coupled`) of all heads of the layer together, which never centres.

    weight [head, d_head]; bias like it, or None. Heads that share keys have each their copy of
    them, so that a coupled scale is the mean over heads.
    """

    weight: Tensor
    bias: Tensor | None
    eps: float
    centred: bool = False
    coupled: bool = False

    def scale(self, raw: Tensor) -> Tensor:
        """What queries or keys [..., head, d_head] are divided by, once centred: [..., head, 1], or
        [..., 1, 1] of all heads, if it is coupled, which must then all be there.
        """
        over = (-2, -1) if self.coupled else (-1,)
        return (self._centre(raw).square().mean(over, keepdim=True) + self.eps).sqrt()

    def __call__(
        self, raw: Tensor, heads: Heads | slice = slice(None), scale: Tensor | None = None
    ) -> Tensor:
        """Normalise queries or keys [..., head, d_head] of some heads; a coupled norm of not all
        heads has to be given the layer's scale.
        """
        scaled = self._centre(raw) / (self.scale(raw) if scale is None else scale)
        scaled = scaled * self.weight[heads]
        return scaled if self.bias is None else scaled + self.bias[heads]

    def _centre(self, raw: Tensor) -> Tensor:
        return raw - raw.mean(-1, keepdim=True) if self.centred else raw
