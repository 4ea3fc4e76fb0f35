"""One layer's heads: from the normalised residual stream to what they have of it."""

from __future__ import annotations

from dataclasses import dataclass, field

import torch
import torch.nn.functional as F
from torch import Tensor

from circuitwatch.components.norms import HeadNorm, Heads
from circuitwatch.components.positions import Rotary, Rotation, Sight, rotate


@dataclass(frozen=True)
class Attention:
    """One layer's heads. W_Q is [head, d_model, d_head]; W_O [head, d_head, d_model]; b_O
    [d_model].

    W_K and W_V are [group, d_model, d_head]: neighbouring heads share the keys and values of their
    group (GQA); usually each head is a group of its own.

    What is projected is clipped to ±clip; queries and keys are then normalised (q_norm, k_norm) and
    turned (rotary). A score is scale · query · key, softly capped at ±softcap (softcap · tanh(score
    / softcap)), plus alibi [head, pos] at the key's position. A token attends to the last `window`
    tokens up to itself.
    """

    W_Q: Tensor
    W_K: Tensor
    W_V: Tensor
    W_O: Tensor
    b_Q: Tensor
    b_K: Tensor
    b_V: Tensor
    b_O: Tensor
    scale: float = field(kw_only=True)
    rotary: Rotary | None = field(default=None, kw_only=True)
    alibi: Tensor | None = field(default=None, kw_only=True)
    window: int | None = field(default=None, kw_only=True)
    q_norm: HeadNorm | None = field(default=None, kw_only=True)
    k_norm: HeadNorm | None = field(default=None, kw_only=True)
    clip: float | None = field(default=None, kw_only=True)
    softcap: float | None = field(default=None, kw_only=True)
    fused: Tensor = field(init=False, repr=False)
    fused_bias: Tensor = field(init=False, repr=False)

    def __post_init__(self) -> None:
        """Lay the three projections side by side, [d_model, (head + 2 · group) · d_head]: a forward
        pass is one matrix product.

        W_Q, W_K and W_V become views of it, so that nothing is stored twice.
        """
        parts = [self.W_Q, self.W_K, self.W_V]
        counts = [len(part) for part in parts]
        fused = torch.cat([part.transpose(0, 1).flatten(1) for part in parts], 1)
        views = fused.unflatten(1, (-1, self.W_Q.shape[2])).transpose(0, 1).split(counts)
        for name, value in zip(("W_Q", "W_K", "W_V"), views, strict=True):
            object.__setattr__(self, name, value)
        object.__setattr__(self, "fused", fused)
        object.__setattr__(self, "fused_bias", torch.cat([self.b_Q, self.b_K, self.b_V]).flatten())

    @property
    def heads_per_group(self) -> int:
        """How many heads share one set of keys and values."""
        return len(self.W_Q) // len(self.W_K)

    @property
    def couples(self) -> bool:
        """Whether a norm of queries or keys makes those of a head depend on the other heads."""
        return any(map(self.is_coupled, "qk"))

    def of_each_head(self, weight: Tensor) -> Tensor:
        """A weight or bias of the groups, [group, …], repeated for their heads, [head, …]."""
        return (
            weight
            if self.heads_per_group == 1
            else weight.repeat_interleave(self.heads_per_group, 0)
        )

    def queries(self, normalised: Tensor) -> Tensor:
        """Queries as they are projected, [row, d_model] → [row, head, d_head]."""
        width = len(self.W_Q) * self.W_Q.shape[2]
        flat = torch.addmm(self.fused_bias[:width], normalised, self.fused[:, :width])
        return flat.unflatten(1, (len(self.W_Q), -1))

    def keys_and_values(self, normalised: Tensor) -> Tensor:
        """Keys, then values, of every head as they are projected, [row, d_model] → [row, 2 · head,
        d_head].
        """
        width = len(self.W_Q) * self.W_Q.shape[2]
        flat = torch.addmm(self.fused_bias[width:], normalised, self.fused[:, width:])
        groups = flat.unflatten(1, (2 * len(self.W_K), -1))
        return (
            groups
            if self.heads_per_group == 1
            else groups.repeat_interleave(self.heads_per_group, 1)
        )

    def project(self, letter: str, normalised: Tensor, heads: Heads) -> Tensor:
        """Queries, keys or values of some heads as they are projected: [..., d_model] → [...,
        receiver, d_head].
        """
        weight, bias = (getattr(self, f"{kind}_{letter.upper()}") for kind in "Wb")
        if letter != "q":
            weight, bias = self.of_each_head(weight), self.of_each_head(bias)
        flat = normalised @ weight[heads].transpose(0, 1).flatten(1)
        return flat.unflatten(-1, (len(heads), -1)) + bias[heads]

    def norm_of(self, letter: str) -> HeadNorm | None:
        """The norm of queries, or of keys; values have none."""
        return {"q": self.q_norm, "k": self.k_norm}.get(letter)

    def is_coupled(self, letter: str) -> bool:
        """Whether a norm makes queries, or keys, of a head depend on the layer's other heads."""
        norm = self.norm_of(letter)
        return norm is not None and norm.coupled

    def finish(
        self,
        letter: str,
        projected: Tensor,
        rotation: Rotation | None,
        heads: Heads | slice = slice(None),
        scale: Tensor | None = None,
    ) -> Tensor:
        """Queries, keys or values [..., head, d_head] as attention takes them: clipped, and queries
        and keys normalised and turned. For a coupled norm and not all heads: with its scale.
        """
        if self.clip is not None:
            projected = projected.clamp(-self.clip, self.clip)
        norm = self.norm_of(letter)
        if norm is not None:
            projected = norm(projected, heads, scale)
        return projected if letter == "v" else rotate(projected, rotation)

    def coupled_scale(self, letter: str, projected: Tensor) -> Tensor | None:
        """The scale [..., 1, 1] of a coupled norm, from what is projected for every head [...,
        head, d_head]; None where the norm is not coupled.
        """
        norm = self.norm_of(letter)
        if norm is None or not norm.coupled:
            return None
        return norm.scale(
            projected if self.clip is None else projected.clamp(-self.clip, self.clip)
        )

    def weigh(self, products: Tensor, sight: Sight, heads: Heads | slice = slice(None)) -> Tensor:
        """Attention weights from query · key of some heads, both [..., head, pos, key]."""
        scores = products * self.scale
        if self.softcap is not None:
            scores = self.softcap * (scores / self.softcap).tanh()
        if sight.bias is not None:
            scores = scores + sight.bias[:, heads]
        return scores.masked_fill_(~sight.mask, float("-inf")).softmax(-1)

    def attend(
        self,
        q: Tensor,
        keys: Tensor,
        values: Tensor,
        sight: Sight,
        heads: Heads | slice = slice(None),
    ) -> Tensor:
        """Attention of finished q [batch, pos, head, d_head] over keys and values [batch, key,
        head, d_head] of some heads → z like q.
        """
        q, keys, values = (x.transpose(1, 2) for x in (q, keys, values))
        if self.softcap is None:
            z = F.scaled_dot_product_attention(
                q, keys, values, attn_mask=sight.added(heads), scale=self.scale
            )
        else:
            z = self.weigh(q @ keys.mT, sight, heads) @ values
        return z.transpose(1, 2)

    def output(self, z: Tensor) -> Tensor:
        """The layer's output from its heads' z [batch, pos, head, d_head], with b_O."""
        return torch.addmm(self.b_O, z.flatten(0, 1).flatten(1), self.W_O.flatten(0, 1)).view(
            *z.shape[:2], -1
        )
