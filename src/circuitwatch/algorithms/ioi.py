"""The algorithm of indirect object identification, from the logits backwards (Wang et al., arXiv 2211.00593; Tigges et al., 2407.10827, figure 4).

- B: share of all heads' direct effect on the logits that comes from name movers, negative name movers and copy suppression. As some raise the answer and
  others lower it, sizes count: Σ |effect| over those heads by Σ |effect| over all.
- C: share of the effect on the name movers' queries, at the end of the prompt, that comes from S-inhibition heads.
- D: share of the effect on the S-inhibition heads' keys and values, at the repeated name (S2), that comes from induction and duplicate-token heads.

C and D divide the effect of patching these heads together by that of patching all earlier heads together: so heads that stand in for each other are not counted
twice, and the cost does not grow with the number of heads.

The name movers here are heads that copy names (the role's threshold) and whose direct effect raises the answer. An S-inhibition head is one that, patched
into their queries, lowers the logit difference, lowers their attention to IO and raises it to S1; its score is the share of prompts on which all three
happen, and the first by at least `min_effect` of the mean difference between clean and corrupted prompts. Without name movers there is nothing to inhibit,
and the score is 0.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence

import numpy as np
import pandas as pd
import torch

from circuitwatch.algorithms.causes import LOGITS, Case, Effects, Findings, with_causes
from circuitwatch.circuits.patching import Patched, Sent

SOURCE_ROLES = ("induction", "duplicate_token")
QUERIES = "name-mover queries"
KEYS_AND_VALUES = "S-inhibition keys and values"
NO_NAMES = "this model's tokenizer lacks the names that name movers are measured on"
NO_EFFECT = "all heads together have no effect there"


def inspect(case: Case, findings: Findings) -> None:
    """Measure B, C and D and the S-inhibition scores, and check the roles of the heads that take part; `findings` is filled in."""
    copying = case.holders(findings.roles, "name_mover")
    at_end = case.prompts.positions["end"][:, None]
    # The way to the candidates' queries is the beginning of that to the logits, and travelled once.
    receivers = [LOGITS, *(f"{head}<q>" for head in copying)]
    sent = case.patcher.send([[head] for head in case.every_head], receivers, positions=at_end)
    direct = Effects.of(sent.into([LOGITS]), case.every_head, LOGITS)
    findings.patching.append(direct.table(case.weights))
    known = case.check_movers(findings.roles, direct)
    share = direct.share(case.holders(findings.roles, *known), case.weights) if known else None
    findings.measure("B", share, NO_EFFECT if known else NO_NAMES)

    movers = raising(case, copying, direct)
    scores = np.zeros(len(case.every_head))
    queries: Effects | None = None
    if movers:
        queries, scores = into_queries(case, sent, movers)
        findings.patching.append(queries.table(case.weights))
    rows = s_inhibition_rows(scores, case.model.n_heads, case.nodes)
    findings.roles = pd.concat([findings.roles, rows], ignore_index=True)
    if queries is None:
        findings.measure("C", None, "no head copies names and raises the answer")
        findings.measure("D", None, "no S-inhibition heads without name movers")
        return
    case.check(findings.roles, queries, "s_inhibition", queries.senders)
    inhibitors = case.holders(findings.roles, "s_inhibition")
    mover_queries = [f"{mover}<q>" for mover in movers]
    findings.measure("C", case.joint_share(inhibitors, queries.senders, mover_queries, at_end), NO_EFFECT)
    if not inhibitors:
        findings.measure("D", None, "no head scores as S-inhibition head")
        return
    earlier = case.heads_before(max(layer_of(head) for head in inhibitors))
    if not earlier:
        findings.measure("D", None, "S-inhibition heads in the first layer have no heads before them")
        return
    sources = [head for head in case.holders(findings.roles, *SOURCE_ROLES) if head in earlier]
    keys_and_values, at_s2 = inputs_of(inhibitors), case.prompts.positions["s2"][:, None]
    findings.measure("D", case.joint_share(sources, earlier, keys_and_values, at_s2), NO_EFFECT)
    if sources:
        patched = case.patcher.patch([[head] for head in sources], keys_and_values, positions=at_s2)
        effects = Effects.of(patched, sources, KEYS_AND_VALUES)
        findings.patching.append(effects.table(case.weights))
        for role in SOURCE_ROLES:
            case.check(findings.roles, effects, role, sources)


def raising(case: Case, heads: Sequence[str], direct: Effects) -> list[str]:
    """Those of the heads whose direct effect raises the answer."""
    effects = dict(zip(direct.senders, direct.mean, strict=True))
    return [head for head in heads if effects[head] <= -case.heads.min_effect]


def inputs_of(heads: Sequence[str]) -> list[str]:
    """The receivers that are the keys and values of heads."""
    return [f"{head}<{letter}>" for head in heads for letter in "kv"]


def into_queries(case: Case, sent: Sent, movers: Sequence[str]) -> tuple[Effects, np.ndarray]:
    """Effects on the name movers' queries at the end of the prompt, of all heads before them; and every head's S-inhibition score [head].

    sent: every head by itself, to these queries among others.
    """
    positions = case.prompts.positions
    looks = torch.stack([positions["io"], positions["s1"]], 1)
    patched = sent.into([f"{mover}<q>" for mover in movers], look_at=looks)
    scores = s_inhibition_scores(patched, min_effect=case.heads.min_effect)
    earlier = case.heads_before(max(layer_of(mover) for mover in movers))
    every = Effects.of(patched, case.every_head, QUERIES)
    return Effects(QUERIES, earlier, every.each[: len(earlier)], every.unit), scores


def s_inhibition_scores(patched: Patched, *, min_effect: float) -> np.ndarray:
    """Share of prompts on which each sender does what an S-inhibition head does: [sender].

    patched: each sender into the name movers' queries, with their attention to IO and S1 (`look_at` [prompt, 2]), whose mean over the movers counts.
    """
    lowers = patched.unpatched - patched.values >= min_effect * patched.total
    looks, looked = patched.attention.mean(1), patched.unpatched_attention.mean(0)
    away, towards = looks[..., 0] < looked[:, 0], looks[..., 1] > looked[:, 1]
    return (lowers & away & towards).double().mean(1).numpy()


def s_inhibition_rows(scores: np.ndarray, n_heads: int, nodes: Collection[str] | None) -> pd.DataFrame:
    """Rows of the role table from every head's score [head]."""
    layers, heads = np.divmod(np.arange(len(scores)), n_heads)
    return with_causes(pd.DataFrame({"role": "s_inhibition", "layer": layers, "head": heads, "score": scores}), nodes)


def layer_of(head: str) -> int:
    """The layer in a head's name."""
    return int(head[1:].split(".")[0])
