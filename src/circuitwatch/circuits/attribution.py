"""Edge scores by EAP-IG, integrated gradients of edge attribution patching (Hanna et al., arXiv 2403.17806; Syed et al., 2310.10348).

    s(u→v) = mean over prompts of Σ_pos (a_u^corrupted − a_u^clean) · (1/m) Σ_k ∂M/∂(input of v) at e = e' + α_k (e − e')

with e and e' the clean and corrupted embedding outputs. The score estimates how the metric changes when the edge carries its corrupted value.

1. Each step runs one forward and one backward pass; gradients are taken with respect to activations only: the queries (before the rotary embedding), keys and
   values of each head, the MLPs' normalised inputs, and the final residual stream.
2. The map back to the residual stream before the norm is linear but for the norm's Jacobian. With x̂ = (x − mean)/scale and g the gradient
   with respect to x̂, ∂M/∂x = (centre(g) − x̂ (x̂·g)/d) / scale. For a head g = weight ∘ W gq, so that x̂·g = (q − q at x̂ = 0)·gq: a scalar for each position.
   Over the steps we keep Σ gq/scale, in head space, and these scalars; the residual stream is reached once, at the end.
3. One matrix product contracts a layer's receivers with the senders they can see.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from typing import Literal, get_args

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from circuitwatch.circuits.graph import Graph
from circuitwatch.circuits.prompts import Batch, Metric, PromptPairs, batches, metric_at_end
from circuitwatch.transformer import LayerNorm, Trace, Transformer

Quadrature = Literal["right", "left", "midpoint"]
QUADRATURES = get_args(Quadrature)


def graph_of(model: Transformer) -> Graph:
    """The graph whose edges a model's scores belong to."""
    return Graph(model.n_layers, model.n_heads, model.parallel)


def quadrature_points(steps: int, quadrature: Quadrature) -> list[float]:
    """The α_k, ascending, in (0, 1] for `right`, [0, 1) for `left`, and in the middle of the m intervals for `midpoint`."""
    shift = {"right": 1.0, "left": 0.0, "midpoint": 0.5}[quadrature]
    return [(k + shift) / steps for k in range(steps)]


def edge_scores(
    model: Transformer,
    prompts: PromptPairs,
    metric: Metric,
    *,
    steps: int = 5,
    quadrature: Quadrature = "right",
    batch_size: int = 32,
    on_batch: Callable[[int], None] | None = None,
) -> npt.NDArray[np.float32]:
    """Score every edge: [sender, receiver], 0 where there is no edge. One step with `right` is plain EAP.

    `on_batch` is told how many prompts have been scored so far.
    """
    graph = graph_of(model)
    scores = torch.zeros(len(graph.senders), len(graph.receivers), device=model.device)
    done = 0
    for batch in batches(model, prompts, batch_size):
        scores += _score_batch(model, graph, batch, metric, quadrature_points(steps, quadrature))
        done += len(batch.indices)
        if on_batch:
            on_batch(done)
    scores *= torch.from_numpy(graph.edges).to(scores) / (done * steps)
    return scores.cpu().numpy()


def sender_outputs(model: Transformer, embedded: Tensor, trace: Trace) -> Tensor:
    """What every sender adds to the residual stream (heads without b_O): [sender, batch, pos, d_model]."""
    outputs = [embedded[None]]
    for layer, block in enumerate(model.blocks):
        outputs += [per_head(trace.z[layer], block.attention.W_O), trace.mlp_out[layer][None]]
    return torch.cat(outputs)


def per_head(x: Tensor, weight: Tensor) -> Tensor:
    """X [batch, pos, head, a] times weight [head, a, b] → [head, batch, pos, b]."""
    flat = x.permute(2, 0, 1, 3).flatten(1, 2)
    return torch.bmm(flat, weight).unflatten(1, x.shape[:2])


class _NormInputs:
    """Gradients with respect to what a norm feeds, gathered over the steps, and mapped to the norm's input at the end.

    Per step: the gradients [batch, pos, part, width] with respect to `part` linear images of x̂, and those images less their value at
    x̂ = 0, from which the scalar x̂·g comes.
    """

    def __init__(self, norm: LayerNorm) -> None:
        self.norm = norm
        self.gradient: Tensor | None = None  # Σ_k gradient / scale
        self.directions: list[Tensor] = []  # x̂ of each step [batch, pos, d_model]
        self.scalars: list[Tensor] = []  # (x̂ · g) / (d_model · scale) of each step [batch, pos, part]

    def add(self, stream: Tensor, gradient: Tensor, image: Tensor) -> None:
        x_hat, scale = self.norm.standardise(stream)
        scaled = gradient / scale[..., None]
        self.gradient = scaled if self.gradient is None else self.gradient.add_(scaled)
        self.directions.append(x_hat)
        self.scalars.append((image * scaled).sum(-1) / stream.shape[-1])

    def to_stream(self, back: Callable[[Tensor], Tensor]) -> Tensor:
        """Σ_k ∂M/∂x [part, batch, pos, d_model], where `back` maps [batch, pos, part, width] to [part, batch, pos, d_model]."""
        assert self.gradient is not None
        g = back(self.gradient) * self.norm.weight
        g -= g.mean(-1, keepdim=True)
        directions, scalars = (
            torch.stack(self.directions, 2),
            torch.stack(self.scalars, -1),
        )  # [b, p, step, d], [b, p, part, step]
        return g - (scalars @ directions).permute(2, 0, 1, 3)


def _score_batch(model: Transformer, graph: Graph, batch: Batch, metric: Metric, alphas: Sequence[float]) -> Tensor:
    """Sum over the batch's prompts and over the steps: [sender, receiver]."""
    attention = [_NormInputs(block.attention_norm) for block in model.blocks]
    mlps = [_NormInputs(block.mlp_norm) for block in model.blocks]
    final = torch.zeros_like(batch.clean)
    traces: dict[float, Trace] = {}
    for alpha in alphas:
        with torch.enable_grad():
            embedded = torch.lerp(batch.corrupted, batch.clean, alpha).requires_grad_()
            trace = model.run(embedded, batch.past)
            value = metric_at_end(model, trace.final, batch, metric).sum()
            wanted = [*trace.q, *trace.k, *trace.v, *trace.mlp_normalised, trace.final]
            gradients = torch.autograd.grad(value, wanted)
        with torch.no_grad():
            n = model.n_layers
            for layer, block in enumerate(model.blocks):
                heads = block.attention
                offsets = block.attention_norm.bias @ heads.fused + heads.fused_bias
                image = torch.cat([trace.q[layer], trace.k[layer], trace.v[layer]], 2)
                gradient = torch.cat([gradients[layer], gradients[n + layer], gradients[2 * n + layer]], 2)
                attention[layer].add(trace.attention_in[layer], gradient, image - offsets.view(*image.shape[2:]))
                normalised = trace.mlp_normalised[layer] - block.mlp_norm.bias
                mlps[layer].add(trace.mlp_in[layer], gradients[3 * n + layer][:, :, None], normalised[:, :, None])
            final += gradients[-1]  # taken before the final norm: autograd has already passed it
        if alpha in (0.0, 1.0):
            traces[alpha] = trace
    with torch.no_grad():
        difference = _sender_difference(model, batch, traces)
        scores = torch.zeros(len(graph.senders), len(graph.receivers), device=difference.device)

        def contract(receivers: slice, gradient: Tensor) -> None:
            seen = slice(0, int(graph.visible[receivers.start]))
            scores[seen, receivers] = difference[seen].flatten(1) @ gradient.flatten(1).T

        for layer, block in enumerate(model.blocks):
            heads = block.attention
            back = torch.cat([heads.W_Q, heads.W_K, heads.W_V]).transpose(1, 2)
            contract(graph.receivers_of_layer(layer), attention[layer].to_stream(partial(per_head, weight=back)))
            mlp = graph.receiver_of_mlp(layer)
            contract(slice(mlp, mlp + 1), mlps[layer].to_stream(lambda g: g.permute(2, 0, 1, 3)))
        contract(slice(len(graph.receivers) - 1, len(graph.receivers)), final[None])
    return scores


def _sender_difference(model: Transformer, batch: Batch, traces: dict[float, Trace]) -> Tensor:
    """Corrupted minus clean outputs of every sender [sender, batch, pos, d_model]; the steps at α = 0 and 1 are those very runs."""
    clean = traces.get(1.0) or model.run(batch.clean, batch.past)
    corrupted = traces.get(0.0) or model.run(batch.corrupted, batch.past)
    return sender_outputs(model, batch.corrupted, corrupted) - sender_outputs(model, batch.clean, clean)
