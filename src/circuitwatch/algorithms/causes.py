"""A checkpoint whose behaviour is above chance, as the algorithms look at it, and what they
find.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass, field

import pandas as pd

from circuitwatch.algorithms import confirming
from circuitwatch.algorithms.effects import Array, Effects, Share
from circuitwatch.circuits.graph import head_name
from circuitwatch.circuits.patching import PathPatcher
from circuitwatch.heads.checks import LOGITS, roles_checked
from circuitwatch.heads.settings import HeadsConfig
from circuitwatch.tasks import PromptSet
from circuitwatch.transformer import Transformer


@dataclass
class Findings:
    """What is known of a checkpoint's parts.

    roles: a table of `confirming.with_causes`; scalars: by flat names; patching: tables of
    `Effects.table`; bands: tables of measure, cutoff, value, low, high.
    """

    roles: pd.DataFrame
    scalars: dict[str, float | int | str | bool] = field(default_factory=dict)
    patching: list[pd.DataFrame] = field(default_factory=list)
    bands: list[pd.DataFrame] = field(default_factory=list)

    def measure(self, name: str, share: Share | None, otherwise: str) -> None:
        """Record a measure of the algorithm with its interval, or why there is none."""
        if share is None:
            self.scalars[f"algorithm/{name}_left_out"] = otherwise
        else:
            self.scalars |= {
                f"algorithm/{name}{end}": x
                for end, x in zip(("", "_low", "_high"), share, strict=True)
            }


@dataclass(frozen=True)
class Case:
    """A checkpoint whose behaviour is above chance.

    nodes: those of its circuit, None if it has none; weights [resample, prompt]: of the bootstrap.
    """

    model: Transformer
    patcher: PathPatcher
    prompts: PromptSet
    nodes: frozenset[str] | None
    heads: HeadsConfig
    weights: Array

    @property
    def every_head(self) -> list[str]:
        """Names of all heads."""
        return [
            head_name(layer, head)
            for layer in range(self.model.n_layers)
            for head in range(self.model.n_heads)
        ]

    @property
    def every_mlp(self) -> list[str]:
        """Names of all MLPs."""
        return [head_name(layer, -1) for layer in range(self.model.n_layers)]

    def heads_before(self, layer: int) -> list[str]:
        """Names of the heads of earlier layers."""
        return self.every_head[: layer * self.model.n_heads]

    def direct_effects(self, senders: Sequence[str]) -> Effects:
        """On the logits, through no other head."""
        patched = self.patcher.patch([[sender] for sender in senders], [LOGITS])
        return Effects.of(patched, senders, LOGITS)

    def holders(self, roles: pd.DataFrame, *names: str, cutoff: float | None = None) -> list[str]:
        """Heads (and MLPs) whose score reaches the threshold of any of the roles, or one cut-off
        for all of them.
        """
        return confirming.holders(roles, self.heads, names, cutoff)

    def check(
        self, roles: pd.DataFrame, effects: Effects, on: str, senders: Collection[str] | None = None
    ) -> list[str]:
        """Check the roles that the task confirms by the effect `on` something; returns those that
        the table has.
        """
        in_table = set(roles["role"])
        checked = [role for role in roles_checked(self.prompts.task, on) if role in in_table]
        for role in checked:
            confirming.check(roles, role, effects, self.heads, self.nodes, senders)
        return checked
