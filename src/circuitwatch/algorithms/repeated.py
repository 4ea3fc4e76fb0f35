"""Previous-token heads, checked on the task that they serve: continuing a random segment that is
written a second time (Olsson et al., 2209.11895).

The second copy can be continued by an induction head whose keys say which token came before. In the
corrupted counterpart of a prompt the first copy is other random tokens, so there is nothing to
continue. What a previous-token head writes in the counterpart's first copy goes into the keys of
the induction heads there, and nowhere else. (On the prompts of IOI this can't be seen: with the
corruption `swap` nothing before S2 differs.)

The task is no cell's, so no circuit is known on it, and a head is confirmed whether or not it is in
a circuit. Every checkpoint is checked, whatever its behaviour on the cell's own task; where no head
holds induction, or the model does not continue segments, the rows stay empty.
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
from circuitwatch.heads.checks import INDUCTION_KEYS as KEYS
from circuitwatch.heads.checks import REPEATED, roles_checked
from circuitwatch.heads.settings import HeadsConfig
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
    """Check the holders of the previous-token role (and of others that are confirmed there); rows
    of `findings.roles`, and a table of `findings.patching`, are filled in.

    Args:
        model: the checkpoint.
        prompts: of `heads.attention.repeated_pairs`.
        findings: with the scores of roles.
        heads: thresholds and `min_effect`.
        n_bootstrap: resamples of the prompts.
        seed: of the resamples.
    """
    checked = {
        role: holders(findings.roles, heads, [role]) for role in roles_checked(REPEATED, KEYS)
    }
    senders = list(dict.fromkeys(head for held in checked.values() for head in held))
    inducing = holders(findings.roles, heads, ["induction"])
    if not senders or not inducing:
        return
    weights = bootstrap_weights(len(prompts.lengths), n_bootstrap, seed)
    patcher = PathPatcher(Prepared(model, prompts, batch_size=BATCH), TaskMetric(prompts))
    clean, corrupted = patcher.unpatched
    if mean_with_interval((clean - corrupted).numpy(), weights)[1] <= 0:
        return
    first, last = prompts.positions["first"], prompts.positions["last"]
    first_copy = first[:, None] + torch.arange(int((last - first).max()) + 1)
    patched = patcher.patch(
        [[head] for head in senders], [f"{head}<k>" for head in inducing], positions=first_copy
    )
    effects = Effects.of(patched, senders, KEYS)
    findings.patching.append(effects.table())
    for role, held in checked.items():
        check(findings.roles, role, effects, heads, nodes=held, senders=held)
