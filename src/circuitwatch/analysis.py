"""One checkpoint, from weights to record: heads and what else is measured of every checkpoint,
behaviour, edge scores, the circuit, what its heads do, and how far it differs from the one before.

The overlap with the last circuit stands beside what circuits of these sizes would share by chance,
and its exponentially weighted mean over checkpoints. Circuits of resampled prompts, the same at
every checkpoint of a cell, are compared across checkpoints and within one (the noise ceiling). What
all this is called in the record is in `scalars`.
"""

from __future__ import annotations

import importlib.metadata
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd
import torch

from circuitwatch import __version__
from circuitwatch.algorithms import (
    Findings,
    check_previous_tokens,
    confirm_roles,
    observed,
    unconfirmed,
)
from circuitwatch.behaviour import Behaviour, TaskMetric, measure
from circuitwatch.catalogue import BELOW_ZERO
from circuitwatch.checkpoints.files import weights_sha256
from circuitwatch.checkpoints.loading import load_model
from circuitwatch.checkpoints.schedule import Checkpoint
from circuitwatch.checkpoints.source import Say
from circuitwatch.circuits.attribution import Scored, graph_of, weighted_edge_scores
from circuitwatch.circuits.evaluation import CircuitEvaluator, weighted_exact_edge_scores
from circuitwatch.circuits.memory import Plan, plan, with_smaller_batches
from circuitwatch.circuits.overlap import Circuit
from circuitwatch.circuits.prompts import Metric, Prepared
from circuitwatch.circuits.quadrature import most_points_at_once
from circuitwatch.circuits.resampling import (
    bootstrap_weights,
    circuits_of_resamples,
    interval_of_mean,
)
from circuitwatch.circuits.search import SearchResult, SearchSpec, denominator, smallest_circuit
from circuitwatch.config import CircuitConfig, Config
from circuitwatch.errors import UserError
from circuitwatch.heads.quantities import quantity_scalars
from circuitwatch.heads.roles import RoleProbes, RoleScores, role_scores
from circuitwatch.record_files import (
    DUPLICATE_OF,
    NOT_ASKED,
    PREFIX_REMOVED,
    WEIGHTS_SHA256,
    CheckpointRecord,
    Scalar,
)
from circuitwatch.scalars import (
    as_recorded,
    circuit_scalars,
    curve_rows,
    overlap_scalars,
    role_scalars,
    score_scalars,
)
from circuitwatch.tasks import PromptSet
from circuitwatch.transformer import Transformer
from circuitwatch.units import parse_size
from circuitwatch.usable import require_finite, require_room_for, require_shape, unless_diverged

DEPENDENCIES = ("torch", "transformers", "numpy")
NOT_ABOVE_CHANCE = "none: behaviour not above chance"

Array = npt.NDArray[np.float64]
Scores = npt.NDArray[np.float32]


@dataclass(frozen=True)
class Subject:
    """What is looked at in every checkpoint of a cell."""

    prompts: PromptSet
    probes: RoleProbes
    config: Config
    shape: tuple[int, int] | None = None
    """Layers, and heads a layer, that the model has to have, where that is known before."""

    @property
    def longest_input(self) -> int:
        """Tokens of the longest input that a model gets in this cell."""
        return max(self.prompts.clean.shape[1], self.probes.inputs.longest)


@dataclass(frozen=True)
class Seen:
    """What is measured of a checkpoint whatever the task: the roles of its heads, and quantities of
    the model such as its loss.
    """

    roles: RoleScores
    scalars: dict[str, Scalar]

    @classmethod
    def of(cls, model: Transformer, probes: RoleProbes) -> Seen:
        """Measure them."""
        measuring = probes.at(model)
        return cls(role_scores(measuring, probes), quantity_scalars(measuring))


@dataclass(frozen=True)
class Parts:
    """What was found with the prompts.

    There is no `found` where the behaviour is not above chance, and no circuit in it where none
    reached the threshold.
    """

    behaviour: Behaviour
    findings: Findings
    scalars: dict[str, Scalar]
    found: SearchResult | None = None
    scores: Scores | None = None
    resampled: Sequence[Circuit | None] = ()


def analyse_checkpoint(
    checkpoint: Checkpoint,
    folder: Path,
    subject: Subject,
    previous: CheckpointRecord | None,
    say: Say,
    duplicate_of: str | None = None,
    sha256: str | None = None,
) -> CheckpointRecord:
    """Everything about one checkpoint, whose weights are in `folder`; `previous` is the last record
    before it that has a circuit, `sha256` the hash of the weights if it is known already.
    """
    config = subject.config
    say("loading")
    prefixes: list[str] = []
    model = load_model(
        folder,
        device=torch_device(config.device),
        dtype=getattr(torch, config.dtype),
        check_length=subject.longest_input,
        on_prefix=prefixes.append,
    )
    if subject.shape is not None:
        require_shape(model, subject.shape)
    require_room_for(model, subject.prompts, "the task's prompts")
    say("heads")
    with unless_diverged(model, subject.prompts.clean):
        seen = Seen.of(model, subject.probes)
    weights: dict[str, Scalar] = {WEIGHTS_SHA256: sha256 or weights_sha256(folder)}
    if duplicate_of:
        weights[DUPLICATE_OF] = duplicate_of
    if prefixes:
        weights[PREFIX_REMOVED] = prefixes[0]
    return analyse_model(checkpoint, model, seen, weights, subject, previous, say)


def analyse_model(
    checkpoint: Checkpoint,
    model: Transformer,
    seen: Seen,
    weights: Mapping[str, Scalar],
    subject: Subject,
    previous: CheckpointRecord | None,
    say: Say,
    *,
    circuits: bool = True,
) -> CheckpointRecord:
    """Everything about a model that is loaded. Raises Unusable for one that has diverged.

    Args:
        checkpoint: Which one it is.
        model: The model.
        seen: What was measured of it whatever the task.
        weights: What the record says of its weights.
        subject: What is looked at.
        previous: The last record before it that has a circuit.
        say: Told what is being done.
        circuits: Whether the circuit, and by path patching what heads do in it, is looked for; if
            not, the record has the behaviour, and roles as they are seen without the task.

    Returns:
        Its record.
    """
    with unless_diverged(model, subject.prompts.clean):
        record = _analysed(
            checkpoint, model, seen, weights, subject, previous, say, circuits=circuits
        )
        require_finite(record)
    return record


def _analysed(
    checkpoint: Checkpoint,
    model: Transformer,
    seen: Seen,
    weights: Mapping[str, Scalar],
    subject: Subject,
    previous: CheckpointRecord | None,
    say: Say,
    *,
    circuits: bool,
) -> CheckpointRecord:
    config = subject.config
    planned = planned_for(
        model, subject.prompts, config.circuit, steps=steps_at_once(config.circuit)
    )
    parts = with_smaller_batches(
        lambda size: behaviour_circuit_and_parts(
            Prepared(model, subject.prompts, batch_size=size),
            subject.prompts,
            seen.roles,
            config,
            planned.reuse,
            say,
            circuits=circuits,
        ),
        planned.batch_size,
        on_retry=lambda size: say(f"out of memory: {size} prompts at a time"),
    )
    if circuits and subject.probes.pairs is not None:
        check_previous_tokens(
            model,
            subject.probes.pairs,
            parts.findings,
            config.heads,
            n_bootstrap=config.n_bootstrap,
            seed=config.seed,
        )
    scalars = {**parts.scalars, **seen.scalars, **weights}
    found, patching, bands = parts.found, parts.findings.patching, parts.findings.bands
    mask = found.mask if found else None
    if mask is not None and parts.scores is not None:
        scalars |= overlap_scalars(
            graph_of(model), Circuit(mask, parts.scores), parts.resampled, previous
        )
    return CheckpointRecord(
        checkpoint.step,
        checkpoint.tokens,
        checkpoint.revision,
        scalars
        | parts.findings.scalars
        | role_scalars(
            curve_rows(graph_of(model), parts.findings.roles, mask, config.heads.curves),
            seen.roles.left_out,
            model.n_layers,
        ),
        parts.behaviour.per_prompt,
        parts.findings.roles,
        found.curve if found else None,
        parts.scores,
        mask,
        pd.concat(patching, ignore_index=True) if patching else None,
        pd.concat(bands, ignore_index=True) if bands else None,
        as_recorded(parts.resampled),
        made_by(config.device),
    )


def made_by(device: str) -> dict[str, Any]:
    """What decides the last bits of a record beside its cell's configuration: versions, threads,
    the device that `device` means here.
    """
    return {
        "code_version": __version__,
        "versions": dict(versions()),
        "threads": torch.get_num_threads(),
        "device": torch_device(device),
    }


@cache
def versions() -> Mapping[str, str]:
    """The versions of the libraries that compute."""
    return {name: importlib.metadata.version(name) for name in DEPENDENCIES}


def planned_for(
    model: Transformer, prompts: PromptSet, config: CircuitConfig, *, steps: int
) -> Plan:
    """How many prompts at a time, within the memory that the configuration allows; steps: of
    integrated gradients, taken together.
    """
    budget = parse_size(config.memory, "circuit.memory") if config.memory else None
    return plan(model, prompts, steps=steps, budget=budget, batch_size=config.batch_size)


def steps_at_once(config: CircuitConfig) -> int:
    """Steps of integrated gradients whose gradients are held together; 1 where none are taken."""
    return (
        most_points_at_once(config.ig_steps, config.ig_max_steps)
        if config.method == "eap-ig"
        else 1
    )


def behaviour_circuit_and_parts(
    prepared: Prepared,
    prompts: PromptSet,
    roles: RoleScores,
    config: Config,
    reuse: bool,
    say: Say,
    *,
    circuits: bool = True,
) -> Parts:
    """What the model does; if it does anything and `circuits` are asked for, the circuit, the edge
    scores, and what heads do in it.
    """
    say("behaviour")
    logits, corrupted_logits = prepared.end_logits()
    behaviour = measure(
        logits, corrupted_logits, prompts, n_bootstrap=config.n_bootstrap, seed=config.seed
    )
    values = {name: value for name, value in asdict(behaviour).items() if isinstance(value, float)}
    scalars: dict[str, Scalar] = {f"behaviour/{name}": value for name, value in values.items()}
    scalars["behaviour/above_chance"] = behaviour.above_chance
    if not behaviour.above_chance:
        scalars["behaviour/not_above_chance"] = behaviour.not_above_chance
    if not circuits:
        return Parts(behaviour, observed(roles.table), scalars | {"circuit/status": NOT_ASKED})
    if not behaviour.above_chance:
        findings = unconfirmed(
            prepared,
            prompts,
            roles.table,
            config.heads,
            n_bootstrap=config.n_bootstrap,
            seed=config.seed,
        )
        return Parts(behaviour, findings, scalars | {"circuit/status": NOT_ABOVE_CHANCE})
    found, scored, resampled = find_circuits(prepared, prompts, behaviour, config, reuse, say)
    graph = graph_of(prepared.model)
    nodes = (
        None
        if found.mask is None
        else [graph.nodes[i] for i in np.flatnonzero(graph.nodes_in(found.mask))]
    )
    say("path patching")
    findings = confirm_roles(
        prepared,
        prompts,
        roles.table,
        nodes,
        config.heads,
        n_bootstrap=config.n_bootstrap,
        seed=config.seed,
    )
    scalars |= circuit_scalars(graph, found) | score_scalars(scored)
    return Parts(behaviour, findings, scalars, found, scored.scores[0], resampled)


def find_circuits(
    prepared: Prepared,
    prompts: PromptSet,
    behaviour: Behaviour,
    config: Config,
    reuse: bool,
    say: Say,
    on_evaluation: Callable[[int], None] | None = None,
) -> tuple[SearchResult, Scored, list[Circuit | None]]:
    """Score the edges and search the smallest circuit, and those of resampled prompts.

    Args:
        prepared: the model and the prompts.
        prompts: the same prompts.
        behaviour: what the full model does on them.
        config: `circuit`; the seed of the resamples, the same at every checkpoint of a cell, so
            that circuits of one resample can be compared over checkpoints; and n_bootstrap, for the
            interval of what the criterion divides by.
        reuse: whether activations are kept between circuits.
        say: told what is being done.
        on_evaluation: told how many circuits of all prompts have been evaluated; `say` by default.

    Returns:
        What was found, the scores (the first set is that of all prompts), and the circuit of each
        resample; none is looked for where all prompts have none.
    """
    model, corrupted = (behaviour.per_prompt[name].to_numpy() for name in ("value", "corrupted"))
    options = config.circuit
    say("scoring edges")
    metric = TaskMetric(prompts)
    drawn = (
        bootstrap_weights(len(model), options.resamples, config.seed)
        if options.resamples
        else np.empty((0, len(model)))
    )
    scored = score_edges(
        prepared, metric, options, np.concatenate([np.ones((1, len(model))), drawn])
    )
    evaluator = CircuitEvaluator(prepared, metric, reuse=reuse)
    # Validation has made sure that these are among the choices.
    spec = SearchSpec(options.threshold, options.criterion, options.search)  # type: ignore[arg-type]
    found = smallest_circuit(
        evaluator.graph,
        scored.scores[0],
        evaluator,
        model=float(model.mean()),
        corrupted=float(corrupted.mean()),
        spec=spec,
        interval=interval_of_mean(
            denominator(model, corrupted, spec.criterion), n_bootstrap=config.n_bootstrap
        ),
        on_evaluation=on_evaluation or (lambda n: say(f"circuit {n}")),
    )
    if prompts.metric == BELOW_ZERO:  # below 0 whatever the model does: no share of it
        found = replace(found, curve=found.curve.assign(recovery=np.nan))
    if found.mask is None:
        return found, scored, []
    resampled = circuits_of_resamples(
        evaluator,
        drawn,
        scored.scores[1:],
        model=model,
        corrupted=corrupted,
        spec=spec,
        n_bootstrap=config.n_bootstrap,
        on_evaluation=lambda n: say(f"circuit of resampled prompts {n}"),
    )
    return found, scored, resampled


def score_edges(
    prepared: Prepared, metric: Metric, config: CircuitConfig, weights: Array
) -> Scored:
    """Edge scores [set, sender, receiver] by the configured method, under each set of weights [set,
    prompt].
    """
    if config.method == "exact":
        return Scored(weighted_exact_edge_scores(prepared, metric, weights))
    if config.method == "eap":
        return weighted_edge_scores(prepared, metric, weights, steps=1, quadrature="right")
    how: dict[str, Any] = {"steps": config.ig_steps, "quadrature": config.quadrature}
    how |= {"max_steps": config.ig_max_steps, "tolerance": config.ig_tolerance}
    return weighted_edge_scores(prepared, metric, weights, **how)


def torch_device(name: str) -> str:
    """The device meant; `auto` is a GPU if there is one. Raises UserError for any other."""
    available = {
        "cuda": torch.cuda.is_available(),
        "mps": torch.backends.mps.is_available(),
        "cpu": True,
    }
    if name == "auto":
        return next(device for device, there in available.items() if there)
    if name not in available:
        raise UserError(f"device={name}: choose one of auto, {', '.join(available)}")
    if not available[name]:
        raise UserError(f"device={name}: there is none on this machine; choose device=cpu or auto")
    return name
