"""Watching a training live, in any loop.

    with cw.Watcher(["ioi"], model_name="mine", tokenizer=tokenizer) as watcher:
        watcher.step(model, tokens=0)
        for batch in batches:
            ...                            # one step of the optimiser
            tokens += batch.numel()
            watcher.step(model, tokens)

At some of the steps the weights are copied, the copy is measured as `circuitwatch` measures a
checkpoint, and the records go into cells as those of a sweep. Of the training nothing changes (see
`live.undisturbed`). `callback` does this for transformers' Trainer.
"""

from __future__ import annotations

import tempfile
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any

import torch
from torch import nn

from circuitwatch.analysis import Seen, analyse_model, torch_device
from circuitwatch.checkpoints.loading import DamagedWeights
from circuitwatch.checkpoints.schedule import Checkpoint
from circuitwatch.config import CircuitConfig, TaskConfig, cell_folder
from circuitwatch.errors import UserError
from circuitwatch.heads.settings import HeadsConfig
from circuitwatch.heads.text import text_used
from circuitwatch.live import lines
from circuitwatch.live.cells import SHA256, LiveCell, begin_at
from circuitwatch.live.cost import Cost
from circuitwatch.live.due import Every
from circuitwatch.live.subjects import configurations, subjects_of
from circuitwatch.live.undisturbed import undisturbed
from circuitwatch.live.users_run import UsersRun
from circuitwatch.live.weights import (
    State,
    load_state,
    refuse_sharded,
    refuse_unfit,
    sha256_of,
    state_of,
    unwrapped,
)
from circuitwatch.monitor import header
from circuitwatch.options import require_share
from circuitwatch.records import DUPLICATE_OF, CheckpointRecord, Scalar
from circuitwatch.transformer import Transformer

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

__all__ = ["Watcher"]


@dataclass(frozen=True)
class _Copy:
    """A live model's weights at a step."""

    checkpoint: Checkpoint
    state: State
    sha256: str


class Watcher:
    """Watches a model while it is trained; only the process of rank 0 does anything.

    Args:
        tasks: names of tasks in the catalogue, or `TaskConfig`s, such as of a file of one's own.
        model_name: what the model is called in folders, tables and figures.
        tokenizer: the one that it is trained on.
        out: the folder of sweeps.
        sweep: the sweep's name: cells are in out/sweep/model_name/task/seed<seed>.
        every: steps (1000), tokens ("10M"), or "log": steps 1, 2, 4, 8, …; the first and the last
            step are measured too.
        circuits: True: at each measurement also the circuit, and what heads do in it, which takes
            far longer; n: at each n-th and the last; False: behaviour, roles and quantities alone.
        max_share: seconds spent here for each second of the training, at most: what would be more
            is skipped, but for the first and the last measurement. None: no bound.
        seed: of the prompts and the bootstrap.
        n_prompts: pairs of prompts of a task that is given by name.
        n_bootstrap: resamples of a bootstrap interval.
        device: where the copy is measured; auto: where the model is.
        heads, circuit: options as of a sweep.

    Raises:
        UserError: a task is not known, the tokenizer lacks its words, or an option can't have its
            value.
    """

    def __init__(
        self,
        tasks: Sequence[str | TaskConfig],
        *,
        model_name: str,
        tokenizer: PreTrainedTokenizerBase,
        out: str | Path = "multirun",
        sweep: str = "live",
        every: int | str = "log",
        circuits: bool | int = False,
        max_share: float | None = 0.05,
        seed: int = 0,
        n_prompts: int = 64,
        n_bootstrap: int = 1000,
        device: str = "auto",
        heads: HeadsConfig | None = None,
        circuit: CircuitConfig | None = None,
    ) -> None:
        self._every = Every(every)
        if max_share is not None:
            require_share(max_share, "max_share")
        if not isinstance(circuits, int) or circuits < 0:
            raise UserError(f"circuits={circuits}: give True, False, or n for each n-th")
        self._circuits = int(circuits)
        self.cost = Cost(max_share)
        self._cells: dict[str, LiveCell] = {}
        self._failed: set[str] = set()
        self._run: UsersRun | None = UsersRun()
        self._at: tuple[int, int] | None = None
        self._model: nn.Module | None = None
        self._measured = self._skipped = self._skipped_since = 0
        self._skipped_last = -1
        self._over, self._checked = not _is_first_process(), False
        self._configs = configurations(
            tasks,
            model_name,
            n_prompts,
            out=str(out),
            sweep=sweep,
            seed=seed,
            n_bootstrap=n_bootstrap,
            device=device,
            heads=heads,
            circuit=circuit,
        )
        if device != "auto":
            torch_device(device)
        if not self._over:
            with undisturbed():
                self._subjects = subjects_of(self._configs, tokenizer)
                self._text = text_used(tokenizer, self._configs[0].heads.text)

    @property
    def share(self) -> float:
        """Seconds spent here for each second of the training outside, since the first `step`."""
        return self.cost.share

    def __enter__(self) -> Watcher:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close(finished=error is None)

    def step(
        self, model: nn.Module, tokens: int, *, step: int | None = None, last: bool = False
    ) -> dict[str, CheckpointRecord] | None:
        """Look at the model if it is time to. Call it before the first step, then after each.

        Args:
            model: the model, in whatever wrappers.
            tokens: training tokens seen so far.
            step: steps of the optimiser so far; None: they are counted here, from 0 if no tokens
                were seen yet.
            last: that this is the last step, which is measured in any case.

        Returns:
            task → record; None if it was not time, or is recorded already.

        Raises:
            UserError: at the first call alone: this model can't be watched, or the cells are of
                another training. Later nothing is raised; what fails is said, and watched no more.
        """
        if not self._checked:
            refuse_sharded(model)  # in every process, so that all of them stop
            self._checked = True
        if self._over:
            return None
        if step is None:
            step = (0 if tokens == 0 else 1) if self._at is None else self._at[0] + 1
        if self._at is None:
            with self.cost.spending():
                records = self._begin(model, step, tokens, last)
        else:
            try:
                records = self._go_on(model, step, tokens, last)
            except Exception as error:  # the training must go on whatever happens here
                self._stop(self._watched(), f"{lines.at(step, tokens)}: {lines.reason(error)}")
                return None
        if records:
            self._measured += 1
            if self._skipped_last == step:  # it turned out to be the last
                self._skipped, self._skipped_since = self._skipped - 1, self._skipped_since - 1
            skipped = f", {self._skipped_since} skipped before" if self._skipped_since else ""
            self._skipped_since = 0
            lines.say(
                f"{lines.at(step, tokens)}: {lines.of_records(records)}{skipped}; "
                f"{lines.of_share(self.share)}"
            )
        return records or None

    def close(self, *, finished: bool = True, measure: bool = True) -> None:
        """End the watching: measure the last step, and mark the cells as done.

        Args:
            finished: whether the training came to its end; if not, nothing more is measured, and
                the cells are not marked.
            measure: whether the model still has the weights of the last step, so that it can be
                measured.
        """
        if self._over or self._at is None:
            self._over = True
            return
        model, self._model = self._model, None
        if finished and measure and model is not None:
            self.step(model, self._at[1], step=self._at[0], last=True)
        self._over = True
        self.cost.end()
        if finished:
            for task in self._watched():
                self._cells[task].cell.mark_done()
        config = self._configs[0]
        where = Path(config.out) / config.sweep / config.model.name
        skipped = f", {self._skipped} skipped (max_share)" if self._skipped else ""
        lines.say(
            f"{self._measured} measurements{skipped}; {self.cost.spent:.1f} s, "
            f"{lines.of_share(self.share)}; records in {where}"
        )

    def _begin(
        self, model: nn.Module, step: int, tokens: int, last: bool
    ) -> dict[str, CheckpointRecord]:
        """The first call: everything is tried, so that what can't be watched is said now."""
        if isinstance(tokens, bool) or not isinstance(tokens, int) or min(tokens, step) < 0:
            raise UserError(f"step={step}, tokens={tokens}: give whole numbers of at least 0")
        model = unwrapped(model)
        with undisturbed(self._device_of(model)):
            refuse_unfit(model, self._called(step))
            copy = self._copy(model, step, tokens)
            transformer = self._load(model, copy)
            self._open_cells(model)
            begin_at(self._cells, step, copy.sha256)
            self._at, self._model = (step, tokens), model
            is_due = last or self._every.is_due(step, tokens, None)
            wanted = [task for task, live in self._cells.items() if is_due or not live.hashes]
            try:
                return self._measure(transformer, copy, self._not_recorded(wanted, copy), last)
            except Exception as error:
                self._stop(self._watched(), f"{lines.at(step, tokens)}: {lines.reason(error)}")
                return {}

    def _go_on(
        self, model: nn.Module, step: int, tokens: int, last: bool
    ) -> dict[str, CheckpointRecord]:
        """A later call."""
        assert self._at is not None
        if step < self._at[0] or tokens < self._at[1]:
            raise UserError(f"comes after {lines.at(*self._at)}; steps and tokens must rise")
        before, self._at = self._at, (step, tokens)
        model = unwrapped(model)
        self._model = model
        if not last and not self._every.is_due(step, tokens, before):
            return {}
        if not last and not self.cost.allows:
            self._skip(step, tokens)
            return {}
        wanted = [task for task in self._watched() if not self._cells[task].is_known(step)]
        if not wanted:
            return {}
        with self.cost.spending(), undisturbed(self._device_of(model)):
            copy = self._copy(model, step, tokens)
            wanted = self._not_recorded(wanted, copy)
            if not wanted:
                return {}
            try:
                transformer = self._load(model, copy)
            except DamagedWeights as error:
                for task in wanted:
                    self._cells[task].skip(copy.checkpoint, lines.reason(error), again=False)
                lines.say(f"{lines.at(step, tokens)}: not measured, {lines.reason(error)}")
                return {}
            return self._measure(transformer, copy, wanted, last)

    def _measure(
        self, model: Transformer, copy: _Copy, wanted: Collection[str], last: bool
    ) -> dict[str, CheckpointRecord]:
        """Measure some tasks, write and log their records."""
        if not wanted:
            return {}
        seen = Seen.of(model, next(iter(self._subjects.values())).probes)
        records: dict[str, CheckpointRecord] = {}
        for task in wanted:
            try:
                records[task] = self._record(model, seen, copy, task, last)
            except Exception as error:
                where = lines.at(copy.checkpoint.step, copy.checkpoint.tokens)
                self._stop([task], f"{where}: {lines.reason(error)}")
        if records:
            self._log(records, seen)
        return records

    def _record(
        self, model: Transformer, seen: Seen, copy: _Copy, task: str, last: bool
    ) -> CheckpointRecord:
        live = self._cells[task]
        if left := live.set_aside_what_was_left():
            lines.say(
                f"{task}: the training goes on otherwise than the one recorded; its records of "
                f"steps {left[0]} to {left[-1]} are kept in {live.cell.folder / 'set_aside'}"
            )
        weights: dict[str, Scalar] = {SHA256: copy.sha256}
        if original := live.duplicate_of(copy.sha256):
            weights[DUPLICATE_OF] = original
        nth = self._circuits and (last or len(live.hashes) % self._circuits == 0)
        record = analyse_model(
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

    def _copy(self, model: nn.Module, step: int, tokens: int) -> _Copy:
        state = state_of(model)
        return _Copy(Checkpoint(step, tokens, f"step{step}"), state, sha256_of(state))

    def _load(self, model: Any, copy: _Copy) -> Transformer:
        config = self._configs[0]
        with tempfile.TemporaryDirectory() as folder:
            model.config.save_pretrained(folder)
            return load_state(
                copy.state,
                Path(folder),
                self._called(copy.checkpoint.step),
                like=type(model),
                device=self._device_of(model),
                dtype=getattr(torch, config.dtype),
                check_length=max(subject.longest_input for subject in self._subjects.values()),
            )

    def _open_cells(self, model: Any) -> None:
        with tempfile.TemporaryDirectory() as folder:
            model.config.save_pretrained(folder)
            for config in self._configs:
                prompts = self._subjects[config.task.name].prompts
                head = header(config, [], Path(folder), prompts, self._text)
                self._cells[config.task.name] = LiveCell(cell_folder(config), head)
                for note in prompts.notes:
                    lines.say(f"task={config.task.name}: {note}")

    def _not_recorded(self, tasks: Iterable[str], copy: _Copy) -> list[str]:
        step = copy.checkpoint.step
        return [task for task in tasks if not self._cells[task].agrees(step, copy.sha256)]

    def _watched(self) -> list[str]:
        return [task for task in self._cells if task not in self._failed]

    def _called(self, step: int) -> str:
        return f"model_name={self._configs[0].model.name}, step {step}"

    def _device_of(self, model: nn.Module) -> str:
        device = self._configs[0].device
        return str(next(model.parameters()).device) if device == "auto" else torch_device(device)

    def _skip(self, step: int, tokens: int) -> None:
        """Nothing is measured, for want of time; said once until something is measured again."""
        self._skipped, self._skipped_since = self._skipped + 1, self._skipped_since + 1
        self._skipped_last = step
        if self._skipped_since == 1:
            lines.say(
                f"{lines.at(step, tokens)}: skipped, {lines.of_share(self.share)}, more than "
                f"max_share={self.cost.max_share:g} allows"
            )

    def _log(self, records: dict[str, CheckpointRecord], seen: Seen) -> None:
        """Log to the user's W&B run; if that fails, one line says so and the watching goes on."""
        roles = {*seen.roles.table["role"], *seen.roles.left_out}
        curves = self._configs[0].heads.curves
        of_model = {*seen.scalars, *(f"roles/{role}" for role in roles if curves == "all")}
        if self._run is not None:
            try:
                self._run.log(records, of_model)
            except Exception as error:
                self._run = None
                lines.say(f"nothing more is logged to W&B ({lines.reason(error)})")

    def _stop(self, tasks: Sequence[str], why: str) -> None:
        """Watch some tasks no more."""
        self._failed |= set(tasks)
        lines.say(f"{', '.join(tasks)} is watched no more, the training goes on ({why})")
        self._over = not self._watched()


def _is_first_process() -> bool:
    """Whether this process is the one that watches, of those that train together."""
    distributed = torch.distributed
    ready = distributed.is_available() and distributed.is_initialized()
    return not ready or distributed.get_rank() == 0
