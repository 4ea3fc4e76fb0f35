"""The algorithm of greater-than (Hanna et al., arXiv 2305.00586; Tigges et al., 2407.10827): heads
bring the start year, MLPs raise the years above it.

Three measures at the end of the prompt, each in [0, 1], over the heads and MLPs of the checkpoint's
circuit:

- year_attention: attention that the circuit's heads pay the start year's two digits;
- year_lens: where the start year stands among all two-digit numbers in the logit lens of what these
  heads write, as a percentile rank (1: first, ½: by chance);
- mlp_push: share of prompts on which the circuit's MLPs together, in the logit lens, raise years
  above the start year over the others. What they write on all prompts alike is taken off first: a
  constant liking for late years knows nothing of the start year.

With a tokenizer that splits digits (the task's variant `tens`) the start year is two tokens, whose
attention is added, and its tens digit stands for it among the ten digits; it is neither above nor
below itself.

Heads count by the size of their effect on the logits (path patching with the MLPs between
recomputed, so that what a head does through MLPs is in it). Every head's attention to the year and
every MLP's own share of prompts are also roles: `year_attention` and `year_push`.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pandas as pd
import torch
from torch import Tensor

from circuitwatch.algorithms.causes import Case, Findings
from circuitwatch.algorithms.confirming import scored_rows
from circuitwatch.algorithms.effects import Effects, mean_with_interval
from circuitwatch.heads.checks import CIRCUIT_MLPS, LOGITS
from circuitwatch.tasks import PromptSet
from circuitwatch.transformer import Transformer

NO_CIRCUIT = "no circuit"


def inspect(case: Case, findings: Findings, direct: Effects) -> None:
    """Measure the three parts of the algorithm, and check the roles of heads and MLPs; `findings`
    is filled in.

    direct: every head's and MLP's effect on the logits.
    """
    attention, pushes, ranks = observed_parts(case)
    findings.roles = pd.concat(
        [findings.roles, role_rows(case, attention, pushes)], ignore_index=True
    )
    case.check(findings.roles, direct, LOGITS)
    into_mlps = effects_on_mlps(case)
    if into_mlps is not None:
        findings.patching.append(into_mlps.table())
        case.check(findings.roles, into_mlps, CIRCUIT_MLPS, into_mlps.senders)
    members = case.nodes or frozenset()
    of_heads = direct.only(case.every_head)
    weights = np.abs(of_heads.mean) * np.array([head in members for head in of_heads.senders])
    for name, values in (("year_attention", attention), ("year_lens", ranks)):
        measured = None
        if weights.sum() > 0:
            of_prompts = weights @ values.double().numpy() / weights.sum()
            measured = mean_with_interval(of_prompts, case.weights)
        findings.measure(
            name, measured, NO_CIRCUIT if case.nodes is None else "no head in the circuit"
        )
    inside = [layer for layer in range(case.model.n_layers) if f"m{layer}" in members]
    together = (pushes[inside].sum(0) > 0).double().numpy()
    pushed = mean_with_interval(together, case.weights) if inside else None
    findings.measure(
        "mlp_push", pushed, NO_CIRCUIT if case.nodes is None else "no MLP in the circuit"
    )


def observed_parts(case: Case) -> tuple[Tensor, Tensor, Tensor]:
    """Attention to the start year [head, prompt], what MLPs add for the years above it [layer,
    prompt], and ranks of it in heads' lens [head, prompt].
    """
    positions = case.prompts.positions
    places = torch.stack([positions[name] for name in ("year", "units") if name in positions], 1)
    attention = case.patcher.attention(places).sum(-1).flatten(0, 1)
    written_by_heads, written_by_mlps = written_at_end(case)
    return (
        attention,
        year_pushes(case, written_by_mlps),
        year_ranks(case, written_by_heads).flatten(0, 1),
    )


def observe(case: Case, findings: Findings) -> None:
    """Add the rows of the role table that can be seen where nothing is patched."""
    attention, pushes, _ = observed_parts(case)
    findings.roles = pd.concat(
        [findings.roles, role_rows(case, attention, pushes)], ignore_index=True
    )


def written_at_end(case: Case) -> tuple[Tensor, Tensor]:
    """What heads [layer, head, prompt, d_model] and MLPs [layer, prompt, d_model] add at the ends
    of the clean prompts.
    """
    model, n_prompts = case.model, len(case.prompts.lengths)
    by_heads = model.W_E.new_empty(model.n_layers, model.n_heads, n_prompts, model.d_model)
    by_mlps = model.W_E.new_empty(model.n_layers, n_prompts, model.d_model)
    for batch, (clean, _) in zip(case.patcher.prepared.batches, case.patcher.runs, strict=True):
        for layer, block in enumerate(model.blocks):
            z = clean.z[layer][:, -1].transpose(0, 1)
            by_heads[layer][:, batch.indices] = z @ block.writes
            by_mlps[layer][batch.indices] = clean.mlp_out[layer][:, -1]
    return by_heads, by_mlps


@dataclass(frozen=True)
class Numbers:
    """The numbers that a task's prompts can be answered with: ids [number] of their tokens, signs
    [prompt, number] of the answers (1 above the start year, −1 not above it, 0 neither), and own
    [prompt], the place of the start year's.
    """

    ids: Tensor
    signs: Tensor
    own: Tensor

    @classmethod
    def of(cls, prompts: PromptSet) -> Numbers:
        """Those of greater-than's prompts, ascending by id."""
        year = prompts.clean.gather(1, prompts.positions["year"][:, None])
        ids = torch.cat([prompts.answer_ids[prompts.answer_signs != 0], year[:, 0]]).unique()
        # Padding has sign 0, and adds it to whichever number its id comes nearest.
        places = torch.searchsorted(ids, prompts.answer_ids).clamp(max=len(ids) - 1)
        signs = prompts.answer_signs.new_zeros(len(year), len(ids))
        signs.scatter_add_(1, places, prompts.answer_signs)
        return cls(ids, signs, torch.searchsorted(ids, year)[:, 0])


def year_lens(case: Case, written: Tensor, numbers: Numbers) -> Tensor:
    """Logits of all numbers that written [..., prompt, d_model] makes by itself: [..., prompt,
    number].

    The final norm's scale is the same for all numbers and left out; so are biases, which are not
    the part's own.
    """
    model: Transformer = case.model
    if model.final_norm.centred:
        written = written - written.mean(-1, keepdim=True)
    columns = model.W_U[:, numbers.ids.to(model.device)]  # [d_model, number]
    return ((written * model.final_norm.weight) @ columns).cpu()


def year_ranks(case: Case, written: Tensor) -> Tensor:
    """Percentile rank of the start year among all numbers, [..., prompt], for what is written [...,
    prompt, d_model].
    """
    numbers = Numbers.of(case.prompts)
    logits = year_lens(case, written, numbers)
    own = logits.gather(-1, numbers.own[:, None].expand(*logits.shape[:-1], 1))
    below, equal = (logits < own).sum(-1), (logits == own).sum(-1) - 1
    return (below + equal / 2) / (len(numbers.ids) - 1)


def year_pushes(case: Case, written: Tensor) -> Tensor:
    """Mean logit of the years above the start year minus that of the others, [..., prompt], for
    what is written [..., prompt, d_model].

    Each number's mean over the prompts is taken off first.
    """
    numbers = Numbers.of(case.prompts)
    logits, signs = year_lens(case, written, numbers), numbers.signs
    centred = logits - logits.mean(-2, keepdim=True)
    above, others = (
        ((signs == sign) * centred).sum(-1) / (signs == sign).sum(-1) for sign in (1, -1)
    )
    return above - others


def effects_on_mlps(case: Case) -> Effects | None:
    """Effects of the circuit's heads on its MLPs at the end of the prompt; None without a circuit
    that has both.
    """
    members = case.nodes or frozenset()
    heads = [head for head in case.every_head if head in members]
    mlps = [mlp for mlp in case.every_mlp if mlp in members]
    if not heads or not mlps:
        return None
    patched = case.patcher.patch(
        [[head] for head in heads], mlps, positions=case.prompts.positions["end"][:, None]
    )
    return Effects.of(patched, heads, CIRCUIT_MLPS)


def role_rows(case: Case, attention: Tensor, pushes: Tensor) -> pd.DataFrame:
    """Rows of the role table from attention [head, prompt] and pushes [layer, prompt]."""
    layers, heads = np.divmod(np.arange(len(attention)), case.model.n_heads)
    mlps = np.arange(len(pushes))
    looking, raising = attention.double().numpy(), (pushes > 0).double().numpy()
    rows = [
        scored_rows("year_attention", layers, heads, looking, case.nodes, case.weights),
        scored_rows("year_push", mlps, np.full_like(mlps, -1), raising, case.nodes, case.weights),
    ]
    return pd.concat(rows, ignore_index=True)
