"""One cell: a model and a task, watched over the model's checkpoints. Read this and you know the
program.

At each checkpoint: weights → the role of every head, and quantities of the model such as its loss →
behaviour on the task's prompts → edge scores → the smallest faithful circuit → what the heads do in
it → its overlap with the one before (all this in `analyse_checkpoint`) → a record on disk →
tracking. A checkpoint that has its record is not looked at again, so a run that was killed goes on
where it stopped.
"""

from __future__ import annotations

import importlib.metadata
from collections.abc import Sequence
from dataclasses import asdict, replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from rich.console import Console

from circuitwatch import __version__
from circuitwatch.analysis import Subject, analyse_checkpoint
from circuitwatch.checkpoints.audit import Audit
from circuitwatch.checkpoints.folder import FolderSource
from circuitwatch.checkpoints.loading import DamagedWeights, load_tokenizer, model_facts
from circuitwatch.checkpoints.schedule import Checkpoint, select
from circuitwatch.checkpoints.source import Missing, NotFetched, Source
from circuitwatch.checkpoints.stream import HubSource
from circuitwatch.circuits.graph import Graph
from circuitwatch.config import Config, require_criterion
from circuitwatch.errors import UserError
from circuitwatch.facts import Facts, TaskFacts, with_thresholds
from circuitwatch.heads.quantities import make_inputs
from circuitwatch.heads.roles import role_probes
from circuitwatch.heads.text import text_used
from circuitwatch.nano.training import ensure_trained
from circuitwatch.nano.vocabulary import build_tokenizer
from circuitwatch.progress import CellProgress, cell_tables, wide_console
from circuitwatch.records import DUPLICATE_OF, PREFIX_REMOVED, Cell, CheckpointRecord
from circuitwatch.tasks import PromptSet, prompts_for, task_of, with_hash
from circuitwatch.timing import Stopwatch
from circuitwatch.tracking import Tracker, send_if_needed

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

HOPELESS = 3
"""Checkpoints in a row that could not be fetched, after which a run ends."""
DEPENDENCIES = ("torch", "transformers", "transformer_lens", "numpy")


def watch_cell(config: Config, folder: Path) -> Cell:
    """Watch one cell into its folder, print its table, and return it. A cell that is done is only
    shown.

    A checkpoint that is missing or damaged is skipped and reported. Raises UserError where nothing
    more can be done now; what is recorded stays.
    """
    console = wide_console()
    require_criterion(config)
    config = replace(config, task=with_hash(config.task))
    if config.model.source == "hub" and (done := Cell.finished(folder, asdict(config))) is not None:
        return _shown_as_done(done, config, console)  # without asking the hub
    if config.threads:
        torch.set_num_threads(config.threads)
    source = open_source(config)
    checkpoints = select(source.available(), **asdict(config.schedule))
    model_folder = source.about(checkpoints)
    tokenizer = load_tokenizer(model_folder)
    prompts = prompts_of(config, tokenizer)
    for note in prompts.notes:
        console.print(f"task={config.task.name}: {note}", highlight=False, soft_wrap=True)
    text = text_used(tokenizer, config.heads.text)
    cell = Cell.create(folder, header(config, checkpoints, model_folder, prompts, text))
    if cell.is_done():
        return _shown_as_done(cell, config, console)
    probes = role_probes(tokenizer, config.heads, seed=config.seed, n_bootstrap=config.n_bootstrap)
    make_inputs(probes.inputs)
    title = f"{config.model.name} {config.task.name}"
    with Tracker(cell, config.tracking, sweep=config.sweep) as tracker:
        with CellProgress(title, len(checkpoints), done=len(cell.steps_done())) as progress:
            audit = source.audit(checkpoints, progress.at)
            refuse_duplicates(config, audit)
            subject = Subject(prompts, probes, config)
            watch_checkpoints(cell, source, checkpoints, audit, subject, tracker, progress)
        failed = [entry for entry in cell.skipped().values() if entry["again"]]
        # Whatever becomes of W&B, the cell is done by then and has been shown.
        if not failed:
            cell.mark_done()
        console.print(*cell_tables(cell))
        if not failed:
            tracker.complete()
    if failed:
        raise UserError(
            f"{folder}: {len(failed)} of {len(checkpoints)} checkpoints could not be fetched "
            f"({failed[0]['reason']}); "
            "the others are recorded, and the same command tries again"
        )
    return cell


def watch_checkpoints(
    cell: Cell,
    source: Source,
    checkpoints: Sequence[Checkpoint],
    audit: Audit,
    subject: Subject,
    tracker: Tracker,
    progress: CellProgress,
) -> None:
    """Record every checkpoint that has no record yet, or why it is skipped.

    Args:
        cell: Where records go.
        source: Where weights come from.
        checkpoints: The schedule.
        audit: What is known of the checkpoints' weights.
        subject: What is measured.
        tracker: Told of each record.
        progress: Shows what is done.
    """
    recorded = set(cell.steps_done())
    skipping = dict(audit.missing)
    if subject.config.checkpoints.duplicates == "skip":
        skipping |= {
            step: f"same weights as {original}" for step, original in audit.duplicate_of.items()
        }
    previous: CheckpointRecord | None = None
    in_a_row = 0

    def skip(checkpoint: Checkpoint, reason: str, *, again: bool) -> None:
        cell.skip(checkpoint.step, checkpoint.tokens, checkpoint.revision, reason, again=again)
        progress.advance(f"step {checkpoint.step}: skipped, {reason}")

    with source.stream(
        [c for c in checkpoints if c.step not in recorded and c.step not in skipping]
    ) as stream:
        for checkpoint in checkpoints:
            say = Stopwatch(partial(say_at, progress, checkpoint))
            if checkpoint.step in recorded:
                record = cell.read(checkpoint.step)
                previous = record if _is_one_to_compare_with(record) else previous
                continue
            if checkpoint.step in skipping:
                skip(checkpoint, skipping[checkpoint.step], again=False)
                continue
            try:
                with stream.hold(checkpoint, say) as weights:
                    record = analyse_checkpoint(
                        checkpoint,
                        weights,
                        subject,
                        previous,
                        say,
                        audit.duplicate_of.get(checkpoint.step),
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
            seconds = say.seconds()
            cell.write(record, seconds)
            tracker.log(record, seconds)
            progress.advance(_line(record))
            previous = record if _is_one_to_compare_with(record) else previous


def _is_one_to_compare_with(record: CheckpointRecord) -> bool:
    """Whether the next circuit's overlap is with this one: it has a circuit, and weights of its
    own.
    """
    return record.mask is not None and DUPLICATE_OF not in record.scalars


def _so_far(cell: Cell, checkpoints: Sequence[Checkpoint]) -> str:
    return (
        f"{len(cell.steps_done())} of {len(checkpoints)} checkpoints are recorded, and "
        f"the same command goes on"
    )


def _shown_as_done(cell: Cell, config: Config, console: Console) -> Cell:
    """Show a cell that is done; with tracking=online make sure that its run is whole."""
    skipped = f", {len(cell.skipped())} skipped" if cell.skipped() else ""
    console.print(
        f"{cell.folder}: done already, {len(cell.steps_done())} checkpoints{skipped}",
        highlight=False,
        soft_wrap=True,
    )
    if config.tracking.mode == "online":
        send_if_needed(cell, config.tracking, sweep=config.sweep)
    return cell


def say_at(progress: CellProgress, checkpoint: Checkpoint, what: str) -> None:
    """Show what is done at a checkpoint."""
    progress.at(f"{checkpoint.revision}: {what}")


def open_source(config: Config) -> Source:
    """Where the model's checkpoints come from; a nano model is trained first if the cache lacks
    it.
    """
    if config.model.source == "hub":
        return HubSource(config.model, config.checkpoints)
    if config.model.source == "nano":
        return FolderSource(trained_suite(config))
    return FolderSource(
        Path(str(config.model.path)).expanduser(), tokens_per_step=config.model.tokens_per_step
    )


def tokenizer_of(config: Config) -> PreTrainedTokenizerBase:
    """The tokenizer of a model, for which no weights are fetched and no nano model is trained."""
    if config.model.source == "nano":
        return build_tokenizer()
    source = open_source(config)
    checkpoints = select(source.available(), **asdict(config.schedule))
    return load_tokenizer(source.about(checkpoints))


def prompts_of(config: Config, tokenizer: PreTrainedTokenizerBase) -> PromptSet:
    """The prompts of a cell."""
    return prompts_for(config.task, tokenizer, seed=config.seed)


def refuse_duplicates(config: Config, audit: Audit) -> None:
    """With checkpoints.duplicates=error, raise UserError if any checkpoint has the weights of
    another.
    """
    if config.checkpoints.duplicates == "error" and audit.duplicate_of:
        step, original = next(iter(audit.duplicate_of.items()))
        raise UserError(
            f"{config.model.name}: {len(audit.duplicate_of)} checkpoints have the weights of "
            f"another (step {step} those of {original}); "
            f"`circuitwatch doctor` lists them, and checkpoints.duplicates=skip or flag goes on"
        )


def trained_suite(config: Config) -> Path:
    """The folder of a trained nano suite, training it now if need be."""
    progress: CellProgress | None = None

    def advance(step: int, n_steps: int) -> None:
        nonlocal progress
        if progress is None:
            progress = CellProgress(
                f"training {config.model.name}", n_steps, done=step - 1
            ).__enter__()
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
            f"cache={config.cache}: can't be used ({error.strerror}); choose another folder "
            f"with cache="
        ) from error
    finally:
        if progress is not None:
            progress.__exit__(None, None, None)


def header(
    config: Config,
    checkpoints: Sequence[Checkpoint],
    model_folder: Path,
    prompts: PromptSet,
    text: str,
) -> dict[str, Any]:
    """What cell.json holds: all that decides the records, and what made them.

    Args:
        config: The cell's configuration.
        checkpoints: The schedule.
        model_folder: Holds the model's configuration.
        prompts: Of the task.
        text: Which text copy suppression is measured on.

    Returns:
        The header of a cell.
    """
    facts = model_facts(model_folder)
    known = Facts.of_installation(TaskFacts.of(task_of(config.task), prompts.variant))
    graph = Graph(facts["n_layers"], facts["n_heads"], facts["parallel"])
    return {
        "config": asdict(config),
        "code_version": __version__,
        "versions": {name: importlib.metadata.version(name) for name in DEPENDENCIES},
        "model": {"name": config.model.name, **facts},
        "task": config.task.name,
        "seed": config.seed,
        "task_variant": prompts.variant,
        "facts": with_thresholds(known, config.heads.thresholds).of_cell(config.task.name),
        "schedule": [
            {"step": c.step, "tokens": c.tokens, "revision": c.revision} for c in checkpoints
        ],
        "lexicon": prompts.lexicon_counts,
        "prompt_notes": list(prompts.notes),
        "copy_suppression_text": text,
        "graph": {"senders": graph.senders, "receivers": graph.receivers, "n_edges": graph.n_edges},
    }


def _line(record: CheckpointRecord) -> str:
    """One checkpoint in one line, for logs."""
    scalars = record.scalars
    circuit = (
        f"{scalars['circuit/edges']} edges"
        if "circuit/edges" in scalars
        else str(scalars["circuit/status"])
    )
    if "behaviour/not_above_chance" in scalars:
        circuit += f" ({scalars['behaviour/not_above_chance']})"
    value, effect = (float(scalars[f"behaviour/{name}"]) for name in ("value", "effect"))
    prefix = (
        f", {scalars[PREFIX_REMOVED]} taken off the weights' names"
        if PREFIX_REMOVED in scalars
        else ""
    )
    return (
        f"step {record.step}: behaviour {value:.3f}, effect {effect:.3f}, circuit {circuit}{prefix}"
    )
