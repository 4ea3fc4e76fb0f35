"""One cell: a model and a task, watched over the model's checkpoints. Read this and you know the
program.

At each checkpoint: weights → the role of every head, and quantities of the model such as its loss →
behaviour on the task's prompts → edge scores → the smallest faithful circuit → what the heads do in
it → its overlap with the one before (all this in `analyse_checkpoint`) → a record on disk →
tracking. A checkpoint that has its record is not looked at again, so a run that was killed goes on
where it stopped.
"""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import asdict, replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from rich.console import Console

from circuitwatch import __version__
from circuitwatch.analysis import Subject, versions
from circuitwatch.checkpoints.describing import all_unusable, facts_that_fit, first_usable
from circuitwatch.checkpoints.folder import FolderSource, has_checkpoints
from circuitwatch.checkpoints.kinds import adapter_line
from circuitwatch.checkpoints.schedule import Checkpoint, merged, select
from circuitwatch.checkpoints.source import Source
from circuitwatch.checkpoints.stream import HubSource, tokenizer_folder
from circuitwatch.checkpoints.tokenizers import load_tokenizer
from circuitwatch.checkpoints.unusable import Unusable
from circuitwatch.circuits.graph import Graph
from circuitwatch.config import Config, cell_folder, require_criterion
from circuitwatch.ending import one_line, print_cell
from circuitwatch.errors import UserError
from circuitwatch.facts import Facts, TaskFacts, with_thresholds
from circuitwatch.following import CLOCK, Arrivals, Clock, arrivals_of, first_arrival, follow
from circuitwatch.heads.quantities import make_inputs
from circuitwatch.heads.roles import role_probes
from circuitwatch.heads.text import text_used
from circuitwatch.linking import relink
from circuitwatch.locks import no_empty_folders
from circuitwatch.nano.training import ensure_trained
from circuitwatch.nano.vocabulary import build_tokenizer
from circuitwatch.progress import CellProgress, table_console, wide_console
from circuitwatch.recording import Recorder, watch_checkpoints, with_other_weights
from circuitwatch.records import Cell, remove_unfinished
from circuitwatch.shards import Shard, gate, hold_cell, hold_shard, others_in, refuse_others
from circuitwatch.tasks import PromptSet, prompts_for, task_of, with_hash
from circuitwatch.tracking import Tracker, send_if_needed
from circuitwatch.units import counted

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase


def watch_cell(
    config: Config, folder: Path, clock: Clock = CLOCK, *, in_sweep: bool = False
) -> Cell:
    """Watch one cell into its folder, print how it ended (a table; in a sweep a line), and return
    it. A cell that is done is only shown, unless checkpoints have come to the model's folder since,
    or some that were skipped have changed.

    A checkpoint that is missing or damaged is skipped and reported. With `config.follow` the
    model's folder is watched while it grows, see `following`; `clock` says how time passes. Raises
    UserError where nothing more can be done now; what is recorded stays.
    """
    require_criterion(config)
    config = replace(config, task=with_hash(config.task))
    if config.shard is not None:
        return _watch_shard(config, folder, Shard.parsed(config.shard), in_sweep)
    with hold_cell(folder):
        return _watch_whole(config, folder, clock, in_sweep)


def _watch_whole(config: Config, folder: Path, clock: Clock, in_sweep: bool) -> Cell:
    """Watch a cell that no other process watches."""
    console = wide_console()
    put_away_damaged(folder, console)
    done = Cell.finished(folder, asdict(config))
    if done is not None and needs_no_look(config):
        return _shown_as_done(done, config, console, in_sweep)
    if config.threads:
        torch.set_num_threads(config.threads)
    source = open_source(config)
    title = f"{config.model.name} {config.task.name}"
    before = taken_before(folder, source)
    arrivals = arrivals_of(config, source, before, clock)
    begun = begin(config, folder, source, before, arrivals, console)
    if begun is None:
        if done is not None:
            return _shown_as_done(done, config, console, in_sweep)
        raise UserError(
            f"model.path={config.model.path}: no checkpoint in {config.follow_idle}; the same "
            f"command waits again"
        )
    cell, tokenizer, prompts, checkpoints = begun
    if arrivals is None and cell.is_done() and not has_changed(cell, source):
        return _shown_as_done(cell, config, console, in_sweep)
    cell.reopen()  # until all is linked anew
    subject = _subject(cell, config, tokenizer, prompts)
    with Tracker(cell, config.tracking, sweep=config.sweep) as tracker:
        with CellProgress(title, len(checkpoints), done=len(cell.steps_done())) as progress:
            recorder = Recorder(cell, source, subject, tracker, progress)
            if arrivals is None:
                watch_checkpoints(recorder, checkpoints)
            else:
                follow(recorder, arrivals)
        skipped = cell.skipped().values()
        failed = [entry for entry in skipped if entry["again"]]
        # Whatever becomes of W&B, the cell is done by then and has been shown.
        is_done = not failed and bool(cell.steps_done())
        if is_done:
            cell.mark_done()
        _show_end(cell, config, in_sweep)
        if is_done:
            tracker.complete()
    _require_a_record(cell)
    if failed:
        raise _not_fetched(cell, failed)
    return cell


def _watch_shard(config: Config, folder: Path, shard: Shard, in_sweep: bool) -> Cell:
    """Watch a part of a cell's checkpoints, and put the records together if no other is left and no
    other process is at work: then the cell is as if one had watched it.
    """
    console = wide_console()
    refuse_others(folder, shard)  # before a model is trained
    if config.threads:
        torch.set_num_threads(config.threads)
    source = open_source(config)
    with no_empty_folders(folder), ExitStack() as held:
        with gate(folder):
            held.enter_context(hold_shard(folder, shard))
            others = others_in(folder, shard)
            done = Cell.finished(folder, asdict(config))
            if done is not None and needs_no_look(config):
                return _shown_as_done(done, config, console, in_sweep)
            before = taken_before(folder, source)
            begun = begin(config, folder, source, before, None, console, alone=not others)
            assert begun is not None  # nothing is waited for
            cell, tokenizer, prompts, checkpoints = begun
            if cell.is_done() and not has_changed(cell, source):
                return _shown_as_done(cell, config, console, in_sweep)
            cell.reopen()  # until all is linked anew
        cell.is_shared = True
        part = shard.part(checkpoints)
        steps = {checkpoint.step for checkpoint in part}
        _say_damaged(cell.put_away_damaged(steps), console)
        there = {*cell.steps_done(), *map(int, cell.skipped())} & steps
        title = f"{config.model.name} {config.task.name}, shard {shard}"
        off = replace(config.tracking, mode="off")  # who ends last sends it
        with (
            Tracker(cell, off, sweep=config.sweep) as tracker,
            CellProgress(title, len(part), done=len(there)) as progress,
        ):
            subject = _subject(cell, config, tokenizer, prompts)
            recorder = Recorder(cell, source, subject, tracker, progress, links=False)
            watch_checkpoints(recorder, checkpoints, part)
        again = {int(step): entry for step, entry in cell.skipped().items() if entry["again"]}
        if failed := [entry for step, entry in again.items() if step in steps]:
            raise _not_fetched(cell, failed)
        with gate(folder), held:  # let go within the gate: the last must know that it is
            _end_shard(cell, config, shard, console, in_sweep)
    return cell


def _end_shard(cell: Cell, config: Config, shard: Shard, out: Console, in_sweep: bool) -> None:
    """Put a cell's records together if all are there, or say what is still missing."""
    said = f"{cell.folder}: shard {shard} is done"
    if others := others_in(cell.folder, shard):
        who = ", ".join(other.said for other in others)
        out.print(f"{said}; still at work: {who}", highlight=False, soft_wrap=True)
        return
    cell.is_shared = False
    _say_damaged(cell.put_away_damaged(), out)
    there = cell.settled()
    steps = [entry["step"] for entry in cell.header["schedule"]]
    if left := [place for place, step in enumerate(steps) if step not in there]:
        shards = sorted({place % shard.of + 1 for place in left})
        names = ", ".join(f"{which}/{shard.of}" for which in shards)
        out.print(
            f"{said}; {len(left)} of {len(steps)} checkpoints are left, of shard {names}, and the "
            f"last to end puts all together",
            highlight=False,
            soft_wrap=True,
        )
        return
    _require_a_record(cell)
    remove_unfinished(cell.folder)
    relink(cell)
    cell.mark_done()
    _show_end(cell, config, in_sweep)
    if config.tracking.mode == "online":
        send_if_needed(cell, config.tracking, sweep=config.sweep)
    else:
        with Tracker(cell, config.tracking, sweep=config.sweep) as tracker:
            tracker.complete()


def _subject(
    cell: Cell, config: Config, tokenizer: PreTrainedTokenizerBase, prompts: PromptSet
) -> Subject:
    """What is measured at each checkpoint."""
    probes = role_probes(tokenizer, config.heads, seed=config.seed, n_bootstrap=config.n_bootstrap)
    make_inputs(probes.inputs)
    model = cell.header["model"]
    return Subject(prompts, probes, config, (model["n_layers"], model["n_heads"]))


def _require_a_record(cell: Cell) -> None:
    """Raise UserError if every checkpoint was skipped: such a cell is not done."""
    if not cell.steps_done():
        reasons = [entry["reason"] for entry in cell.skipped().values()]
        raise UserError(
            f"{cell.folder}: nothing is recorded: {all_unusable(reasons, len(reasons))}; the same "
            f"command tries again"
        )


def _not_fetched(cell: Cell, failed: Sequence[dict[str, Any]]) -> UserError:
    return UserError(
        f"{cell.folder}: {len(failed)} of {len(cell.header['schedule'])} checkpoints could not be "
        f"fetched ({failed[0]['reason']}); "
        "the others are recorded, and the same command tries again"
    )


def put_away_damaged(folder: Path, out: Console) -> None:
    """Have records of the cell in a folder, if there is one, made anew that are damaged."""
    if (folder / "cell.json").is_file():
        _say_damaged(Cell.open(folder).put_away_damaged(), out)


def _say_damaged(found: dict[int, str], out: Console) -> None:
    for step, why in found.items():
        out.print(f"step {step}: {why}: made anew", highlight=False, soft_wrap=True)


def needs_no_look(config: Config) -> bool:
    """Whether a cell that is done is so wherever its checkpoints are now: the hub need not be
    asked, and a folder that has none any more gives nothing new.
    """
    if config.model.source == "folder" and not config.follow:
        return not has_checkpoints(folder_of(config))
    return config.model.source == "hub"


def taken_before(folder: Path, source: Source) -> list[Checkpoint]:
    """The checkpoints of a folder that an earlier run took into the cell in `folder`, if any,
    ascending by step; of other sources none, since they don't change.
    """
    if not isinstance(source, FolderSource) or not (folder / "cell.json").is_file():
        return []
    schedule = Cell.open(folder).header["schedule"]
    return source.named((entry["step"], entry["revision"]) for entry in schedule)


def begin(
    config: Config,
    folder: Path,
    source: Source,
    before: Sequence[Checkpoint],
    arrivals: Arrivals | None,
    out: Console,
    *,
    alone: bool = True,
) -> tuple[Cell, PreTrainedTokenizerBase, PromptSet, list[Checkpoint]] | None:
    """Start a cell or go on with it, and say what its prompts leave out.

    Args:
        config: The cell's configuration.
        folder: Where its records go.
        source: Where weights come from.
        before: Checkpoints that an earlier run took, which stay in the schedule.
        arrivals: What comes to a folder that is followed: its first checkpoint is waited for.
        out: Where it is said.
        alone: Whether no other process watches the cell. One that does has taken its part of the
            schedule, and so this stays as it is.

    Returns:
        The cell, the tokenizer, the prompts, and the checkpoints to watch; None if the first
        checkpoint did not come. The tokenizer and the model's facts are those of the first that can
        be used.
    """
    first: Checkpoint | None = None
    while True:
        if not alone and (folder / "cell.json").is_file():
            schedule = Cell.open(folder).header["schedule"]
            checkpoints = [Checkpoint(**entry) for entry in schedule]
        elif arrivals is None:
            # An `every` or `log` of a longer list may leave out what it took of a shorter one.
            available = merged(source.available(), before)
            checkpoints = merged(select(available, **asdict(config.schedule)), before)
        else:
            first = first_arrival(
                f"{config.model.name} {config.task.name}",
                arrivals,
                elsewhere=config.model.tokenizer is not None,
            )
            if first is None:
                return None
            checkpoints = merged(before, [first])
        try:
            tokenizer = tokenizer_among(config, source, checkpoints)
            facts = first_usable(source, checkpoints, facts_that_fit)
            adapter = first_usable(source, checkpoints, adapter_line)
        except Unusable as error:
            if first is None:
                raise
            # It can't be used, or was deleted while it was read: on to the next.
            assert arrivals is not None
            arrivals.refuse(first, str(error))
            continue
        prompts = prompts_of(config, tokenizer)
        if adapter:
            out.print(f"model={config.model.name}: {adapter}", highlight=False, soft_wrap=True)
        for note in prompts.notes:
            out.print(f"task={config.task.name}: {note}", highlight=False, soft_wrap=True)
        text = text_used(tokenizer, config.heads.text)
        about = header(config, checkpoints, facts, prompts, text)
        return Cell.create(folder, about, alone=alone), tokenizer, prompts, checkpoints


def has_changed(cell: Cell, source: Source) -> bool:
    """Whether any checkpoint has changed since: the files of one that was skipped, or the weights
    of one that is recorded.
    """
    skipped = cell.skipped()
    checkpoints = [Checkpoint(**entry) for entry in cell.header["schedule"]]
    tried = [(c, skipped[str(c.step)]) for c in checkpoints if str(c.step) in skipped]
    if any("seen" in entry and entry["seen"] != source.seen(c) for c, entry in tried):
        return True
    recorded = [c for c in checkpoints if str(c.step) not in skipped]
    return any(True for _ in with_other_weights(cell, source, recorded))


def _show_end(cell: Cell, config: Config, in_sweep: bool) -> None:
    """Print how a cell ended, and what to do next; in a sweep, whose end has a table, in a line."""
    console = table_console()
    if in_sweep:
        console.print(one_line(cell), highlight=False, markup=False, soft_wrap=True)
        return
    then = None
    if cell.folder == cell_folder(config):
        then = f"circuitwatch summarize sweep={config.sweep}"
        then += "" if config.out == "multirun" else f" out={config.out}"
    print_cell(cell, console, then)


def _shown_as_done(cell: Cell, config: Config, console: Console, in_sweep: bool) -> Cell:
    """Show a cell that is done, in a sweep only name it; with tracking=online make sure that its
    run is whole.
    """
    skipped = f", {len(cell.skipped())} skipped" if cell.skipped() else ""
    console.print(
        f"{cell.folder}: done already, {counted(len(cell.steps_done()), 'checkpoint')}{skipped}",
        highlight=False,
        soft_wrap=True,
    )
    if not in_sweep:
        _show_end(cell, config, in_sweep)
    if config.tracking.mode == "online":
        send_if_needed(cell, config.tracking, sweep=config.sweep)
    return cell


def open_source(config: Config) -> Source:
    """Where the model's checkpoints come from; a nano model is trained first if the cache lacks
    it.
    """
    if config.model.source == "hub":
        return HubSource(config.model, config.checkpoints)
    if config.model.source == "nano":
        return FolderSource(trained_suite(config))
    return FolderSource(folder_of(config), tokens_per_step=config.model.tokens_per_step)


def folder_of(config: Config) -> Path:
    """The folder of checkpoints that model=folder names."""
    return Path(str(config.model.path)).expanduser()


def tokenizer_of(config: Config) -> PreTrainedTokenizerBase:
    """The tokenizer of a model, for which no weights are fetched and no nano model is trained."""
    if config.model.source == "nano":
        return build_tokenizer()
    source = open_source(config)
    checkpoints = select(source.available(), **asdict(config.schedule))
    return tokenizer_among(config, source, checkpoints)


def tokenizer_among(
    config: Config, source: Source, checkpoints: Sequence[Checkpoint]
) -> PreTrainedTokenizerBase:
    """The tokenizer of the first of some checkpoints that can be used, or the one that
    model.tokenizer names, as this model takes it.

    Raises UserError where there is none.
    """
    named = config.model.tokenizer
    if named is None:
        return first_usable(source, checkpoints, load_tokenizer)
    given = tokenizer_folder(named, config.checkpoints)
    return first_usable(source, checkpoints, partial(load_tokenizer, given=given))


def prompts_of(config: Config, tokenizer: PreTrainedTokenizerBase) -> PromptSet:
    """The prompts of a cell."""
    return prompts_for(config.task, tokenizer, seed=config.seed)


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
    facts: dict[str, Any],
    prompts: PromptSet,
    text: str,
) -> dict[str, Any]:
    """What cell.json holds: all that decides the records, and what made them.

    Args:
        config: The cell's configuration.
        checkpoints: The schedule.
        facts: Of the model, as `model_facts` gives them.
        prompts: Of the task.
        text: Which text copy suppression is measured on.

    Returns:
        The header of a cell.
    """
    known = Facts.of_installation(TaskFacts.of(task_of(config.task), prompts.variant))
    graph = Graph(facts["n_layers"], facts["n_heads"], facts["parallel"])
    return {
        "config": asdict(replace(config, shard=None)),  # the cell is the same by any division
        "code_version": __version__,
        "versions": dict(versions()),
        "model": {"name": config.model.name, **facts},
        "task": config.task.name,
        "seed": config.seed,
        "task_variant": prompts.variant,
        "facts": with_thresholds(known, config.heads.thresholds).of_cell(config.task.name),
        "schedule": [asdict(checkpoint) for checkpoint in checkpoints],
        "lexicon": prompts.lexicon_counts,
        "bos": prompts.bos or None,
        "prompt_notes": list(prompts.notes),
        "copy_suppression_text": text,
        "graph": {"senders": graph.senders, "receivers": graph.receivers, "n_edges": graph.n_edges},
    }
