"""A decoder-only transformer as plain tensors and one forward pass: what circuits and head scores
are computed on.

Training libraries hide what circuit analysis needs (a head's own output, its query before the
rotary embedding) behind hooks that split and copy. Here the weights lie open, one class serves
every architecture, and what differs between architectures is a field, here or in its parts
(`components`): parallel blocks (GPT-NeoX: the MLP does not see the block's heads) or sequential
ones (GPT-2, Llama), where norms are, how positions count. `checkpoints.loading` fills it from a
checkpoint and checks its logits against the Hugging Face model's.

Shapes are written [batch, pos, …]; the residual stream is [batch, pos, d_model].
"""

from __future__ import annotations

from dataclasses import dataclass, field

import torch
from torch import Tensor

from circuitwatch.components import Block, Norm, Sight


@dataclass(frozen=True)
class Context:
    """Where the tokens of a run stand, and what stood before them.

    sights: what they see in each layer; layers alike share one. keys (finished), values: those of
    earlier tokens for every layer [batch, key, head, d_head], which come before the run's own; or
    empty.
    """

    sights: tuple[Sight, ...]
    keys: list[Tensor] = field(default_factory=list)
    values: list[Tensor] = field(default_factory=list)


@dataclass(frozen=True)
class NormInput:
    """What one kind of input (queries; keys and values; MLP) read in one layer.

    rows: flat indices into batch · pos that were read, None for all; stream [row, d_model]: before
    the norm; image [row, part, width]: the queries, or the keys and values, as they are projected,
    or the MLP's normalised input (one part). Attribution takes gradients there.
    """

    rows: Tensor | None
    stream: Tensor
    image: Tensor


@dataclass
class ActivationCache:
    """What one forward pass went through, a list over layers each.

    attention_in, mlp_in, mlp_out: the residual stream before each component's norm, and what the
    MLP adds [batch, pos, d_model]. q, keys, values as attention takes them, and z as
    `Block.writes` wants it: [batch, pos, head, d_head]. z_scale: what z was divided by for that,
    [batch, pos, 1, 1], None if by nothing; projected_q, projected_keys: before norm and rotation,
    None but where a norm couples the heads. final: after the last block. Readings: see there.
    After a run `at_end` the last layer's q, z, z_scale, projected_q, mlp_in and mlp_out, and
    `final`, hold the last position only.
    """

    attention_in: list[Tensor] = field(default_factory=list)
    mlp_in: list[Tensor] = field(default_factory=list)
    mlp_out: list[Tensor] = field(default_factory=list)
    q: list[Tensor] = field(default_factory=list)
    keys: list[Tensor] = field(default_factory=list)
    values: list[Tensor] = field(default_factory=list)
    z: list[Tensor] = field(default_factory=list)
    z_scale: list[Tensor | None] = field(default_factory=list)
    projected_q: list[Tensor | None] = field(default_factory=list)
    projected_keys: list[Tensor | None] = field(default_factory=list)
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
    """The whole model. W_E [d_vocab, d_model], with any scale of the embedding in it, W_pos [pos,
    d_model] or None, W_U [d_model, d_vocab], b_U [d_vocab] or None.

    `parallel` says whether a block's MLP reads the residual stream before (True) or after (False)
    the block's heads. embedding_norm: of the embedded tokens; logit_cap: logits are capped softly
    at ± this, cap · tanh(logit / cap).
    """

    blocks: tuple[Block, ...]
    W_E: Tensor
    W_pos: Tensor | None
    final_norm: Norm
    W_U: Tensor
    b_U: Tensor | None
    parallel: bool
    embedding_norm: Norm | None = None
    logit_cap: float | None = None

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

    @property
    def context_length(self) -> int | None:
        """Positions that the model has, None where there is no bound."""
        tables = [] if self.W_pos is None else [self.W_pos]
        for attention in (block.attention for block in self.blocks):
            tables += [] if attention.rotary is None else [attention.rotary.cos]
            tables += [] if attention.alibi is None else [attention.alibi.T]
        return min((len(table) for table in tables), default=None)

    def embed_words(self, tokens: Tensor) -> Tensor:
        """What tokens [...] are embedded as, wherever they stand: [..., d_model]."""
        embedded = self.W_E[tokens]
        return embedded if self.embedding_norm is None else self.embedding_norm(embedded)

    def embed(self, tokens: Tensor, positions: Tensor | None = None) -> Tensor:
        """Residual stream [batch, pos, d_model] at the first block, for tokens [batch, pos] at
        positions [batch or 1, pos], by default from 0.
        """
        embedded = self.embed_words(tokens)
        if self.W_pos is None:
            return embedded
        return embedded + (
            self.W_pos[: tokens.shape[1]] if positions is None else self.W_pos[positions]
        )

    def context(
        self, positions: Tensor, mask: Tensor, past: tuple[list[Tensor], list[Tensor]] | None = None
    ) -> Context:
        """For a run at positions [batch or 1, pos], of which each token may see no more than mask
        [batch or 1, 1, pos, key] says.

        past: finished keys and values of earlier tokens, which stand at positions from 0 on, a list
        over layers each.
        """
        n_past = past[0][0].shape[1] if past else 0
        earlier = torch.arange(n_past, device=positions.device).expand(len(positions), -1)
        keys = torch.cat([earlier, positions], 1)  # positions of the keys
        made: dict[tuple[int | None, int, int], Sight] = {}
        sights = []
        for attention in (block.attention for block in self.blocks):
            kind = (attention.window, id(attention.rotary), id(attention.alibi))
            if kind not in made:
                near = mask
                if attention.window is not None:
                    distance = positions[:, None, :, None] - keys[:, None, None]
                    near = mask & (distance < attention.window)
                rotary, alibi = attention.rotary, attention.alibi
                made[kind] = Sight(
                    near,
                    None if rotary is None else rotary.at(positions),
                    None if alibi is None else alibi[:, keys].transpose(0, 1)[:, :, None],
                )
            sights.append(made[kind])
        return Context(tuple(sights), *(past or ([], [])))

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
            added, z, z_scale = block.add_heads(z)
            after_attention = (stream[:, -1:] if last else stream) + added
            mlp_in = after_attention if not self.parallel else stream[:, -1:] if last else stream
            mlp_out = self._mlp(block, mlp_in, cache, known if self.parallel else None, last)
            stream = after_attention + mlp_out
            cache.z.append(z)
            cache.z_scale.append(z_scale)
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
        normalised = block.before_heads(read)
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
        q = q.unflatten(0, (len(stream), -1))
        keys, values = keys_values.unflatten(0, stream.shape[:2]).chunk(2, 2)
        cache.projected_q.append(q if attention.couples else None)
        cache.projected_keys.append(keys if attention.couples else None)
        sight = context.sights[layer]
        keys = attention.finish("k", keys, sight.rotation)
        values = attention.finish("v", values, None)
        sight = sight.last() if last else sight
        q = attention.finish("q", q, sight.rotation)
        cache.q.append(q)
        cache.keys.append(keys)
        cache.values.append(values)
        if context.keys:
            keys = torch.cat([context.keys[layer], keys], dim=1)
            values = torch.cat([context.values[layer], values], dim=1)
        return attention.attend(q, keys, values, sight)

    def _mlp(
        self, block: Block, stream: Tensor, cache: ActivationCache, known: Like | None, last: bool
    ) -> Tensor:
        """What a layer's MLP adds [batch, pos, d_model]; in the last layer it reads where the
        queries did.
        """
        flat, rows = stream.flatten(0, 1), known.rows if known else None
        read = flat if rows is None else flat[rows]
        normalised = block.before_mlp(read)
        if last:
            rows = cache.query_inputs[-1].rows
        cache.mlp_inputs.append(NormInput(rows, read, normalised[:, None]))
        output = block.add_mlp(cache.mlp_inputs[-1].image[:, 0])
        if known:
            output = known.cache.mlp_out[0].flatten(0, 1).index_put((known.rows,), output)
        return output.view_as(stream)

    def attention_patterns(self, tokens: Tensor) -> Tensor:
        """Attention of every head on tokens [batch, pos]: [layer, batch, head, query, key], rows
        summing to 1.
        """
        context = self.whole(tokens.shape[1])
        cache = self.run(self.embed(tokens), context)
        patterns = []
        for layer, (q, keys) in enumerate(zip(cache.q, cache.keys, strict=True)):
            products = torch.einsum("bqhe,bkhe->bhqk", q, keys)
            patterns.append(self.blocks[layer].attention.weigh(products, context.sights[layer]))
        return torch.stack(patterns)

    def unembed(self, stream: Tensor) -> Tensor:
        """Logits [..., d_vocab] from the residual stream [..., d_model] after the last block."""
        logits = self.final_norm(stream) @ self.W_U
        return self.capped(logits if self.b_U is None else logits + self.b_U)

    def capped(self, logits: Tensor) -> Tensor:
        """Logits as the model's soft cap, if it has one, leaves them, of any shape."""
        return (
            logits if self.logit_cap is None else self.logit_cap * (logits / self.logit_cap).tanh()
        )
