"""One cell: a model and a task, watched over the model's checkpoints. Read this and you know the program.

At each checkpoint: weights → the role of every head → behaviour on the task's prompts → edge scores → the smallest faithful circuit → what the heads do in
it → its overlap with the one before → a record on disk → tracking. A checkpoint that has its record is not looked at again, so a run that was killed goes
on where it stopped.
"""

from __future__ import annotations

import importlib.metadata
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt
import pandas as pd
import torch
from rich.console import Console

from circuitwatch import __version__
from circuitwatch.algorithms import Findings, confirm_roles, unconfirmed
from circuitwatch.algorithms.causes import node_names
from circuitwatch.checkpoints.audit import Audit
from circuitwatch.checkpoints.folder import FolderSource
from circuitwatch.checkpoints.loading import DamagedWeights, load_model, load_tokenizer, model_facts, weights_sha256
from circuitwatch.checkpoints.schedule import Checkpoint, select
from circuitwatch.checkpoints.source import Missing, NotFetched, Say, Source
from circuitwatch.checkpoints.stream import HubSource
from circuitwatch.circuits.attribution import edge_scores, graph_of
from circuitwatch.circuits.evaluation import CircuitEvaluator, exact_edge_scores
from circuitwatch.circuits.graph import Graph
from circuitwatch.circuits.memory import plan, with_smaller_batches
from circuitwatch.circuits.overlap import jaccard, node_jaccard, weighted_edge_jaccard
from circuitwatch.circuits.prompts import Metric, Prepared
from circuitwatch.circuits.search import Found, smallest_circuit
from circuitwatch.config import CircuitConfig, Config
from circuitwatch.errors import UserError
from circuitwatch.heads.roles import RoleProbes, RoleScores, role_probes, role_scores
from circuitwatch.nano.training import ensure_trained
from circuitwatch.progress import CellProgress, cell_tables, wide_console
from circuitwatch.records import DUPLICATE_OF, Cell, CheckpointRecord, Scalar
from circuitwatch.tasks import PromptSet, build_prompts
from circuitwatch.tasks.behaviour import Behaviour, TaskMetric, measure, metric_per_prompt
from circuitwatch.tracking import Tracker
from circuitwatch.units import parse_size

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

NOT_ABOVE_CHANCE = "none: behaviour not above chance"
NOT_REACHED = "none: threshold not reached"
HOPELESS = 3
"""Checkpoints in a row that could not be fetched, after which a run ends."""
DEPENDENCIES = ("torch", "transformers", "transformer_lens", "numpy")


def watch_cell(config: Config, folder: Path) -> Cell:
    """Watch one cell into its folder, print its table, and return it. A cell that is done is only shown.

    A checkpoint that is missing or damaged is skipped and said to be. Raises UserError where nothing more can be done now; what is recorded stays.
    """
    console = wide_console()
    if config.model.source == "hub" and (done := Cell.finished(folder, asdict(config))) is not None:
        return _shown_as_done(done, console)  # without asking the hub
    if config.threads:
        torch.set_num_threads(config.threads)
    source = open_source(config)
    checkpoints = select(source.available(), **asdict(config.schedule))
    about = source.about(checkpoints)
    tokenizer = load_tokenizer(about)
    prompts = prompts_of(config, tokenizer)
    cell = Cell.create(folder, header(config, checkpoints, about, prompts))
    if cell.is_done():
        return _shown_as_done(cell, console)
    probes = role_probes(tokenizer, config.heads, seed=config.seed)
    title = f"{config.model.name} {config.task.name}"
    with (
        Tracker(cell, config.tracking, sweep=config.sweep) as tracker,
        CellProgress(title, len(checkpoints), done=len(cell.steps_done())) as progress,
    ):
        audit = source.audit(checkpoints, progress.at)
        refuse_duplicates(config, audit)
        watch_checkpoints(cell, source, checkpoints, audit, Subject(prompts, probes, config), tracker, progress)
    failed = [about for about in cell.skipped().values() if about["again"]]
    if not failed:
        cell.mark_done()
    console.print(*cell_tables(cell))
    if failed:
        raise UserError(
            f"{folder}: {len(failed)} of {len(checkpoints)} checkpoints could not be fetched ({failed[0]['reason']}); "
            "the others are recorded, and the same command tries again"
        )
    return cell


@dataclass(frozen=True)
class Subject:
    """What is looked at in every checkpoint of a cell."""

    prompts: PromptSet
    probes: RoleProbes
    config: Config


def watch_checkpoints(
    cell: Cell,
    source: Source,
    checkpoints: Sequence[Checkpoint],
    audit: Audit,
    subject: Subject,
    tracker: Tracker,
    progress: CellProgress,
) -> None:
    """Record every checkpoint that has no record yet, or say why it is skipped."""
    recorded = set(cell.steps_done())
    skipping = dict(audit.missing)
    if subject.config.checkpoints.duplicates == "skip":
        skipping |= {step: f"same weights as {twin}" for step, twin in audit.duplicate_of.items()}
    previous: CheckpointRecord | None = None
    in_a_row = 0

    def skip(checkpoint: Checkpoint, reason: str, *, again: bool) -> None:
        cell.skip(checkpoint.step, checkpoint.tokens, checkpoint.revision, reason, again=again)
        progress.advance(f"step {checkpoint.step}: skipped, {reason}")

    with source.stream([c for c in checkpoints if c.step not in recorded and c.step not in skipping]) as stream:
        for checkpoint in checkpoints:
            say = partial(_say, progress, checkpoint)
            if checkpoint.step in recorded:
                record = cell.read(checkpoint.step)
                previous = record if _is_one_to_compare_with(record) else previous
                continue
            if checkpoint.step in skipping:
                skip(checkpoint, skipping[checkpoint.step], again=False)
                continue
            try:
                with stream.hold(checkpoint, say) as weights:
                    record = examine(
                        checkpoint, weights, subject, previous, say, audit.duplicate_of.get(checkpoint.step)
                    )
            except (Missing, DamagedWeights) as error:
                skip(checkpoint, str(error), again=False)
                continue
            except NotFetched as error:
                skip(checkpoint, str(error), again=True)
                in_a_row += 1
                if in_a_row == HOPELESS:
                    raise UserError(f"{error}; {_so_far(cell, checkpoints)}") from error
                continue
            except UserError as error:
                raise UserError(f"{error}; {_so_far(cell, checkpoints)}") from error
            in_a_row = 0
            cell.write(record)
            tracker.log(record)
            progress.advance(_line(record))
            previous = record if _is_one_to_compare_with(record) else previous


def _is_one_to_compare_with(record: CheckpointRecord) -> bool:
    """Whether the next circuit's overlap is with this one: it has a circuit, and weights of its own."""
    return record.mask is not None and DUPLICATE_OF not in record.scalars


def _so_far(cell: Cell, checkpoints: Sequence[Checkpoint]) -> str:
    return f"{len(cell.steps_done())} of {len(checkpoints)} checkpoints are recorded, and the same command goes on"


def _shown_as_done(cell: Cell, console: Console) -> Cell:
    skipped = f", {len(cell.skipped())} could not be looked at" if cell.skipped() else ""
    console.print(
        f"{cell.folder}: done already, {len(cell.steps_done())} checkpoints{skipped}; skipped",
        highlight=False,
        soft_wrap=True,
    )
    return cell


def _say(progress: CellProgress, checkpoint: Checkpoint, what: str) -> None:
    progress.at(f"{checkpoint.revision}: {what}")


def open_source(config: Config) -> Source:
    """Where the model's checkpoints come from; a nano model is trained first if the cache lacks it."""
    if config.model.source == "hub":
        return HubSource(config.model, config.checkpoints)
    if config.model.source == "nano":
        return FolderSource(trained_suite(config))
    return FolderSource(Path(str(config.model.path)).expanduser(), tokens_per_step=config.model.tokens_per_step)


def prompts_of(config: Config, tokenizer: PreTrainedTokenizerBase) -> PromptSet:
    """The prompts of a cell."""
    task = config.task
    options = {"corruption": task.corruption} if task.name == "ioi" else {}
    return build_prompts(
        task.name, tokenizer, n_prompts=task.n_prompts, seed=config.seed, prepend_bos=task.prepend_bos, **options
    )


def refuse_duplicates(config: Config, audit: Audit) -> None:
    """With checkpoints.duplicates=error, raise UserError if any checkpoint has the weights of another."""
    if config.checkpoints.duplicates == "error" and audit.duplicate_of:
        step, twin = next(iter(audit.duplicate_of.items()))
        raise UserError(
            f"{config.model.name}: {len(audit.duplicate_of)} checkpoints have the weights of another (step {step} those of {twin}); "
            f"`circuitwatch doctor` lists them, and checkpoints.duplicates=skip or flag goes on"
        )


def trained_suite(config: Config) -> Path:
    """The folder of a trained nano suite, training it now if need be."""
    progress: CellProgress | None = None

    def advance(step: int, n_steps: int) -> None:
        nonlocal progress
        if progress is None:
            progress = CellProgress(f"training {config.model.name}", n_steps, done=step - 1).__enter__()
        progress.advance_quietly(step)

    try:
        return ensure_trained(
            config.model.name,
            seed=config.seed,
            cache=Path(config.cache).expanduser(),
            progress=advance,
            threads=config.threads,
        )
    except OSError as error:
        raise UserError(
            f"cache={config.cache}: can't be used ({error.strerror}); choose another folder with cache="
        ) from error
    finally:
        if progress is not None:
            progress.__exit__(None, None, None)


def header(config: Config, checkpoints: Sequence[Checkpoint], about: Path, prompts: PromptSet) -> dict[str, Any]:
    """What cell.json says: all that decides the records, and what made them; `about` holds the model's configuration."""
    facts = model_facts(about)
    graph = Graph(facts["n_layers"], facts["n_heads"], facts["parallel"])
    return {
        "config": asdict(config),
        "code_version": __version__,
        "versions": {name: importlib.metadata.version(name) for name in DEPENDENCIES},
        "model": {"name": config.model.name, **facts},
        "task": config.task.name,
        "seed": config.seed,
        "schedule": [{"step": c.step, "tokens": c.tokens, "revision": c.revision} for c in checkpoints],
        "lexicon": prompts.lexicon_counts,
        "graph": {"senders": graph.senders, "receivers": graph.receivers, "n_edges": graph.n_edges},
    }


def examine(
    checkpoint: Checkpoint,
    folder: Path,
    subject: Subject,
    previous: CheckpointRecord | None,
    say: Say,
    duplicate_of: str | None = None,
) -> CheckpointRecord:
    """Everything about one checkpoint, whose weights are in `folder`; `previous` is the last record before it that has a circuit."""
    prompts, config = subject.prompts, subject.config
    say("loading")
    model = load_model(folder, device=torch_device(config.device), dtype=getattr(torch, config.dtype))
    say("heads")
    roles = role_scores(model, subject.probes)
    circuits = config.circuit
    planned = plan(
        model,
        prompts,
        steps=circuits.ig_steps,
        budget=parse_size(circuits.memory, "circuit.memory") if circuits.memory else None,
        batch_size=circuits.batch_size,
    )
    behaviour, found, scores, findings, scalars = with_smaller_batches(
        lambda size: behaviour_circuit_and_parts(
            Prepared(model, prompts, batch_size=size), prompts, roles, config, planned.reuse, say
        ),
        planned.batch_size,
        on_retry=lambda size: say(f"out of memory: {size} prompts at a time"),
    )
    scalars["weights/sha256"] = weights_sha256(folder)
    if duplicate_of:
        scalars[DUPLICATE_OF] = duplicate_of
    mask = found.mask if found else None
    if mask is not None and scores is not None and previous is not None:
        scalars |= overlap_scalars(graph_of(model), mask, scores, previous)
    return CheckpointRecord(
        checkpoint.step,
        checkpoint.tokens,
        checkpoint.revision,
        scalars | findings.scalars | role_scalars(findings.roles, roles.left_out),
        behaviour.per_prompt,
        findings.roles,
        found.curve if found else None,
        scores,
        mask,
        pd.concat(findings.patching, ignore_index=True) if findings.patching else None,
    )


def role_scalars(roles: pd.DataFrame, left_out: dict[str, str]) -> dict[str, Scalar]:
    """The strongest head (or MLP) of each role, and the sum over all; or why a role could not be measured."""
    scalars: dict[str, Scalar] = {f"roles/{role}/left_out": reason for role, reason in left_out.items()}
    for role, table in roles.groupby("role", sort=False):
        best = table.loc[[table["score"].idxmax()]]
        scalars |= {
            f"roles/{role}/max": float(best["score"].iloc[0]),
            f"roles/{role}/head": node_names(best)[0],
            f"roles/{role}/total": float(table["score"].sum()),
        }
    return scalars


def behaviour_circuit_and_parts(
    prepared: Prepared, prompts: PromptSet, roles: RoleScores, config: Config, reuse: bool, say: Say
) -> tuple[Behaviour, Found | None, npt.NDArray[np.float32] | None, Findings, dict[str, Scalar]]:
    """What the model does; if it does anything, the circuit, the edge scores, and what heads do in it; with the scalars of the first three."""
    say("behaviour")
    logits, corrupted_logits = prepared.end_logits()
    behaviour = measure(logits, prompts, n_bootstrap=config.n_bootstrap, seed=config.seed)
    corrupted = float(metric_per_prompt(corrupted_logits, prompts).double().mean())
    values = {name: value for name, value in asdict(behaviour).items() if name != "per_prompt"}
    scalars: dict[str, Scalar] = {f"behaviour/{name}": value for name, value in values.items()}
    scalars |= {"behaviour/corrupted": corrupted, "behaviour/above_chance": behaviour.above_chance}
    model, heads = prepared.model, config.heads
    if not behaviour.above_chance:
        findings = unconfirmed(roles.table, prompts.task, model.n_layers, model.n_heads)
        return behaviour, None, None, findings, scalars | {"circuit/status": NOT_ABOVE_CHANCE}
    found, scores = find_circuit(prepared, prompts, config.circuit, behaviour.value, corrupted, reuse, say)
    graph = graph_of(model)
    nodes = None if found.mask is None else [graph.nodes[i] for i in np.flatnonzero(graph.nodes_in(found.mask))]
    say("path patching")
    findings = confirm_roles(
        prepared, prompts, roles.table, nodes, heads, n_bootstrap=config.n_bootstrap, seed=config.seed
    )
    return behaviour, found, scores, findings, scalars | circuit_scalars(graph, found)


def find_circuit(
    prepared: Prepared,
    prompts: PromptSet,
    config: CircuitConfig,
    behaviour: float,
    corrupted: float,
    reuse: bool,
    say: Say,
) -> tuple[Found, npt.NDArray[np.float32]]:
    """Score the edges and search the smallest circuit; `behaviour` and `corrupted` are the full model's mean metrics."""
    say("scoring edges")
    metric = TaskMetric(prompts)
    scores = score_edges(prepared, metric, config)
    evaluate = CircuitEvaluator(prepared, metric, reuse=reuse)
    found = smallest_circuit(
        evaluate.graph,
        scores,
        evaluate,
        model=behaviour,
        corrupted=corrupted,
        threshold=config.threshold,
        criterion=config.criterion,  # type: ignore[arg-type]  # checked by config.validate
        search=config.search,  # type: ignore[arg-type]
        on_evaluation=lambda n: say(f"circuit {n}"),
    )
    return found, scores


def score_edges(prepared: Prepared, metric: Metric, config: CircuitConfig) -> npt.NDArray[np.float32]:
    """Edge scores [sender, receiver] by the configured method."""
    if config.method == "exact":
        return exact_edge_scores(prepared, metric)
    steps, quadrature = (1, "right") if config.method == "eap" else (config.ig_steps, config.quadrature)
    return edge_scores(prepared, metric, steps=steps, quadrature=quadrature)  # type: ignore[arg-type]


def circuit_scalars(graph: Graph, found: Found) -> dict[str, Scalar]:
    """Size and faithfulness of the circuit found, or why there is none."""
    scalars: dict[str, Scalar] = {"circuit/evaluations": len(found.curve), "circuit/exhaustive": found.exhaustive}
    if found.mask is None or found.edges_asked is None:
        return scalars | {"circuit/status": NOT_REACHED}
    nodes = int(graph.nodes_in(found.mask).sum())
    edges = int(found.mask.sum())
    row = found.curve.set_index("edges_asked").loc[found.edges_asked]
    shares = {f"circuit/{name}": float(row[name]) for name in ("recovery", "faithfulness") if pd.notna(row[name])}
    return (
        scalars
        | shares
        | {
            "circuit/status": "found",
            "circuit/edges": edges,
            "circuit/edges_share": edges / graph.n_edges,
            "circuit/edges_asked": found.edges_asked,
            "circuit/nodes": nodes,
            "circuit/nodes_share": nodes / len(graph.nodes),
        }
    )


def overlap_scalars(
    graph: Graph, mask: npt.NDArray[np.bool_], scores: npt.NDArray[np.float32], previous: CheckpointRecord
) -> dict[str, Scalar]:
    """Overlap with the last circuit found before; what does not exist is left out."""
    if previous.mask is None or previous.scores is None:
        return {}
    overlaps = {
        "overlap/node_jaccard": node_jaccard(graph, mask, previous.mask),
        "overlap/edge_jaccard": jaccard(mask, previous.mask),
        "overlap/weighted_edge_jaccard": weighted_edge_jaccard(mask, scores, previous.mask, previous.scores),
    }
    return {name: value for name, value in overlaps.items() if value is not None}


def torch_device(name: str) -> str:
    """The device meant; `auto` is a GPU if there is one."""
    available = {"cuda": torch.cuda.is_available(), "mps": torch.backends.mps.is_available(), "cpu": True}
    if name == "auto":
        return next(device for device, there in available.items() if there)
    if not available[name]:
        raise UserError(f"device={name}: there is none on this machine; choose device=cpu or auto")
    return name


def _line(record: CheckpointRecord) -> str:
    """One checkpoint in one line, for logs."""
    scalars = record.scalars
    circuit = f"{scalars['circuit/edges']} edges" if "circuit/edges" in scalars else str(scalars["circuit/status"])
    return f"step {record.step}: behaviour {scalars['behaviour/value']:.3f}, circuit {circuit}"
