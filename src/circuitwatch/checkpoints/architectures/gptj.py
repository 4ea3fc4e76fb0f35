"""GPT-J: parallel blocks behind one norm, rotary positions that turn neighbouring dimensions."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from circuitwatch.checkpoints.architectures.entry import Architecture, always
from circuitwatch.checkpoints.architectures.reading import (
    Weights,
    assembled,
    copied,
    heads,
    mlp,
    norm,
    positions_of,
    weights,
)
from circuitwatch.components import Block, Rotary
from circuitwatch.transformer import Transformer


def read(hf_model: Any) -> Transformer:
    """A GPT-J. Query and key dimensions are put into the order of the half-split layout, which
    changes no product of the two.
    """
    config, body = hf_model.config, hf_model.transformer
    d_head = config.hidden_size // config.num_attention_heads
    embedding = body.wte.weight.detach()
    order = torch.arange(config.rotary_dim)
    order = torch.cat([order[::2], order[1::2], torch.arange(config.rotary_dim, d_head)])

    def halves(given: Weights) -> Weights:
        weight = given[0].unflatten(0, (-1, d_head))[:, order]
        return weight.flatten(0, 1), None

    turn = rotary(body.rotary_emb, positions_of(config), embedding)
    blocks = []
    for layer in body.h:
        at, only = layer.attn, norm(layer.ln_1, embedding)
        q, k, v, out = map(weights, (at.q_proj, at.k_proj, at.v_proj, at.out_proj))
        made = heads(halves(q), halves(k), v, out, d_head=d_head, scale=at.scaling, rotary=turn)
        into, back = weights(layer.mlp.fc_in), weights(layer.mlp.fc_out)
        blocks.append(Block(only, made, only, mlp(into, back, config.activation_function)))
    return assembled(hf_model, blocks, copied(embedding), norm(body.ln_f, embedding), parallel=True)


def rotary(module: Any, n_positions: int, like: Tensor) -> Rotary:
    """GPT-J's table has a sine and a cosine for each pair of dimensions."""
    sin, cos = module(like, torch.arange(n_positions)[None])
    return Rotary(torch.cat([cos[0], cos[0]], 1), torch.cat([sin[0], sin[0]], 1))


ENTRIES = (Architecture("gptj", "GPTJForCausalLM", read, is_parallel=always),)
