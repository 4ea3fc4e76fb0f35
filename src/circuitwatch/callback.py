"""Watching a training of transformers' Trainer.

    trainer = Trainer(model, args, train_dataset=data, processing_class=tokenizer,
                      callbacks=[CircuitwatchCallback(["ioi", "gendered_pronoun"])])

Behaviour and roles go into records, as those of a sweep, and into the W&B run that the training
logs to, under `circuitwatch/*`. What is done, and why nothing of the training changes, is said in
`watcher`.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from transformers import TrainerCallback

from circuitwatch.config import TaskConfig
from circuitwatch.errors import UserError
from circuitwatch.limits import MOST_TOKENS_PER_STEP, require_whole
from circuitwatch.live.tokens import tokens_per_step
from circuitwatch.live.undisturbed import undisturbed
from circuitwatch.watcher import Watcher

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

__all__ = ["CircuitwatchCallback"]


class CircuitwatchCallback(TrainerCallback):
    """Measures the model before the first step, at steps in between, and at the last.

    Args:
        tasks: names of tasks in the catalogue, or `TaskConfig`s.
        every: steps (1000), tokens ("10M"), or "log": steps 1, 2, 4, 8, …
        model_name: what the model is called; the name of the Trainer's output_dir by default.
        tokenizer: the Trainer's processing_class by default.
        tokens_per_step: training tokens of one optimiser step. By default the Trainer's own count
            is taken if its include_num_input_tokens_seen is set, else they are computed from the
            batch size and the length of the training data's items.
        options: of `Watcher`: out, sweep, circuits, max_share, seed, n_prompts, n_bootstrap,
            device, heads, circuit.

    Whatever can't be watched raises UserError when the training begins; later nothing is raised.
    `watcher.share` says what the watching costs.
    """

    def __init__(
        self,
        tasks: Sequence[str | TaskConfig],
        *,
        every: int | str = "log",
        model_name: str | None = None,
        tokenizer: PreTrainedTokenizerBase | None = None,
        tokens_per_step: int | None = None,
        **options: Any,
    ) -> None:
        if tokens_per_step is not None:
            require_whole(tokens_per_step, "tokens_per_step", 1, MOST_TOKENS_PER_STEP)
        self.watcher: Watcher | None = None
        self._options: dict[str, Any] = {"tasks": tasks, "every": every, **options}
        self._model_name, self._tokenizer = model_name, tokenizer
        self._given, self._per_step = tokens_per_step, tokens_per_step

    def on_train_begin(
        self,
        args: Any,
        state: Any,
        control: Any,
        *,
        model: Any = None,
        processing_class: Any = None,
        train_dataloader: Any = None,
        **kwargs: Any,
    ) -> None:
        """Check everything, and measure the model as it is."""
        tokenizer = self._tokenizer or processing_class
        if tokenizer is None:
            raise UserError(
                "there is no tokenizer: give Trainer(processing_class=…) or "
                "CircuitwatchCallback(tokenizer=…)"
            )
        if self._given is None:
            self._per_step = None
            if args.include_num_input_tokens_seen == "no":
                with undisturbed():  # what the data do when they are looked at may be random
                    self._per_step = tokens_per_step(args, state, train_dataloader)
        self.watcher = Watcher(
            model_name=self._model_name or Path(args.output_dir).resolve().name,
            tokenizer=tokenizer,
            **self._options,
        )
        self.watcher.step(model, self._tokens(state), step=state.global_step)

    def on_step_end(
        self, args: Any, state: Any, control: Any, *, model: Any, **kwargs: Any
    ) -> None:
        """Measure the model if it is time to, or if this was the last step."""
        self._look(state, model, last=state.global_step >= state.max_steps)

    def on_epoch_end(
        self, args: Any, state: Any, control: Any, *, model: Any, **kwargs: Any
    ) -> None:
        """Measure the model if the training was stopped early: later it may be another one
        (load_best_model_at_end).
        """
        if control.should_training_stop:
            self._look(state, model, last=True)

    def on_train_end(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        """Mark the cells as done, and say what the watching has cost."""
        if self.watcher is not None:
            self.watcher.close(measure=False)

    def _look(self, state: Any, model: Any, *, last: bool) -> None:
        if self.watcher is not None:
            self.watcher.step(model, self._tokens(state), step=state.global_step, last=last)

    def _tokens(self, state: Any) -> int:
        if self._per_step is None:
            return int(state.num_input_tokens_seen)
        return int(state.global_step) * self._per_step
