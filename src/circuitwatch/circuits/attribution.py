"""Edge scores by EAP-IG, integrated gradients of edge attribution patching (Hanna et al., arXiv
2403.17806; Syed et al., 2310.10348).

    s(u→v) = mean over prompts of Σ_pos (a_u^corrupted − a_u^clean) · (1/m) Σ_k ∂M/∂(input of v) at
    e = e' + α_k (e − e')

with e and e' the clean and corrupted embedding outputs. The score estimates how the metric changes
when the edge carries its corrupted value.

1. Each step runs one forward and one backward pass; gradients are taken with respect to activations
only: the queries, keys and values of each head as they are projected (before any norm of queries
and keys, and the rotary embedding), the MLPs' normalised inputs, and the final residual stream.
What a head does to others through the scale of a norm that they share is in them.
2. Only positions that count are run: from the first token that differs; in the first layer, the
   tokens that differ, since its inputs see the embedding alone; in the last layer, the end, but for
   keys and values.
3. The map back to the residual stream before the norm is linear but for the norm's Jacobian. With
x̂ = (x − mean)/scale and g the gradient
   with respect to x̂, ∂M/∂x = (centre(g) − x̂ (x̂·g)/d) / scale. For a head g = weight ∘ W gq, so
   that x̂·g = (q − q at x̂ = 0)·gq: a scalar for each position. Over the steps we keep Σ gq/scale,
   in head space, and these scalars; the residual stream is reached once, at the end.
4. One matrix product contracts a layer's receivers with the senders they can see.

The mean over prompts may be weighted, by several sets of weights at once: all share the model's
runs, and each costs the contraction again. So scores of resampled prompts cost a fraction of the
scores themselves.

How many steps are enough is decided once, from the means over all prompts (`quadrature`). So levels
are the outer loop, batches the inner one; scores are linear in the gradients, and what a level's
new nodes add goes on top of the sums that are there. Between levels only these sums are kept.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from circuitwatch.circuits.graph import Graph
from circuitwatch.circuits.prompts import Batch, Metric, Prepared, metric_at_end
from circuitwatch.circuits.quadrature import AUTO, Quadrature, Steps, estimated_error, new_points
from circuitwatch.components import Norm
from circuitwatch.transformer import ActivationCache, NormInput, Transformer


def graph_of(model: Transformer) -> Graph:
    """The graph whose edges a model's scores belong to."""
    return Graph(model.n_layers, model.n_heads, model.parallel)


@dataclass(frozen=True)
class Scored:
    """Edge scores [set, sender, receiver], and how they were come by.

    steps: nodes of the quadrature; None where no gradient was taken. error:
    `quadrature.estimated_error`, where it was asked for and there are two levels to compare.
    converged: whether it is within the tolerance; None where the number of steps was fixed.
    """

    scores: npt.NDArray[np.float32]
    steps: int | None = None
    error: float | None = None
    converged: bool | None = None


def edge_scores(
    prepared: Prepared,
    metric: Metric,
    *,
    steps: Steps = AUTO,
    quadrature: Quadrature = "midpoint",
    max_steps: int = 27,
    tolerance: float = 0.03,
) -> npt.NDArray[np.float32]:
    """Score every edge: [sender, receiver], 0 where there is no edge.

    One step with `right` is plain EAP.
    """
    equal = np.ones((1, prepared.n_prompts))
    how = {"quadrature": quadrature, "max_steps": max_steps, "tolerance": tolerance}
    return weighted_edge_scores(prepared, metric, equal, steps=steps, **how).scores[0]  # type: ignore[arg-type]


def weighted_edge_scores(
    prepared: Prepared,
    metric: Metric,
    weights: npt.NDArray[np.float64],
    *,
    steps: Steps = AUTO,
    quadrature: Quadrature = "midpoint",
    max_steps: int = 27,
    tolerance: float = 0.03,
) -> Scored:
    """Score every edge by the mean over prompts under each set of weights [set, prompt]: [set,
    sender, receiver].

    Weights are relative, e.g. how often a bootstrap resample has each prompt; a set may not be all
    0. With steps `auto` (see `quadrature`) the error is estimated from the mean over all prompts
    with equal weights, whatever the sets and the batches are, and all sets take the same nodes.
    """
    model = prepared.model
    graph = graph_of(model)
    sets = np.asarray(weights)
    decided_here = steps == AUTO and not (sets[0] == sets[0, 0]).all()
    if decided_here:
        sets = np.concatenate([np.ones((1, sets.shape[1])), sets])
    of_prompts = torch.from_numpy(sets).to(model.W_E)
    edges = torch.from_numpy(graph.edges).to(of_prompts)
    total_weights = of_prompts.sum(1)[:, None, None]
    sums = of_prompts.new_zeros(
        len(sets), len(graph.senders), len(graph.receivers)
    )  # over prompts and nodes
    n_nodes, error = 0, None
    for alphas in new_points(steps, quadrature, max_steps):
        before = sums[0] / n_nodes if n_nodes else None
        for batch in prepared.batches:
            sums += _score_batch(model, graph, batch, metric, alphas, of_prompts[:, batch.indices])
        sums *= edges
        n_nodes += len(alphas)
        if before is not None:
            error = estimated_error(sums[0] / n_nodes, before)
            if error <= tolerance:
                break
    converged = (error is not None and error <= tolerance) if steps == AUTO else None
    sums /= total_weights * n_nodes
    return Scored(sums[int(decided_here) :].float().cpu().numpy(), n_nodes, error, converged)


def per_head(x: Tensor, weight: Tensor) -> Tensor:
    """X [row, head, a] times weight [head, a, b] → [head, row, b]."""
    return torch.bmm(x.transpose(0, 1), weight)


class _Receivers:
    """Gradients with respect to what one kind of input read, gathered over the steps, and mapped to
    the residual stream at the end. Without a norm x̂ is the stream and scale 1.
    """

    def __init__(self, norm: Norm | None, offset: Tensor, rows: Tensor | None) -> None:
        self.norm, self.rows = norm, rows
        self.offset = offset  # the image [part, width] of x̂ = 0
        self.gradient: Tensor | None = None  # Σ_k gradient / scale [row, part, width]
        self.directions: list[Tensor] = []  # x̂ of each step [row, d_model]
        self.scalars: list[Tensor] = []  # (x̂ · g) / (d_model · scale) of each step [row, part]

    def add(
        self, norm_input: NormInput, gradient: Tensor, standardised: tuple[Tensor, Tensor] | None
    ) -> None:
        if standardised is not None:
            x_hat, scale = standardised
            gradient = gradient / scale[:, None]
            self.scalars.append(
                ((norm_input.image.detach() - self.offset) * gradient).sum(-1) / x_hat.shape[-1]
            )
            self.directions.append(x_hat)
        elif self.gradient is None:
            gradient = gradient.clone()  # it is added to below
        self.gradient = gradient if self.gradient is None else self.gradient.add_(gradient)

    def to_stream(self, back: Callable[[Tensor], Tensor]) -> Tensor:
        """Σ_k ∂M/∂x [part, row, d_model], where `back` maps [row, part, width] to [part, row,
        d_model].
        """
        assert self.gradient is not None
        g = back(self.gradient)
        if self.norm is None:
            return g
        g = g.mul_(self.norm.weight)
        if self.norm.centred:
            g -= g.mean(-1, keepdim=True)
        for scalars, x_hat in zip(self.scalars, self.directions, strict=True):
            g.addcmul_(scalars.T[:, :, None], x_hat, value=-1)
        return g


@dataclass(frozen=True)
class _Layer:
    """The three kinds of input of one layer."""

    queries: _Receivers
    keys_values: _Receivers
    mlp: _Receivers

    def add(self, cache: ActivationCache, layer: int, gradients: Sequence[Tensor]) -> None:
        """One step's gradients; inputs that read the same stream share what the norm makes of
        it.
        """
        norm_inputs = (
            cache.query_inputs[layer],
            cache.key_value_inputs[layer],
            cache.mlp_inputs[layer],
        )
        standardised: dict[tuple[int, int, float], tuple[Tensor, Tensor]] = {}
        for receivers, norm_input, gradient in zip(
            (self.queries, self.keys_values, self.mlp), norm_inputs, gradients, strict=True
        ):
            if receivers.norm is None:
                receivers.add(norm_input, gradient, None)
                continue
            stream = norm_input.stream.detach()
            key = (stream.data_ptr(), len(stream), receivers.norm.eps)
            if key not in standardised:
                standardised[key] = receivers.norm.standardise(stream)
            receivers.add(norm_input, gradient, standardised[key])


def _layer(model: Transformer, layer: int, cache: ActivationCache) -> _Layer:
    """Empty receivers of a layer, for runs that read the same rows as `cache`."""
    block, heads = model.blocks[layer], model.n_heads
    attention = block.attention
    at_zero = attention.fused_bias
    if block.attention_norm is not None and block.attention_norm.bias is not None:
        at_zero = block.attention_norm.bias @ attention.fused + at_zero
    q, kv = at_zero.view(-1, attention.W_Q.shape[2]).split([heads, 2 * len(attention.W_K)])
    mlp_at_zero = None if block.mlp_norm is None else block.mlp_norm.bias
    if mlp_at_zero is None:
        mlp_at_zero = model.W_E.new_zeros(model.d_model)
    return _Layer(
        _Receivers(block.attention_norm, q, cache.query_inputs[layer].rows),
        _Receivers(
            block.attention_norm,
            kv.repeat_interleave(attention.heads_per_group, 0),
            cache.key_value_inputs[layer].rows,
        ),
        _Receivers(block.mlp_norm, mlp_at_zero[None], cache.mlp_inputs[layer].rows),
    )


def _score_batch(
    model: Transformer,
    graph: Graph,
    batch: Batch,
    metric: Metric,
    alphas: Sequence[float],
    weights: Tensor,
) -> Tensor:
    """Weighted sums over the batch's prompts, and over the steps: [set, sender, receiver] for
    weights [set, prompt].
    """
    layers: list[_Layer] = []
    final = torch.zeros(
        len(batch.indices), model.d_model, dtype=batch.clean.dtype, device=model.device
    )
    outputs: list[Tensor] | None = None
    for alpha in alphas:
        with torch.enable_grad():
            embedded = torch.lerp(batch.corrupted, batch.clean, alpha).requires_grad_()
            cache = model.run(embedded, batch.context, like=batch.like, at_end=True)
            value = metric_at_end(model, cache.final, batch, metric).sum()
            kinds = (cache.query_inputs, cache.key_value_inputs, cache.mlp_inputs)
            wanted = [
                norm_input.image
                for norm_inputs in zip(*kinds, strict=True)
                for norm_input in norm_inputs
            ]
            gradients = torch.autograd.grad(value, [*wanted, cache.final])
        with torch.no_grad():
            layers = layers or [_layer(model, layer, cache) for layer in range(model.n_layers)]
            for layer, receivers in enumerate(layers):
                receivers.add(cache, layer, gradients[3 * layer : 3 * layer + 3])
            final += gradients[-1][
                :, -1
            ]  # taken before the final norm: autograd has already passed it
        if alpha == 1.0:
            outputs = _outputs(cache)
        del cache, value, wanted, gradients
    with torch.no_grad():
        clean = outputs or _outputs(
            model.run(batch.clean, batch.context, like=batch.like, at_end=True)
        )
        senders = _Differences(model, batch, clean)
        scores = weights.new_zeros(len(weights), len(graph.senders), len(graph.receivers))
        equal = [bool((own == 1).all()) for own in weights]
        prompt_of_row = torch.arange(len(batch.indices), device=model.device).repeat_interleave(
            batch.clean.shape[1]
        )

        def contract(first: int, gradient: Tensor, rows: Tensor | None) -> None:
            """Scores of the receivers from `first` on, whose gradients are [receiver, row,
            d_model].
            """
            seen = slice(0, int(graph.visible[first]))
            difference = senders.at(rows, seen.stop).flatten(1)
            prompt = prompt_of_row if rows is None else prompt_of_row[rows]
            for which, own in enumerate(weights):
                weighted = gradient if equal[which] else gradient * own[prompt][:, None]
                scores[which, seen, first : first + len(gradient)] = (
                    difference @ weighted.flatten(1).T
                )

        ends = layers[-1].queries.rows
        for layer, (block, inputs) in enumerate(zip(model.blocks, layers, strict=True)):
            heads, first = block.attention, graph.receivers_of_layer(layer).start
            for kind, offset, maps in (
                (inputs.queries, 0, [heads.W_Q]),
                (
                    inputs.keys_values,
                    model.n_heads,
                    [heads.of_each_head(w) for w in (heads.W_K, heads.W_V)],
                ),
            ):
                back = torch.cat(maps).transpose(1, 2)
                contract(first + offset, kind.to_stream(partial(per_head, weight=back)), kind.rows)
            senders.add_heads(layer)
            contract(
                graph.receiver_of_mlp(layer),
                inputs.mlp.to_stream(lambda g: g.transpose(0, 1).clone()),
                inputs.mlp.rows,
            )
            senders.add_mlp(layer)
            layers[layer] = None  # type: ignore[call-overload]  # its memory is needed no more
        contract(len(graph.receivers) - 1, final[None], ends)
    return scores


def _outputs(cache: ActivationCache) -> list[Tensor]:
    """What the heads' z and the MLPs' outputs are in a run, z and MLP by turns for each layer."""
    return [part.detach() for layer in zip(cache.z, cache.mlp_out, strict=True) for part in layer]


class _Differences:
    """Corrupted minus clean outputs of the senders, [sender, row, d_model], filled in the order of
    the graph.

    Those of the last layer count at the ends of the prompts only, and are known only there.
    """

    def __init__(self, model: Transformer, batch: Batch, clean: list[Tensor]) -> None:
        self.model, self.clean, self.corrupted = model, clean, _outputs(batch.corrupted_run)
        first = (batch.corrupted - batch.clean).flatten(0, 1)
        n_senders = 1 + (model.n_layers - 1) * (model.n_heads + 1)
        self.everywhere = first.new_empty(n_senders, *first.shape)
        self.everywhere[0] = first
        self.at_ends = first.new_empty(model.n_heads + 1, len(batch.indices), model.d_model)

    def at(self, rows: Tensor | None, seen: int) -> Tensor:
        """Of the first `seen` senders, at rows (None: all): [sender, row, d_model]."""
        everywhere = self.everywhere[:seen]
        if rows is None:
            return everywhere
        if seen <= len(self.everywhere):
            return everywhere[:, rows]
        return torch.cat([everywhere[:, rows], self.at_ends[: seen - len(self.everywhere)]])

    def add_heads(self, layer: int) -> None:
        difference = (self.corrupted[2 * layer] - self.clean[2 * layer]).flatten(0, 1)
        weight = self.model.blocks[layer].writes
        torch.bmm(difference.transpose(0, 1), weight, out=self._room(layer)[: self.model.n_heads])

    def add_mlp(self, layer: int) -> None:
        difference = self.corrupted[2 * layer + 1] - self.clean[2 * layer + 1]
        self._room(layer)[self.model.n_heads] = difference.flatten(0, 1)

    def _room(self, layer: int) -> Tensor:
        if layer == self.model.n_layers - 1:
            return self.at_ends
        first = 1 + layer * (self.model.n_heads + 1)
        return self.everywhere[first : first + self.model.n_heads + 1]
