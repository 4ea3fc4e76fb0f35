"""Scores, values of circuits and path patching by a naive implementation of a model: prompt by
prompt, edge by edge.
"""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from circuitwatch.circuits.attribution import graph_of
from circuitwatch.circuits.prompts import Metric
from support.models import Case, Pairs, logit_difference
from support.plain import Plain
from support.textbook import Nodes, Textbook


def naive_scores(case: Case, prompts: Pairs, metric: Metric, alphas: list[float]) -> np.ndarray:
    """Prompt by prompt, step by step, edge by edge, with autograd on every receiver's own input."""
    graph = graph_of(case.model)
    scores = np.zeros(graph.edges.shape)
    for i, length in enumerate(prompts.lengths.tolist()):
        clean, corrupted = (
            case.textbook.embed(tokens[i : i + 1, :length])
            for tokens in (prompts.clean, prompts.corrupted)
        )
        clean_outputs, corrupted_outputs = (
            case.textbook.run(clean)[1],
            case.textbook.run(corrupted)[1],
        )
        for alpha in alphas:
            embedded = (corrupted + alpha * (clean - corrupted)).requires_grad_()
            logits, _, inputs = case.textbook.run(embedded)
            metric(logits[:, -1], torch.tensor([i])).sum().backward()
            for sender, receiver in case.textbook.edges():
                difference = corrupted_outputs[sender] - clean_outputs[sender]
                score = (
                    (difference * inputs[receiver].grad).sum().item()
                    / len(alphas)
                    / len(prompts.lengths)
                )
                scores[graph.senders.index(sender), graph.receivers.index(receiver)] += score
    return scores


def naive_value(case: Case, circuit: set[tuple[str, str]]) -> float:
    """Every prompt alone, the whole model recomputed with each edge outside the circuit
    corrupted.
    """
    total = 0.0
    for i, length in enumerate(case.prompts.lengths.tolist()):
        clean, corrupted = (
            case.textbook.embed(t[i : i + 1, :length])
            for t in (case.prompts.clean, case.prompts.corrupted)
        )
        logits = case.textbook.run(clean, case.textbook.run(corrupted)[1], circuit)[0]
        total += logit_difference(logits[:, -1], torch.tensor([i])).item()
    return total / len(case.prompts.lengths)


class Naive:
    """The textbook model, run with some nodes' outputs held fixed and some receivers' inputs
    replaced.
    """

    def __init__(self, book: Textbook | Plain) -> None:
        self.book = book

    def run(
        self,
        embedded: Tensor,
        held: Nodes | None = None,
        given: Nodes | None = None,
        where: list[int] | None = None,
    ) -> tuple[Tensor, Nodes, Nodes]:
        """Logits, outputs and inputs.

        `held` outputs replace what nodes compute; `given` inputs what receivers read at the
        positions `where`.
        """
        held, given = held or {}, given or {}

        def read(receiver: str, outputs: Nodes, senders: list[str]) -> Tensor:
            whole = sum(outputs[u] for u in senders)
            if receiver in given:
                whole = whole.clone()
                whole[:, where] = given[receiver][:, where]
            return whole

        return self.book.walk(
            {"input": held.get("input", embedded)},
            read,
            lambda name, output: held.get(name, output),
        )

    def senders_of(self, receiver: str) -> list[str]:
        return [sender for sender, into in self.book.edges() if into == receiver]

    def patch(
        self,
        base: Tensor,
        other: Tensor,
        senders: list[str],
        receivers: list[str],
        where: list[int],
        mlps: str,
    ) -> Tensor:
        """Logits [1, pos, vocabulary] of one prompt, whose receivers take what arrives at the
        positions `where`.
        """
        mine, theirs = self.run(base)[1], self.run(other)[1]
        frozen = {
            name: output for name, output in mine.items() if name[0] == "a" or mlps == "frozen"
        }
        read = self.run(base)[2]
        changed = self.run(base, frozen | {name: theirs[name] for name in senders})[2]
        # An input counts without the biases of earlier attention layers, which `walk` adds by
        # itself.
        biases = {
            name: read[name] - sum(mine[u] for u in self.senders_of(name)) for name in receivers
        }
        arrived = {name: changed[name] - biases[name] for name in receivers}
        return self.run(base, {}, {name: arrived[name] for name in receivers}, where)[0]


def naive_values(
    case: Case,
    senders: list[str],
    receivers: list[str],
    positions: Tensor | None = None,
    direction: str = "noising",
    mlps: str = "recomputed",
) -> list[float]:
    values = []
    for i, length in enumerate(case.prompts.lengths.tolist()):
        clean, corrupted = (
            case.textbook.embed(t[i : i + 1, :length])
            for t in (case.prompts.clean, case.prompts.corrupted)
        )
        base, other = (clean, corrupted) if direction == "noising" else (corrupted, clean)
        where = list(range(length)) if positions is None else sorted(set(positions[i].tolist()))
        logits = Naive(case.textbook).patch(base, other, senders, receivers, where, mlps)
        values.append(logit_difference(logits[:, -1], torch.tensor([i])).item())
    return values
