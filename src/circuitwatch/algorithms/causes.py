"""From path patching to what is recorded: effects with intervals, shares of a total, and roles that a causal check confirms.

An effect is (F(patched) − F(clean)) / (F(clean) − F(corrupted)): −1 destroys the behaviour. Intervals are percentile bootstraps over prompts.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt
import pandas as pd
from torch import Tensor

from circuitwatch.circuits.patching import Patched, PathPatcher
from circuitwatch.config import HeadsConfig
from circuitwatch.heads.holding import that_can_hold
from circuitwatch.tasks import PromptSet
from circuitwatch.transformer import Transformer

Array = npt.NDArray[np.float64]
LOGITS = "logits"
MOVER_ROLES = ("name_mover", "negative_name_mover", "copy_suppression")
"""Roles of heads that raise or lower the answer by themselves."""
SIGNS = {
    "name_mover": -1, "negative_name_mover": 1, "copy_suppression": 1, "s_inhibition": -1, "induction": -1, "duplicate_token": -1, "successor": -1,
    "year_attention": -1, "year_push": -1,
}  # fmt: skip
"""Which way patching a holder of the role moves the behaviour, if it does on the task what the role says."""


@dataclass(frozen=True)
class Effects:
    """Effects of single senders on one kind of receivers: `each` [sender, prompt] sums to the effect over the prompts once divided by `total`."""

    receivers: str
    senders: list[str]
    each: Array
    unit: Array
    """F(clean) − F(corrupted) of each prompt."""

    @classmethod
    def of(cls, patched: Patched, senders: Sequence[str], receivers: str) -> Effects:
        """From patching each of the senders by itself."""
        each = (patched.values - patched.unpatched).numpy()
        return cls(receivers, list(senders), each, (patched.clean - patched.corrupted).numpy())

    @property
    def mean(self) -> Array:
        """The effect of each sender: [sender]."""
        return np.asarray(self.each.mean(1) / self.unit.mean())

    def bootstrap(self, weights: Array) -> Array:
        """Effects in resamples of the prompts: [resample, sender]; weights [resample, prompt] say how often each prompt was drawn."""
        return np.asarray(weights @ self.each.T / (weights @ self.unit)[:, None])

    def table(self, weights: Array) -> pd.DataFrame:
        """Columns sender, receivers, effect, low, high."""
        low, high = np.quantile(self.bootstrap(weights), [0.025, 0.975], axis=0)
        columns = {"sender": self.senders, "receivers": self.receivers, "effect": self.mean, "low": low, "high": high}
        return pd.DataFrame(columns)

    def share(self, holders: Collection[str], weights: Array) -> tuple[float, float, float] | None:
        """Σ |effect| of the holders by that of all senders, with its interval; None if nothing has any effect."""
        held = np.isin(self.senders, list(holders))

        def of(effects: Array) -> Array:
            sizes = np.abs(effects)
            with np.errstate(invalid="ignore"):
                return np.asarray(sizes[..., held].sum(-1) / sizes.sum(-1))

        value, resampled = of(self.mean), of(self.bootstrap(weights))
        if not np.isfinite(value) or not np.isfinite(resampled).all():
            return None
        low, high = np.quantile(resampled, [0.025, 0.975])
        return float(value), float(low), float(high)


@dataclass
class Findings:
    """What is known of a checkpoint's parts: roles, a table of `with_causes`; scalars, by flat names; patching, tables of `Effects.table`."""

    roles: pd.DataFrame
    scalars: dict[str, float | int | str | bool] = field(default_factory=dict)
    patching: list[pd.DataFrame] = field(default_factory=list)

    def measure(self, name: str, found: tuple[float, float, float] | None, otherwise: str) -> None:
        """Record a measure of the algorithm with its interval, or why there is none."""
        if found is None:
            self.scalars[f"algorithm/{name}_left_out"] = otherwise
        else:
            self.scalars |= {f"algorithm/{name}{end}": x for end, x in zip(("", "_low", "_high"), found, strict=True)}


@dataclass(frozen=True)
class Case:
    """A checkpoint whose behaviour is above chance. nodes: those of its circuit, None if it has none; weights [resample, prompt]: of the bootstrap."""

    model: Transformer
    patcher: PathPatcher
    prompts: PromptSet
    nodes: frozenset[str] | None
    heads: HeadsConfig
    weights: Array

    @property
    def every_head(self) -> list[str]:
        """Names of all heads."""
        return [f"a{layer}.h{head}" for layer in range(self.model.n_layers) for head in range(self.model.n_heads)]

    def heads_before(self, layer: int) -> list[str]:
        """Names of the heads of earlier layers."""
        return self.every_head[: layer * self.model.n_heads]

    def direct_effects(self, senders: Sequence[str]) -> Effects:
        """On the logits, through no other head."""
        patched = self.patcher.patch([[sender] for sender in senders], [LOGITS])
        return Effects.of(patched, senders, LOGITS)

    def joint_share(
        self, some: Sequence[str], every: Sequence[str], receivers: Sequence[str], positions: Tensor
    ) -> tuple[float, float, float] | None:
        """The effect of patching some heads together by that of patching every one together, within [0, 1], with its interval.

        None where every head together takes less than `min_effect` of the behaviour: then there is nothing to be shared.
        """
        patched = self.patcher.patch([list(some), list(every)], receivers, positions=positions)
        effects = Effects.of(patched, ["some", "every"], "")
        resampled = effects.bootstrap(self.weights)
        if effects.mean[1] > -self.heads.min_effect or (resampled[:, 1] == 0).any():
            return None
        low, high = np.quantile(resampled[:, 0] / resampled[:, 1], [0.025, 0.975])
        share, low, high = np.clip([effects.mean[0] / effects.mean[1], low, high], 0, 1)
        return float(share), float(low), float(high)

    def holders(self, roles: pd.DataFrame, *names: str) -> list[str]:
        """Heads (and MLPs) whose score reaches the threshold of any of the roles."""
        able = that_can_hold(roles)
        parts = [able[(able["role"] == name) & (able["score"] >= getattr(self.heads.thresholds, name))] for name in names]
        every = pd.concat(parts).sort_values(["layer", "head"])
        return list(dict.fromkeys(node_names(every)))

    def check_movers(self, roles: pd.DataFrame, direct: Effects) -> list[str]:
        """Check the roles that act on the logits by themselves; returns those that the table has."""
        known = [role for role in MOVER_ROLES if (roles["role"] == role).any()]
        for role in known:
            self.check(roles, direct, role)
        return known

    def check(self, roles: pd.DataFrame, effects: Effects, role: str, senders: Collection[str] | None = None) -> None:
        """Put a role's effects into its rows, and whether they confirm it; a head no receiver can see has none.

        Confirmed: the score reaches the role's threshold, the head is in the circuit, and its effect has the role's sign and at least `min_effect`.
        `senders`: those whose effects count; default all of them.
        """
        mine = roles["role"] == role
        by_sender = dict(zip(effects.senders, effects.mean, strict=True))
        names = pd.Series(node_names(roles[mine]), index=roles.index[mine], dtype=object)
        if senders is not None:
            names = names[names.isin(list(senders))]
        found = names.map(lambda name: by_sender.get(name, 0.0)).astype(float)
        roles.loc[names.index, "effect"] = found
        roles.loc[names.index, "effect_on"] = effects.receivers
        if self.nodes is not None:
            able = that_can_hold(roles.loc[names.index]).index
            holds = (roles.loc[names.index, "score"] >= getattr(self.heads.thresholds, role)) & names.index.isin(able)
            does = found * SIGNS[role] >= self.heads.min_effect
            roles.loc[names.index, "confirmed"] = holds & names.isin(self.nodes) & does


def node_names(roles: pd.DataFrame) -> list[str]:
    """Names of the nodes in the rows of a role table; head −1 is the layer's MLP."""
    return [
        f"a{layer}.h{head}" if head >= 0 else f"m{layer}"
        for layer, head in zip(roles["layer"], roles["head"], strict=True)
    ]


def with_causes(roles: pd.DataFrame, nodes: Collection[str] | None) -> pd.DataFrame:
    """A role table with the columns in_circuit, effect, effect_on and confirmed, all but the first still empty."""
    inside = pd.array([pd.NA if nodes is None else name in nodes for name in node_names(roles)], dtype="boolean")
    return roles.assign(
        in_circuit=inside,
        effect=pd.array([pd.NA] * len(roles), dtype="Float64"),
        effect_on=pd.array([pd.NA] * len(roles), dtype="string"),
        confirmed=pd.array([pd.NA] * len(roles), dtype="boolean"),
    )


def mean_with_interval(values: Array, weights: Array) -> tuple[float, float, float]:
    """The mean of one value a prompt [prompt], and its bootstrap interval."""
    low, high = np.quantile(weights @ values / weights.sum(1), [0.025, 0.975])
    return float(values.mean()), float(low), float(high)
