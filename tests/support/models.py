"""Small models with random weights, with parallel and sequential blocks and of Llama's kind, and
prompts of unequal lengths.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from transformers import (
    GPT2Config,
    GPT2LMHeadModel,
    GPTNeoXConfig,
    GPTNeoXForCausalLM,
    LlamaConfig,
    LlamaForCausalLM,
    PreTrainedModel,
)

from circuitwatch.checkpoints.loading import load_model
from circuitwatch.circuits.prompts import Prepared
from circuitwatch.transformer import Transformer
from support.architectures import random_variant
from support.plain import Plain
from support.textbook import Textbook

VOCABULARY = 50


@dataclass(frozen=True)
class Pairs:
    """Prompts as circuits want them."""

    clean: Tensor
    corrupted: Tensor
    lengths: Tensor


@dataclass(frozen=True)
class Case:
    """One model three ways, and prompts."""

    hf: PreTrainedModel
    model: Transformer
    textbook: Textbook | Plain
    prompts: Pairs

    def __repr__(self) -> str:
        return type(self.hf).__name__

    def prepared(self, batch_size: int = 32) -> Prepared:
        """The prompts made ready for the model."""
        return Prepared(self.model, self.prompts, batch_size=batch_size)


def random_model(architecture: str, n_layers: int = 2) -> PreTrainedModel:
    """A model of 3 heads a layer (Llama's kind: 4) whose every parameter, biases and norms
    included, is random.
    """
    torch.manual_seed(1)
    common = {"vocab_size": VOCABULARY, "bos_token_id": 0, "eos_token_id": 0}
    if architecture == "parallel":
        shape = {
            "hidden_size": 24,
            "num_hidden_layers": n_layers,
            "num_attention_heads": 3,
            "intermediate_size": 40,
        }
        model = GPTNeoXForCausalLM(
            GPTNeoXConfig(**shape, max_position_embeddings=32, rotary_pct=0.5, **common)
        )
    elif architecture == "llama":
        shape = {
            "hidden_size": 24,
            "num_hidden_layers": n_layers,
            "num_attention_heads": 4,
            "intermediate_size": 40,
        }
        model = LlamaForCausalLM(
            LlamaConfig(**shape, num_key_value_heads=2, max_position_embeddings=32, **common)
        )
    else:
        model = GPT2LMHeadModel(
            GPT2Config(n_embd=24, n_layer=n_layers, n_head=3, n_inner=40, n_positions=32, **common)
        )
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            parameter.normal_(std=0.25)
            if parameter.ndim == 1 and name.endswith("weight"):
                parameter.add_(1)
    return model.eval().requires_grad_(False)


def unequal_prompts() -> Pairs:
    """Eight prompts of lengths 5 to 9 that differ from their twins first at positions 0 to 4,
    right-padded with 0.
    """
    generator = torch.Generator().manual_seed(2)
    clean, corrupted, lengths = (
        torch.zeros(8, 9, dtype=torch.long),
        torch.zeros(8, 9, dtype=torch.long),
        torch.arange(8) % 5 + 5,
    )
    for row, length in enumerate(lengths.tolist()):
        clean[row, :length] = torch.randint(1, VOCABULARY, (length,), generator=generator)
        corrupted[row, :length] = clean[row, :length]
        for position in {row % 5, length - 2}:
            corrupted[row, position] = clean[row, position] % (VOCABULARY - 1) + 1
    return Pairs(clean, corrupted, lengths)


def logit_difference(logits: Tensor, indices: Tensor) -> Tensor:
    """Logit of one token over another, different ones for each prompt."""
    return (
        logits.gather(1, (indices % 7 + 1)[:, None])[:, 0]
        - logits.gather(1, (indices % 5 + 20)[:, None])[:, 0]
    )


def probability(logits: Tensor, indices: Tensor) -> Tensor:
    """A metric that is not linear in the logits."""
    return logits.softmax(-1).gather(1, (indices % 7 + 1)[:, None])[:, 0]


def make_case(architecture: str, folder: Path, n_layers: int = 2) -> Case:
    """The model written to a folder, loaded as circuitwatch loads it, and the textbook
    implementation of it.
    """
    hf = random_model(architecture, n_layers)
    hf.save_pretrained(folder)
    return Case(hf, load_model(folder), Textbook(hf), unequal_prompts())


def make_variant(variant: str, folder: Path, n_layers: int = 2) -> Case:
    """A model of `support.architectures` likewise, with the implementation for any architecture."""
    hf = random_variant(variant, n_layers)
    hf.save_pretrained(folder)
    return Case(hf, load_model(folder), Plain(hf), unequal_prompts())


def same_logits(folder: Path, hf: PreTrainedModel, **options: Any) -> Tensor:
    """Load a checkpoint with some options and return its logits on 12 tokens, after comparing them
    with a model's.
    """
    tokens = torch.arange(12)[None]
    ours = load_model(folder, **options)
    logits = ours.unembed(ours.run(ours.embed(tokens)).final)
    torch.testing.assert_close(logits, hf(tokens).logits, rtol=1e-4, atol=1e-5)
    return logits
