"""What a circuit computes: the behaviour when every edge outside it carries its corrupted value.

A node outside the circuit receives only corrupted inputs, so its output is its corrupted output, which is computed once and kept for every
circuit. Only the nodes inside are computed. The input of a receiver is its corrupted input plus, for each of its edges in the circuit,
what the sender now adds beyond its corrupted output.

Exact edge scores, the oracle for tests and small models, are evaluations of the full circuit less one edge (activation patching).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from circuitwatch.circuits.attribution import graph_of, per_head, sender_outputs
from circuitwatch.circuits.graph import LETTERS
from circuitwatch.circuits.prompts import Batch, Metric, PromptPairs, batches, metric_at_end
from circuitwatch.transformer import Trace, Transformer, causal_mask

Mask = npt.NDArray[np.bool_]


@dataclass(frozen=True)
class _Baseline:
    """A batch with its corrupted run: the trace, and every sender's output [sender, batch, pos, d_model]."""

    batch: Batch
    trace: Trace
    outputs: Tensor


class CircuitEvaluator:
    """Evaluates circuits of one model on one set of prompts; the corrupted runs are kept between calls."""

    @torch.no_grad()
    def __init__(self, model: Transformer, prompts: PromptPairs, metric: Metric, *, batch_size: int = 64) -> None:
        self.model, self.metric, self.graph = model, metric, graph_of(model)
        self.n_prompts = len(prompts.lengths)
        self._baselines = []
        for batch in batches(model, prompts, batch_size):
            trace = model.run(batch.corrupted, batch.past)
            self._baselines.append(_Baseline(batch, trace, sender_outputs(model, batch.corrupted, trace)))

    @torch.no_grad()
    def __call__(self, circuit: Mask) -> float:
        """Mean metric over the prompts with only the circuit's edges [sender, receiver] uncorrupted."""
        total = sum(self._evaluate(baseline, circuit).sum().item() for baseline in self._baselines)
        return float(total / self.n_prompts)

    def _evaluate(self, baseline: _Baseline, circuit: Mask) -> Tensor:
        """The metric of each prompt of a batch."""
        model, graph, batch = self.model, self.graph, baseline.batch
        gains = _Gains(circuit)
        gains.add([0], (batch.clean - batch.corrupted)[None])
        for layer, block in enumerate(model.blocks):
            inputs = circuit[:, graph.receivers_of_layer(layer)].any(0).reshape(len(LETTERS), graph.n_heads)
            heads = np.flatnonzero(inputs.any(0))
            if len(heads):
                difference = self._z(baseline, layer, heads, gains) - baseline.trace.z[layer][:, :, heads]
                gains.add(graph.sender_of_head(layer, 0) + heads, per_head(difference, block.attention.W_O[heads]))
            receiver = graph.receiver_of_mlp(layer)
            if circuit[:, receiver].any():
                stream = baseline.trace.mlp_in[layer] + gains.into([receiver])[0]
                output = block.mlp(block.mlp_norm(stream))
                gains.add([graph.sender_of_mlp(layer)], (output - baseline.trace.mlp_out[layer])[None])
        final = baseline.trace.final + gains.into([len(graph.receivers) - 1])[0]
        return metric_at_end(model, final, batch, self.metric)

    def _z(self, baseline: _Baseline, layer: int, heads: npt.NDArray[np.int64], gains: _Gains) -> Tensor:
        """Z [batch, pos, head, d_head] of the given heads of a layer, their queries, keys and values each with its own input."""
        model, past, block = self.model, baseline.batch.past, self.model.blocks[layer]
        first = self.graph.receivers_of_layer(layer).start
        letters = np.arange(len(LETTERS))[:, None] * self.graph.n_heads
        gained = gains.into((first + letters + heads).flatten())
        normalised = block.attention_norm(
            baseline.trace.attention_in[layer] + gained
        )  # [3 · head, batch, pos, d_model]
        attention = block.attention
        weights = torch.cat([attention.W_Q[heads], attention.W_K[heads], attention.W_V[heads]])
        biases = torch.cat([attention.b_Q[heads], attention.b_K[heads], attention.b_V[heads]])
        projected = torch.baddbmm(biases[:, None], normalised.flatten(1, 2), weights).unflatten(
            1, normalised.shape[1:3]
        )
        q, k, v = (x.permute(1, 2, 0, 3) for x in projected.chunk(len(LETTERS)))
        start = past.length if past else 0
        keys = model.rotate(k, start)
        if past:
            keys = torch.cat([past.keys[layer][:, :, heads], keys], dim=1)
            v = torch.cat([past.values[layer][:, :, heads], v], dim=1)
        mask = causal_mask(start, q.shape[1], q.device)
        return model.attend(model.rotate(q, start), keys, v, mask)


class _Gains:
    """What the senders computed so far add beyond their corrupted outputs."""

    def __init__(self, circuit: Mask) -> None:
        self.circuit = circuit
        self.senders: list[int] = []
        self.outputs: list[Tensor] = []

    def add(self, senders: Sequence[int] | npt.NDArray[np.int64], gains: Tensor) -> None:
        """Gains [sender, batch, pos, d_model] of the next senders."""
        self.senders += [int(sender) for sender in senders]
        self.outputs.append(gains)

    def into(self, receivers: Sequence[int] | npt.NDArray[np.int64]) -> Tensor:
        """Sum over the circuit's edges into each receiver: [receiver, batch, pos, d_model]."""
        outputs = torch.cat(self.outputs)
        self.outputs = [outputs]
        carried = torch.from_numpy(self.circuit[np.array(self.senders)[:, None], np.array(receivers)]).to(outputs)
        return (carried.T @ outputs.flatten(1)).unflatten(1, outputs.shape[1:])


def exact_edge_scores(
    model: Transformer,
    prompts: PromptPairs,
    metric: Metric,
    *,
    batch_size: int = 64,
    on_edge: Callable[[int], None] | None = None,
) -> npt.NDArray[np.float32]:
    """The exact effect of corrupting each edge alone, F(all edges but this one) − F(model): [sender, receiver], 0 where there is no edge."""
    evaluate = CircuitEvaluator(model, prompts, metric, batch_size=batch_size)
    circuit = evaluate.graph.edges.copy()
    everything = evaluate(circuit)
    scores = np.zeros(circuit.shape, dtype=np.float32)
    for done, (sender, receiver) in enumerate(np.argwhere(circuit), 1):
        circuit[sender, receiver] = False
        scores[sender, receiver] = evaluate(circuit) - everything
        circuit[sender, receiver] = True
        if on_edge:
            on_edge(done)
    return scores
