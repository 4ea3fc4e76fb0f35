"""How many training tokens a step has, as the user says: one number for all models, or a number by
model, beside which a number alone serves the others.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from circuitwatch.errors import UserError, nearest
from circuitwatch.summary.importers.registry import Registry

Given = float | Mapping[str, float] | None
"""One number; or model → number, where the empty name stands for all other models."""
OTHERS = ""


class TokensPerStep:
    """What the option `tokens_per_step` says of each model, under the names that models have in
    the summary, or the last part of these (`mine` for `lab/mine`); it keeps the names that it was
    asked for, so that one that serves no model is told.
    """

    def __init__(self, given: Given = None, registry: Registry | None = None) -> None:
        by_model = given if isinstance(given, Mapping) else {} if given is None else {OTHERS: given}
        self._names = {
            (registry.name_of(name) if registry and name else None) or name: name
            for name in by_model
        }
        self._rates = {model: float(by_model[name]) for model, name in self._names.items()}
        self._asked: dict[str, None] = {}

    def __bool__(self) -> bool:
        """Whether anything was said."""
        return bool(self._rates)

    def of(self, model: str) -> float | None:
        """Tokens of a step of a model; none where nothing was said of it."""
        self._asked[model] = None
        others = self._rates.get(_last_part(model), self._rates.get(OTHERS))
        return self._rates.get(model, others)

    def check(self, models: Iterable[str] = ()) -> None:
        """Raise UserError for a name that no model has, unless none was read, for which there is
        another reason; models: those that were read without asking, such as those of cells.
        """
        known = [*dict.fromkeys([*self._asked, *models])]
        for model, name in self._names.items() if known else ():
            if model in (OTHERS, *known, *map(_last_part, known)):
                continue
            raise UserError(
                f"tokens_per_step={name}:{self._rates[model]:.15g}: no model is called {name}; "
                f"there is {', '.join(nearest(model, known))}"
            )


def _last_part(model: str) -> str:
    return model.rpartition("/")[2]


TokensOfStep = TokensPerStep | float | Mapping[str, float] | None
"""What importers take: the option as it is kept, or as it is written."""


def as_rates(given: TokensOfStep, registry: Registry | None = None) -> TokensPerStep:
    """The option as it is kept."""
    return given if isinstance(given, TokensPerStep) else TokensPerStep(given, registry)
