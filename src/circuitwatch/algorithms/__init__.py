"""What a circuit's parts do for the behaviour, by path patching: roles confirmed by cause, and the algorithm that they make up together."""

from __future__ import annotations

from collections.abc import Collection

import numpy as np
import pandas as pd

from circuitwatch.algorithms import greater_than, ioi
from circuitwatch.algorithms.causes import Array, Case, Findings, with_causes
from circuitwatch.circuits.patching import PathPatcher
from circuitwatch.circuits.prompts import Prepared
from circuitwatch.circuits.resampling import bootstrap_weights
from circuitwatch.config import HeadsConfig
from circuitwatch.tasks import PromptSet
from circuitwatch.tasks.behaviour import TaskMetric

__all__ = ["Findings", "confirm_roles", "unconfirmed"]


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
    """Check by path patching what the holders of roles do on a task whose behaviour is above chance, and measure its algorithm if it is known.

    roles: columns role, layer, head, score; nodes: names of those in the checkpoint's circuit, None if it has none.
    """
    members = None if nodes is None else frozenset(nodes)
    case = _case(prepared, prompts, members, heads, bootstrap_weights(len(prompts.lengths), n_bootstrap, seed))
    findings = Findings(with_causes(roles, members))
    if prompts.task == "ioi":
        ioi.inspect(case, findings)
    elif prompts.task == "greater_than":
        greater_than.inspect(case, findings)
    else:
        direct = case.direct_effects(case.every_head)
        findings.patching.append(direct.table(case.weights))
        case.check_movers(findings.roles, direct)
    return findings


def unconfirmed(prepared: Prepared, prompts: PromptSet, roles: pd.DataFrame, heads: HeadsConfig) -> Findings:
    """What is known where the behaviour is not above chance: what can be seen, with nothing patched. What an S-inhibition head would inhibit is not there."""
    findings, model = Findings(with_causes(roles, None)), prepared.model
    rows = []
    if prompts.task == "ioi":
        rows = [ioi.s_inhibition_rows(np.zeros(model.n_layers * model.n_heads), model.n_heads, None)]
    elif prompts.task == "greater_than":
        rows = [greater_than.observed_rows(_case(prepared, prompts, None, heads, np.empty(0)))]
    findings.roles = pd.concat([findings.roles, *rows], ignore_index=True)
    return findings


def _case(
    prepared: Prepared, prompts: PromptSet, nodes: frozenset[str] | None, heads: HeadsConfig, weights: Array
) -> Case:
    return Case(prepared.model, PathPatcher(prepared, TaskMetric(prompts)), prompts, nodes, heads, weights)
