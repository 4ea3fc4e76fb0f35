"""A naive implementation to test against: every head's input and output materialised, every edge a
separate sum, on Hugging Face's own modules.

Slow and plain on purpose. It shares no code with `circuitwatch.circuits`: the node names are spelt
out here again.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor
from transformers import GPT2LMHeadModel, GPTNeoXForCausalLM, LlamaForCausalLM
from transformers.models.gpt_neox.modeling_gpt_neox import apply_rotary_pos_emb
from transformers.models.llama.modeling_llama import apply_rotary_pos_emb as apply_whole_rotary

Nodes = dict[str, Tensor]


def every_edge(n_layers: int, n_heads: int, parallel: bool) -> list[tuple[str, str]]:
    """All edges (sender, receiver), in the order of their receivers."""
    seen, found = ["input"], []
    for layer in range(n_layers):
        heads = [f"a{layer}.h{h}" for h in range(n_heads)]
        found += [(u, f"{head}<{letter}>") for head in heads for letter in "qkv" for u in seen]
        found += [(u, f"m{layer}") for u in (seen if parallel else seen + heads)]
        seen = [*seen, *heads, f"m{layer}"]
    return found + [(u, "logits") for u in seen]


class Textbook:
    """Runs a GPT-NeoX, GPT-2 or Llama model node by node; names are `input`, `a0.h1`, `a0.h1<q>`,
    `m0`, `logits`.
    """

    def __init__(self, model: GPTNeoXForCausalLM | GPT2LMHeadModel | LlamaForCausalLM) -> None:
        self.model = model
        self.parallel = isinstance(model, GPTNeoXForCausalLM)
        self.llama = isinstance(model, LlamaForCausalLM)
        config = model.config
        self.n_layers, self.n_heads = config.num_hidden_layers, config.num_attention_heads
        self.d_head = config.hidden_size // self.n_heads

    def embed(self, tokens: Tensor) -> Tensor:
        if self.parallel:
            return self.model.gpt_neox.embed_in(tokens)
        if self.llama:
            return self.model.model.embed_tokens(tokens)
        return (
            self.model.transformer.wte(tokens)
            + self.model.transformer.wpe.weight[: tokens.shape[1]]
        )

    def edges(self) -> list[tuple[str, str]]:
        return every_edge(self.n_layers, self.n_heads, self.parallel)

    def run(
        self,
        embedded: Tensor,
        corrupted: dict[str, Tensor] | None = None,
        circuit: set[tuple[str, str]] | None = None,
    ) -> tuple[Tensor, dict[str, Tensor], dict[str, Tensor]]:
        """Logits at every position, every node's output, every receiver's own input (a separate
        tensor each).

        With `corrupted` outputs, an edge that is not in `circuit` carries the corrupted output of
        its sender.
        """

        def read(receiver: str, outputs: Nodes, senders: list[str]) -> Tensor:
            return sum(
                outputs[u] if corrupted is None or (u, receiver) in circuit else corrupted[u]
                for u in senders
            )

        return self.walk({"input": embedded}, read, lambda _, output: output)

    def walk(
        self,
        outputs: Nodes,
        read: Callable[[str, Nodes, list[str]], Tensor],
        hold: Callable[[str, Tensor], Tensor],
    ) -> tuple[Tensor, Nodes, Nodes]:
        """Logits, outputs and inputs from those of `input` on.

        `read` says what a receiver gets of its senders, `hold` what counts as a node's output.
        """
        inputs, biases = {}, []

        def into(receiver: str, senders: list[str]) -> Tensor:
            inputs[receiver] = read(receiver, outputs, senders) + sum(biases)
            if inputs[receiver].requires_grad:
                inputs[receiver].retain_grad()
            return inputs[receiver]

        for layer in range(self.n_layers):
            heads, bias = self._heads(layer, into, list(outputs))
            heads = {name: hold(name, output) for name, output in heads.items()}
            if self.parallel:
                mlp = self._mlp(layer, into(f"m{layer}", list(outputs)))
            outputs |= heads
            biases.append(bias)
            if not self.parallel:
                mlp = self._mlp(layer, into(f"m{layer}", list(outputs)))
            outputs[f"m{layer}"] = hold(f"m{layer}", mlp)
        final = into("logits", list(outputs))
        if self.llama:
            return self.model.lm_head(self.model.model.norm(final)), outputs, inputs
        norm = (
            self.model.gpt_neox.final_layer_norm if self.parallel else self.model.transformer.ln_f
        )
        return self.model.lm_head(norm(final)), outputs, inputs

    def _mlp(self, layer: int, x: Tensor) -> Tensor:
        if self.parallel:
            block = self.model.gpt_neox.layers[layer]
            return block.mlp(block.post_attention_layernorm(x))
        if self.llama:
            block = self.model.model.layers[layer]
            return block.mlp(block.post_attention_layernorm(x))
        block = self.model.transformer.h[layer]
        return block.mlp(block.ln_2(x))

    def _heads(self, layer: int, into, before: list[str]) -> tuple[dict[str, Tensor], Tensor]:
        if self.parallel:
            block = self.model.gpt_neox.layers[layer]
            norm, weight, bias = (
                block.input_layernorm,
                block.attention.query_key_value.weight,
                block.attention.query_key_value.bias,
            )
            weight = weight.view(self.n_heads, 3, self.d_head, -1)  # a head's q, k, v lie together
            bias = bias.view(self.n_heads, 3, self.d_head)
            out_weight, out_bias = block.attention.dense.weight.T, block.attention.dense.bias
        elif self.llama:
            block = self.model.model.layers[layer]
            norm, attn = block.input_layernorm, block.self_attn
            shared = self.n_heads // self.model.config.num_key_value_heads
            projections = [
                projection.weight.view(-1, self.d_head, self.d_head * self.n_heads)
                for projection in (attn.q_proj, attn.k_proj, attn.v_proj)
            ]
            weight = torch.stack(
                [
                    w if len(w) == self.n_heads else w.repeat_interleave(shared, 0)
                    for w in projections
                ],
                1,
            )
            bias = torch.zeros(self.n_heads, 3, self.d_head)
            out_weight, out_bias = attn.o_proj.weight.T, torch.zeros(())
        else:
            block = self.model.transformer.h[layer]
            norm, attn = block.ln_1, block.attn
            weight = attn.c_attn.weight.T.view(3, self.n_heads, self.d_head, -1).transpose(0, 1)
            bias = attn.c_attn.bias.view(3, self.n_heads, self.d_head).transpose(0, 1)
            out_weight, out_bias = attn.c_proj.weight, attn.c_proj.bias
        results = {}
        for h in range(self.n_heads):
            q, k, v = (
                norm(into(f"a{layer}.h{h}<{letter}>", before)) @ weight[h, i].T + bias[h, i]
                for i, letter in enumerate("qkv")
            )
            if self.parallel:
                cos, sin = self.model.gpt_neox.rotary_emb(q, torch.arange(q.shape[1])[None])
                q, k = (x[:, 0] for x in apply_rotary_pos_emb(q[:, None], k[:, None], cos, sin))
            if self.llama:
                cos, sin = self.model.model.rotary_emb(q, torch.arange(q.shape[1])[None])
                q, k = (x[:, 0] for x in apply_whole_rotary(q[:, None], k[:, None], cos, sin))
            attention = q @ k.transpose(1, 2) / self.d_head**0.5
            ahead = torch.ones(q.shape[1], q.shape[1], dtype=torch.bool).triu(1)
            z = attention.masked_fill(ahead, float("-inf")).softmax(-1) @ v
            results[f"a{layer}.h{h}"] = z @ out_weight[h * self.d_head : (h + 1) * self.d_head]
        return results, out_bias
