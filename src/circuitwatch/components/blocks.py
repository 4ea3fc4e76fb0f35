"""The MLP, and one layer of attention and MLP with its norms."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

import torch
from torch import Tensor

from circuitwatch.components.attention import Attention
from circuitwatch.components.norms import Norm


@dataclass(frozen=True)
class MLP:
    """W_in [d_model, d_mlp], W_out [d_mlp, d_model], the activation between them; W_gate [d_model,
    d_mlp] and b_gate in a gated MLP, else None.
    """

    W_in: Tensor
    b_in: Tensor
    W_out: Tensor
    b_out: Tensor
    activation: Callable[[Tensor], Tensor]
    W_gate: Tensor | None = None
    b_gate: Tensor | None = None

    def __call__(self, normalised: Tensor) -> Tensor:
        """[..., d_model] → [..., d_model]."""
        flat = normalised.flatten(0, -2)
        hidden = torch.addmm(self.b_in, flat, self.W_in)
        if self.W_gate is None:
            hidden = self.activation(hidden)
        else:
            gate = flat @ self.W_gate
            gate = gate if self.b_gate is None else gate + self.b_gate
            hidden = self.activation(gate) * hidden
        return torch.addmm(self.b_out, hidden, self.W_out).view_as(normalised)


@dataclass(frozen=True)
class Block:
    """One layer: attention and MLP, each behind its norm, and before one of what it adds
    (attention_post, mlp_post; post-norm). Any of the norms may be None.

    writes [head, d_head, d_model]: what a head writes into the residual stream is its z in an
    `ActivationCache` times this. Without a norm of what attention adds that is W_O; with one, z is
    divided by the norm's scale, and this is W_O times the norm's weight.
    """

    attention_norm: Norm | None
    attention: Attention
    mlp_norm: Norm | None
    mlp: MLP
    attention_post: Norm | None = None
    mlp_post: Norm | None = None
    writes: Tensor = field(init=False, repr=False)

    def __post_init__(self) -> None:
        """Make `writes`. Raises ValueError for a bias that would be no head's: where what attention
        adds is normalised, a bias in it depends on all heads.
        """
        writes, post = self.attention.W_O, self.attention_post
        if post is not None:
            if self.attention.b_O.any():
                raise ValueError("a norm of what attention adds, and a bias in it")
            writes = (writes - writes.mean(-1, keepdim=True) if post.centred else writes) * (
                post.weight
            )
        object.__setattr__(self, "writes", writes)

    @property
    def couples(self) -> bool:
        """Whether what a head writes depends on the other heads of the layer, through the scale of
        a norm.
        """
        return self.attention_post is not None or self.attention.couples

    def before_heads(self, stream: Tensor) -> Tensor:
        """What the heads' projections read of the residual stream, both [..., d_model]."""
        return stream if self.attention_norm is None else self.attention_norm(stream)

    def before_mlp(self, stream: Tensor) -> Tensor:
        """What the MLP reads of the residual stream, both [..., d_model]."""
        return stream if self.mlp_norm is None else self.mlp_norm(stream)

    def add_heads(self, z: Tensor) -> tuple[Tensor, Tensor, Tensor | None]:
        """What attention adds [batch, pos, d_model], from its heads' z [batch, pos, head, d_head];
        z as `writes` wants it; and what it was divided by, [batch, pos, 1, 1], None if by nothing.
        """
        added, post = self.attention.output(z), self.attention_post
        if post is None:
            return added, z, None
        scale = post.standardise(added)[1][..., None]
        return post(added), z / scale, scale

    def post_scale(self, z: Tensor) -> Tensor | None:
        """What the norm of what attention adds divides by, [..., 1, 1], from all heads' z [...,
        head, d_head] before it; None without such a norm.
        """
        if self.attention_post is None:
            return None
        added = z.flatten(-2) @ self.attention.W_O.flatten(0, 1)
        return self.attention_post.standardise(added)[1][..., None]

    def add_mlp(self, normalised: Tensor) -> Tensor:
        """What the MLP adds, from what it reads behind its norm, both [..., d_model]."""
        added = self.mlp(normalised)
        return added if self.mlp_post is None else self.mlp_post(added)

    def through_mlp(self, stream: Tensor) -> Tensor:
        """What the MLP adds, from the residual stream, both [..., d_model]."""
        return self.add_mlp(self.before_mlp(stream))
