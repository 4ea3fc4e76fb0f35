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

from collections.abc import Sequence
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING

import torch
from torch import nn

from circuitwatch.analysis import torch_device
from circuitwatch.checkpoints.unusable import Unusable
from circuitwatch.config import CircuitConfig, TaskConfig
from circuitwatch.errors import UserError, errors_of
from circuitwatch.heads.settings import HeadsConfig
from circuitwatch.limits import MOST_STEP, MOST_TOKENS, require_whole, shown
from circuitwatch.live import lines
from circuitwatch.live.cells import begin_at
from circuitwatch.live.cost import Cost
from circuitwatch.live.due import Every
from circuitwatch.live.measuring import Copy, Measured, called
from circuitwatch.live.subjects import configurations
from circuitwatch.live.undisturbed import undisturbed
from circuitwatch.live.weights import refuse_sharded, refuse_unfit, unwrapped
from circuitwatch.options import require_share
from circuitwatch.record_files import CheckpointRecord

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

__all__ = ["Watcher"]


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
        heads: options as of a sweep.
        circuit: the same.

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
        if not isinstance(circuits, int) or not 0 <= circuits <= MOST_STEP:
            raise UserError(
                f"circuits={shown(circuits)}: give True, False, or n for each n-th, at most "
                f"{MOST_STEP}"
            )
        self.cost = Cost(max_share)
        self._at: tuple[int, int] | None = None
        self._model: nn.Module | None = None
        self._measurements = self._skipped = self._skipped_since = 0
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
                self._tasks = Measured(self._configs, tokenizer, int(circuits))

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
                self._give_up(f"{lines.at(step, tokens)}: {lines.reason(error)}")
                records = {}
        self._over = not self._tasks.watched()
        if records:
            self._measurements += 1
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
        model, self._model = self._model, None
        if self._at is not None and not self._over:
            if finished and measure and model is not None:
                self.step(model, self._at[1], step=self._at[0], last=True)
            for task in self._tasks.watched() if finished else ():
                if self._tasks.cells[task].hashes:  # and not all of it skipped
                    self._tasks.cells[task].cell.mark_done()
            self.cost.end()
            config = self._configs[0]
            skipped = f", {self._skipped} skipped (max_share)" if self._skipped else ""
            lines.say(
                f"{self._measurements} measurements{skipped}; {self.cost.spent:.1f} s, "
                f"{lines.of_share(self.share)}; records in "
                f"{Path(config.out) / config.sweep / config.model.name}"
            )
        if not self._over or self._at is not None:
            self._tasks.close()
        self._over = True

    def _begin(
        self, model: nn.Module, step: int, tokens: int, last: bool
    ) -> dict[str, CheckpointRecord]:
        """The first call: everything is tried, so that what can't be watched is said now."""
        if isinstance(tokens, bool) or not isinstance(tokens, int) or min(tokens, step) < 0:
            raise UserError(f"step={step}, tokens={tokens}: give whole numbers of at least 0")
        require_whole(step, "step", 0, MOST_STEP)
        require_whole(tokens, "tokens", 0, MOST_TOKENS)
        model, tasks = unwrapped(model), self._tasks
        name = called(self._configs[0], step)
        refuse_unfit(model, name)
        with undisturbed(self._device_of(model)):
            with errors_of(name):
                copy = Copy.of(model, step, tokens)
                loaded = tasks.load(model, copy, self._device_of(model))
                tasks.open_cells(model)
                begin_at(tasks.cells, step, copy.sha256)
            self._at, self._model = (step, tokens), model
            is_due = last or self._every.is_due(step, tokens, None)
            wanted = [task for task, live in tasks.cells.items() if is_due or not live.hashes]
            try:
                return tasks.measure(loaded, copy, tasks.not_recorded(wanted, copy), last=last)
            except Exception as error:
                self._give_up(f"{copy.place}: {lines.reason(error)}")
                return {}

    def _go_on(
        self, model: nn.Module, step: int, tokens: int, last: bool
    ) -> dict[str, CheckpointRecord]:
        """A later call."""
        assert self._at is not None
        if step < self._at[0] or tokens < self._at[1]:
            raise UserError(f"comes after {lines.at(*self._at)}; steps and tokens must rise")
        before, self._at, self._model = self._at, (step, tokens), model
        if not last and not self._every.is_due(step, tokens, before):
            return {}
        if not last and not self.cost.allows:
            self._skip(step, tokens)
            return {}
        tasks = self._tasks
        wanted = [task for task in tasks.watched() if not tasks.cells[task].is_known(step)]
        if not wanted:
            return {}
        model = unwrapped(model)
        device = self._device_of(model)
        with self.cost.spending(), undisturbed(device):
            copy = Copy.of(model, step, tokens)
            if not (wanted := tasks.not_recorded(wanted, copy)):
                return {}
            try:
                loaded = tasks.load(model, copy, device)
            except Unusable as error:
                tasks.skip(wanted, copy, lines.reason(error))
                return {}
            return tasks.measure(loaded, copy, wanted, last=last)

    def _give_up(self, why: str) -> None:
        self._tasks.give_up(self._tasks.watched(), why)

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


def _is_first_process() -> bool:
    """Whether this process is the one that watches, of those that train together."""
    distributed = torch.distributed
    ready = distributed.is_available() and distributed.is_initialized()
    return not ready or distributed.get_rank() == 0
