"""Any architecture node by node on transformers' own modules: every head's input and output a
tensor of its own, every edge a separate sum. What circuitwatch's numbers are compared with.

It is slow and plain, and shares no code with `circuitwatch`: where a norm divides what several
heads have by one scale, the rules of the methods page are spelt out here again. Norms are written
out, so that they compute in float64 where the model is in it.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from transformers import PreTrainedModel
from transformers.models.bloom.modeling_bloom import build_alibi_tensor as alibi_of_bloom
from transformers.models.falcon.modeling_falcon import build_alibi_tensor as alibi_of_falcon
from transformers.models.gptj.modeling_gptj import apply_rotary_pos_emb as turn_neighbours
from transformers.models.llama.modeling_llama import apply_rotary_pos_emb as turn_halves

from support.textbook import every_edge

Nodes = dict[str, Tensor]
NAMES = {
    "gpt_neox": "attention query_key_value dense input_layernorm post_attention_layernorm "
    "final_layer_norm",
    "gpt2": "attn c_attn c_proj ln_1 ln_2 ln_f",
    "gptj": "attn - out_proj ln_1 - ln_f",
    "gpt_neo": "attn - out_proj ln_1 ln_2 ln_f",
    "opt": "self_attn - out_proj self_attn_layer_norm final_layer_norm final_layer_norm",
    "bloom": "self_attention query_key_value dense input_layernorm post_attention_layernorm ln_f",
    "falcon": "self_attention query_key_value dense input_layernorm post_attention_layernorm ln_f",
    "phi": "self_attn - dense input_layernorm - final_layernorm",
}
"""Of modules: attention; queries, keys and values; output; first norm; second norm; final norm."""
OTHERS = "self_attn - o_proj input_layernorm post_attention_layernorm norm"
"""Llama's names, which its relatives have too."""


class Plain:
    """Runs a model node by node; names are `input`, `a0.h1`, `a0.h1<q>`, `m0`, `logits`.

    After a run, `raw` holds what was projected for each receiver among the heads, before norms, and
    `parts` what each head would add if nothing normalised what attention adds.
    """

    def __init__(self, hf: PreTrainedModel) -> None:
        self.hf, self.config, self.kind = hf, hf.config, hf.config.model_type
        body = hf.base_model
        self.body = body.decoder if self.kind == "opt" else body
        self.layers = getattr(self.body, "h", None) or self.body.layers
        self.n_layers, self.n_heads = len(self.layers), hf.config.num_attention_heads
        self.names = NAMES.get(self.kind, OTHERS).split()
        self.parallel = self.kind in ("gptj", "phi") or bool(
            getattr(hf.config, "use_parallel_residual", False)
            or (self.kind == "falcon" and (hf.config.parallel_attn or self._is_new()))
        )
        self.raw: Nodes = {}
        self.parts: Nodes = {}

    def _is_new(self) -> bool:
        return bool(self.config.new_decoder_architecture)

    def embed(self, tokens: Tensor) -> Tensor:
        """What the first layer reads."""
        seen: list[Tensor] = []
        handle = self.layers[0].register_forward_pre_hook(
            lambda _, inputs, named: seen.append(inputs[0] if inputs else named["hidden_states"]),
            with_kwargs=True,
        )
        self.hf(tokens)
        handle.remove()
        return seen[0]

    def edges(self) -> list[tuple[str, str]]:
        """All edges, in the order of their receivers."""
        return every_edge(self.n_layers, self.n_heads, self.parallel)

    def run(
        self,
        embedded: Tensor,
        corrupted: Nodes | None = None,
        circuit: set[tuple[str, str]] | None = None,
    ) -> tuple[Tensor, Nodes, Nodes]:
        """Logits at every position, every node's output, every receiver's own input.

        With `corrupted` outputs, an edge that is not in `circuit` carries the corrupted output of
        its sender, and a head that `input` does not reach has what it had in the corrupted run.
        """
        kept: tuple[set[str], Nodes, Nodes] = (set(), {}, {})
        if corrupted is not None and circuit is not None:
            reached = {"input"}
            for sender, receiver in self.edges():
                if sender in reached and (sender, receiver) in circuit:
                    reached.add(receiver.split("<")[0])
            outside = {name for name in corrupted if name[0] == "a" and name not in reached}
            if outside:
                self.run(corrupted["input"])
                kept = outside, self.raw, self.parts

        def read(receiver: str, outputs: Nodes, senders: list[str]) -> Tensor:
            return sum(
                outputs[u] if corrupted is None or (u, receiver) in circuit else corrupted[u]
                for u in senders
            )

        def hold(name: str, output: Tensor) -> Tensor:
            return corrupted[name] if name in kept[0] else output

        return self.walk({"input": embedded}, read, hold, kept)

    def walk(
        self,
        outputs: Nodes,
        read: Callable[[str, Nodes, list[str]], Tensor],
        hold: Callable[[str, Tensor], Tensor],
        kept: tuple[set[str], Nodes, Nodes] = (set(), {}, {}),
    ) -> tuple[Tensor, Nodes, Nodes]:
        """Logits, outputs and inputs from those of `input` on.

        `read` says what a receiver gets of its senders, `hold` what counts as a node's output.
        kept: heads that carry what they did in another run, its raw values, and its parts.
        """
        inputs: Nodes = {}
        biases: list[Tensor] = []
        self.raw, self.parts = {}, {}

        def into(receiver: str, senders: list[str]) -> Tensor:
            inputs[receiver] = read(receiver, outputs, senders) + sum(biases)
            if inputs[receiver].requires_grad:
                inputs[receiver].retain_grad()
            return inputs[receiver]

        for number, layer in enumerate(self.layers):
            before = list(outputs)
            heads, bias = self._heads(number, layer, into, before, kept)
            heads = {name: hold(name, output) for name, output in heads.items()}
            if self.parallel:
                mlp = self._mlp(layer, into(f"m{number}", before))
            outputs |= heads
            biases.append(bias)
            if not self.parallel:
                mlp = self._mlp(layer, into(f"m{number}", list(outputs)))
            outputs[f"m{number}"] = hold(f"m{number}", mlp)
        final = self._norm(getattr(self.body, self.names[5]), into("logits", list(outputs)))
        logits = self.hf.get_output_embeddings()(final)
        cap = getattr(self.config, "final_logit_softcapping", None)
        return (logits if cap is None else cap * torch.tanh(logits / cap)), outputs, inputs

    def _norm(self, module: nn.Module | None, x: Tensor) -> Tensor:
        if module is None:
            return x
        weight, bias = (getattr(module, name, None) for name in ("weight", "bias"))
        eps = getattr(module, "eps", None) or getattr(module, "variance_epsilon", None) or 1e-5
        if "RMS" not in type(module).__name__:
            return F.layer_norm(x, x.shape[-1:], weight, bias, eps)
        weight = weight + 1 if self.kind.startswith("gemma") else weight
        return x / (x.square().mean(-1, keepdim=True) + eps).sqrt() * weight

    def _mlp(self, layer: nn.Module, x: Tensor) -> Tensor:
        first, second = self.names[3:5]
        if self.kind in ("gemma2", "gemma3_text"):
            normalised = self._norm(layer.pre_feedforward_layernorm, x)
        elif self.kind.startswith(("olmo2", "olmo3")):
            normalised = x
        elif hasattr(layer, "ln_mlp"):
            normalised = self._norm(layer.ln_mlp, x)
        elif self.parallel and self.kind != "gpt_neox":
            normalised = self._norm(getattr(layer, first), x)
        else:
            normalised = self._norm(getattr(layer, second), x)
        if self.kind == "opt":
            return layer.fc2(layer.activation_fn(layer.fc1(normalised)))
        if self.kind == "bloom":
            return layer.mlp(normalised, torch.zeros_like(normalised))
        return self._norm(getattr(layer, "post_feedforward_layernorm", None), layer.mlp(normalised))

    def _project(self, at: nn.Module, x: Tensor) -> dict[str, Tensor]:
        """What is projected for every head [1, pos, head, d_head], keys and values repeated for the
        heads that share them.
        """
        n, fused = self.n_heads, self.names[1]
        if fused == "-":
            parts = [getattr(at, f"{letter}_proj")(x) for letter in "qkv"]
            if getattr(self.config, "clip_qkv", None):
                parts = [part.clamp(-self.config.clip_qkv, self.config.clip_qkv) for part in parts]
            width = getattr(at, "head_dim", parts[0].shape[-1] // n)
            parts = [part.unflatten(-1, (-1, width)) for part in parts]
        elif self.kind == "gpt2":
            parts = [part.unflatten(-1, (n, -1)) for part in getattr(at, fused)(x).chunk(3, -1)]
        elif self.kind == "falcon":
            parts = list(at._split_heads(getattr(at, fused)(x)))
        else:  # a head's queries, keys and values lie together
            parts = list(getattr(at, fused)(x).unflatten(-1, (n, 3, -1)).unbind(-2))
        every = [part.repeat_interleave(n // part.shape[2], 2) for part in parts]
        return dict(zip("qkv", every, strict=True))

    def _normed(self, at: nn.Module, letter: str, raw: list[Tensor], inside: list[int]) -> Nodes:
        """Queries or keys of the heads inside, by number, from those of all heads."""
        module = getattr(at, f"{letter}_norm", None) or getattr(at, f"{letter}_layernorm", None)
        if module is None or letter == "v":
            return {h: raw[h] for h in inside}
        if hasattr(module, "norms"):  # one for each head, or each group of heads
            shared = self.n_heads // len(module.norms)
            return {h: self._norm(module.norms[h // shared], raw[h]) for h in inside}
        if len(module.weight) == raw[0].shape[-1]:
            return {h: self._norm(module, raw[h]) for h in inside}
        together = torch.stack(raw).square().mean((0, -1))[..., None]  # over heads and dimensions
        scale = (together + module.variance_epsilon).sqrt()
        weight = module.weight.view(-1, raw[0].shape[-1])
        weight = weight.repeat_interleave(self.n_heads // len(weight), 0)
        return {h: raw[h] / scale * weight[h] for h in inside}

    def _turned(self, number: int, q: Tensor, k: Tensor) -> tuple[Tensor, Tensor]:
        """Queries and keys [1, pos, d_head] with their positions."""
        module = getattr(self.body, "rotary_emb", None)
        no_rotary = getattr(self.config, "no_rope_layers", None)
        if module is None or getattr(self.config, "alibi", False):
            return q, k
        if no_rotary and not no_rotary[number]:
            return q, k
        kinds, places = getattr(self.config, "layer_types", None), torch.arange(q.shape[1])[None]
        own = kinds and kinds[number] in self.config.rope_parameters
        first, second = module(q, places, kinds[number]) if own else module(q, places)
        first, second = first.to(q), second.to(q)
        if self.kind == "gptj":  # sines first
            width, turn = self.config.rotary_dim, turn_neighbours
            turned = [turn(x[:, :, None, :width], first, second)[:, :, 0] for x in (q, k)]
        else:
            width, heads = first.shape[-1], (q[:, None], k[:, None])
            halves = turn_halves(*(x[..., : first.shape[-1]] for x in heads), first, second)
            turned = [x[:, 0] for x in halves]
        q, k = (torch.cat([new, x[..., width:]], -1) for new, x in zip(turned, (q, k), strict=True))
        return q, k

    def _weights(self, number: int, at: nn.Module, head: int, q: Tensor, k: Tensor) -> Tensor:
        """Attention [1, pos, key] of a head from its finished queries and keys."""
        scale = getattr(at, "scaling", q.shape[-1] ** -0.5)
        if self.kind == "gpt_neo":
            scale = 1.0
        scores = q @ k.mT * scale
        if self.kind == "gemma2":
            cap = self.config.attn_logit_softcapping
            scores = cap * torch.tanh(scores / cap)
        ones = torch.ones(1, q.shape[1], dtype=torch.long)
        if self.kind == "bloom":
            scores = scores + alibi_of_bloom(ones, self.n_heads, q.dtype)[head]
        if getattr(self.config, "alibi", False):
            scores = scores + alibi_of_falcon(ones, self.n_heads, q.dtype)[head] * scale
        distance = torch.arange(q.shape[1])[:, None] - torch.arange(q.shape[1])
        seen = distance >= 0
        kinds = getattr(self.config, "layer_types", None)
        window = getattr(self.config, "sliding_window", None)
        if self.kind == "gpt_neo":
            is_local = self.config.attention_layers[number] == "local"
            window = self.config.window_size if is_local else None
        elif kinds and kinds[number] != "sliding_attention":
            window = None
        if window:
            seen = seen & (distance < window)
        return scores.masked_fill(~seen, float("-inf")).softmax(-1)

    def _heads(
        self, number: int, layer: Any, into: Callable[[str, list[str]], Tensor],
        before: list[str], kept: tuple[set[str], Nodes, Nodes],
    ) -> tuple[Nodes, Tensor]:  # fmt: skip
        outside, old_raw, old_parts = kept
        at = getattr(layer, self.names[0])
        at = at.attention if self.kind == "gpt_neo" else at
        is_post = self.kind in ("olmo2", "olmo3")
        first = (
            None if is_post else getattr(layer, "ln_attn", None) or getattr(layer, self.names[3])
        )
        names = [f"a{number}.h{h}" for h in range(self.n_heads)]
        for h, name in enumerate(names):
            for letter in "qkv":
                x = self._norm(first, into(f"{name}<{letter}>", before))
                mine = self._project(at, x)[letter][:, :, h]
                key = f"{name}<{letter}>"
                self.raw[key] = old_raw[key] if name in outside else mine
        inside = [h for h, name in enumerate(names) if name not in outside]
        finished = {
            letter: self._normed(
                at, letter, [self.raw[f"{name}<{letter}>"] for name in names], inside
            )
            for letter in "qkv"
        }
        linear = getattr(at, self.names[2])
        weight = linear.weight if self.kind == "gpt2" else linear.weight.T
        weight = weight.unflatten(0, (self.n_heads, -1))
        bias = getattr(linear, "bias", None)
        for h, name in enumerate(names):
            if h in inside:
                q, k = self._turned(number, finished["q"][h], finished["k"][h])
                z = self._weights(number, at, h, q, k) @ finished["v"][h]
                self.parts[name] = z @ weight[h]
            else:
                self.parts[name] = old_parts[name]
        results = {name: self.parts[name] for name in names}
        if is_post or self.kind in ("gemma2", "gemma3_text"):
            module = layer.post_attention_layernorm
            eps = getattr(module, "eps", None) or module.variance_epsilon
            scale = (sum(results.values()).square().mean(-1, keepdim=True) + eps).sqrt()
            of_norm = module.weight if is_post else module.weight + 1
            results = {name: part * of_norm / scale for name, part in results.items()}
        return results, torch.zeros(()) if bias is None else bias
