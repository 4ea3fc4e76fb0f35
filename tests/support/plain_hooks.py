"""Path patching of a Llama with nothing but forward hooks on transformers' own modules: what
circuitwatch's effects are compared with.

`z` is what `o_proj` reads at the end of each prompt: the outputs of all heads of a layer, side by
side. Holding it freezes the heads of a layer, and as then nothing moves between positions, the last
token alone need be run; its attention is computed and thrown away.
"""

from __future__ import annotations

import inspect
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from copy import deepcopy

import torch
from torch import Tensor, nn
from transformers import DynamicCache, LlamaForCausalLM

CACHE = (
    "cache"
    if "cache" in inspect.signature(LlamaForCausalLM.forward).parameters
    else "past_key_values"
)
"""What transformers calls the keys and values of earlier tokens: the one since 5.24, the other
before.
"""


@contextmanager
def hooks(*handles: torch.utils.hooks.RemovableHandle) -> Iterator[None]:
    """Hooks that are there for a while."""
    try:
        yield
    finally:
        for handle in handles:
            handle.remove()


def replacing(module: nn.Module, value: Tensor) -> torch.utils.hooks.RemovableHandle:
    """The module reads this at the last position, whatever comes."""

    def hook(_: nn.Module, inputs: tuple[Tensor]) -> tuple[Tensor]:
        changed = inputs[0].clone()
        changed[:, -1] = value
        return (changed,)

    return module.register_forward_pre_hook(hook)


class PlainHooks:
    """Prompts of one length, clean and corrupted tokens [prompt, pos], and Hugging Face's model."""

    def __init__(self, hf: LlamaForCausalLM, clean: Tensor, corrupted: Tensor) -> None:
        self.hf, self.last = hf, clean[:, -1:]
        self.layers, self.width, self.n_heads = (
            hf.model.layers,
            hf.config.head_dim,
            hf.config.num_attention_heads,
        )
        self.clean_logits, self.clean_z, self.attention = self._run(clean)
        self.corrupted_logits, self.corrupted_z, _ = self._run(corrupted)
        self.before = DynamicCache()
        hf(clean[:, :-1], **{CACHE: self.before})

    def _run(self, tokens: Tensor) -> tuple[Tensor, list[Tensor], list[Tensor]]:
        """Logits [prompt, vocabulary] at the end, z [prompt, head · width] of each layer there,
        attention [prompt, head, pos] paid from there.
        """
        seen: list[Tensor] = []
        handles = [
            layer.self_attn.o_proj.register_forward_pre_hook(
                lambda _, inputs: seen.append(inputs[0][:, -1])
            )
            for layer in self.layers
        ]
        with hooks(*handles):
            out = self.hf(tokens, output_attentions=True)
        return out.logits[:, -1], seen, [weights[:, :, -1] for weights in out.attentions]

    def _frozen(self, layer: int) -> list[torch.utils.hooks.RemovableHandle]:
        """Every head as on the clean prompts, but one of this layer as on the corrupted ones: rows
        by prompt, then by which head that is.
        """
        z = [part.repeat_interleave(self.n_heads, 0) for part in self.clean_z]
        each = torch.arange(self.n_heads)
        z[layer].view(-1, self.n_heads, self.n_heads, self.width)[:, each, each] = self.corrupted_z[
            layer
        ].unflatten(1, (self.n_heads, self.width))
        return [
            replacing(block.self_attn.o_proj, part)
            for block, part in zip(self.layers, z, strict=True)
        ]

    def _by_head(self, rows: Tensor) -> Tensor:
        return rows.unflatten(0, (-1, self.n_heads)).transpose(0, 1)

    def direct(self, layer: int) -> Tensor:
        """Logits [head, prompt, vocabulary] where the change of one head of a layer reaches them
        through MLPs alone.
        """
        with hooks(*self._frozen(layer)):
            return self._by_head(
                self.hf(self.last.repeat_interleave(self.n_heads, 0)).logits[:, -1]
            )

    def through_queries(
        self, layer: int, receivers: Mapping[int, list[int]]
    ) -> tuple[Tensor, list[Tensor]]:
        """The same where it reaches some heads' queries (layer → heads) through MLPs alone, and all
        behind those is computed anew.

        Returns the logits [head, prompt, vocabulary], and the attention [head, prompt, head that
        pays, pos] of every layer.
        """
        arrived: dict[int, Tensor] = {}
        queries = {at: self.layers[at].self_attn.q_proj for at in receivers}

        def keep(at: int) -> torch.utils.hooks.RemovableHandle:
            return queries[at].register_forward_hook(
                lambda _, i, out: arrived.__setitem__(at, out[:, -1].clone())
            )

        def give(at: int) -> torch.utils.hooks.RemovableHandle:
            def hook(_: nn.Module, inputs: tuple[Tensor], out: Tensor) -> Tensor:
                out = out.clone()
                for receiver in receivers[at]:
                    mine = slice(receiver * self.width, (receiver + 1) * self.width)
                    out[:, -1, mine] = arrived[at][:, mine]
                return out

            return queries[at].register_forward_hook(hook)

        last, before = self.last.repeat_interleave(self.n_heads, 0), deepcopy(self.before)
        before.batch_repeat_interleave(self.n_heads)
        with hooks(*self._frozen(layer), *map(keep, receivers)):
            self.hf(last)
        with hooks(*map(give, receivers)):  # keys and values before the end are as they were
            out = self.hf(last, **{CACHE: before}, output_attentions=True)
        return self._by_head(out.logits[:, -1]), [
            self._by_head(weights[:, :, -1]) for weights in out.attentions
        ]
