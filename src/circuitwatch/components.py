"""The parts of a transformer as plain tensors: norms, attention, MLP, block, positions.

What differs between architectures is a field of a part, and None where an architecture has nothing
of the kind: then nothing is computed for it.

Shapes are written [batch, pos, …]; the residual stream is [batch, pos, d_model].
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt
import torch
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
        return any(norm is not None and norm.coupled for norm in (self.q_norm, self.k_norm))

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
