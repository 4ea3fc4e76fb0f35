"""Greedy order, pruning and the search over sizes, on graphs and curves whose answers are known."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from circuitwatch.circuits.graph import Graph
from circuitwatch.circuits.search import (
    EMPTY_REACHES,
    NOT_REACHED,
    WITHIN_INTERVAL,
    SearchSpec,
    circuit_of_size,
    denominator,
    faithfulness,
    greedy_order,
    prune,
    recovery,
    smallest_circuit,
)

GRAPH = Graph(n_layers=2, n_heads=2, parallel=True)


def random_scores(seed: int, graph: Graph = GRAPH) -> np.ndarray:
    return (np.random.default_rng(seed).normal(size=graph.edges.shape) * graph.edges).astype(
        np.float32
    )


def naive_order(graph: Graph, scores: np.ndarray) -> list[tuple[str, str]]:
    """The definition, by name: again and again the strongest edge whose receiver's node is in."""
    inside, order = {"logits"}, []
    edges = {
        (graph.senders[s], graph.receivers[r]): abs(scores[s, r])
        for s, r in np.argwhere(graph.edges)
    }
    while edges:
        open_edges = {
            edge: score for edge, score in edges.items() if edge[1].split("<")[0] in inside
        }
        best = max(open_edges, key=lambda edge: open_edges[edge])
        order.append(best)
        inside.add(best[0])
        del edges[best]
    return order


@pytest.mark.parametrize("parallel", [True, False])
@pytest.mark.parametrize("seed", range(5))
def test_greedy_order_equals_the_definition(seed: int, parallel: bool) -> None:
    graph = Graph(2, 2, parallel)
    scores = random_scores(seed, graph)
    named = [(graph.senders[s], graph.receivers[r]) for s, r in greedy_order(graph, scores)]
    assert named == naive_order(graph, scores)


@settings(max_examples=50, deadline=None)
@given(seed=st.integers(0, 2**20), n=st.integers(1, 49))
def test_a_pruned_circuit_has_no_dead_nodes(seed: int, n: int) -> None:
    mask = circuit_of_size(GRAPH, greedy_order(GRAPH, random_scores(seed)), n)
    senders = {GRAPH.senders[s] for s, _ in np.argwhere(mask)}
    nodes_fed = {GRAPH.receivers[r].split("<")[0] for _, r in np.argwhere(mask)}
    assert senders - {"input"} <= nodes_fed
    assert nodes_fed - {"logits"} <= senders


def test_pruning_goes_on_until_nothing_changes() -> None:
    mask = np.zeros_like(GRAPH.edges)

    def connect(sender: str, receiver: str) -> None:
        mask[GRAPH.senders.index(sender), GRAPH.receivers.index(receiver)] = True

    connect(
        "m0", "a1.h0<q>"
    )  # m0 has no input: first m0, then a1.h0, then its edge to logits must go
    connect("a1.h0", "logits")
    assert not prune(GRAPH, mask).any()
    connect("input", "m0")
    assert (prune(GRAPH, mask) == mask).all()


@pytest.mark.parametrize("search", ["coarse_to_fine", "exhaustive"])
def test_the_smallest_circuit_of_a_monotone_curve(search: str) -> None:
    """When behaviour grows with every edge both searches must find the exact answer."""
    scores, total = random_scores(3), GRAPH.n_edges
    found = smallest_circuit(
        GRAPH,
        scores,
        lambda mask: float(mask.sum()),
        model=total,
        corrupted=0.0,
        spec=SearchSpec(threshold=0.5, search=search),
    )
    order = greedy_order(GRAPH, scores)
    expected = next(
        n for n in range(1, total + 1) if circuit_of_size(GRAPH, order, n).sum() >= total / 2
    )
    assert found.edges_before_pruning == expected
    assert found.mask is not None and found.mask.sum() >= total / 2
    assert found.exhaustive == (search == "exhaustive")
    assert (
        found.curve.edges_before_pruning.is_monotonic_increasing
        and found.curve.edges_before_pruning.is_unique
    )


def test_exhaustive_search_sees_a_dip_that_the_coarse_one_may_miss() -> None:
    order = greedy_order(GRAPH, random_scores(4))
    lucky = circuit_of_size(GRAPH, order, 9)

    def behaviour(mask: np.ndarray) -> float:
        return 1.0 if (mask == lucky).all() or mask.sum() >= 40 else 0.0

    found = smallest_circuit(
        GRAPH,
        random_scores(4),
        behaviour,
        model=1.0,
        corrupted=0.0,
        spec=SearchSpec(search="exhaustive"),
    )
    assert found.mask is not None and (found.mask == lucky).all()


def test_a_threshold_that_nothing_reaches() -> None:
    found = smallest_circuit(GRAPH, random_scores(5), lambda mask: 0.1, model=1.0, corrupted=0.0)
    assert found.mask is None and found.edges_before_pruning is None and len(found.curve) > 5
    assert found.reason == NOT_REACHED


@pytest.mark.parametrize("search", ["coarse_to_fine", "exhaustive"])
@pytest.mark.parametrize(
    ("model", "corrupted", "criterion", "interval", "reason"),
    [
        (
            0.5,
            0.5,
            "recovery",
            None,
            EMPTY_REACHES,
        ),  # a taste for late years: the same with every prompt
        (0.5, 0.41, "recovery", (0.4, 0.6), EMPTY_REACHES),
        (0.5, 0.4, "recovery", (0.4, 0.6), EMPTY_REACHES),  # the threshold is reached exactly
        (0.5, 0.6, "recovery", (0.4, 0.6), EMPTY_REACHES),
        (-2.0, -3.0, "recovery", (-2.5, -1.5), EMPTY_REACHES),  # a share of two negative numbers
        (0.0, -1.0, "recovery", None, WITHIN_INTERVAL["recovery"]),
        (0.1, -5.0, "recovery", (-0.1, 0.3), WITHIN_INTERVAL["recovery"]),
        (-0.1, 5.0, "recovery", (-0.3, 0.1), WITHIN_INTERVAL["recovery"]),
        (0.5, 0.5, "faithfulness", None, WITHIN_INTERVAL["faithfulness"]),
        (0.5, 0.49, "faithfulness", (-0.01, 0.03), WITHIN_INTERVAL["faithfulness"]),
    ],
)
def test_where_there_is_nothing_to_find_nothing_is_found(
    search: str,
    model: float,
    corrupted: float,
    criterion: str,
    interval: tuple[float, float] | None,
    reason: str,
) -> None:
    """No circuit is evaluated: any would do, or none could be said to. It was `found, 0 edges`."""

    def never(mask: np.ndarray) -> float:
        raise AssertionError

    found = smallest_circuit(
        GRAPH,
        random_scores(7),
        never,
        model=model,
        corrupted=corrupted,
        interval=interval,
        spec=SearchSpec(criterion=criterion, search=search),
    )
    assert (
        found.mask is None
        and found.edges_before_pruning is None
        and found.curve.empty
        and found.reason == reason
    )
    assert list(found.curve) == [
        "edges_before_pruning",
        "edges",
        "value",
        "recovery",
        "faithfulness",
    ]


@pytest.mark.parametrize("search", ["coarse_to_fine", "exhaustive"])
@pytest.mark.parametrize(
    ("corrupted", "criterion"),
    [(0.79, "recovery"), (-1.0, "recovery"), (0.99, "faithfulness"), (2.0, "faithfulness")],
)
def test_a_circuit_that_is_found_has_edges(search: str, corrupted: float, criterion: str) -> None:
    """A size that prunes to nothing does not pass, whatever an evaluation that rounds would say."""

    def behaviour(mask: np.ndarray) -> float:
        return (
            1.0 if mask.sum() else 1.0 - 1e-9
        )  # rounding up to the threshold, where there is nothing

    found = smallest_circuit(
        GRAPH,
        random_scores(8),
        behaviour,
        model=1.0,
        corrupted=corrupted,
        interval=None,
        spec=SearchSpec(criterion=criterion, search=search),
    )
    assert found.mask is not None and found.mask.sum() > 0 and found.reason is None


def test_what_a_criterion_divides_by() -> None:
    model, corrupted = np.array([1.0, 2.0]), np.array([-1.0, 0.5])
    assert denominator(model, corrupted, "recovery").tolist() == [1.0, 2.0]
    assert denominator(model, corrupted, "faithfulness").tolist() == [2.0, 1.5]


def test_no_circuit_is_evaluated_twice() -> None:
    seen = []
    smallest_circuit(
        GRAPH,
        random_scores(6),
        lambda mask: seen.append(mask.tobytes()) or float(mask.sum()),
        model=49,
        corrupted=0.0,
    )
    assert len(seen) == len(set(seen))


def test_shares() -> None:
    assert recovery(2.0, 4.0) == 0.5 and recovery(1.0, 0.0) is None
    assert (
        faithfulness(2.0, 4.0, 1.0) == pytest.approx(1 / 3) and faithfulness(1.0, 2.0, 2.0) is None
    )
