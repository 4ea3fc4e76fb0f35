"""A folder of checkpoints that grows while it is watched: which one comes next, and until when to
wait.

A checkpoint is taken once its folder is whole and nothing in it has changed between two looks; of
several the one of the lowest step comes first. One that is whole only after a later one was
recorded is recorded when it comes, and the overlaps of the later one are made anew. Of two with
equal weights the one that came later is the duplicate, whatever its step.

Old checkpoints may be deleted at any time, as a Trainer's save_total_limit does: what is recorded
stays, and one that goes before it was read is skipped and said.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, field

from circuitwatch.checkpoints.completeness import Files, files_of, has_tokenizer, unfinished
from circuitwatch.checkpoints.describing import all_unusable
from circuitwatch.checkpoints.folder import FolderSource
from circuitwatch.checkpoints.schedule import Checkpoint, is_over, merged, select
from circuitwatch.checkpoints.settings import ScheduleConfig
from circuitwatch.checkpoints.source import Source
from circuitwatch.checkpoints.unusable import Unusable
from circuitwatch.config import Config
from circuitwatch.progress import CellProgress
from circuitwatch.recording import Recorder, watch_checkpoints
from circuitwatch.units import format_duration, parse_duration


@dataclass(frozen=True)
class Clock:
    """How time passes, in seconds; a test gives its own."""

    now: Callable[[], float] = time.monotonic
    sleep: Callable[[float], None] = time.sleep


CLOCK = Clock()


@dataclass
class Look:
    """What one look at the folder found of the checkpoints that are asked for.

    ready: whole, and unchanged since an earlier look; ascending by step. unfinished: what each of
    the others still lacks; the words are empty where only another look is. gone: those whose
    folders were deleted.
    """

    ready: list[Checkpoint] = field(default_factory=list)
    unfinished: list[tuple[Checkpoint, str]] = field(default_factory=list)
    gone: list[Checkpoint] = field(default_factory=list)


class Arrivals:
    """The checkpoints of a folder, as they come. It remembers those that were deleted since, so
    that a schedule counts them.
    """

    def __init__(
        self,
        source: FolderSource,
        schedule: ScheduleConfig,
        every: float,
        clock: Clock,
        idle: str | None = None,
        before: Sequence[Checkpoint] = (),
    ) -> None:
        """Begin to wait.

        Args:
            source: The folder.
            schedule: Which of its checkpoints are wanted.
            every: Seconds between two looks.
            clock: How time passes.
            idle: The wait is over after so long without anything new, as people write it; None:
                never.
            before: Checkpoints that were taken by an earlier run.
        """
        self.source = source
        self.clock = clock
        self.every = every
        self.idle = idle
        self._changed = clock.now()
        self._schedule = asdict(schedule)
        self._known = list(before)
        self._seen: dict[str, tuple[Files, float]] = {}
        self._refused: dict[str, tuple[Files, str]] = {}

    @property
    def wanted(self) -> list[Checkpoint]:
        """What the schedule takes of all that have come, whatever comes later."""
        chosen = select(self._known, **self._schedule, growing=True)
        return merged(chosen, self.last) if self.is_over else chosen

    @property
    def last(self) -> list[Checkpoint]:
        """The last that came within the schedule's range, as a list of one, or none if none is."""
        ends = {key: self._schedule[key] for key in ("start", "stop")}
        return select(self._known, **ends, growing=True)[-1:]

    @property
    def is_over(self) -> bool:
        """Whether the schedule takes none that is still to come."""
        return is_over(self._known, **self._schedule)

    def look(self, is_asked_for: Callable[[Checkpoint], bool]) -> Look:
        """Look at the folder once."""
        there = self.source.so_far()
        self._known = merged(there, self._known)
        seen = {}
        for checkpoint in there:
            files = files_of(self.source.directory / checkpoint.revision)
            earlier, since = self._seen.get(checkpoint.revision, (None, 0.0))
            if files != earlier:
                since = self._changed = self.clock.now()
            seen[checkpoint.revision] = files, since
        self._seen = seen
        found = Look()
        for checkpoint in self.wanted:
            if not is_asked_for(checkpoint):
                continue
            if checkpoint.revision not in seen:
                found.gone.append(checkpoint)
            elif lacking := unfinished(self.source.directory / checkpoint.revision):
                found.unfinished.append((checkpoint, lacking))
            elif self.clock.now() - seen[checkpoint.revision][1] < self.every:
                found.unfinished.append((checkpoint, ""))
            else:
                found.ready.append(checkpoint)
        return found

    def refuse(self, checkpoint: Checkpoint, reason: str) -> None:
        """Say why nothing can be begun with a checkpoint; it holds while its files are the same."""
        files = self._seen[checkpoint.revision][0]
        self._refused[checkpoint.revision] = files, reason

    def refused(self, checkpoint: Checkpoint) -> str | None:
        """Why nothing can be begun with a checkpoint as it is now, if it was refused."""
        files, reason = self._refused.get(checkpoint.revision, (None, None))
        return reason if files == self._seen[checkpoint.revision][0] else None

    def wait(self) -> None:
        """Let the time until the next look pass."""
        self.clock.sleep(self.every)

    def restart(self) -> None:
        """Count from now how long nothing has come: a checkpoint was worked on until now."""
        self._changed = self.clock.now()

    @property
    def is_idle(self) -> bool:
        """Whether nothing has changed in the folder for so long that no more is waited for."""
        if self.idle is None:
            return False
        return self.clock.now() - self._changed >= parse_duration(self.idle, "follow_idle")


def arrivals_of(
    config: Config, source: Source, before: Sequence[Checkpoint], clock: Clock
) -> Arrivals | None:
    """What comes to the folder that a configuration follows, if it follows one; `before` was taken
    already.
    """
    if not config.follow or not isinstance(source, FolderSource):
        return None
    every = parse_duration(config.follow_every, "follow_every")
    return Arrivals(source, config.schedule, every, clock, config.follow_idle, before)


def first_arrival(title: str, arrivals: Arrivals, *, elsewhere: bool = False) -> Checkpoint | None:
    """Wait for a checkpoint that is whole and has a tokenizer, if none is `elsewhere`, from which
    prompts can be made; None if nothing comes for too long. It is said under a title what is waited
    for.

    Raises Unusable if what came by then was refused.
    """
    directory = arrivals.source.directory
    with CellProgress(title, 0) as progress:
        while True:
            look = arrivals.look(lambda checkpoint: True)
            for checkpoint in look.ready:
                reason = arrivals.refused(checkpoint)
                places = (directory / checkpoint.revision, directory)
                if reason is None and (elsewhere or any(map(has_tokenizer, places))):
                    return checkpoint
                lacking = reason or f"no tokenizer in {checkpoint.revision} or above it"
                look.unfinished.append((checkpoint, lacking))
            if arrivals.is_idle:
                refused = [r for c in look.ready if (r := arrivals.refused(c)) is not None]
                if refused:
                    raise Unusable(all_unusable(refused, len(refused)))
                return None
            progress.wait(_waiting(look, f"none yet in {directory}", arrivals))
            arrivals.wait()


def follow(recorder: Recorder, arrivals: Arrivals) -> None:
    """Record checkpoints as they come, until the schedule takes none that is still to come, or
    nothing has come for too long. Then what is not whole is skipped, to be tried again by another
    run once it has changed, and the last that came is taken whatever the schedule.
    """
    recorder.cell.reopen()
    recorded_at: float | None = None

    def is_open(checkpoint: Checkpoint) -> bool:
        return checkpoint.step not in recorder.recorded and not recorder.was_tried(checkpoint)

    while True:
        look = arrivals.look(is_open)
        if next_ones := look.gone or look.ready[:1]:
            before = len(recorder.recorded)
            _take(recorder, next_ones)
            arrivals.restart()
            if len(recorder.recorded) > before:
                recorded_at = arrivals.clock.now()
        elif arrivals.is_idle or (arrivals.is_over and not look.unfinished):
            break
        else:
            last = _last(recorder, arrivals.clock, recorded_at)
            recorder.progress.wait(_waiting(look, last, arrivals))
            arrivals.wait()
    _take(recorder, [c for c in merged(arrivals.wanted, arrivals.last) if is_open(c)])


def _take(recorder: Recorder, checkpoints: Sequence[Checkpoint]) -> None:
    """Take checkpoints into the cell's schedule, and record each or why it is skipped."""
    if not checkpoints:
        return
    cell = recorder.cell
    schedule = merged((Checkpoint(**entry) for entry in cell.header["schedule"]), checkpoints)
    cell.grow([asdict(checkpoint) for checkpoint in schedule])
    others = {*recorder.recorded, *map(int, cell.skipped())} - {c.step for c in checkpoints}
    recorder.progress.expect(len(schedule), done=len(others))
    recorded = [c for c in schedule if c.step in recorder.recorded]
    watch_checkpoints(recorder, merged(recorded, checkpoints))


def _last(recorder: Recorder, clock: Clock, at: float | None) -> str:
    """Which checkpoint was recorded last, in words; at: when, if this run recorded it."""
    if not recorder.recorded:
        return "none yet"
    ago = "" if at is None else f", {format_duration(clock.now() - at)} ago"
    return f"last: step {max(recorder.recorded)}{ago}"


def _waiting(look: Look, last: str, arrivals: Arrivals) -> str:
    """What is waited for, and until when, in a line."""
    idle = arrivals.idle
    ends = "until it is stopped" if idle is None else f"stops after {idle} without one"
    lacking = next((reason for _, reason in look.unfinished if reason), None)
    if lacking is None:
        return f"waiting for checkpoints ({last}; {ends})"
    return f"waiting: {lacking.replace(f'{arrivals.source.directory}/', '')} ({last}; {ends})"
