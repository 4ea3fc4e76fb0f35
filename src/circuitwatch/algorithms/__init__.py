"""What a circuit's parts do for the behaviour, by path patching: roles confirmed by cause, and the
algorithm that they make up together.
"""

from __future__ import annotations

from collections.abc import Collection

import numpy as np
import pandas as pd

from circuitwatch.algorithms import greater_than, ioi
from circuitwatch.algorithms.causes import Case, Findings
from circuitwatch.algorithms.confirming import with_causes
from circuitwatch.algorithms.repeated import check_previous_tokens
from circuitwatch.algorithms.shares import unexplained
from circuitwatch.circuits.patching import PathPatcher
from circuitwatch.circuits.prompts import Prepared
from circuitwatch.circuits.resampling import bootstrap_weights
from circuitwatch.config import HeadsConfig
from circuitwatch.heads.checks import LOGITS
from circuitwatch.tasks import PromptSet
from circuitwatch.tasks.behaviour import TaskMetric

__all__ = ["Findings", "check_previous_tokens", "confirm_roles", "unconfirmed"]


def confirm_roles(
    prepared: Prepared,
    prompts: PromptSet,
    roles: pd.DataFrame,
    nodes: Collection[str] | None,
    heads: HeadsConfig,
    *,
    n_bootstrap: int,
    seed: int,
) -> Findings:
    """Check by path patching what the holders of roles do on a task whose behaviour is above
    chance, and measure its algorithm if it is known.

    roles: columns role, layer, head, score; nodes: names of those in the checkpoint's circuit, None
    if it has none.
    """
    case = _case(prepared, prompts, nodes, heads, n_bootstrap=n_bootstrap, seed=seed)
    findings = Findings(with_causes(roles, case.nodes))
    direct = case.direct_effects(
        [*case.every_head, *(case.every_mlp if prompts.task == "greater_than" else [])]
    )
    findings.patching.append(direct.table())
    case.check(findings.roles, direct, LOGITS)
    if prompts.task == "ioi":
        ioi.inspect(case, findings, direct)
    elif prompts.task == "greater_than":
        greater_than.inspect(case, findings, direct)
    unexplained(case, findings, direct)
    return findings


def unconfirmed(
    prepared: Prepared,
    prompts: PromptSet,
    roles: pd.DataFrame,
    heads: HeadsConfig,
    *,
    n_bootstrap: int,
    seed: int,
) -> Findings:
    """What is known where the behaviour is not above chance: what can be seen, with nothing
    patched. What an S-inhibition head would inhibit is not there.
    """
    case, findings = (
        _case(prepared, prompts, None, heads, n_bootstrap=n_bootstrap, seed=seed),
        Findings(with_causes(roles, None)),
    )
    if prompts.task == "ioi":
        ioi.add_inhibition(
            findings, np.zeros((len(case.every_head), 0)), case.model.n_heads, None, case.weights
        )
    elif prompts.task == "greater_than":
        findings.roles = pd.concat(
            [findings.roles, greater_than.observed_rows(case)], ignore_index=True
        )
    return findings


def _case(
    prepared: Prepared,
    prompts: PromptSet,
    nodes: Collection[str] | None,
    heads: HeadsConfig,
    *,
    n_bootstrap: int,
    seed: int,
) -> Case:
    members, weights = (
        None if nodes is None else frozenset(nodes),
        bootstrap_weights(prepared.n_prompts, n_bootstrap, seed),
    )
    return Case(
        prepared.model, PathPatcher(prepared, TaskMetric(prompts)), prompts, members, heads, weights
    )
