"""What a record says of its circuit's overlap with those before, on random circuits."""

from __future__ import annotations

from dataclasses import replace
from itertools import combinations, pairwise

import numpy as np
import pandas as pd
import pytest

from circuitwatch.analysis import steps_at_once
from circuitwatch.circuits.attribution import Scored
from circuitwatch.circuits.graph import Graph
from circuitwatch.circuits.overlap import Circuit, circuit_of, jaccard, overlaps_by_chance
from circuitwatch.circuits.search import (
    EMPTY_REACHES,
    NOT_REACHED,
    WITHIN_INTERVAL,
    SearchSpec,
    smallest_circuit,
)
from circuitwatch.config import CircuitConfig
from circuitwatch.record_files import CheckpointRecord
from circuitwatch.scalars import as_recorded, circuit_scalars, overlap_scalars, score_scalars

GRAPH = Graph(n_layers=2, n_heads=2, parallel=True)


def random_circuits(n: int) -> list[Circuit]:
    rng = np.random.default_rng(0)
    shape = GRAPH.edges.shape
    return [
        Circuit(GRAPH.edges & (rng.random(shape) < 0.5), rng.normal(size=shape).astype(np.float32))
        for _ in range(n)
    ]


def record(step: int, circuit: Circuit, scalars: dict[str, float]) -> CheckpointRecord:
    nothing = pd.DataFrame()
    return CheckpointRecord(
        step, step, "", dict(scalars), nothing, nothing, None, circuit.scores, circuit.mask
    )


def test_overlaps_follow_the_chain_of_circuits() -> None:
    """The weighted mean starts at the first overlap and halves the weight of all that came before;
    the ceiling is of the checkpoint alone.
    """
    circuits, resampled = random_circuits(4), random_circuits(7)[4:]
    previous, found = None, []
    for step, circuit in enumerate(circuits):
        found.append(overlap_scalars(GRAPH, circuit, resampled, previous))
        previous = record(step, circuit, found[-1])
    ceiling = np.mean([jaccard(a.mask, b.mask) for a, b in combinations(resampled, 2)])
    assert all(
        scalars["overlap/edge_jaccard_ceiling"] == pytest.approx(ceiling) for scalars in found
    )
    assert set(found[0]) == {
        f"overlap/{name}_ceiling"
        for name in ("node_jaccard", "edge_jaccard", "weighted_edge_jaccard")
    }
    first, second, third = (jaccard(a.mask, b.mask) for a, b in pairwise(circuits))
    assert [scalars["overlap/edge_jaccard"] for scalars in found[1:]] == [first, second, third]
    means = [scalars["overlap/edge_jaccard_mean"] for scalars in found[1:]]
    assert means == pytest.approx([first, (first + second) / 2, first / 4 + second / 4 + third / 2])
    for (a, b), scalars in zip(pairwise(circuits), found[1:], strict=True):
        for name, value in overlaps_by_chance(GRAPH, b, a).items():
            assert scalars[f"overlap/{name}_chance"] == value


def test_resamples_are_compared_with_the_other_one_s_before() -> None:
    """From the records' own arrays: what A's circuit shares with B's across two checkpoints beside
    what they share within each; nothing where a resample has no circuit."""
    full, a, b, later_a, later_b = random_circuits(5)
    before = replace(record(0, full, {}), resamples=as_recorded([a, b]))
    said = overlap_scalars(GRAPH, full, [later_a, later_b], before)

    def shared(*pairs: tuple[Circuit, Circuit]) -> float:
        return float(np.mean([jaccard(one.mask, other.mask) for one, other in pairs]))

    assert said["overlap/edge_jaccard_resampled"] == pytest.approx(
        shared((a, later_b), (b, later_a))
    )
    assert said["overlap/edge_jaccard_resampled_ceiling"] == pytest.approx(
        shared((a, b), (later_a, later_b))
    )
    assert said["overlap/edge_jaccard_ceiling"] == pytest.approx(shared((later_a, later_b)))
    by_chance = [overlaps_by_chance(GRAPH, a, later_b), overlaps_by_chance(GRAPH, b, later_a)]
    for name in by_chance[0]:
        expected = np.mean([chance[name] for chance in by_chance])
        assert said[f"overlap/{name}_resampled_chance"] == pytest.approx(expected)
    for one, other in (([a, None], [later_a, later_b]), ([a, b], [None, later_b])):
        incomplete = replace(before, resamples=as_recorded(one))
        assert not any(
            "resampled" in name for name in overlap_scalars(GRAPH, full, other, incomplete)
        )


def test_circuits_of_resamples_are_recorded_as_places_and_scores() -> None:
    circuit = random_circuits(1)[0]
    kept, missing = as_recorded([circuit, None])
    assert missing is None and kept is not None and as_recorded([]) == ()
    assert kept.places.dtype == np.int32 and kept.scores.dtype == np.float32
    back = circuit_of(GRAPH, kept.places, kept.scores)
    assert (back.mask == circuit.mask).all() and (
        back.scores == circuit.scores * circuit.mask
    ).all()


def test_without_resamples_and_circuits_before_nothing_is_said() -> None:
    circuit = random_circuits(1)[0]
    assert overlap_scalars(GRAPH, circuit, [], None) == {}
    assert overlap_scalars(GRAPH, circuit, [circuit], None) == {}
    before = record(0, circuit, {})
    assert not any("resampled" in name for name in overlap_scalars(GRAPH, circuit, [], before))


def searched(
    value: float, *, model: float, corrupted: float, threshold: float = 0.8
) -> dict[str, object]:
    """Scalars of a search by recovery in which every circuit but the empty one has this
    behaviour.
    """
    scores = random_circuits(1)[0].scores
    found = smallest_circuit(
        GRAPH,
        scores,
        lambda _: value,
        model=model,
        corrupted=corrupted,
        interval=(0.5, 1.5),
        spec=SearchSpec(threshold=threshold),
    )
    return circuit_scalars(GRAPH, found)


def test_why_there_is_no_circuit() -> None:
    for scalars, reason in (
        (searched(1.0, model=1.0, corrupted=1.0), EMPTY_REACHES),
        (searched(0.5, model=1.0, corrupted=0.0), NOT_REACHED),
        (searched(1.0, model=0.0, corrupted=-1.0), WITHIN_INTERVAL["recovery"]),
    ):
        assert scalars["circuit/status"] == f"none: {reason}"
        assert set(scalars) == {"circuit/status", "circuit/evaluations", "circuit/exhaustive"}


@pytest.mark.parametrize(
    ("value", "corrupted", "flagged"),
    [
        (1.0, 0.0, False),
        (1.19, 0.0, False),
        (1.21, 0.0, True),
        (1.0, -1.0, False),
        (1.1, 0.7, True),
        (0.85, 0.79, False),
    ],
)
def test_faithfulness_out_of_range_is_flagged(
    value: float, corrupted: float, flagged: bool
) -> None:
    """Model 1: faithfulness 1, 1.19, 1.21, 1, 1.33 and 0.29."""
    scalars = searched(value, model=1.0, corrupted=corrupted)
    assert scalars["circuit/status"] == "found" and scalars["circuit/edges"]
    assert scalars["circuit/out_of_range"] is flagged


def test_faithfulness_below_the_range_is_flagged_too() -> None:
    """No search above finds such a circuit: where recovery passes and the empty circuit fails,
    faithfulness is above 0. The record is flagged all the same.
    """
    found = smallest_circuit(
        GRAPH,
        random_circuits(1)[0].scores,
        lambda _: -1.0,
        model=-1.0,
        corrupted=-0.5,
        spec=SearchSpec(threshold=0.8),
    )
    assert circuit_scalars(GRAPH, found)["circuit/out_of_range"] is False
    found = replace(found, curve=found.curve.assign(faithfulness=-0.21))
    assert circuit_scalars(GRAPH, found)["circuit/out_of_range"] is True


def test_what_is_said_of_scores() -> None:
    """What does not exist is left out."""
    nothing = np.zeros((1, *GRAPH.edges.shape), dtype=np.float32)
    assert score_scalars(Scored(nothing)) == {}
    assert score_scalars(Scored(nothing, 5)) == {"circuit/score_steps": 5}
    assert score_scalars(Scored(nothing, 27, 0.04, False)) == {
        "circuit/score_steps": 27,
        "circuit/score_error": 0.04,
        "circuit/score_converged": False,
    }


def test_steps_whose_gradients_are_held_together() -> None:
    assert (
        steps_at_once(CircuitConfig()) == 18 and steps_at_once(CircuitConfig(ig_max_steps=3)) == 3
    )
    assert (
        steps_at_once(CircuitConfig(ig_steps=30)) == 30
        and steps_at_once(CircuitConfig(method="exact")) == 1
    )
