"""How roles and quantities are measured on a checkpoint: inputs are made once a cell, and what
several of them read is computed once a checkpoint.

A role's `probe` makes its inputs from `Inputs`; its `score` gets a `Measuring` and them. Whoever
can't be measured raises `NotMeasurable`: a score of 0 would say that it was.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, TypeVar

from circuitwatch.config import HeadsConfig
from circuitwatch.heads.intervals import Array
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


@dataclass
class _Once:
    """Results by the function that made them; what it raised is raised again."""

    made: dict[Any, Any] = field(default_factory=dict)

    def get(self, make: Callable[..., Made], *arguments: Any) -> Made:
        if make not in self.made:
            try:
                self.made[make] = make(*arguments)
            except NotMeasurable as reason:
                self.made[make] = reason
        if isinstance(self.made[make], NotMeasurable):
            raise self.made[make]
        result: Made = self.made[make]
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


@dataclass(frozen=True)
class Measuring:
    """One checkpoint, as roles and quantities look at it."""

    model: Transformer
    inputs: Inputs
    _once: _Once = field(default_factory=_Once, repr=False, compare=False)

    def of(self, compute: Callable[[Measuring], Made]) -> Made:
        """What `compute(self)` gives, computed once a checkpoint, such as attention patterns that
        several roles read. Raises NotMeasurable each time if it did.
        """
        return self._once.get(compute, self)
