"""A decoder-only transformer as plain tensors and one forward pass: what circuits and head scores are computed on.

Training libraries hide what circuit analysis needs (a head's own output, its query before the rotary embedding) behind hooks that
split and copy. Here the weights lie open, one class serves every architecture, and what differs between architectures is a
field: parallel blocks (GPT-NeoX: the MLP does not see the block's heads) or sequential ones (GPT-2), rotary or learned positions.
`checkpoints.loading` fills it from a checkpoint and checks its logits against the Hugging Face model's.

Shapes are written [batch, pos, …]; the residual stream is [batch, pos, d_model].
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

import torch
import torch.nn.functional as F
from torch import Tensor


@dataclass(frozen=True)
class LayerNorm:
    """y = x̂ · weight + bias with x̂ = (x − mean) / scale and scale = sqrt(variance + eps), over d_model."""

    weight: Tensor
    bias: Tensor
    eps: float

    def __call__(self, x: Tensor) -> Tensor:
        """Normalise the residual stream, [..., d_model] → [..., d_model]."""
        return F.layer_norm(x, self.weight.shape, self.weight, self.bias, self.eps)

    def standardise(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """x̂ [..., d_model] and scale [..., 1] of the formula above."""
        centred = x - x.mean(-1, keepdim=True)
        scale = (centred.square().mean(-1, keepdim=True) + self.eps).sqrt()
        return centred / scale, scale


@dataclass(frozen=True)
class Attention:
    """One layer's heads. W_Q, W_K, W_V are [head, d_model, d_head]; W_O is [head, d_head, d_model]; b_O is [d_model]."""

    W_Q: Tensor
    W_K: Tensor
    W_V: Tensor
    W_O: Tensor
    b_Q: Tensor
    b_K: Tensor
    b_V: Tensor
    b_O: Tensor
    fused: Tensor = field(init=False, repr=False)
    fused_bias: Tensor = field(init=False, repr=False)

    def __post_init__(self) -> None:
        """Lay the three projections side by side once, so that a forward pass is one matrix product."""
        stacked = torch.stack([self.W_Q, self.W_K, self.W_V])  # [3, head, d_model, d_head]
        object.__setattr__(self, "fused", stacked.permute(2, 0, 1, 3).reshape(stacked.shape[2], -1).contiguous())
        object.__setattr__(self, "fused_bias", torch.stack([self.b_Q, self.b_K, self.b_V]).reshape(-1))

    def project(self, normalised: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Queries, keys (before the rotary embedding) and values, each [batch, pos, head, d_head]."""
        heads, _, d_head = self.W_Q.shape
        joint = torch.addmm(self.fused_bias, normalised.flatten(0, -2), self.fused)
        q, k, v = joint.view(*normalised.shape[:-1], 3, heads, d_head).unbind(-3)
        return q, k, v

    def output(self, z: Tensor) -> Tensor:
        """The layer's output from its heads' z [batch, pos, head, d_head], with b_O."""
        return torch.addmm(self.b_O, z.flatten(0, 1).flatten(1), self.W_O.flatten(0, 1)).view(*z.shape[:2], -1)


@dataclass(frozen=True)
class MLP:
    """W_in [d_model, d_mlp], W_out [d_mlp, d_model] and the activation between them."""

    W_in: Tensor
    b_in: Tensor
    W_out: Tensor
    b_out: Tensor
    activation: Callable[[Tensor], Tensor]

    def __call__(self, normalised: Tensor) -> Tensor:
        """[..., d_model] → [..., d_model]."""
        flat = normalised.flatten(0, -2)
        hidden = self.activation(torch.addmm(self.b_in, flat, self.W_in))
        return torch.addmm(self.b_out, hidden, self.W_out).view_as(normalised)


@dataclass(frozen=True)
class Block:
    """One layer: attention and MLP, each behind its norm."""

    attention_norm: LayerNorm
    attention: Attention
    mlp_norm: LayerNorm
    mlp: MLP


@dataclass(frozen=True)
class Rotary:
    """Rotary embedding of the first `cos.shape[1]` dimensions of each head, in the half-split layout; tables are [pos, dim]."""

    cos: Tensor
    sin: Tensor

    def __call__(self, x: Tensor, start: int) -> Tensor:
        """Rotate x [batch, pos, head, d_head] whose first position is `start`."""
        dim, length = self.cos.shape[1], x.shape[1]
        cos, sin = self.cos[start : start + length, None], self.sin[start : start + length, None]
        turned, kept = x[..., :dim], x[..., dim:]
        first, second = turned.chunk(2, dim=-1)
        return torch.cat([turned * cos + torch.cat([-second, first], dim=-1) * sin, kept], dim=-1)


@dataclass(frozen=True)
class Past:
    """Rotated keys and values of every layer, each [batch, pos, head, d_head], for the positions before the ones to run."""

    keys: list[Tensor]
    values: list[Tensor]

    @property
    def length(self) -> int:
        """Number of positions held."""
        return self.keys[0].shape[1]


@dataclass
class Trace:
    """What one forward pass went through, a list over layers each.

    attention_in, mlp_in: the residual stream before the norm of each component [batch, pos, d_model]; mlp_normalised: after it.
    q, k (before the rotary embedding), v, z: [batch, pos, head, d_head]; keys: rotated. mlp_out, final: [batch, pos, d_model].
    """

    attention_in: list[Tensor] = field(default_factory=list)
    mlp_in: list[Tensor] = field(default_factory=list)
    mlp_normalised: list[Tensor] = field(default_factory=list)
    q: list[Tensor] = field(default_factory=list)
    k: list[Tensor] = field(default_factory=list)
    v: list[Tensor] = field(default_factory=list)
    z: list[Tensor] = field(default_factory=list)
    keys: list[Tensor] = field(default_factory=list)
    mlp_out: list[Tensor] = field(default_factory=list)
    final: Tensor = field(default_factory=lambda: torch.empty(0))

    def as_past(self) -> Past:
        """The keys and values of these positions, for a run of later ones."""
        return Past(self.keys, self.v)


@dataclass(frozen=True)
class Transformer:
    """The whole model. W_E [d_vocab, d_model], W_pos [pos, d_model] or None, W_U [d_model, d_vocab], b_U [d_vocab] or None.

    `parallel` says whether a block's MLP reads the residual stream before (True) or after (False) the block's heads.
    `attention_scale` multiplies query · key.
    """

    blocks: tuple[Block, ...]
    W_E: Tensor
    W_pos: Tensor | None
    rotary: Rotary | None
    final_norm: LayerNorm
    W_U: Tensor
    b_U: Tensor | None
    parallel: bool
    attention_scale: float

    @property
    def n_layers(self) -> int:
        """Number of blocks."""
        return len(self.blocks)

    @property
    def n_heads(self) -> int:
        """Heads a layer."""
        return self.blocks[0].attention.W_Q.shape[0]

    @property
    def d_model(self) -> int:
        """Width of the residual stream."""
        return self.W_E.shape[1]

    @property
    def device(self) -> torch.device:
        """Where the weights are."""
        return self.W_E.device

    def embed(self, tokens: Tensor, start: int = 0) -> Tensor:
        """Residual stream [batch, pos, d_model] at the first block, for tokens [batch, pos] whose first position is `start`."""
        embedded = self.W_E[tokens]
        if self.W_pos is not None:
            embedded = embedded + self.W_pos[start : start + tokens.shape[1]]
        return embedded

    def run(self, embedded: Tensor, past: Past | None = None) -> Trace:
        """One forward pass from the embedding output [batch, pos, d_model]; positions follow those of `past`."""
        trace, stream = Trace(), embedded
        start = past.length if past else 0
        mask = causal_mask(start, embedded.shape[1], embedded.device)
        for layer, block in enumerate(self.blocks):
            trace.attention_in.append(stream)
            q, k, v = block.attention.project(block.attention_norm(stream))
            keys = self.rotate(k, start)
            every_key, every_value = keys, v
            if past:
                every_key = torch.cat([past.keys[layer], keys], dim=1)
                every_value = torch.cat([past.values[layer], v], dim=1)
            z = self.attend(self.rotate(q, start), every_key, every_value, mask)
            after_attention = stream + block.attention.output(z)
            mlp_in = stream if self.parallel else after_attention
            mlp_normalised = block.mlp_norm(mlp_in)
            mlp_out = block.mlp(mlp_normalised)
            stream = after_attention + mlp_out
            for values, value in (
                (trace.q, q), (trace.k, k), (trace.v, v), (trace.z, z), (trace.keys, keys),
                (trace.mlp_in, mlp_in), (trace.mlp_normalised, mlp_normalised), (trace.mlp_out, mlp_out),
            ):  # fmt: skip
                values.append(value)
        trace.final = stream
        return trace

    def rotate(self, x: Tensor, start: int) -> Tensor:
        """Apply the rotary embedding, if the model has one, to x [batch, pos, head, d_head]."""
        return self.rotary(x, start) if self.rotary else x

    def attend(self, q: Tensor, keys: Tensor, values: Tensor, mask: Tensor) -> Tensor:
        """Attention of rotated q [batch, pos, head, d_head] over keys and values [batch, key, head, d_head] → z like q."""
        q, keys, values = (x.transpose(1, 2) for x in (q, keys, values))
        z = F.scaled_dot_product_attention(q, keys, values, attn_mask=mask, scale=self.attention_scale)
        return z.transpose(1, 2)

    def attention_patterns(self, tokens: Tensor) -> Tensor:
        """Attention of every head on tokens [batch, pos]: [layer, batch, head, query, key], rows summing to 1."""
        trace = self.run(self.embed(tokens))
        mask = causal_mask(0, tokens.shape[1], tokens.device)
        patterns = []
        for q, keys in zip(trace.q, trace.keys, strict=True):
            scores = torch.einsum("bqhe,bkhe->bhqk", self.rotate(q, 0), keys) * self.attention_scale
            patterns.append(scores.masked_fill(~mask, float("-inf")).softmax(-1))
        return torch.stack(patterns)

    def unembed(self, stream: Tensor) -> Tensor:
        """Logits [..., d_vocab] from the residual stream [..., d_model] after the last block."""
        logits = self.final_norm(stream) @ self.W_U
        return logits if self.b_U is None else logits + self.b_U

    def logits_at(self, tokens: Tensor, positions: Tensor) -> Tensor:
        """Logits [batch, d_vocab] at one position [batch] of each row of tokens [batch, pos]."""
        final = self.run(self.embed(tokens)).final
        return self.unembed(final[torch.arange(len(final), device=final.device), positions])


def causal_mask(start: int, length: int, device: torch.device) -> Tensor:
    """True where position start + i may attend to key j: [length, start + length]."""
    return torch.ones(length, start + length, dtype=torch.bool, device=device).tril(start)
