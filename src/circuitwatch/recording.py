"""Checkpoints into records: one after another, each compared with the one before it; of one that
can't be analysed, why it is skipped.
"""

from __future__ import annotations

from bisect import bisect_left, insort
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from functools import partial

from circuitwatch.analysis import Subject, analyse_checkpoint
from circuitwatch.checkpoints.audit import Audit, OnRecord
from circuitwatch.checkpoints.completeness import NOTHING_THERE
from circuitwatch.checkpoints.schedule import Checkpoint
from circuitwatch.checkpoints.source import Missing, NotFetched, Source, Stream
from circuitwatch.checkpoints.unusable import Unsupported, Unusable
from circuitwatch.config import Config
from circuitwatch.errors import UserError
from circuitwatch.linking import is_compared_with, linked_records, relink
from circuitwatch.progress import CellProgress
from circuitwatch.record_files import (
    DUPLICATE_OF,
    PREFIX_REMOVED,
    WEIGHTS_SHA256,
    CheckpointRecord,
    Scalar,
)
from circuitwatch.records import Cell
from circuitwatch.timing import Stopwatch
from circuitwatch.tracking import Tracker
from circuitwatch.units import counted

HOPELESS = 3
"""Checkpoints in a row that could not be fetched, or of a kind that can't be analysed, after which
a run ends.
"""


class Recorder:
    """Records one checkpoint after another into a cell. It keeps no model, and one record."""

    def __init__(
        self,
        cell: Cell,
        source: Source,
        subject: Subject,
        tracker: Tracker,
        progress: CellProgress,
        *,
        links: bool = True,
    ) -> None:
        """Read what the cell has.

        Args:
            cell: Where records go.
            source: Where weights come from.
            subject: What is measured.
            tracker: Told of each record.
            progress: Shows what is done.
            links: Whether records are compared with those before them. Other processes may be
                writing these: then it is done at the end, see `shards`.
        """
        self.cell = cell
        self.source = source
        self.subject = subject
        self.progress = progress
        self.recorded: dict[int, OnRecord] = {}
        self._tracker = tracker
        # A cell without a record is tried as a whole.
        before = cell.skipped() if cell.steps_done() else {}
        self._tried = {
            int(step): str(entry["seen"]) for step, entry in before.items() if "seen" in entry
        }
        self._circuits: list[int] = []  # steps of records to compare with, ascending
        self._last: CheckpointRecord | None = None
        self._in_a_row = 0
        self._unsupported = 0
        self._out_of_order = False
        self._links = links
        if not links:
            for step in cell.steps_done():
                with suppress(UserError, OSError):  # it is being made anew just now
                    self._note_weights(step, cell.scalars_of(step))
            return
        # A run that was killed may have left them as they came.
        for record, _ in linked_records(cell):
            self._note(record)

    def put_in_order(self) -> None:
        """Link the records anew if any was made after a later one."""
        if self._out_of_order and self._links:
            relink(self.cell)
            self._out_of_order = False

    def forget(self, checkpoint: Checkpoint) -> None:
        """Make a checkpoint's record anew, when its turn comes."""
        del self.recorded[checkpoint.step]
        self._circuits = [step for step in self._circuits if step != checkpoint.step]
        if self._last is not None and self._last.step == checkpoint.step:
            self._last = None

    def was_tried(self, checkpoint: Checkpoint) -> bool:
        """Whether a checkpoint was skipped, and its files are the same as then."""
        seen = self.source.seen(checkpoint)
        return seen is not None and self._tried.get(checkpoint.step) == seen

    def take(self, checkpoint: Checkpoint, stream: Stream, duplicate_of: str | None) -> None:
        """Analyse a checkpoint and record what comes of it, or why nothing does.

        Raises UserError where nothing more can be done now.

        Args:
            checkpoint: One that has no record.
            stream: Hands out its weights.
            duplicate_of: The revision whose weights it has, if they are another's.
        """
        say = Stopwatch(partial(say_at, self.progress, checkpoint))
        # Before they are read: if they change meanwhile, they are worth another try.
        seen = self.source.seen(checkpoint)
        try:
            with stream.hold(checkpoint, say) as weights:
                record = analyse_checkpoint(
                    checkpoint,
                    weights,
                    self.subject,
                    self._before(checkpoint.step),
                    say,
                    duplicate_of,
                    self.source.sha256(checkpoint),
                )
        except (Missing, Unusable) as error:
            self.skip(checkpoint, str(error), seen=seen)
            self._unsupported += isinstance(error, Unsupported)
            if self._unsupported == HOPELESS and not self.recorded:
                # It is the model that can't be analysed: the rest need not be fetched.
                raise UserError(
                    f"{error}; {HOPELESS} checkpoints are of such a kind, and none is recorded"
                ) from error
            return
        except NotFetched as error:
            self.skip(checkpoint, str(error), again=True)
            self._in_a_row += 1
            if self._in_a_row == HOPELESS:
                raise UserError(f"{error}; {self._so_far()}") from error
            return
        except UserError as error:
            raise UserError(f"{error}; {self._so_far()}") from error
        self._in_a_row = 0
        seconds = say.seconds()
        self._out_of_order |= any(step > record.step for step in self.recorded)
        self.cell.write(record, seconds)
        if seen is not None:
            self.cell.note_seen(record.step, seen)
        self._note(record)
        self._tracker.log(record, seconds)
        self.progress.advance(_line(record))

    def skip(
        self,
        checkpoint: Checkpoint,
        reason: str,
        *,
        again: bool = False,
        seen: str | None = None,
        keep_seen: bool = True,
    ) -> None:
        """Record why a checkpoint has no record.

        Args:
            checkpoint: Which.
            reason: In words.
            again: Whether another run should try it once more, whatever its files are.
            seen: A fingerprint of its files; it is not tried again while they are the same.
            keep_seen: Whether that holds for other runs too.
        """
        if seen is not None:
            # What was deleted meanwhile need not be found missing a second time.
            now = self.source.seen(checkpoint)
            seen = now if now == NOTHING_THERE else seen
            self._tried[checkpoint.step] = seen
        self.cell.skip(
            checkpoint.step,
            checkpoint.tokens,
            checkpoint.revision,
            reason,
            again=again,
            seen=seen if keep_seen else None,
        )
        self.progress.advance(f"step {checkpoint.step}: skipped, {reason}")

    def _note(self, record: CheckpointRecord) -> None:
        self._note_weights(record.step, record.scalars)
        # The next circuit's overlap is with one that has a circuit, and weights of its own.
        if self._links and is_compared_with(record):
            insort(self._circuits, record.step)
            self._last = record

    def _note_weights(self, step: int, scalars: Mapping[str, Scalar]) -> None:
        sha256 = scalars.get(WEIGHTS_SHA256)
        known = None if sha256 is None else str(sha256)
        self.recorded[step] = OnRecord(known, DUPLICATE_OF in scalars)

    def _before(self, step: int) -> CheckpointRecord | None:
        """The last record before a step that its circuit is compared with."""
        place = bisect_left(self._circuits, step)
        if not place:
            return None
        wanted = self._circuits[place - 1]
        if self._last is None or self._last.step != wanted:
            self._last = self.cell.read(wanted)
        return self._last

    def _so_far(self) -> str:
        return (
            f"{len(self.recorded)} of {len(self.cell.header['schedule'])} checkpoints are "
            f"recorded, and the same command goes on"
        )


def watch_checkpoints(
    recorder: Recorder, checkpoints: Sequence[Checkpoint], part: Sequence[Checkpoint] | None = None
) -> None:
    """Record every checkpoint that has no record yet, or why it is skipped.

    One that was skipped is tried again, but not where its files are known to be the same as then.

    Args:
        recorder: Records them.
        checkpoints: Ascending by step, those that are recorded among them.
        part: Those that are this process' to record, if the others are others'.
    """
    part = checkpoints if part is None else part
    source, progress, config = recorder.source, recorder.progress, recorder.subject.config
    redo_changed(recorder, part)
    to_do = [c for c in part if c.step not in recorder.recorded]
    # Before they are looked at: what changes from now on is worth another try.
    seen = {c.step: source.seen(c) for c in to_do}
    audit = source.audit(checkpoints, progress.at, recorder.recorded)
    refuse_duplicates(config, audit)
    skips_duplicates = config.checkpoints.duplicates == "skip"
    missing, duplicates = audit.missing, audit.duplicate_of
    fetched = [
        c
        for c in to_do
        if c.step not in missing and not (skips_duplicates and c.step in duplicates)
    ]
    with source.stream(fetched) as stream:
        for checkpoint in to_do:
            original = duplicates.get(checkpoint.step)
            if reason := missing.get(checkpoint.step):
                recorder.skip(checkpoint, reason, seen=seen[checkpoint.step])
            elif original and skips_duplicates:
                reason = f"same weights as {original}"
                # Another run may flag duplicates instead.
                recorder.skip(checkpoint, reason, seen=seen[checkpoint.step], keep_seen=False)
            elif not original and recorder.was_tried(checkpoint):
                progress.advance(
                    f"step {checkpoint.step}: skipped as before, its files are the same"
                )
            else:
                recorder.take(checkpoint, stream, original)
    recorder.put_in_order()


def redo_changed(recorder: Recorder, checkpoints: Sequence[Checkpoint]) -> None:
    """Have the records made anew whose checkpoints have other weights by now.

    Raises UserError with checkpoints.changed=error if there is any.
    """
    cell = recorder.cell
    recorded = [c for c in checkpoints if c.step in recorder.recorded]
    changed = list(with_other_weights(cell, recorder.source, recorded))
    if not changed:
        return
    words = (
        f"{cell.folder}: {changed[0].revision} has other weights than those of its record"
        f"{f', and {len(changed) - 1} more' if len(changed) > 1 else ''}"
    )
    if recorder.subject.config.checkpoints.changed == "error":
        raise UserError(f"{words}; checkpoints.changed=redo makes what was recorded anew")
    recorder.progress.console.print(
        f"{words}: made anew", highlight=False, soft_wrap=True, markup=False
    )
    for checkpoint in changed:
        recorder.forget(checkpoint)


def with_other_weights(
    cell: Cell, source: Source, recorded: Iterable[Checkpoint]
) -> Iterator[Checkpoint]:
    """Those of some checkpoints on record whose weights that lie there now are others; they are
    hashed only where their files' names, sizes or times have changed.
    """
    known = cell.seen()
    for checkpoint in recorded:
        now = source.seen(checkpoint)
        if now is None or known.get(checkpoint.step) == now:
            continue
        before = cell.weights_of(checkpoint.step)
        sha256 = None if before is None else source.hashed(checkpoint)
        if sha256 is None:
            continue
        if sha256 != before:
            yield checkpoint
        else:
            cell.note_seen(checkpoint.step, now)


def refuse_duplicates(config: Config, audit: Audit) -> None:
    """With checkpoints.duplicates=error, raise UserError if any checkpoint has the weights of
    another.
    """
    if config.checkpoints.duplicates == "error" and audit.duplicate_of:
        step, original = next(iter(audit.duplicate_of.items()))
        copies = counted(len(audit.duplicate_of), "checkpoint has", "checkpoints have")
        raise UserError(
            f"{config.model.name}: {copies} the weights of another "
            f"(step {step} those of {original}); "
            f"`circuitwatch doctor` lists them, and checkpoints.duplicates=skip or flag goes on"
        )


def say_at(progress: CellProgress, checkpoint: Checkpoint, what: str) -> None:
    """Show what is done at a checkpoint."""
    progress.at(f"{checkpoint.revision}: {what}")


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
