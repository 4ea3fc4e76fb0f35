"""Previous-token heads, checked on the task that they serve: going on with a random segment that is
written a second time (Olsson et al., 2209.11895).

The second copy can be continued by an induction head whose keys say which token came before. In the
twin of a prompt the first copy is other random tokens, so nothing is to be continued. What a
previous-token head writes in the twin's first copy goes into the keys of the induction heads there,
and nowhere else. (On the prompts of IOI this can't be seen: with the corruption `swap` nothing
before S2 differs.)

The task is no cell's, so no circuit is known on it, and a head is confirmed without the question
whether it is in the circuit. It can be asked of every checkpoint, whatever its behaviour on the
cell's own task; where no head holds induction, or the model does not go on with segments, nothing
is said.
"""

from __future__ import annotations

import torch

from circuitwatch.algorithms.causes import Findings
from circuitwatch.algorithms.confirming import check, holders
from circuitwatch.algorithms.effects import Effects, mean_with_interval
from circuitwatch.behaviour import TaskMetric
from circuitwatch.circuits.patching import PathPatcher
from circuitwatch.circuits.prompts import Prepared
from circuitwatch.circuits.resampling import bootstrap_weights
from circuitwatch.config import HeadsConfig
from circuitwatch.heads.checks import INDUCTION_KEYS as KEYS
from circuitwatch.heads.checks import REPEATED, roles_checked
from circuitwatch.tasks import PromptSet
from circuitwatch.transformer import Transformer

BATCH = 16
"""Prompts at a time; they are as short as those that roles are seen on."""


def check_previous_tokens(
    model: Transformer,
    prompts: PromptSet,
    findings: Findings,
    heads: HeadsConfig,
    *,
    n_bootstrap: int,
    seed: int,
) -> None:
    """Check the holders of the previous-token role; rows of `findings.roles`, and a table of
    `findings.patching`, are filled in.

    prompts: of `heads.attention.repeated_pairs`.
    """
    (role,) = roles_checked(REPEATED, KEYS)
    previous, inducing = (
        holders(findings.roles, heads.thresholds, [name]) for name in (role, "induction")
    )
    if not previous or not inducing:
        return
    weights = bootstrap_weights(len(prompts.lengths), n_bootstrap, seed)
    patcher = PathPatcher(Prepared(model, prompts, batch_size=BATCH), TaskMetric(prompts))
    clean, corrupted = patcher.unpatched
    if mean_with_interval((clean - corrupted).numpy(), weights)[1] <= 0:
        return
    first, last = prompts.positions["first"], prompts.positions["last"]
    first_copy = first[:, None] + torch.arange(int((last - first).max()) + 1)
    patched = patcher.patch(
        [[head] for head in previous], [f"{head}<k>" for head in inducing], positions=first_copy
    )
    effects = Effects.of(patched, previous, KEYS)
    findings.patching.append(effects.table())
    check(findings.roles, role, effects, heads, nodes=previous, senders=previous)
