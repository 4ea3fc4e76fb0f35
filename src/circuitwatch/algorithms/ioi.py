"""The algorithm of indirect object identification, from the logits backwards (Wang et al., arXiv
2211.00593; Tigges et al., 2407.10827, figure 4).

- B: share of all heads' direct effect on the logits that comes from name movers, negative name
  movers and copy suppression. As some raise the answer and others lower it, sizes count: Σ |effect|
  over those heads by Σ |effect| over all.
- C: share of the effect on the name movers' queries, at the end of the prompt, that comes from
  S-inhibition heads.
- D: share of the effect on the S-inhibition heads' keys and values, at the repeated name (S2), that
  comes from induction and duplicate-token heads.

C and D divide the effect of patching these heads together by that of patching all earlier heads
together: so heads that stand in for each other are not counted twice, and the cost does not grow
with the number of heads. `heads.patch=each` counts as B does, head by head, and
`heads.d_inputs=values` leaves keys alone, both as in the code of Tigges et al.

The name movers whose queries C is about are the heads that copy names (the role's threshold) and
*help* by their direct effect: an interval below 0, and at least `min_effect`. An S-inhibition head
is one that, patched into their queries, lowers the logit difference, lowers their attention to IO
and raises it to S1; its score is the share of prompts on which all three happen, and the first by
at least `min_effect` of the mean difference between clean and corrupted prompts. Without name
movers there is nothing to inhibit, and the score is 0.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence

import numpy as np
import pandas as pd
import torch
from torch import Tensor

from circuitwatch.algorithms import shares
from circuitwatch.algorithms.causes import Case, Findings
from circuitwatch.algorithms.confirming import HELPS, scored_rows, signs
from circuitwatch.algorithms.effects import Array, Effects
from circuitwatch.circuits.patching import Patched, Sent
from circuitwatch.heads.checks import INHIBITION_INPUTS, MOVER_QUERIES
from circuitwatch.tasks.ioi import MOVER_ROLES

SOURCE_ROLES = ("induction", "duplicate_token")
NO_NAMES = "this model's tokenizer lacks the names that name movers are measured on"


def inspect(case: Case, findings: Findings, direct: Effects) -> None:
    """Measure B, C and D and the S-inhibition scores, and check the roles of the heads that take
    part; `findings` is filled in.

    direct: every head's effect on the logits.
    """
    known = [role for role in MOVER_ROLES if (findings.roles["role"] == role).any()]
    if known:
        shares.of_single(case, findings, "B", known, direct)
    else:
        findings.measure("B", None, NO_NAMES)
    movers = helping(case, case.holders(findings.roles, "name_mover"), direct)
    if not movers:
        add_inhibition(
            findings,
            np.zeros((len(case.every_head), 0)),
            case.model.n_heads,
            case.nodes,
            case.weights,
        )
        findings.measure("C", None, "no head copies names and raises the answer")
        findings.measure("D", None, "no S-inhibition heads without name movers")
        return
    inspect_queries(case, findings, movers)
    inspect_inhibition(case, findings)


def observe(case: Case, findings: Findings) -> None:
    """What is known where the behaviour is not above chance: without name movers that help there
    is nothing to inhibit.
    """
    add_inhibition(
        findings, np.zeros((len(case.every_head), 0)), case.model.n_heads, None, case.weights
    )


def helping(case: Case, heads: Sequence[str], direct: Effects) -> list[str]:
    """Those of the heads whose direct effect helps."""
    table = direct.only(heads).table()
    return list(
        table["sender"][
            (signs(table, case.heads.min_effect) == HELPS).fillna(False).to_numpy(dtype=bool)
        ]
    )


def inspect_queries(case: Case, findings: Findings, movers: Sequence[str]) -> None:
    """C: what acts on the name movers' queries, and which of that is S-inhibition."""
    at_end, receivers = case.prompts.positions["end"][:, None], [f"{mover}<q>" for mover in movers]
    sent = case.patcher.send([[head] for head in case.every_head], receivers, positions=at_end)
    queries, inhibits = into_queries(case, sent, movers)
    findings.patching.append(queries.table())
    add_inhibition(findings, inhibits, case.model.n_heads, case.nodes, case.weights)
    case.check(findings.roles, queries, MOVER_QUERIES, queries.senders)
    if case.heads.patch == "each":
        shares.of_single(case, findings, "C", ["s_inhibition"], queries)
    else:
        shares.of_joint(case, findings, "C", ["s_inhibition"], queries.senders, receivers, at_end)


def inspect_inhibition(case: Case, findings: Findings) -> None:
    """D: what acts on the S-inhibition heads at S2, and which of that are induction and
    duplicate-token heads.
    """
    inhibitors = case.holders(findings.roles, "s_inhibition")
    if not inhibitors:
        findings.measure("D", None, "no head scores as S-inhibition head")
        return
    earlier = case.heads_before(max(layer_of(head) for head in inhibitors))
    if not earlier:
        findings.measure(
            "D", None, "S-inhibition heads in the first layer have no heads before them"
        )
        return
    sources = [head for head in case.holders(findings.roles, *SOURCE_ROLES) if head in earlier]
    receivers, at_s2 = (
        inputs_of(inhibitors, case.heads.d_inputs),
        case.prompts.positions["s2"][:, None],
    )
    singly = case.heads.patch == "each"
    senders = earlier if singly else sources
    if senders:
        patched = case.patcher.patch([[head] for head in senders], receivers, positions=at_s2)
        label = (
            INHIBITION_INPUTS if case.heads.d_inputs == "keys_and_values" else "S-inhibition values"
        )
        effects = Effects.of(patched, senders, label)
        findings.patching.append(effects.table())
        case.check(findings.roles, effects, INHIBITION_INPUTS, sources)
    if singly:
        shares.of_single(case, findings, "D", SOURCE_ROLES, effects)
    else:
        shares.of_joint(case, findings, "D", SOURCE_ROLES, earlier, receivers, at_s2)


def inputs_of(heads: Sequence[str], inputs: str = "keys_and_values") -> list[str]:
    """The receivers that are the keys and values of heads, or their values alone (`values`)."""
    return [
        f"{head}<{letter}>"
        for head in heads
        for letter in ("kv" if inputs == "keys_and_values" else "v")
    ]


def into_queries(case: Case, sent: Sent, movers: Sequence[str]) -> tuple[Effects, Array]:
    """Effects on the name movers' queries at the end of the prompt, of all heads before them; and
    on which prompts each head inhibits S [head, prompt].

    sent: every head by itself, to these queries among others.
    """
    positions = case.prompts.positions
    looks = torch.stack([positions["io"], positions["s1"]], 1)
    patched = sent.into([f"{mover}<q>" for mover in movers], look_at=looks)
    earlier = case.heads_before(max(layer_of(mover) for mover in movers))
    every = Effects.of(patched, case.every_head, MOVER_QUERIES)
    return every.only(earlier), inhibiting(
        patched, min_effect=case.heads.min_effect
    ).double().numpy()


def inhibiting(patched: Patched, *, min_effect: float) -> Tensor:
    """Whether each sender does on a prompt what an S-inhibition head does: [sender, prompt].

    patched: each sender into the name movers' queries, with their attention to IO and S1 (`look_at`
    [prompt, 2]), whose mean over the movers counts.
    """
    lowers = patched.unpatched - patched.values >= min_effect * patched.total
    looks, looked = patched.attention.mean(1), patched.unpatched_attention.mean(0)
    away, towards = looks[..., 0] < looked[:, 0], looks[..., 1] > looked[:, 1]
    return lowers & away & towards


def add_inhibition(
    findings: Findings, inhibits: Array, n_heads: int, nodes: Collection[str] | None, weights: Array
) -> None:
    """Add the rows of the S-inhibition role, from whether each head inhibits S on a prompt [head,
    prompt]; without prompts the score is 0.
    """
    layers, heads = np.divmod(np.arange(len(inhibits)), n_heads)
    rows = scored_rows("s_inhibition", layers, heads, inhibits, nodes, weights)
    findings.roles = pd.concat([findings.roles, rows], ignore_index=True)


def layer_of(head: str) -> int:
    """The layer in a head's name."""
    return int(head[1:].split(".")[0])
