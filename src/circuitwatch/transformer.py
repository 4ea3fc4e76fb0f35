"""A decoder-only transformer as plain tensors and one forward pass: what circuits and head scores
are computed on.

Training libraries hide what circuit analysis needs (a head's own output, its query before the
rotary embedding) behind hooks that split and copy. Here the weights lie open, one class serves
every architecture, and what differs between architectures is a field: parallel blocks (GPT-NeoX:
the MLP does not see the block's heads) or sequential ones (GPT-2, Llama), rotary or learned
positions, norms that centre (LayerNorm) or don't (RMSNorm), plain or gated MLPs, keys and values of
each head's own or shared by a group of heads. `checkpoints.loading` fills it from a checkpoint and
checks its logits against the Hugging Face model's.

Shapes are written [batch, pos, …]; the residual stream is [batch, pos, d_model].
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

import torch
import torch.nn.functional as F
from torch import Tensor


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
class Attention:
    """One layer's heads. W_Q is [head, d_model, d_head]; W_O [head, d_head, d_model]; b_O
    [d_model].

    W_K and W_V are [group, d_model, d_head]: neighbouring heads share the keys and values of their
    group (GQA); usually each head is a group of its own.
    """

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

    def of_each_head(self, weight: Tensor) -> Tensor:
        """A weight or bias of the groups, [group, …], repeated for their heads, [head, …]."""
        return (
            weight
            if self.heads_per_group == 1
            else weight.repeat_interleave(self.heads_per_group, 0)
        )

    def queries(self, normalised: Tensor) -> Tensor:
        """Queries before the rotary embedding, [row, d_model] → [row, head, d_head]."""
        width = len(self.W_Q) * self.W_Q.shape[2]
        flat = torch.addmm(self.fused_bias[:width], normalised, self.fused[:, :width])
        return flat.unflatten(1, (len(self.W_Q), -1))

    def keys_and_values(self, normalised: Tensor) -> Tensor:
        """Keys before the rotary embedding, then values, of every head, [row, d_model] → [row, 2 ·
        head, d_head].
        """
        width = len(self.W_Q) * self.W_Q.shape[2]
        flat = torch.addmm(self.fused_bias[width:], normalised, self.fused[:, width:])
        groups = flat.unflatten(1, (2 * len(self.W_K), -1))
        return (
            groups
            if self.heads_per_group == 1
            else groups.repeat_interleave(self.heads_per_group, 1)
        )

    def output(self, z: Tensor) -> Tensor:
        """The layer's output from its heads' z [batch, pos, head, d_head], with b_O."""
        return torch.addmm(self.b_O, z.flatten(0, 1).flatten(1), self.W_O.flatten(0, 1)).view(
            *z.shape[:2], -1
        )


@dataclass(frozen=True)
class MLP:
    """W_in [d_model, d_mlp], W_out [d_mlp, d_model], the activation between them; W_gate [d_model,
    d_mlp] in a gated MLP, else None.
    """

    W_in: Tensor
    b_in: Tensor
    W_out: Tensor
    b_out: Tensor
    activation: Callable[[Tensor], Tensor]
    W_gate: Tensor | None = None

    def __call__(self, normalised: Tensor) -> Tensor:
        """[..., d_model] → [..., d_model]."""
        flat = normalised.flatten(0, -2)
        hidden = torch.addmm(self.b_in, flat, self.W_in)
        hidden = (
            self.activation(hidden)
            if self.W_gate is None
            else self.activation(flat @ self.W_gate) * hidden
        )
        return torch.addmm(self.b_out, hidden, self.W_out).view_as(normalised)


@dataclass(frozen=True)
class Block:
    """One layer: attention and MLP, each behind its norm."""

    attention_norm: Norm
    attention: Attention
    mlp_norm: Norm
    mlp: MLP


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


def rotate(x: Tensor, rotation: tuple[Tensor, Tensor] | None) -> Tensor:
    """Apply what `Rotary.at` gave, if anything, to x [batch, pos, head, d_head]."""
    if rotation is None:
        return x
    cos, sin = rotation
    turned, kept = x[..., : cos.shape[-1]], x[..., cos.shape[-1] :]
    first, second = turned.chunk(2, dim=-1)
    return torch.cat([turned * cos + torch.cat([-second, first], dim=-1) * sin, kept], dim=-1)


@dataclass(frozen=True)
class Context:
    """Where the tokens of a run stand, and what stood before them.

    mask [batch or 1, 1, pos, key]: what may be attended to; rotation: of the rotary embedding at
    the tokens' positions, None if the model has none. keys (rotated), values: those of earlier
    tokens for every layer [batch, key, head, d_head], which come before the run's own; or empty.
    """

    mask: Tensor
    rotation: tuple[Tensor, Tensor] | None
    keys: list[Tensor] = field(default_factory=list)
    values: list[Tensor] = field(default_factory=list)


@dataclass(frozen=True)
class NormInput:
    """What one kind of input (queries; keys and values; MLP) read in one layer.

    rows: flat indices into batch · pos that were read, None for all; stream [row, d_model]: before
    the norm; image [row, part, width]: the queries, the keys and values, or the MLP's normalised
    input (one part). Attribution takes gradients there.
    """

    rows: Tensor | None
    stream: Tensor
    image: Tensor


@dataclass
class ActivationCache:
    """What one forward pass went through, a list over layers each.

    attention_in, mlp_in, mlp_out: the residual stream before each component's norm, and what the
    MLP adds [batch, pos, d_model]. q, keys (both rotated), values, z: [batch, pos, head, d_head].
    final: after the last block. Readings: see there. After a run `at_end` the last layer's q, z,
    mlp_in and mlp_out, and `final`, hold the last position only.
    """

    attention_in: list[Tensor] = field(default_factory=list)
    mlp_in: list[Tensor] = field(default_factory=list)
    mlp_out: list[Tensor] = field(default_factory=list)
    q: list[Tensor] = field(default_factory=list)
    keys: list[Tensor] = field(default_factory=list)
    values: list[Tensor] = field(default_factory=list)
    z: list[Tensor] = field(default_factory=list)
    query_inputs: list[NormInput] = field(default_factory=list)
    key_value_inputs: list[NormInput] = field(default_factory=list)
    mlp_inputs: list[NormInput] = field(default_factory=list)
    final: Tensor = field(default_factory=lambda: torch.empty(0))


@dataclass(frozen=True)
class Like:
    """An earlier run of the same tokens but for those at `rows` [row], flat indices into batch ·
    pos: what it computed first is not computed again.
    """

    cache: ActivationCache
    rows: Tensor


@dataclass(frozen=True)
class Transformer:
    """The whole model. W_E [d_vocab, d_model], W_pos [pos, d_model] or None, W_U [d_model,
    d_vocab], b_U [d_vocab] or None.

    `parallel` says whether a block's MLP reads the residual stream before (True) or after (False)
    the block's heads. `attention_scale` multiplies query · key.
    """

    blocks: tuple[Block, ...]
    W_E: Tensor
    W_pos: Tensor | None
    rotary: Rotary | None
    final_norm: Norm
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

    def embed(self, tokens: Tensor, positions: Tensor | None = None) -> Tensor:
        """Residual stream [batch, pos, d_model] at the first block, for tokens [batch, pos] at
        positions [batch or 1, pos], by default from 0.
        """
        embedded = self.W_E[tokens]
        if self.W_pos is None:
            return embedded
        return embedded + (
            self.W_pos[: tokens.shape[1]] if positions is None else self.W_pos[positions]
        )

    def context(
        self, positions: Tensor, mask: Tensor, past: tuple[list[Tensor], list[Tensor]] | None = None
    ) -> Context:
        """For a run at positions [batch or 1, pos]; past: rotated keys and values of earlier
        tokens, a list over layers each.
        """
        rotation = self.rotary.at(positions) if self.rotary else None
        return Context(mask, rotation, *(past or ([], [])))

    def whole(self, n_pos: int) -> Context:
        """For a run of whole rows from position 0 on."""
        mask = torch.ones(n_pos, n_pos, dtype=torch.bool, device=self.device).tril()
        return self.context(torch.arange(n_pos, device=self.device)[None], mask[None, None])

    def run(
        self,
        embedded: Tensor,
        context: Context | None = None,
        *,
        like: Like | None = None,
        at_end: bool = False,
    ) -> ActivationCache:
        """One forward pass from the embedding output [batch, pos, d_model]; without a context, of
        whole rows from position 0.

        `at_end`: only the logits at the last position are wanted, so in the last layer everything
        but keys and values is computed there only. `like`: in the first layer, queries, keys,
        values (and the MLP, if it reads the embedding alone) are taken from an earlier run except
        at the rows that differ. Neither changes a number.
        """
        cache, stream = ActivationCache(), embedded
        context = context or self.whole(embedded.shape[1])
        for layer, block in enumerate(self.blocks):
            last = at_end and layer == self.n_layers - 1
            known = like if layer == 0 and not last else None
            cache.attention_in.append(stream)
            z = self._heads(layer, block, stream, context, cache, known, last)
            after_attention = (stream[:, -1:] if last else stream) + block.attention.output(z)
            mlp_in = after_attention if not self.parallel else stream[:, -1:] if last else stream
            mlp_out = self._mlp(block, mlp_in, cache, known if self.parallel else None, last)
            stream = after_attention + mlp_out
            cache.z.append(z)
            cache.mlp_in.append(mlp_in)
            cache.mlp_out.append(mlp_out)
        cache.final = stream
        return cache

    def _heads(
        self,
        layer: int,
        block: Block,
        stream: Tensor,
        context: Context,
        cache: ActivationCache,
        known: Like | None,
        last: bool,
    ) -> Tensor:
        """Z [batch, pos, head, d_head] of a layer."""
        attention, flat, rows = block.attention, stream.flatten(0, 1), known.rows if known else None
        read = flat if rows is None else flat[rows]
        normalised = block.attention_norm(read)
        keys_values = attention.keys_and_values(normalised)
        if last:
            ends = torch.arange(
                stream.shape[1] - 1, len(flat), stream.shape[1], device=stream.device
            )
            q = attention.queries(normalised[ends])
            cache.query_inputs.append(NormInput(ends, flat[ends], q))
        else:
            q = attention.queries(normalised)
            cache.query_inputs.append(NormInput(rows, read, q))
        cache.key_value_inputs.append(NormInput(rows, read, keys_values))
        if known:
            earlier = known.cache
            q = earlier.query_inputs[0].image.index_put((known.rows,), q)
            keys_values = earlier.key_value_inputs[0].image.index_put((known.rows,), keys_values)
        q, (keys, values) = (
            q.unflatten(0, (len(stream), -1)),
            keys_values.unflatten(0, stream.shape[:2]).chunk(2, 2),
        )
        keys = rotate(keys, context.rotation)
        rotation, mask = context.rotation, context.mask
        if last:
            rotation, mask = (
                rotation and (rotation[0][:, -1:], rotation[1][:, -1:]),
                mask[:, :, -1:],
            )
        q = rotate(q, rotation)
        cache.q.append(q)
        cache.keys.append(keys)
        cache.values.append(values)
        if context.keys:
            keys = torch.cat([context.keys[layer], keys], dim=1)
            values = torch.cat([context.values[layer], values], dim=1)
        return self.attend(q, keys, values, mask)

    def _mlp(
        self, block: Block, stream: Tensor, cache: ActivationCache, known: Like | None, last: bool
    ) -> Tensor:
        """What a layer's MLP adds [batch, pos, d_model]; in the last layer it reads where the
        queries did.
        """
        flat, rows = stream.flatten(0, 1), known.rows if known else None
        read = flat if rows is None else flat[rows]
        normalised = block.mlp_norm(read)
        if last:
            rows = cache.query_inputs[-1].rows
        cache.mlp_inputs.append(NormInput(rows, read, normalised[:, None]))
        output = block.mlp(cache.mlp_inputs[-1].image[:, 0])
        if known:
            output = known.cache.mlp_out[0].flatten(0, 1).index_put((known.rows,), output)
        return output.view_as(stream)

    def attend(self, q: Tensor, keys: Tensor, values: Tensor, mask: Tensor) -> Tensor:
        """Attention of rotated q [batch, pos, head, d_head] over keys and values [batch, key, head,
        d_head] → z like q.
        """
        q, keys, values = (x.transpose(1, 2) for x in (q, keys, values))
        z = F.scaled_dot_product_attention(
            q, keys, values, attn_mask=mask, scale=self.attention_scale
        )
        return z.transpose(1, 2)

    def attention_patterns(self, tokens: Tensor) -> Tensor:
        """Attention of every head on tokens [batch, pos]: [layer, batch, head, query, key], rows
        summing to 1.
        """
        context = self.whole(tokens.shape[1])
        cache = self.run(self.embed(tokens), context)
        patterns = []
        for q, keys in zip(cache.q, cache.keys, strict=True):
            scores = torch.einsum("bqhe,bkhe->bhqk", q, keys) * self.attention_scale
            patterns.append(scores.masked_fill(~context.mask, float("-inf")).softmax(-1))
        return torch.stack(patterns)

    def unembed(self, stream: Tensor) -> Tensor:
        """Logits [..., d_vocab] from the residual stream [..., d_model] after the last block."""
        logits = self.final_norm(stream) @ self.W_U
        return logits if self.b_U is None else logits + self.b_U
