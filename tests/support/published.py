"""EAP-IG the way published libraries compute it: the opponent of the benchmarks, and a second
oracle.

Every head's query, key, value and every MLP gets an input of its own (split inputs), every head's
output is written out in the residual stream, hooks on the inputs' gradients contract them with the
difference of the senders' outputs after every step, logits are computed at all positions, and a
circuit is evaluated by running the whole model again with hooks that replace what edges outside it
carry. It is a good opponent: the weights get no gradients, heads are vectorised, each contraction
is one einsum, and the output of a layer's heads is one batched matrix product rather than the
einsum that some versions expand to [batch, pos, head, d_head, d_model].

For GPT-NeoX models. It shares no code with `circuitwatch.circuits`; senders and receivers are in
the order of its graph.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
from torch import Tensor
from transformers import GPTNeoXForCausalLM

Metric = Callable[[Tensor, Tensor], Tensor]
InputHook = Callable[[Tensor, int, slice], Tensor]
"""(input [batch, pos, receiver, d_model], how many senders it sees, which receivers) → the input to
use.
"""


class Published:
    """One GPT-NeoX model with parallel blocks; tokens [batch, pos] are of one length or padded on
    the right, ends [batch].
    """

    def __init__(self, model: GPTNeoXForCausalLM, batch_size: int = 16) -> None:
        self.model, self.batch_size = model.requires_grad_(False), batch_size
        config = model.config
        self.n_layers, self.n_heads, self.d_model = (
            config.num_hidden_layers,
            config.num_attention_heads,
            config.hidden_size,
        )
        self.d_head = self.d_model // self.n_heads
        self.n_senders = 1 + self.n_layers * (self.n_heads + 1)
        self.n_receivers = self.n_layers * (3 * self.n_heads + 1) + 1

    def run(
        self, embedded: Tensor, on_input: InputHook, on_output: Callable[[Tensor, slice], None]
    ) -> Tensor:
        """Logits at every position; the hooks see every receiver's own input and every sender's
        output.
        """
        neox, heads = self.model.gpt_neox, self.n_heads
        positions = torch.arange(embedded.shape[1])[None]
        cos, sin = neox.rotary_emb(embedded, positions)
        ahead = torch.ones(embedded.shape[1], embedded.shape[1], dtype=torch.bool).triu(1)
        on_output(embedded[:, :, None], slice(0, 1))
        stream = embedded
        for layer, block in enumerate(neox.layers):
            sender, receiver = 1 + layer * (heads + 1), layer * (3 * heads + 1)
            split = stream[:, :, None].expand(-1, -1, 3 * heads, -1)
            split = on_input(split, sender, slice(receiver, receiver + 3 * heads))
            normalised = block.input_layernorm(split).unflatten(2, (3, heads))
            weight = block.attention.query_key_value.weight.view(heads, 3, self.d_head, -1)
            bias = block.attention.query_key_value.bias.view(heads, 3, self.d_head)
            q, k, v = (
                torch.einsum("bphd,hed->bhpe", normalised[:, :, i], weight[:, i]) + bias[:, i, None]
                for i in range(3)
            )
            q, k = (self._rotate(x, cos[:, None], sin[:, None]) for x in (q, k))
            pattern = (
                (q @ k.transpose(-1, -2) / self.d_head**0.5)
                .masked_fill(ahead, float("-inf"))
                .softmax(-1)
            )
            out_weight = block.attention.dense.weight.T.reshape(heads, self.d_head, -1)
            result = ((pattern @ v) @ out_weight).transpose(1, 2)  # [batch, pos, head, d_model]
            on_output(result, slice(sender, sender + heads))
            mlp_receiver = receiver + 3 * heads
            mlp_in = on_input(
                stream[:, :, None].clone(), sender, slice(mlp_receiver, mlp_receiver + 1)
            )
            mlp_out = block.mlp(block.post_attention_layernorm(mlp_in[:, :, 0]))
            on_output(mlp_out[:, :, None], slice(sender + heads, sender + heads + 1))
            stream = stream + result.sum(2) + block.attention.dense.bias + mlp_out
        last = slice(self.n_receivers - 1, self.n_receivers)
        final = on_input(stream[:, :, None].clone(), self.n_senders, last)[:, :, 0]
        logits: Tensor = self.model.lm_head(neox.final_layer_norm(final))
        return logits

    @staticmethod
    def _rotate(x: Tensor, cos: Tensor, sin: Tensor) -> Tensor:
        dim = cos.shape[-1]
        turned, kept = x[..., :dim], x[..., dim:]
        first, second = turned.chunk(2, -1)
        return torch.cat([turned * cos + torch.cat([-second, first], -1) * sin, kept], -1)

    def _differences(self, clean: Tensor, corrupted: Tensor) -> Tensor:
        """Corrupted minus clean outputs [batch, pos, sender, d_model]."""
        difference = torch.zeros(*clean.shape[:2], self.n_senders, self.d_model)

        def keep(sign: int) -> Callable[[Tensor, slice], None]:
            def hook(output: Tensor, senders: slice) -> None:
                difference[:, :, senders] += sign * output.detach()

            return hook

        with torch.no_grad():
            self.run(corrupted, lambda x, _, __: x, keep(1))
            self.run(clean, lambda x, _, __: x, keep(-1))
        return difference

    def edge_scores(
        self,
        clean: Tensor,
        corrupted: Tensor,
        ends: Tensor,
        metric: Metric,
        alphas: Sequence[float],
    ) -> Tensor:
        """EAP-IG scores [sender, receiver], the mean over prompts."""
        scores = torch.zeros(self.n_senders, self.n_receivers)
        for rows in torch.arange(len(clean)).split(self.batch_size):
            with torch.no_grad():
                one, other = (
                    self.model.gpt_neox.embed_in(tokens[rows]) for tokens in (clean, corrupted)
                )
            difference = self._differences(one, other)

            def score(
                x: Tensor, seen: int, receivers: slice, difference: Tensor = difference
            ) -> Tensor:
                def contract(gradient: Tensor) -> None:
                    scores[:seen, receivers] += torch.einsum(
                        "bpsd,bprd->sr", difference[:, :, :seen], gradient.detach()
                    )

                x = x.clone()
                x.register_hook(contract)
                return x

            for alpha in alphas:
                embedded = torch.lerp(other, one, alpha).requires_grad_()
                logits = self.run(embedded, score, lambda _, __: None)
                metric(logits[torch.arange(len(rows)), ends[rows]], rows).sum().backward()
        return scores / (len(clean) * len(alphas))

    @torch.no_grad()
    def evaluate(
        self, circuit: Tensor, clean: Tensor, corrupted: Tensor, ends: Tensor, metric: Metric
    ) -> float:
        """The mean metric with every edge outside `circuit` [sender, receiver] carrying its
        corrupted value.
        """
        total = 0.0
        outside = (~circuit).float()
        for rows in torch.arange(len(clean)).split(self.batch_size):
            one, other = (
                self.model.gpt_neox.embed_in(tokens[rows]) for tokens in (clean, corrupted)
            )
            difference = torch.zeros(*one.shape[:2], self.n_senders, self.d_model)

            def keep(output: Tensor, senders: slice, difference: Tensor = difference) -> None:
                difference[:, :, senders] += output

            def subtract(output: Tensor, senders: slice, difference: Tensor = difference) -> None:
                difference[:, :, senders] -= output

            def replace(
                x: Tensor, seen: int, receivers: slice, difference: Tensor = difference
            ) -> Tensor:
                return x + torch.einsum(
                    "bpsd,sr->bprd", difference[:, :, :seen], outside[:seen, receivers]
                )

            self.run(other, lambda x, _, __: x, keep)
            logits = self.run(one, replace, subtract)
            total += float(metric(logits[torch.arange(len(rows)), ends[rows]], rows).sum())
        return total / len(clean)


def circuit_by_heap(
    scores: Tensor, visible: Sequence[int], nodes: Sequence[int], n_nodes: int, n: int
) -> Tensor:
    """A greedy circuit of n edges with dead nodes pruned, edge by edge on Python objects: [sender,
    receiver].

    visible[r] is how many senders receiver r sees, nodes[r] the node that it belongs to; senders
    are nodes 0 … n_nodes − 2.
    """
    import heapq

    receivers_of: dict[int, list[int]] = {node: [] for node in range(n_nodes)}
    for receiver, node in enumerate(nodes):
        receivers_of[int(node)].append(receiver)
    chosen, inside, heap = [], {n_nodes - 1}, []

    def enter(node: int) -> None:
        for receiver in receivers_of[node]:
            for sender in range(visible[receiver]):
                heapq.heappush(heap, (-abs(float(scores[sender, receiver])), sender, receiver))

    enter(n_nodes - 1)
    while heap and len(chosen) < n:
        _, sender, receiver = heapq.heappop(heap)
        chosen.append((sender, receiver))
        if sender not in inside:
            inside.add(sender)
            enter(sender)
    while True:
        fed = {int(nodes[receiver]) for _, receiver in chosen} | {0}
        feeding = {sender for sender, _ in chosen} | {n_nodes - 1}
        kept = [(s, r) for s, r in chosen if s in fed and int(nodes[r]) in feeding]
        if len(kept) == len(chosen):
            break
        chosen = kept
    mask = torch.zeros(scores.shape, dtype=torch.bool)
    for sender, receiver in chosen:
        mask[sender, receiver] = True
    return mask
