"""Shares of an effect that holders of roles account for: at the roles' thresholds, over a band of
cut-offs, and what no role accounts for.

A share hangs on where a role's threshold lies: one head whose score wanders across it moves the
share without any change in the algorithm. So each share is also measured with one cut-off c for all
the roles whose holders send, c = 0.1, 0.2 … 0.9. Receivers are not moved, and what the share is of
is patched once. Many cut-offs give the same set of senders, which is patched once too.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence

import pandas as pd
from torch import Tensor

from circuitwatch.algorithms.causes import Case, Findings
from circuitwatch.algorithms.effects import Effects, Share, sure
from circuitwatch.heads.checks import CUTOFFS, confirmed_on

NO_EFFECT = "all heads together have no effect there"
NONE_SURE = "no head's effect on the logits has an interval that excludes 0"
EVERY = "every"
STRONGEST = 3
"""Heads without a role that are named."""


def of_single(
    case: Case,
    findings: Findings,
    name: str,
    roles: Sequence[str],
    effects: Effects,
    otherwise: str = NO_EFFECT,
) -> None:
    """Record the share Σ |effect| of the roles' holders ÷ Σ |effect| of all senders, each patched
    by itself.
    """
    sets = _sets(case, findings, roles, effects.senders)
    _record(findings, name, [effects.share(some) for some in sets], otherwise)


def of_joint(
    case: Case,
    findings: Findings,
    name: str,
    roles: Sequence[str],
    every: Sequence[str],
    receivers: Sequence[str],
    positions: Tensor,
) -> None:
    """Record the share that is the effect of the roles' holders patched together ÷ that of every
    one of the senders patched together.

    Heads that stand in for each other are not counted twice. It is not bounded: holders whose
    effect others take back have more than the whole.
    """
    sets = [" ".join(some) for some in _sets(case, findings, roles, every)]
    distinct = list(dict.fromkeys(sets))
    patched = case.patcher.patch(
        [*(some.split() for some in distinct), list(every)], receivers, positions=positions
    )
    effects = Effects.of(patched, [*distinct, EVERY], name)
    found = effects.ratios(EVERY, min_effect=case.heads.min_effect)
    _record(findings, name, [None if found is None else found[some] for some in sets], NO_EFFECT)


def unexplained(case: Case, findings: Findings, direct: Effects) -> None:
    """Record the share of all heads' direct effect that is of heads without any role at its
    threshold, and name the strongest of them.

    A role that no effect confirms in any task, as that of attention sinks, accounts for none. Many
    tiny effects add up, so the same stands beside it for those heads alone whose interval
    excludes 0 (chosen once, from all prompts).
    """
    effects = direct.only(case.every_head)
    roles = [role for role in findings.roles["role"].unique() if confirmed_on(role)]
    named = set(case.holders(findings.roles, *roles))
    nameless = [head for head in effects.senders if head not in named]
    findings.measure("unexplained", effects.share(nameless), NO_EFFECT)
    table = effects.table()
    table = table[sure(table["low"], table["high"])]
    of_sure = effects.only(list(table["sender"])).share(nameless) if len(table) else None
    findings.measure("unexplained_sure", of_sure, NONE_SURE)
    strongest = table[table["sender"].isin(nameless)].sort_values(
        "effect", key=abs, ascending=False
    )[:STRONGEST]
    if len(strongest):
        each = zip(strongest["sender"], strongest["effect"], strict=True)
        findings.scalars["algorithm/unexplained_heads"] = ", ".join(
            f"{head} {effect:+.2f}" for head, effect in each
        )


def _sets(
    case: Case, findings: Findings, roles: Sequence[str], among: Collection[str]
) -> list[list[str]]:
    """Holders of the roles among some heads: at the thresholds, then at each of the cut-offs."""
    return [
        [head for head in case.holders(findings.roles, *roles, cutoff=cutoff) if head in among]
        for cutoff in (None, *CUTOFFS)
    ]


def _record(findings: Findings, name: str, shares: Sequence[Share | None], otherwise: str) -> None:
    """The share at the thresholds, then those at each of the cut-offs."""
    findings.measure(name, shares[0], otherwise)
    rows = [
        (name, cutoff, *share)
        for cutoff, share in zip(CUTOFFS, shares[1:], strict=True)
        if share is not None
    ]
    if rows:
        findings.bands.append(
            pd.DataFrame(rows, columns=["measure", "cutoff", "value", "low", "high"])
        )
