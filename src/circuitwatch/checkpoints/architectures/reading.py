"""From modules of transformers to the parts of `components`: what the entries are written with.

Every tensor of what is made is its own: those of the modules may be windows into the file that they
were read from, which changes when a run writes its next checkpoint there.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from circuitwatch.components import MLP, Attention, Block, HeadNorm, Norm, Rotary
from circuitwatch.transformer import Transformer

MAX_POSITIONS = 2048
"""Positions of which a table is made, where a model has more or any number of them."""
BY_LENGTH = ("dynamic", "longrope")
"""Kinds of rotary embedding whose frequencies are others for inputs of more tokens than the model
was first trained on: tables are made for as many.
"""
Weights = tuple[Tensor, Tensor | None]
"""A linear map: weight [out, in], and bias [out] or None."""


def weights(module: Any) -> Weights:
    """Of a linear layer; the weight is still the module's own."""
    return module.weight.detach(), None if module.bias is None else copied(module.bias)


def copied(tensor: Tensor) -> Tensor:
    """A contiguous copy that nothing else knows of."""
    return tensor.detach().clone(memory_format=torch.contiguous_format)


def matrix(weight: Tensor) -> Tensor:
    """A weight [out, in] as [in, out], copied."""
    return copied(weight.T)


def bias_of(given: Weights) -> Tensor:
    """The bias of a linear map, zeros where it has none: [out]."""
    weight, bias = given
    return weight.new_zeros(len(weight)) if bias is None else bias


def split_heads(given: Weights, parts: int, d_head: int) -> list[Weights]:
    """The maps of each of several parts that lie in one, side by side for each group of heads: of
    rows [group, part, d_head], those of every part.
    """
    weight, bias = given
    of_parts = weight.unflatten(0, (-1, parts, d_head))
    biases = None if bias is None else bias.unflatten(0, (-1, parts, d_head))
    return [
        (of_parts[:, i].flatten(0, 1), None if biases is None else biases[:, i].flatten())
        for i in range(parts)
    ]


def heads(
    q: Weights, k: Weights, v: Weights, out: Weights, *, d_head: int, **more: Any
) -> Attention:
    """A layer's heads from the maps to its queries, keys and values, and the one from what the
    heads have to the residual stream; more: fields of `Attention`.
    """
    w_q, w_k, w_v = (w.unflatten(0, (-1, d_head)).transpose(1, 2) for w, _ in (q, k, v))
    b_q, b_k, b_v = (bias_of(given).unflatten(0, (-1, d_head)) for given in (q, k, v))
    w_o = matrix(out[0]).unflatten(0, (-1, d_head))
    return Attention(w_q, w_k, w_v, w_o, b_q, b_k, b_v, bias_of(out), **more)


def mlp(into: Weights, out: Weights, activation: str | Any, gate: Weights | None = None) -> MLP:
    """An MLP from its linear maps, and its activation, by transformers' name or as a function."""
    from transformers.activations import ACT2FN

    return MLP(
        matrix(into[0]),
        bias_of(into),
        matrix(out[0]),
        bias_of(out),
        ACT2FN[activation] if isinstance(activation, str) else activation,
        None if gate is None else matrix(gate[0]),
        None if gate is None else gate[1],
    )


def gated_mlp(module: Any, activation: str) -> MLP:
    """The MLP of Llama and its relatives."""
    return mlp(
        weights(module.up_proj), weights(module.down_proj), activation, weights(module.gate_proj)
    )


def eps_of(module: Any) -> float:
    """What a norm adds to the variance; OLMo's has it in its code."""
    names = ("eps", "variance_epsilon")
    return next((float(getattr(module, name)) for name in names if hasattr(module, name)), 1e-5)


def norm(module: Any, like: Tensor, *, offset: float = 0.0) -> Norm:
    """LayerNorm with or without weight and bias (OLMo's has neither), or RMSNorm, over as many
    dimensions as the last of a tensor `like` it.

    offset: what is added to the weight; Gemma's norms have 1 more than is stored.
    """
    weight, bias = getattr(module, "weight", None), getattr(module, "bias", None)
    return Norm(
        weight=like.new_ones(like.shape[-1]) if weight is None else weight.detach() + offset,
        bias=None if bias is None else copied(bias),
        eps=eps_of(module),
        centred="RMS" not in type(module).__name__,
    )


def head_norm(module: Any, n_heads: int, d_head: int, *, offset: float = 0.0) -> HeadNorm:
    """The norm of queries or keys: each head's own (weights of d_head numbers, or one module a head
    or group), or of all heads together (weights of as many numbers as they have).
    """
    single = list(getattr(module, "norms", [module]))
    weight = torch.stack([part.weight.detach() for part in single]) + offset
    coupled = len(single) == 1 and weight.shape[1] != d_head
    weight = weight.view(-1, d_head)
    bias = None
    if getattr(single[0], "bias", None) is not None:
        bias = torch.stack([part.bias.detach() for part in single])
        bias = bias.repeat_interleave(n_heads // len(bias), 0)
    return HeadNorm(
        weight.repeat_interleave(n_heads // len(weight), 0),
        bias,
        eps_of(single[0]),
        centred="RMS" not in type(single[0]).__name__,
        coupled=coupled,
    )


def head_norms(
    module: Any, n_heads: int, *, called: str = "norm", offset: float = 0.0
) -> dict[str, Any]:
    """The norms of queries and of keys that a layer has, as fields of `Attention`; called: the
    modules' name behind the letter.
    """
    return {
        f"{letter}_norm": head_norm(
            getattr(module, f"{letter}_{called}"), n_heads, module.head_dim, offset=offset
        )
        for letter in "qk"
        if hasattr(module, f"{letter}_{called}")
    }


def positions_of(config: Any) -> int:
    """Positions of which tables are made."""
    return min(getattr(config, "max_position_embeddings", None) or MAX_POSITIONS, MAX_POSITIONS)


def rotary(module: Any, config: Any, dtype: torch.dtype, *, kind: str | None = None) -> Rotary:
    """The model's own cosines and sines, so that every kind of rotary scaling is taken over
    exactly.

    kind: of the layers, where kinds of layers have rotary embeddings of their own.
    """
    parameters = config.rope_parameters
    parameters = parameters if kind is None else parameters[kind]
    n = positions_of(config)
    if parameters.get("rope_type") in BY_LENGTH:
        n = min(n, parameters.get("original_max_position_embeddings") or n)
    positions = torch.arange(n)[None]
    arguments = () if kind is None else (kind,)
    cos, sin = module(torch.zeros(1, dtype=dtype), positions, *arguments)
    return Rotary(cos[0].to(dtype).clone(), sin[0].to(dtype).clone())


def windows(config: Any) -> list[int | None]:
    """How many tokens each layer attends to, None where to all: only layers of the sliding kind do
    not, and where no kinds are listed, all are of that kind.
    """
    kinds = getattr(config, "layer_types", None) or ["sliding_attention"] * config.num_hidden_layers
    window = getattr(config, "sliding_window", None)
    return [window if kind == "sliding_attention" else None for kind in kinds]


def assembled(
    hf_model: Any,
    blocks: Sequence[Block],
    W_E: Tensor,
    final_norm: Norm,
    *,
    W_pos: Tensor | None = None,
    parallel: bool = False,
    **more: Any,
) -> Transformer:
    """The model, from its blocks and what is before and behind them; more: fields of `Transformer`.
    The unembedding is the one that transformers names.
    """
    weight, bias = weights(hf_model.get_output_embeddings())
    return Transformer(
        blocks=tuple(blocks),
        W_E=W_E,
        W_pos=W_pos,
        final_norm=final_norm,
        W_U=matrix(weight),
        b_U=bias,
        parallel=parallel,
        **more,
    )
