"""Roles confirmed by cause: what a holder's effect must be, and its sign.

A role is confirmed if the head (or MLP) holds it, is in the circuit, and its effect is at least
`heads.min_effect` of the behaviour with an interval over prompts that excludes 0. A head *helps* if
patching it lowers the behaviour, and *hurts* if that raises it. Of most roles either sign confirms:
a head that copies against a name lowers the answer where it attends to the one, and raises it where
it attends to the other (Wang et al., 2211.00593, count both); so the sign is recorded too. Where a
role says which sign it has (`Role.sign`), only an effect of that sign confirms it.
"""

from __future__ import annotations

from collections.abc import Collection

import numpy as np
import numpy.typing as npt
import pandas as pd

from circuitwatch import catalogue
from circuitwatch.algorithms.effects import Array, Effects, sure
from circuitwatch.circuits.graph import head_name
from circuitwatch.heads.holding import that_can_hold
from circuitwatch.heads.intervals import expanded_percentiles
from circuitwatch.heads.settings import HeadsConfig

HELPS, HURTS = "helps", "hurts"
CAUSES = {
    "effect": "Float64",
    "effect_low": "Float64",
    "effect_high": "Float64",
    "effect_on": "string",
    "confirmed": "boolean",
    "sign": "string",
}
"""Columns that a causal check fills, and their types."""


def node_names(roles: pd.DataFrame) -> list[str]:
    """Names of the nodes in the rows of a role table; head −1 is the layer's MLP."""
    return [
        head_name(int(layer), int(head))
        for layer, head in zip(roles["layer"], roles["head"], strict=True)
    ]


def with_causes(roles: pd.DataFrame, nodes: Collection[str] | None) -> pd.DataFrame:
    """A role table with the column in_circuit and those of `CAUSES`, which are still empty."""
    inside = pd.array(
        [pd.NA if nodes is None else name in nodes for name in node_names(roles)], dtype="boolean"
    )
    empty = {name: pd.array([pd.NA] * len(roles), dtype=kind) for name, kind in CAUSES.items()}
    return roles.assign(in_circuit=inside, **empty)


def scored_rows(
    role: str,
    layers: npt.NDArray[np.integer],
    heads: npt.NDArray[np.integer],
    each: Array,
    nodes: Collection[str] | None,
    weights: Array,
) -> pd.DataFrame:
    """Rows of a role whose score is a mean over prompts of each [node, prompt], with its interval;
    0 and no interval where there are no prompts.

    layers, heads: [node]; weights: [resample, prompt].
    """
    n_nodes, n_prompts = each.shape
    score, (low, high) = np.zeros(n_nodes), np.full((2, n_nodes), np.nan)
    if n_prompts:
        score, (low, high) = (
            each.mean(1),
            expanded_percentiles(weights @ each.T / weights.sum(1)[:, None], n_prompts, axis=0),
        )
    table = pd.DataFrame(
        {"role": role, "layer": layers, "head": heads, "score": score, "low": low, "high": high}
    )
    return with_causes(table, nodes)


def holders(
    roles: pd.DataFrame,
    heads: HeadsConfig,
    names: Collection[str],
    cutoff: float | None = None,
) -> list[str]:
    """Heads (and MLPs), by layer, whose score reaches the threshold of any of the named roles, or
    one cut-off for all.

    Args:
        roles: columns role, layer, head, score.
        heads: the roles' thresholds.
        names: the roles.
        cutoff: in place of the thresholds.
    """
    able = that_can_hold(roles[roles["role"].isin(list(names))])
    lowest = able["role"].map(heads.threshold if cutoff is None else lambda _: cutoff)
    held = able[able["score"] >= lowest.astype(float)]
    return list(dict.fromkeys(node_names(held.sort_values(["layer", "head"]))))


def signs(effects: pd.DataFrame, min_effect: float) -> pd.Series:
    """Whether each row of a table with columns effect, low, high helps or hurts; missing where its
    effect is below `min_effect`, or its interval includes 0.
    """
    counts = sure(effects["low"], effects["high"]) & (effects["effect"].abs() >= min_effect)
    words = effects["effect"].map(lambda effect: HELPS if effect < 0 else HURTS)
    return words.where(counts).astype("string")


def check(
    roles: pd.DataFrame,
    role: str,
    effects: Effects,
    heads: HeadsConfig,
    nodes: Collection[str] | None,
    senders: Collection[str] | None = None,
) -> None:
    """Put a role's effects into its rows, and whether they confirm it.

    Args:
        roles: a table of `with_causes`, which is filled in.
        role: the role.
        effects: a head that is not among the senders can be seen by no receiver, and has an effect
            of 0.
        heads: thresholds and `min_effect`.
        nodes: names of those in the circuit, the only ones that can be confirmed; None if there is
            no circuit, so that nothing can be confirmed.
        senders: whose rows are filled; default all.
    """
    mine = roles["role"] == role
    asked = catalogue.roles()[role].sign
    names = pd.Series(node_names(roles[mine]), index=roles.index[mine], dtype=object)
    if senders is not None:
        names = names[names.isin(list(senders))]
    table = effects.table().set_index("sender")[["effect", "low", "high"]]
    found = table.reindex(names).fillna(0.0).set_axis(names.index)
    sign = signs(found, heads.min_effect)
    roles.loc[names.index, ["effect", "effect_low", "effect_high"]] = found.to_numpy()
    roles.loc[names.index, "effect_on"] = effects.receivers
    roles.loc[names.index, "sign"] = sign
    if nodes is not None:
        able = names.index.isin(that_can_hold(roles.loc[names.index]).index)
        holds = able & (roles.loc[names.index, "score"] >= heads.threshold(role))
        acts = sign.notna() if asked == "either" else (sign == asked).fillna(False)
        roles.loc[names.index, "confirmed"] = holds & names.isin(list(nodes)) & acts
