"""How roles and quantities are measured on a checkpoint: inputs are made once a cell, and what
several of them read is computed once a checkpoint.

A role's `probe` makes its inputs from `Inputs`; its `score` gets a `Measuring` and them. Whoever
can't be measured raises `NotMeasurable`: a score of 0 would say that it was.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, TypeVar

import numpy as np
import torch
from torch import Tensor

from circuitwatch.catalogue import Later
from circuitwatch.errors import UserError
from circuitwatch.heads.intervals import Array, bootstrap_interval
from circuitwatch.heads.settings import HeadsConfig
from circuitwatch.transformer import Transformer

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

Made = TypeVar("Made")


class NotMeasurable(Exception):
    """Why something can't be measured with this tokenizer or on this model, in words for a user."""


@dataclass(frozen=True)
class Score:
    """A score that is no mean over units: score, low, high [layer, head] or of one number []; low
    and high are the ends of its 95 % interval, NaN where there is none.
    """

    score: Array
    low: Array
    high: Array

    @classmethod
    def checked(
        cls, found: Any, inputs: Inputs, *, called: str, shape: tuple[int, ...], right: str
    ) -> Score:
        """`of` for what a role or a quantity gave.

        Args:
            found: what it gave.
            inputs: what it was measured on.
            called: what it is called.
            shape: that of the score: [layer, head], or [] of a quantity.
            right: what it has to give, in words.

        Raises:
            UserError: it holds no numbers, or is of another shape.
        """
        try:
            if isinstance(found, Score):
                parts = [np.asarray(part, float) for part in (found.score, found.low, found.high)]
                wrong = [part.shape for part in parts if part.shape != shape]
                found = Score(*parts)
            else:
                found = torch.as_tensor(found)
                units = found.shape or (1,)
                wrong = [] if units[:-1] == shape and units[-1] else [found.shape]
        except (TypeError, ValueError, RuntimeError) as error:
            raise UserError(
                f"{called}: it gives {type(found).__name__}, which holds no numbers; it must "
                f"give {right}"
            ) from error
        if wrong:
            raise UserError(f"{called}: it gives {list(wrong[0])}; it must give {right}")
        return cls.of(found, inputs)

    @classmethod
    def of(cls, found: Score | Tensor | float, inputs: Inputs) -> Score:
        """What a role or a quantity gives: a score, or values of units [..., unit], whose mean it
        is and whose bootstrap gives the interval; or one number, which has none. All NaN where any
        value is no finite number.
        """
        if isinstance(found, Score):
            return found
        values = np.atleast_1d(torch.as_tensor(found).detach().double().cpu().numpy())
        if not np.isfinite(values).all():
            nothing = np.full(values.shape[:-1], np.nan)
            return cls(nothing, nothing, nothing)
        low, high = bootstrap_interval(values, n_bootstrap=inputs.n_bootstrap, seed=inputs.seed)
        return cls(np.asarray(values.mean(-1)), low, high)


@dataclass
class _Once:
    """Results by what they were made of: the function, and what it was given beside; what it raised
    is raised again.
    """

    made: dict[Any, Any] = field(default_factory=dict)

    def get(self, make: Callable[..., Made], first: Any, *given: Any) -> Made:
        """What `make(first, *given)` gives; `first` is always the same."""
        key = (make.function if isinstance(make, Later) else make, *given)
        if key not in self.made:
            try:
                self.made[key] = make(first, *given)
            except NotMeasurable as reason:
                self.made[key] = reason
        if isinstance(self.made[key], NotMeasurable):
            raise self.made[key]
        result: Made = self.made[key]
        return result


@dataclass(frozen=True)
class Inputs:
    """What inputs are made from: the model's tokenizer, the configuration `heads`, the seed, and
    the number of bootstrap samples.
    """

    tokenizer: PreTrainedTokenizerBase
    heads: HeadsConfig
    seed: int
    n_bootstrap: int = 1000
    _once: _Once = field(default_factory=_Once, repr=False, compare=False)

    def of(self, make: Callable[[Inputs], Made]) -> Made:
        """What `make(self)` gives, made once a cell. Raises NotMeasurable each time if it did."""
        return self._once.get(make, self)

    @property
    def longest(self) -> int:
        """Tokens of the longest input made so far, of those that have `tokens` [row, pos]; 0 where
        none has.
        """
        tokens = [getattr(made, "tokens", None) for made in self._once.made.values()]
        return max((of.shape[1] for of in tokens if isinstance(of, Tensor)), default=0)


@dataclass(frozen=True)
class Measuring:
    """One checkpoint, as roles and quantities look at it."""

    model: Transformer
    inputs: Inputs
    _once: _Once = field(default_factory=_Once, repr=False, compare=False)

    def of(self, compute: Callable[..., Made], *given: Any) -> Made:
        """What `compute(self, *given)` gives, computed once a checkpoint for the same inputs, such
        as attention patterns that several roles read. Raises NotMeasurable each time if it did.

        given: inputs that can be keys of a dictionary, as frozen dataclasses with eq=False can.
        """
        return self._once.get(compute, self, *given)

    @property
    def context(self) -> int | None:
        """Positions that the model has, None where there is no bound."""
        return self.model.context_length

    def require_room(self, tokens: Tensor, what: str) -> None:
        """Raise NotMeasurable if tokens [row, pos] are more than the model's context has room for.

        what: what they are, in the plural.
        """
        if self.context is not None and tokens.shape[1] > self.context:
            raise NotMeasurable(
                f"{what} take {tokens.shape[1]} tokens, more than the model's context of "
                f"{self.context}"
            )
