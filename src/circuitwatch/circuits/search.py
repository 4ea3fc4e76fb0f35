"""The smallest circuit that does what the model does: greedy order, pruning, and the search over
sizes.

Edges enter from `logits` backwards, always the one with the largest |score| among those whose
receiver's node is in the circuit already (Hanna et al., arXiv 2403.17806, following Conmy et al.,
2304.14997). A circuit of n edges is the first n of that order, less the nodes that nothing reaches
from `input`.

Where there is nothing to find no circuit is searched: where the empty circuit, with every edge
corrupted, reaches the threshold already, and where the denominator of the criterion cannot be told
from 0.

F(n), the behaviour of that circuit, is noisy and not monotone, so "the smallest n that reaches the
threshold" is only certain when every smaller n has been evaluated. The search goes from coarse to
fine, evaluates no circuit twice, keeps the whole curve, and says whether it was exhaustive below
its answer.
"""

from __future__ import annotations

import heapq
from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal, TypeVar

import numpy as np
import numpy.typing as npt
import pandas as pd

from circuitwatch.circuits.graph import Graph

Mask = npt.NDArray[np.bool_]
T = TypeVar("T", float, npt.NDArray[np.float64])
Criterion = Literal["recovery", "faithfulness"]
SearchKind = Literal["coarse_to_fine", "exhaustive"]
COARSE_SIZES = 16
NOT_REACHED = "threshold not reached"
EMPTY_REACHES = "the empty circuit reaches the threshold already"
WITHIN_INTERVAL = {
    "recovery": "the model's behaviour is within its own interval of 0",
    "faithfulness": "the model's behaviour less the corrupted is within its own interval of 0",
}


@dataclass(frozen=True)
class SearchSpec:
    """What counts as a circuit, and how sizes are searched: the criterion must reach the threshold,
    which is above 0.
    """

    threshold: float = 0.8
    criterion: Criterion = "recovery"
    search: SearchKind = "coarse_to_fine"


@dataclass(frozen=True)
class SearchResult:
    """The outcome of a search. `mask` [sender, receiver] and `edges_before_pruning` are None where
    there is no circuit, and `reason` says why.

    curve: one row a size evaluated, columns edges_before_pruning, edges (after pruning), value,
    recovery, faithfulness; none where no circuit was searched. exhaustive: every size below the
    answer (or every size at all, if there is none) was evaluated.
    """

    mask: Mask | None
    edges_before_pruning: int | None
    curve: pd.DataFrame
    exhaustive: bool
    reason: str | None = None


def greedy_order(graph: Graph, scores: npt.NDArray[np.float32]) -> npt.NDArray[np.int64]:
    """Edges in the order they enter the circuit: [edge, 2] of (sender, receiver).

    Ties go to the earlier sender, then receiver.
    """
    receivers_of: list[list[int]] = [[] for _ in graph.nodes]
    for receiver, node in enumerate(graph.node_of_receiver):
        receivers_of[node].append(receiver)
    strength = np.abs(scores)
    order, entered = [], {len(graph.nodes) - 1}
    candidates = [
        (-strength[s, r], s, r) for r in receivers_of[-1] for s in range(graph.visible[r])
    ]
    heapq.heapify(candidates)
    while candidates:
        _, sender, receiver = heapq.heappop(candidates)
        order.append((sender, receiver))
        if sender not in entered:
            entered.add(sender)
            for new in receivers_of[sender]:
                for earlier in range(graph.visible[new]):
                    heapq.heappush(candidates, (-strength[earlier, new], earlier, new))
    return np.array(order)


def prune(graph: Graph, mask: Mask) -> Mask:
    """Drop edges of nodes that do not lie between `input` and `logits`, until nothing changes: a
    new mask [sender, receiver].
    """
    mask = mask.copy()
    while True:
        has_input = np.zeros(len(graph.nodes), dtype=bool)
        has_input[0] = True
        has_input[graph.node_of_receiver[mask.any(0)]] = True
        has_output = np.append(mask.any(1), True)
        alive = has_input & has_output
        kept = mask & alive[: len(graph.senders), None] & alive[graph.node_of_receiver][None, :]
        if (kept == mask).all():
            return mask
        mask = kept


def circuit_of_size(graph: Graph, order: npt.NDArray[np.int64], n: int) -> Mask:
    """The first n edges of a greedy order, pruned."""
    mask = np.zeros(graph.edges.shape, dtype=bool)
    mask[order[:n, 0], order[:n, 1]] = True
    return prune(graph, mask)


def recovery(value: float, model: float) -> float | None:
    """F(circuit) / F(model), the share of Tigges et al.

    (arXiv 2407.10827); None if the model's behaviour is 0.
    """
    return value / model if model else None


def faithfulness(value: float, model: float, corrupted: float) -> float | None:
    """(F(circuit) − F(corrupted)) / (F(model) − F(corrupted)), as in MIB (arXiv 2504.13151); None
    if the two runs do not differ.
    """
    return (value - corrupted) / (model - corrupted) if model != corrupted else None


def shares(value: float, model: float, corrupted: float) -> dict[str, float]:
    """Both criteria of a circuit of this behaviour, by name; one whose denominator is 0 is left
    out.
    """
    both = {
        "recovery": recovery(value, model),
        "faithfulness": faithfulness(value, model, corrupted),
    }
    return {name: share for name, share in both.items() if share is not None}


def denominator(model: T, corrupted: T, criterion: Criterion) -> T:
    """What the criterion divides by, of means or prompt by prompt: F(model), or F(model) −
    F(corrupted).
    """
    return model if criterion == "recovery" else model - corrupted


def nothing_to_find(
    model: float, corrupted: float, spec: SearchSpec, interval: tuple[float, float] | None
) -> str | None:
    """Why no circuit can be found whatever the edges are, None if one may be; arguments as for
    `smallest_circuit`.
    """
    of_empty = shares(corrupted, model, corrupted).get(spec.criterion)
    if of_empty is None or (interval and interval[0] <= 0 <= interval[1]):
        return WITHIN_INTERVAL[spec.criterion]
    return EMPTY_REACHES if of_empty >= spec.threshold else None


def smallest_circuit(
    graph: Graph,
    scores: npt.NDArray[np.float32],
    evaluate: Callable[[Mask], float],
    *,
    model: float,
    corrupted: float,
    spec: SearchSpec = SearchSpec(),
    interval: tuple[float, float] | None = None,
    on_evaluation: Callable[[int], None] | None = None,
) -> SearchResult:
    """Find the smallest greedy circuit whose criterion reaches the threshold.

    Coarse to fine: sizes in geometric progression up to all edges; then the gap below the smallest
    size that passes is divided, again and again, until it is closed.

    Args:
        graph: The model's nodes and edges.
        scores: [sender, receiver]; edges with the largest |score| enter first.
        evaluate: The behaviour with a circuit [sender, receiver] in place.
        model: The full model's mean behaviour on clean prompts.
        corrupted: The same on corrupted prompts.
        spec: What counts as a circuit, and how sizes are searched.
        interval: Confidence interval of the criterion's denominator (see `denominator`), None if
            its value is exact.
        on_evaluation: Told how many circuits have been evaluated.

    Returns:
        The circuit, or why there is none, and the curve of sizes evaluated.
    """
    columns = ["edges_before_pruning", "edges", "value", "recovery", "faithfulness"]
    reason = nothing_to_find(model, corrupted, spec, interval)
    if reason:
        return SearchResult(
            None, None, pd.DataFrame(columns=columns, dtype=float), exhaustive=False, reason=reason
        )
    order = greedy_order(graph, scores)
    rows: dict[int, dict[str, float]] = {}
    # By circuit: different sizes may prune to the same one. Of the empty one it is known, and known
    # not to pass; evaluated anew it might by rounding.
    values = {np.zeros_like(graph.edges).tobytes(): corrupted}
    n_given = len(values)

    def passes(n: int) -> bool:
        if n not in rows:
            mask = circuit_of_size(graph, order, n)
            key = mask.tobytes()
            if key not in values:
                values[key] = evaluate(mask)
                if on_evaluation:
                    on_evaluation(len(values) - n_given)
            rows[n] = {
                "edges_before_pruning": n,
                "edges": int(mask.sum()),
                "value": values[key],
                **shares(values[key], model, corrupted),
            }
        return rows[n].get(spec.criterion, -np.inf) >= spec.threshold

    total = len(order)
    if spec.search == "exhaustive":
        passing = [n for n in range(1, total + 1) if passes(n)]
        answer = min(passing, default=None)
    else:
        coarse = np.unique(np.geomspace(1, total, COARSE_SIZES).round().astype(int)).tolist()
        answer = next((n for n in coarse if passes(n)), None)
        while answer is not None:
            below = max((n for n in rows if n < answer), default=0)
            inside = np.unique(np.linspace(below, answer, 4).round().astype(int))[1:-1].tolist()
            smaller = next((n for n in inside if n > below and passes(n)), None)
            if smaller is None and not inside:
                break
            answer = smaller or answer
    curve = pd.DataFrame([rows[n] for n in sorted(rows)]).reindex(columns=columns)
    mask = None if answer is None else circuit_of_size(graph, order, answer)
    exhaustive = set(range(1, answer or total + 1)) <= rows.keys()
    return SearchResult(mask, answer, curve, exhaustive, None if answer else NOT_REACHED)
