"""What a circuit computes: the behaviour when every edge outside it carries its corrupted value.

A node outside the circuit receives only corrupted inputs, so its output is its corrupted output,
which was computed once and serves every circuit. Only the nodes inside are computed, and of a head
only those of its query, key and value that an edge of the circuit feeds. The input of a receiver is
its corrupted input plus, for each of its edges in the circuit, what the sender now adds beyond its
corrupted output. Where the heads of a layer share the scale of a norm, it is computed from what all
of them carry: those inside what they now have, the others their corrupted values. It divides what
those inside have; the others stay as they were. As in scoring, the first layer is computed at the
tokens that differ and the last one at the ends of the prompts.

Circuits of a search are nested and alike: a node whose whole sub-circuit is the same as in the last
evaluation is not computed again. To that of a head whose scale others share, theirs belong.

Exact edge scores, the oracle for tests and small models, are evaluations of the full circuit less
one edge (activation patching).
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from circuitwatch.circuits.attribution import graph_of
from circuitwatch.circuits.graph import LETTERS
from circuitwatch.circuits.prompts import Batch, Metric, Prepared, metric_at_end

Mask = npt.NDArray[np.bool_]
Indices = npt.NDArray[np.int64]


class CircuitEvaluator:
    """Evaluates circuits of one model on one set of prompts.

    `reuse` keeps every sender's output for the next, similar, circuit.
    """

    @torch.no_grad()
    def __init__(self, prepared: Prepared, metric: Metric, *, reuse: bool = True) -> None:
        self.model, self.metric, self.n_prompts = prepared.model, metric, prepared.n_prompts
        self.graph = graph_of(prepared.model)
        self._runs = [_Run(self, batch) for batch in prepared.batches]
        self._reuse = reuse

    def __call__(self, circuit: Mask) -> float:
        """Mean metric over the prompts with only the circuit's edges [sender, receiver]
        uncorrupted.
        """
        return float(self.per_prompt(circuit).mean())

    @torch.no_grad()
    def per_prompt(self, circuit: Mask) -> npt.NDArray[np.float64]:
        """The metric of each prompt [prompt] with only the circuit's edges [sender, receiver]
        uncorrupted.
        """
        keys = self._keys(circuit)
        circuit = circuit & (np.array(keys[:-1]) != 0)[:, None]
        values = np.empty(self.n_prompts)
        for run in self._runs:
            values[run.batch.indices.cpu().numpy()] = (
                run.evaluate(circuit, keys).cpu().double().numpy()
            )
            if not self._reuse:
                run.forget()
        return values

    def _keys(self, circuit: Mask) -> list[int]:
        """For each node a number that stands for the sub-circuit behind it: equal keys, equal
        outputs; 0 if `input` does not reach it.
        """
        graph, keys = self.graph, [1]
        receivers_of: dict[int, list[int]] = {}
        for receiver in np.flatnonzero(circuit.any(0)):
            receivers_of.setdefault(int(graph.node_of_receiver[receiver]), []).append(int(receiver))
        for node in range(1, len(graph.nodes)):
            edges = [
                (r, s, keys[s])
                for r in receivers_of.get(node, [])
                for s in np.flatnonzero(circuit[:, r]).tolist()
                if keys[s]
            ]
            keys.append(hash(tuple(edges)) if edges else 0)
            layer, place = divmod(node - 1, graph.n_heads + 1)
            if place == graph.n_heads - 1 and self.model.blocks[layer].couples:
                own = keys[-graph.n_heads :]
                keys[-graph.n_heads :] = [hash((key, tuple(own))) if key else 0 for key in own]
        return keys


class _Run:
    """One batch of prompts: what the senders add beyond their corrupted outputs, [sender, row,
    d_model], for the latest circuit.

    The last layer's senders have one row a prompt, its end; the others a row for every position.
    """

    def __init__(self, evaluator: CircuitEvaluator, batch: Batch) -> None:
        self.model, self.graph, self.metric, self.batch = (
            evaluator.model,
            evaluator.graph,
            evaluator.metric,
            batch,
        )
        self.n_before = self.graph.sender_of_head(
            self.model.n_layers - 1, 0
        )  # senders before the last layer
        self.ends = (
            torch.arange(1, len(batch.indices) + 1, device=self.model.device) * batch.clean.shape[1]
            - 1
        )
        self.forget()

    def forget(self) -> None:
        """Drop what was kept for the next circuit."""
        self.keys = [0] * len(self.graph.nodes)
        self.everywhere: Tensor | None = None

    def evaluate(self, circuit: Mask, keys: list[int]) -> Tensor:
        """The metric of each prompt."""
        model, graph, batch = self.model, self.graph, self.batch
        if self.everywhere is None:
            rows = batch.clean.shape[0] * batch.clean.shape[1]
            self.everywhere = batch.clean.new_empty(self.n_before, rows, model.d_model)
            self.everywhere[0] = (batch.clean - batch.corrupted).flatten(0, 1)
            self.at_ends = batch.clean.new_empty(
                model.n_heads + 1, len(batch.indices), model.d_model
            )
        stale = np.array(keys) != np.array(self.keys)
        inside = np.array(keys) != 0
        self.keys = [0] * len(keys)  # nothing counts as kept if this is interrupted
        for layer in range(model.n_layers):
            first = graph.sender_of_head(layer, 0)
            heads = np.flatnonzero((stale & inside)[first : first + graph.n_heads])
            if len(heads):
                self._set(layer, heads, self._heads(layer, heads, circuit))
            mlp = graph.sender_of_mlp(layer)
            if stale[mlp] and inside[mlp]:
                self._set(layer, np.array([graph.n_heads]), self._mlp(layer, circuit)[None])
        logits = len(graph.receivers) - 1
        final = (
            batch.corrupted_run.final[:, -1:]
            + self._gains(circuit, np.array([logits]), self.ends)[0][:, None]
        )
        self.keys = keys
        return metric_at_end(model, final, batch, self.metric)

    def _set(self, layer: int, places: Indices, gains: Tensor) -> None:
        """Keep the gains [sender, row, d_model] of senders of a layer: its heads by number, then
        its MLP.
        """
        if layer == self.model.n_layers - 1:
            self.at_ends[places] = gains
        else:
            assert self.everywhere is not None
            self.everywhere[self.graph.sender_of_head(layer, 0) + places] = gains

    def _gains(self, circuit: Mask, receivers: Indices, rows: Tensor | None) -> Tensor:
        """Sum over the circuit's edges into each receiver, at rows (None: all): [receiver, row,
        d_model].
        """
        assert self.everywhere is not None
        edges = circuit[:, receivers]
        senders = np.flatnonzero(edges.any(1))
        before, last = (
            senders[senders < self.n_before],
            senders[senders >= self.n_before] - self.n_before,
        )
        if rows is None and edges.sum() < len(senders) * (1.25 + len(receivers) / 40):
            # Few edges: adding them one by one is faster than gathering the senders for a matrix
            # product (measured on a CPU).
            total = self.everywhere.new_zeros(len(receivers), *self.everywhere.shape[1:])
            for sender, receiver in np.argwhere(edges):
                total[receiver] += self.everywhere[sender]
            return total
        if rows is None:
            outputs = self.everywhere[torch.from_numpy(before)]
        else:
            outputs = self.everywhere[torch.from_numpy(before)[:, None], rows]
            outputs = (
                torch.cat([outputs, self.at_ends[torch.from_numpy(last)]]) if len(last) else outputs
            )
        carried = torch.from_numpy(edges[senders]).to(outputs)
        return (carried.T @ outputs.flatten(1)).unflatten(1, outputs.shape[1:])

    def _rows(self, receiver: int, *, at_end: bool) -> Tensor | None:
        """Where a receiver's input counts; None: everywhere.

        In the last layer (if `at_end`) that is at the ends, and elsewhere at the tokens that differ
        if it sees the embedding alone.
        """
        if at_end and receiver >= self.graph.receivers_of_layer(self.model.n_layers - 1).start:
            return self.ends
        return self.batch.changed if self.graph.visible[receiver] == 1 else None

    def _heads(self, layer: int, heads: Indices, circuit: Mask) -> Tensor:
        """Gains of heads of a layer: [head, row, d_model]."""
        model, batch, block = self.model, self.batch, self.model.blocks[layer]
        cache, attention, context = batch.corrupted_run, block.attention, batch.context
        last, sight = layer == model.n_layers - 1, context.sights[layer]
        first = self.graph.receivers_of_layer(layer).start
        weights = {
            "q": (attention.W_Q, attention.b_Q, 1),
            "k": (attention.W_K, attention.b_K, attention.heads_per_group),
            "v": (attention.W_V, attention.b_V, attention.heads_per_group),
        }
        values = {"q": cache.q[layer], "k": cache.keys[layer], "v": cache.values[layer]}
        values = {letter: value[:, :, heads] for letter, value in values.items()}
        stream = cache.attention_in[layer].flatten(0, 1)
        for letter, (weight, bias, per_group) in weights.items():
            receivers = first + LETTERS.index(letter) * self.graph.n_heads + heads
            fed = np.flatnonzero(circuit[:, receivers].any(0))
            if not len(fed):
                continue
            rows = self._rows(receivers[0], at_end=letter == "q")
            base = stream if rows is None else stream[rows]
            normalised = block.before_heads(self._gains(circuit, receivers[fed], rows).add_(base))
            # Head by head, on views: picking the heads' weights for one batched product would copy
            # them every time.
            groups = heads[fed] // per_group
            parts = [
                torch.addmm(bias[g], x, weight[g]) for g, x in zip(groups, normalised, strict=True)
            ]
            projected = torch.stack(parts, 1)
            if attention.is_coupled(letter):
                whole = self._whole(layer, letter).clone()
                self._fill(whole, rows, heads[fed], projected)
                turned = sight.rotation_at(
                    self.ends if last and letter == "q" else None, len(stream)
                )
                scale = attention.coupled_scale(letter, whole)
                finished = attention.finish(letter, whole[:, heads], turned, heads, scale)
                values[letter] = finished.view_as(values[letter])
                continue
            turned = sight.rotation_at(rows, len(stream))
            projected = attention.finish(letter, projected, turned, heads[fed])
            whole = values[letter].flatten(0, 1)
            self._fill(whole, rows, fed, projected)
            values[letter] = whole.view_as(values[letter])
        keys, own = values["k"], values["v"]
        if context.keys:
            keys = torch.cat([context.keys[layer][:, :, heads], keys], dim=1)
            own = torch.cat([context.values[layer][:, :, heads], own], dim=1)
        z = attention.attend(values["q"], keys, own, sight.last() if last else sight, heads)
        scaled_by = cache.z_scale[layer]
        if scaled_by is not None:
            every = cache.z[layer] * scaled_by
            every[:, :, heads] = z
            scale = block.post_scale(every)
            assert scale is not None
            z = z / scale
        difference = (z - cache.z[layer][:, :, heads]).flatten(0, 1)
        return torch.stack([difference[:, i] @ block.writes[head] for i, head in enumerate(heads)])

    def _whole(self, layer: int, letter: str) -> Tensor:
        """Corrupted queries or keys of every head as they are projected: [row, head, d_head]."""
        cache = self.batch.corrupted_run
        projected = (cache.projected_q if letter == "q" else cache.projected_keys)[layer]
        assert projected is not None
        return projected.flatten(0, 1)

    def _fill(self, whole: Tensor, rows: Tensor | None, heads: Indices, values: Tensor) -> None:
        """Put values [row, head, d_head] of some heads into those of all, which are at every row,
        or at the ends.
        """
        if rows is None or rows is self.ends:  # the whole of what is held
            whole[:, heads] = values
        else:
            whole[rows[:, None], torch.from_numpy(heads).to(rows.device)] = values

    def _mlp(self, layer: int, circuit: Mask) -> Tensor:
        """Gain of a layer's MLP: [row, d_model]."""
        model, cache, block = self.model, self.batch.corrupted_run, self.model.blocks[layer]
        receiver = self.graph.receiver_of_mlp(layer)
        rows = self._rows(receiver, at_end=True)
        only_changed = rows is not None and rows is not self.ends
        stream, corrupted = cache.mlp_in[layer].flatten(0, 1), cache.mlp_out[layer].flatten(0, 1)
        if only_changed:
            stream, corrupted = stream[rows], corrupted[rows]
        gains = self._gains(circuit, np.array([receiver]), rows)[0]
        gain = block.through_mlp(stream + gains) - corrupted
        if not only_changed:
            return gain
        whole = gain.new_zeros(len(self.batch.indices) * self.batch.clean.shape[1], model.d_model)
        whole[rows] = gain
        return whole


def exact_edge_scores(
    prepared: Prepared, metric: Metric, *, on_edge: Callable[[int], None] | None = None
) -> npt.NDArray[np.float32]:
    """The exact effect of corrupting each edge alone, F(all edges but this one) − F(model):
    [sender, receiver], 0 where there is no edge.
    """
    return weighted_exact_edge_scores(
        prepared, metric, np.ones((1, prepared.n_prompts)), on_edge=on_edge
    )[0]


def weighted_exact_edge_scores(
    prepared: Prepared,
    metric: Metric,
    weights: npt.NDArray[np.float64],
    *,
    on_edge: Callable[[int], None] | None = None,
) -> npt.NDArray[np.float32]:
    """Exact effects as means over prompts under each set of weights [set, prompt], which are
    relative: [set, sender, receiver].
    """
    evaluator = CircuitEvaluator(prepared, metric)
    circuit = evaluator.graph.edges.copy()
    everything = evaluator.per_prompt(circuit)
    shares = weights / weights.sum(1, keepdims=True)
    scores = np.zeros((len(weights), *circuit.shape), dtype=np.float32)
    for done, (sender, receiver) in enumerate(np.argwhere(circuit), 1):
        circuit[sender, receiver] = False
        scores[:, sender, receiver] = shares @ (evaluator.per_prompt(circuit) - everything)
        circuit[sender, receiver] = True
        if on_edge:
            on_edge(done)
    return scores
