"""What the registry of suites (conf/suites) knows about a model whose results come from elsewhere:
its size, and the tokens of a step.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Any

from circuitwatch.checkpoints.suites import Suite, checkpoints_named
from circuitwatch.summary.importers.names import read_name


class Registry:
    """The models of some suites, found by any of the names that people and tools give them."""

    def __init__(self, suites: Iterable[Suite] = ()) -> None:
        self._models: dict[str, dict[str, Any]] = {
            name: facts for suite in suites for name, facts in suite.models.items()
        }
        self._by_repository: dict[str, str] = {}
        for name, facts in self._models.items():
            if "hub_id" in facts:  # of a repository that holds several seeds it is the first one's
                self._by_repository.setdefault(str(facts["hub_id"]), name)
        self._by_repository |= {
            name.rsplit("/", 1)[-1]: model for name, model in self._by_repository.items()
        }

    def name_of(self, given: str) -> str | None:
        """The registry's name of a model given as `pythia-70m`, `EleutherAI/pythia-70m`,
        `EleutherAI__pythia-70m` or `pythia-v1.1-70m`; else none.

        The last part of a longer path counts, whatever its folders; of `mylab/pythia-70m` nothing
        is known.
        """
        parts = re.split(r"/|__", given.strip().rstrip("/"))
        base = parts[-1]
        for candidate in (given, base, re.sub(r"-v\d+(\.\d+)*(?=-)", "", base)):
            name = candidate if candidate in self._models else self._by_repository.get(candidate)
            if name is not None:
                return name if len(parts) != 2 or self._is_of(parts[0], name) else None
        return None

    def _is_of(self, organisation: str, model: str) -> bool:
        """Whether an organisation publishes a model; another's of the same name is another model.

        A path with one folder is taken for a name, too.
        """
        return (
            organisation in ("", ".", "~")
            or str(self._models[model].get("hub_id", "")).rpartition("/")[0].casefold()
            == organisation.casefold()
        )

    def params(self, model: str) -> float | None:
        """All parameters of a model, embeddings included; none if the registry doesn't know it."""
        params = self._models.get(model, {}).get("params_total")
        return None if params is None else float(params)

    def tokens_per_step(self, model: str) -> float | None:
        """Training tokens of one step; none if the registry doesn't know, or has but one state of
        the model.
        """
        facts = self._models.get(model, {})
        rate = facts.get("tokens_per_step")
        return None if rate is None or len(facts.get("steps") or [0, 0]) < 2 else float(rate)

    def steps(self, model: str) -> list[int]:
        """The steps that were published; empty if the registry has no list."""
        return list(self._models.get(model, {}).get("steps") or [])

    def checkpoint(self, model: str, revision: str) -> tuple[float | None, float | None]:
        """(step, tokens) of a revision, each none where its name and the registry don't tell."""
        facts = self._models.get(model, {})
        if facts and self.tokens_per_step(model) != facts.get("tokens_per_step"):
            return None, None
        for checkpoint in (
            checkpoints_named([revision], facts["revisions"], facts.get("tokens_per_step"))
            if "revisions" in facts and facts.get("stages") != "join"
            else ()
        ):
            return float(checkpoint.step), float(checkpoint.tokens)
        said = read_name(revision)
        return said.step, said.tokens
