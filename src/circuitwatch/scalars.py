"""What a record says of a checkpoint in single numbers: how scores, circuit, overlaps and roles
become named scalars.

What does not exist is left out. The names are those of a record's scalars, e.g. `circuit/edges`.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
import pandas as pd

from circuitwatch import catalogue
from circuitwatch.algorithms.confirming import node_names
from circuitwatch.circuits.attribution import Scored
from circuitwatch.circuits.graph import Graph
from circuitwatch.circuits.overlap import (
    Circuit,
    circuit_of,
    mean_overlaps,
    overlaps,
    overlaps_by_chance,
    resampled_overlaps,
    resampled_scalars,
)
from circuitwatch.circuits.search import SearchResult
from circuitwatch.heads.holding import can_hold, that_can_hold, why_none_can
from circuitwatch.record_files import CheckpointRecord, Edges, Scalar

Mask = npt.NDArray[np.bool_]
LATEST = 0.5
"""Weight of the latest overlap in the exponentially weighted mean (Tigges et al., 2407.10827)."""
OUT_OF_RANGE = -0.2, 1.2
"""Faithfulness below or above these is flagged: such a circuit is not a part of what the model
does.
"""


def score_scalars(scored: Scored) -> dict[str, Scalar]:
    """How many steps the scores took, their estimated error and whether that is small enough; what
    does not exist is left out.
    """
    known = {"steps": scored.steps, "error": scored.error, "converged": scored.converged}
    return {f"circuit/score_{name}": value for name, value in known.items() if value is not None}


def circuit_scalars(graph: Graph, found: SearchResult) -> dict[str, Scalar]:
    """Size and faithfulness of the circuit found, or why there is none."""
    scalars: dict[str, Scalar] = {
        "circuit/evaluations": len(found.curve),
        "circuit/exhaustive": found.exhaustive,
    }
    if found.mask is None or found.edges_before_pruning is None:
        return scalars | {"circuit/status": f"none: {found.reason}"}
    nodes = int(graph.nodes_in(found.mask).sum())
    edges = int(found.mask.sum())
    row = found.curve.set_index("edges_before_pruning").loc[found.edges_before_pruning]
    shares = {
        f"circuit/{name}": float(row[name])
        for name in ("recovery", "faithfulness")
        if pd.notna(row[name])
    }
    if "circuit/faithfulness" in shares:
        low, high = OUT_OF_RANGE
        scalars["circuit/out_of_range"] = not low <= shares["circuit/faithfulness"] <= high
    return (
        scalars
        | shares
        | {
            "circuit/status": "found",
            "circuit/edges": edges,
            "circuit/edges_share": edges / graph.n_edges,
            "circuit/edges_before_pruning": found.edges_before_pruning,
            "circuit/nodes": nodes,
            "circuit/nodes_share": nodes / len(graph.nodes),
        }
    )


def overlap_scalars(
    graph: Graph,
    circuit: Circuit,
    resampled: Sequence[Circuit | None],
    previous: CheckpointRecord | None,
) -> dict[str, Scalar]:
    """Overlap with the last circuit found before, by chance, and its weighted mean; the same
    through resampled prompts.

    `_ceiling` is of this checkpoint alone, `_resampled` and what stands beside it of both. What
    does not exist is left out.
    """
    scalars: dict[str, Scalar] = {
        f"overlap/{name}_ceiling": value for name, value in mean_overlaps(graph, resampled).items()
    }
    if previous is None or previous.mask is None or previous.scores is None:
        return scalars
    before = Circuit(previous.mask, previous.scores)
    for name, value in overlaps(graph, circuit, before).items():
        mean = previous.scalars.get(f"overlap/{name}_mean", value)
        scalars |= {
            f"overlap/{name}": value,
            f"overlap/{name}_mean": LATEST * value + (1 - LATEST) * float(mean),
        }
    chance = overlaps_by_chance(graph, circuit, before)
    scalars |= {f"overlap/{name}_chance": value for name, value in chance.items()}
    if resampled and previous.resamples:
        earlier = resampled_of(graph, previous)
        scalars |= resampled_scalars(resampled_overlaps(graph, earlier, resampled))
    return scalars


def as_recorded(resampled: Sequence[Circuit | None]) -> tuple[Edges | None, ...]:
    """Circuits of resamples as a record keeps them: places in the flattened mask, and their
    scores.
    """

    def kept(circuit: Circuit) -> Edges:
        places = np.flatnonzero(circuit.mask).astype(np.int32)
        return Edges(places, circuit.scores.ravel()[places])

    return tuple(None if circuit is None else kept(circuit) for circuit in resampled)


def resampled_of(graph: Graph, record: CheckpointRecord) -> list[Circuit | None]:
    """The circuits of resamples that a record keeps, as `as_recorded` wrote them."""
    return [
        None if own is None else circuit_of(graph, own.places, own.scores)
        for own in record.resamples
    ]


def curve_rows(graph: Graph, roles: pd.DataFrame, mask: Mask | None, which: str) -> pd.DataFrame:
    """The rows of a role table that the roles' curves are over: `all`, or those of heads in the
    `circuit` [sender, receiver].

    In the circuit a role that writes the answer, as name movers do, needs an edge to the logits (as
    in the code of Tigges et al., 2407.10827).
    """
    if which == "all":
        return roles
    if mask is None:
        return roles.iloc[:0]
    inside = {graph.nodes[i] for i in np.flatnonzero(graph.nodes_in(mask))}
    to_logits = {graph.senders[i] for i in np.flatnonzero(mask[:, -1])}
    writes = [role.name for role in catalogue.roles().values() if role.writes_answer]
    writes_answer = roles["role"].isin(writes)
    names = pd.Series(node_names(roles), index=roles.index, dtype=object)
    return roles[names.isin(inside) & (~writes_answer | names.isin(to_logits))]


def role_scalars(roles: pd.DataFrame, left_out: dict[str, str], n_layers: int) -> dict[str, Scalar]:
    """The strongest head (or MLP) of each role that can hold it, and the sum over those; or why a
    role could not be measured, or none can hold it.

    roles: those that the curves are over; n_layers: of the model.
    """
    scalars: dict[str, Scalar] = {
        f"roles/{role}/left_out": reason for role, reason in left_out.items()
    }
    for role, table in roles.groupby("role", sort=False):
        able = that_can_hold(table)
        if able.empty:
            if not can_hold(str(role), n_layers - 1):
                scalars[f"roles/{role}/left_out"] = why_none_can(str(role), n_layers)
            continue
        best = able.loc[[able["score"].idxmax()]]
        scalars |= {
            f"roles/{role}/max": float(best["score"].iloc[0]),
            f"roles/{role}/head": node_names(best)[0],
            f"roles/{role}/total": float(able["score"].sum()),
        }
    return scalars
