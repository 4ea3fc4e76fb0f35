"""What a circuit's parts do for the behaviour, by path patching: roles confirmed by cause, and the
algorithm that they make up together.
"""

from __future__ import annotations

from collections.abc import Collection

import pandas as pd

from circuitwatch import catalogue
from circuitwatch.algorithms.causes import Case, Findings
from circuitwatch.algorithms.confirming import with_causes
from circuitwatch.algorithms.repeated import check_previous_tokens
from circuitwatch.algorithms.shares import unexplained
from circuitwatch.behaviour import TaskMetric
from circuitwatch.catalogue import Algorithm
from circuitwatch.circuits.patching import PathPatcher
from circuitwatch.circuits.prompts import Prepared
from circuitwatch.circuits.resampling import bootstrap_weights
from circuitwatch.heads.checks import LOGITS
from circuitwatch.heads.settings import HeadsConfig
from circuitwatch.tasks import PromptSet

__all__ = ["Findings", "check_previous_tokens", "confirm_roles", "observed", "unconfirmed"]


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
    algorithm = algorithm_of(prompts)
    with_mlps = algorithm is not None and algorithm.patches_mlps
    direct = case.direct_effects([*case.every_head, *(case.every_mlp if with_mlps else [])])
    findings.patching.append(direct.table())
    case.check(findings.roles, direct, LOGITS)
    if algorithm is not None:
        algorithm.inspect(case, findings, direct)
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
    case = _case(prepared, prompts, None, heads, n_bootstrap=n_bootstrap, seed=seed)
    findings = Findings(with_causes(roles, None))
    if (algorithm := algorithm_of(prompts)) is not None:
        algorithm.observe(case, findings)
    return findings


def observed(roles: pd.DataFrame) -> Findings:
    """Roles (columns role, layer, head, score) of which nothing is checked, whatever the behaviour:
    those of the task's own algorithm are not among them.
    """
    return Findings(with_causes(roles, None))


def algorithm_of(prompts: PromptSet) -> Algorithm | None:
    """What is known of how models do the task of these prompts."""
    task = catalogue.tasks().get(prompts.task)
    return None if task is None else task.algorithm


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
