"""The nano models: sizes, Hugging Face configuration, initial weights, and which parameter each
optimiser updates.

They are GPT-NeoX models as Pythia is (Biderman et al., arXiv 2304.01373): attention and MLP in
parallel, rotary embedding on a quarter of each head, embedding and unembedding untied. Sizes are
named by their number of parameters, embeddings included.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor
from transformers import GPTNeoXConfig, GPTNeoXForCausalLM

from circuitwatch.errors import UserError
from circuitwatch.nano.muon import Group


@dataclass(frozen=True)
class NanoSize:
    """One size of the suite and the number of optimiser steps it is trained for."""

    name: str
    n_layers: int
    d_model: int
    n_heads: int
    n_steps: int


SIZES = {
    size.name: size
    for size in (
        NanoSize("nano-100k", n_layers=2, d_model=48, n_heads=3, n_steps=2000),
        NanoSize("nano-200k", n_layers=2, d_model=64, n_heads=2, n_steps=2000),
        NanoSize("nano-400k", n_layers=3, d_model=96, n_heads=3, n_steps=2400),
        NanoSize("nano-1m", n_layers=4, d_model=128, n_heads=4, n_steps=2400),
        NanoSize("nano-3m", n_layers=6, d_model=192, n_heads=6, n_steps=2400),
        NanoSize("nano-5m", n_layers=8, d_model=224, n_heads=7, n_steps=2400),
    )
}


def nano_size(name: str) -> NanoSize:
    """The size called `name`; an unknown name is a UserError that lists the known ones."""
    if name not in SIZES:
        raise UserError(f"model '{name}' is not a nano size; known sizes: {', '.join(SIZES)}")
    return SIZES[name]


def build_model(
    size: NanoSize, *, vocabulary: int, context: int, initial_std: float, seed: int
) -> GPTNeoXForCausalLM:
    """A freshly initialised model: matrices normal, biases 0, norms 1, from a generator of its own.

    Args:
        size: Layers, width and heads.
        vocabulary: Number of tokens.
        context: Most tokens in a row.
        initial_std: Standard deviation of the matrices.
        seed: Of the generator.

    Returns:
        The model.
    """
    config = GPTNeoXConfig(
        vocab_size=vocabulary,
        hidden_size=size.d_model,
        num_hidden_layers=size.n_layers,
        num_attention_heads=size.n_heads,
        intermediate_size=4 * size.d_model,
        max_position_embeddings=context,
        initializer_range=initial_std,
        use_parallel_residual=True,
        tie_word_embeddings=False,
        bos_token_id=0,
        eos_token_id=0,
        pad_token_id=0,
        use_cache=False,
    )
    config.architectures = ["GPTNeoXForCausalLM"]
    # The library initialises from the global generator, which belongs to the caller.
    with torch.random.fork_rng(devices=[]):
        model = GPTNeoXForCausalLM(config)
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for parameter in model.parameters():
            if parameter.ndim > 1:
                parameter.normal_(0.0, initial_std, generator=generator)
    return model


def count_parameters(model: GPTNeoXForCausalLM) -> tuple[int, int]:
    """Parameters in all, and without the embedding and unembedding."""
    total = sum(p.numel() for p in model.parameters())
    return (
        total,
        total
        - model.get_input_embeddings().weight.numel()
        - model.get_output_embeddings().weight.numel(),
    )


def split_parameters(model: GPTNeoXForCausalLM) -> tuple[list[Group], list[Tensor]]:
    """(groups for Muon, the rest for Adam): hidden matrices, one group a shape; embeddings, norms
    and biases.

    GPT-NeoX fuses queries, keys and values as rows [head, (q, k, v), d_head], so one reshape gives
    a matrix for each head and role.
    """
    config, layers = model.config, model.gpt_neox.layers
    d_head = config.hidden_size // config.num_attention_heads

    def heads(weight: Tensor) -> Tensor:
        return weight.view(-1, d_head, config.hidden_size)

    def whole(weight: Tensor) -> Tensor:
        return weight.unsqueeze(0)

    groups = [
        Group([layer.attention.query_key_value.weight for layer in layers], heads),
        Group([layer.attention.dense.weight for layer in layers], whole),
        Group([layer.mlp.dense_h_to_4h.weight for layer in layers], whole),
        Group([layer.mlp.dense_4h_to_h.weight for layer in layers], whole),
    ]
    hidden = {id(p) for group in groups for p in group.parameters}
    return groups, [p for p in model.parameters() if id(p) not in hidden]
