"""A live model is measured for several tasks: what does not depend on the task once, then each task
into its own cell. A task that fails is given up, and the others are measured on; weights that have
diverged are no fault of the task, and are skipped.
"""

from __future__ import annotations

import tempfile
from collections.abc import Iterable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from torch import nn

from circuitwatch import analysis
from circuitwatch.checkpoints.loading import model_facts
from circuitwatch.checkpoints.schedule import Checkpoint
from circuitwatch.checkpoints.unusable import DamagedWeights
from circuitwatch.config import Config, cell_folder
from circuitwatch.heads.text import text_used
from circuitwatch.live import lines
from circuitwatch.live.cells import LiveCell
from circuitwatch.live.subjects import subjects_of
from circuitwatch.live.users_run import UsersRun
from circuitwatch.live.weights import State, load_state, sha256_of, state_of
from circuitwatch.locks import CELL, holder
from circuitwatch.monitor import header
from circuitwatch.record_files import DUPLICATE_OF, WEIGHTS_SHA256, CheckpointRecord, Scalar
from circuitwatch.shards import hold_cell
from circuitwatch.transformer import Transformer
from circuitwatch.usable import require_room_for, unless_diverged

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase


@dataclass(frozen=True)
class Copy:
    """A live model's weights at a step."""

    checkpoint: Checkpoint
    state: State
    sha256: str

    @classmethod
    def of(cls, model: nn.Module, step: int, tokens: int) -> Copy:
        """Those of a model without wrappers."""
        state = state_of(model)
        return cls(Checkpoint(step, tokens, f"step{step}"), state, sha256_of(state))

    @property
    def place(self) -> str:
        """Which checkpoint, in words."""
        return lines.at(self.checkpoint.step, self.checkpoint.tokens)


class Measured:
    """The tasks that are watched, with their cells.

    Args:
        configs: a cell's configuration for each task.
        tokenizer: the training's.
        circuits: the circuit is looked for at each measurement with a number divisible by this, and
            at the last; 0: at none.

    Raises:
        UserError: the tokenizer lacks too many of a task's words.
    """

    def __init__(
        self, configs: Sequence[Config], tokenizer: PreTrainedTokenizerBase, circuits: int
    ) -> None:
        self._configs, self._circuits = configs, circuits
        self._subjects = subjects_of(configs, tokenizer)
        self._text = text_used(tokenizer, configs[0].heads.text)
        self._failed: set[str] = set()
        self._run: UsersRun | None = UsersRun()
        self.cells: dict[str, LiveCell] = {}
        self._locks = ExitStack()

    def close(self) -> None:
        """Let other processes have the cells."""
        self._locks.close()

    def watched(self) -> list[str]:
        """The tasks that have not failed."""
        return [task for task in self.cells if task not in self._failed]

    def give_up(self, tasks: Sequence[str], why: str) -> None:
        """Watch some tasks no more."""
        self._failed |= set(tasks)
        lines.say(f"{', '.join(tasks)} is watched no more, the training goes on ({why})")

    def open_cells(self, model: Any) -> None:
        """Open the cells of a model, or go on with them.

        Raises UserError if they were made with another configuration, can't be written, or are
        watched by another process.
        """
        for config in self._configs:
            who = holder(cell_folder(config) / CELL)
            # A notebook may start anew without having closed what it started before.
            if who is None or not who.is_this_process:
                self._locks.enter_context(hold_cell(cell_folder(config)))
        with tempfile.TemporaryDirectory() as folder:
            model.config.save_pretrained(folder)
            for config in self._configs:
                prompts = self._subjects[config.task.name].prompts
                head = header(config, [], model_facts(Path(folder)), prompts, self._text)
                self.cells[config.task.name] = LiveCell(cell_folder(config), head)
                for note in prompts.notes:
                    lines.say(f"task={config.task.name}: {note}")

    def not_recorded(self, tasks: Iterable[str], copy: Copy) -> list[str]:
        """Those of some tasks that have neither recorded this step with these weights nor skipped
        it.
        """
        step = copy.checkpoint.step
        return [task for task in tasks if not self.cells[task].agrees(step, copy.sha256)]

    def load(self, model: Any, copy: Copy, device: str) -> Transformer:
        """The copied weights as plain tensors.

        Raises as `load_state` does, and Unusable where the model has no room for a task's prompts.
        """
        with tempfile.TemporaryDirectory() as folder:
            model.config.save_pretrained(folder)
            loaded = load_state(
                copy.state,
                Path(folder),
                called(self._configs[0], copy.checkpoint.step),
                like=type(model),
                device=device,
                dtype=getattr(torch, self._configs[0].dtype),
                check_length=max(subject.longest_input for subject in self._subjects.values()),
            )
        for task, subject in self._subjects.items():
            require_room_for(loaded, subject.prompts, f"the prompts of {task}")
        return loaded

    def skip(self, tasks: Iterable[str], copy: Copy, why: str) -> None:
        """Record why a checkpoint has no record in the cells of some tasks."""
        for task in tasks:
            self._leave_behind(task)
            self.cells[task].skip(copy.checkpoint, copy.sha256, why)
        lines.say(f"{copy.place}: not measured, {why}")

    def measure(
        self, model: Transformer, copy: Copy, tasks: Sequence[str], *, last: bool
    ) -> dict[str, CheckpointRecord]:
        """Measure some tasks, write their records and log them; task → record.

        A task that fails is given up, and one on whose prompts the model has diverged skips this
        checkpoint. Raises what the roles and quantities of the model raise.
        """
        if not tasks:
            return {}
        subject = next(iter(self._subjects.values()))
        try:
            with unless_diverged(model, subject.prompts.clean):
                seen = analysis.Seen.of(model, subject.probes)
        except DamagedWeights as error:
            self.skip(tasks, copy, lines.reason(error))
            return {}
        records: dict[str, CheckpointRecord] = {}
        for task in tasks:
            try:
                records[task] = self._record(model, seen, copy, task, last)
            except DamagedWeights as error:
                self.skip([task], copy, lines.reason(error))
            except Exception as error:  # the training must go on whatever happens here
                self.give_up([task], f"{copy.place}: {lines.reason(error)}")
        if records:
            self._log(records, seen)
        return records

    def _record(
        self, model: Transformer, seen: analysis.Seen, copy: Copy, task: str, last: bool
    ) -> CheckpointRecord:
        self._leave_behind(task)
        live = self.cells[task]
        weights: dict[str, Scalar] = {WEIGHTS_SHA256: copy.sha256}
        if original := live.duplicate_of(copy.sha256):
            weights[DUPLICATE_OF] = original
        nth = self._circuits and (last or len(live.hashes) % self._circuits == 0)
        record = analysis.analyse_model(
            copy.checkpoint,
            model,
            seen,
            weights,
            self._subjects[task],
            live.previous,
            lambda _: None,
            circuits=bool(nth),
        )
        live.write(record)
        return record

    def _leave_behind(self, task: str) -> None:
        live = self.cells[task]
        if left := live.set_aside_what_was_left():
            lines.say(
                f"{task}: the training goes on otherwise than the one recorded; its records of "
                f"steps {left[0]} to {left[-1]} are kept in {live.cell.folder / 'set_aside'}"
            )

    def _log(self, records: dict[str, CheckpointRecord], seen: analysis.Seen) -> None:
        """Log to the user's W&B run; if that fails, one line says so and the watching goes on."""
        roles = {*seen.roles.table["role"], *seen.roles.left_out}
        curves = self._configs[0].heads.curves
        of_model = {*seen.scalars, *(f"roles/{role}" for role in roles if curves == "all")}
        if self._run is not None:
            try:
                self._run.log(records, of_model)
            except Exception as error:  # W&B raises many kinds
                self._run = None
                lines.say(f"nothing more is logged to W&B ({lines.reason(error)})")


def called(config: Config, step: int) -> str:
    """What a live model is called in errors."""
    return f"model_name={config.model.name}, step {step}"
