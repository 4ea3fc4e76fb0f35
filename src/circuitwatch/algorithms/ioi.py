"""The algorithm of indirect object identification, from the logits backwards (Wang et al., arXiv 2211.00593; Tigges et al., 2407.10827, figure 4).

- B: share of all heads' direct effect on the logits that comes from name movers, negative name movers and copy suppression.
- C: share of the effect on the name movers' queries, at the end of the prompt, that comes from S-inhibition heads.
- D: share of the effect on the S-inhibition heads' keys and values, at the repeated name (S2), that comes from induction and duplicate-token heads.

The name movers here are heads that copy names (the role's threshold) and whose direct effect raises the answer. An S-inhibition head is one that, patched
into their queries, lowers the logit difference, lowers their attention to IO and raises it to S1; its score is the share of prompts on which all three
happen, and the first by at least `min_effect` of the mean difference between clean and corrupted prompts. Without name movers there is nothing to inhibit,
and the score is 0.
"""

from __future__ import annotations

from collections.abc import Collection

import numpy as np
import pandas as pd
import torch

from circuitwatch.algorithms.causes import Case, Effects, Findings, with_causes
from circuitwatch.circuits.patching import Patched

SOURCE_ROLES = ("induction", "duplicate_token")
QUERIES = "name-mover queries"
KEYS_AND_VALUES = "S-inhibition keys and values"
NO_NAMES = "this model's tokenizer lacks the names that name movers are measured on"
NO_EFFECT = "no head has any effect there"


def inspect(case: Case, findings: Findings) -> None:
    """Measure B, C and D and the S-inhibition scores, and check the roles of the heads that take part; `findings` is filled in."""
    direct = case.direct_effects(case.every_head)
    findings.patching.append(direct.table(case.weights))
    known = case.check_movers(findings.roles, direct)
    share = direct.share(case.holders(findings.roles, *known), case.weights) if known else None
    findings.measure("B", share, NO_EFFECT if known else NO_NAMES)

    movers = name_movers(case, findings.roles, direct)
    scores = np.zeros(len(case.every_head))
    queries: Effects | None = None
    if movers:
        queries, scores = into_queries(case, movers)
        findings.patching.append(queries.table(case.weights))
    rows = s_inhibition_rows(scores, case.model.n_heads, case.nodes)
    findings.roles = pd.concat([findings.roles, rows], ignore_index=True)
    if queries is None:
        findings.measure("C", None, "no head copies names and raises the answer")
        findings.measure("D", None, "no S-inhibition heads without name movers")
        return
    case.check(findings.roles, queries, "s_inhibition")
    inhibitors = case.holders(findings.roles, "s_inhibition")
    findings.measure("C", queries.share(inhibitors, case.weights), NO_EFFECT)
    if not inhibitors:
        findings.measure("D", None, "no head scores as S-inhibition head")
        return
    sources = into_keys_and_values(case, inhibitors)
    if not sources.senders:
        findings.measure("D", None, "S-inhibition heads in the first layer have no heads before them")
        return
    findings.patching.append(sources.table(case.weights))
    for role in SOURCE_ROLES:
        case.check(findings.roles, sources, role)
    findings.measure("D", sources.share(case.holders(findings.roles, *SOURCE_ROLES), case.weights), NO_EFFECT)


def name_movers(case: Case, roles: pd.DataFrame, direct: Effects) -> list[str]:
    """Heads that copy names and by doing so raise the answer."""
    raises = {
        sender for sender, effect in zip(direct.senders, direct.mean, strict=True) if effect <= -case.heads.min_effect
    }
    return [head for head in case.holders(roles, "name_mover") if head in raises]


def into_queries(case: Case, movers: list[str]) -> tuple[Effects, np.ndarray]:
    """Effects on the name movers' queries at the end of the prompt, of all heads before them; and every head's S-inhibition score [head]."""
    positions = case.prompts.positions
    senders = case.heads_before(max(_layer(mover) for mover in movers))
    patched = case.patcher.patch(
        [[sender] for sender in senders],
        [f"{mover}<q>" for mover in movers],
        positions=positions["end"][:, None],
        look_at=torch.stack([positions["io"], positions["s1"]], 1),
    )
    scores = np.zeros(len(case.every_head))
    scores[: len(senders)] = s_inhibition_scores(patched, min_effect=case.heads.min_effect)
    return Effects.of(patched, senders, QUERIES), scores


def s_inhibition_scores(patched: Patched, *, min_effect: float) -> np.ndarray:
    """Share of prompts on which each sender does what an S-inhibition head does: [sender].

    patched: each sender into the name movers' queries, with their attention to IO and S1 (`look_at` [prompt, 2]), whose mean over the movers counts.
    """
    lowers = patched.unpatched - patched.values >= min_effect * patched.total
    looks, looked = patched.attention.mean(1), patched.unpatched_attention.mean(0)
    away, towards = looks[..., 0] < looked[:, 0], looks[..., 1] > looked[:, 1]
    return (lowers & away & towards).double().mean(1).numpy()


def into_keys_and_values(case: Case, inhibitors: list[str]) -> Effects:
    """Effects on the S-inhibition heads' keys and values at S2, of all heads before them."""
    senders = case.heads_before(max(_layer(head) for head in inhibitors))
    receivers = [f"{head}<{letter}>" for head in inhibitors for letter in "kv"]
    patched = case.patcher.patch(
        [[sender] for sender in senders], receivers, positions=case.prompts.positions["s2"][:, None]
    )
    return Effects.of(patched, senders, KEYS_AND_VALUES)


def s_inhibition_rows(scores: np.ndarray, n_heads: int, nodes: Collection[str] | None) -> pd.DataFrame:
    """Rows of the role table from every head's score [head]."""
    layers, heads = np.divmod(np.arange(len(scores)), n_heads)
    return with_causes(pd.DataFrame({"role": "s_inhibition", "layer": layers, "head": heads, "score": scores}), nodes)


def _layer(head: str) -> int:
    return int(head[1:].split(".")[0])
