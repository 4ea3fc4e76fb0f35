"""Roles that show in where a head looks: induction, previous-token and duplicate-token heads
(Olsson et al., arXiv 2209.11895).

On a random segment of L tokens written twice, at position i of the second copy, the score is the
mean attention

- induction: to i − (L − 1), the token after the earlier occurrence of the present one;
- previous token: to i − 1;
- duplicate token: to i − L, the earlier occurrence itself.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from circuitwatch.errors import UserError
from circuitwatch.heads.checks import REPEATED
from circuitwatch.heads.measuring import Inputs, Measuring
from circuitwatch.tasks.prompts import PromptSet
from circuitwatch.transformer import Transformer


@dataclass(frozen=True, eq=False)
class Segments:
    """What the three roles are measured on.

    tokens [sequence, pos] end in two copies of `length` tokens; pairs: prompts that the effect of
    previous-token heads is measured on, None where there are too few tokens for them.
    """

    tokens: Tensor
    length: int
    pairs: PromptSet | None = None


def segments(inputs: Inputs) -> Segments:
    """Repeated segments of the tokenizer's tokens, special ones left out.

    Raises UserError for heads.length above the vocabulary's size.
    """
    tokenizer, length, seed = inputs.tokenizer, inputs.heads.length, inputs.seed
    special = set(tokenizer.all_special_ids)
    ordinary = torch.tensor([token for token in range(len(tokenizer)) if token not in special])
    tokens = repeated_segments(
        ordinary,
        length=length,
        n_sequences=inputs.heads.n_sequences,
        bos_id=tokenizer.bos_token_id,
        seed=seed,
    )
    return Segments(tokens, length, repeated_pairs(tokens, ordinary, length=length, seed=seed))


def induction(measuring: Measuring, probe: Segments) -> Tensor:
    """Score of the role for each sequence: [layer, head, sequence]."""
    return measuring.of(_scores, probe)["induction"]


def previous_token(measuring: Measuring, probe: Segments) -> Tensor:
    """Score of the role for each sequence: [layer, head, sequence]."""
    return measuring.of(_scores, probe)["previous_token"]


def duplicate_token(measuring: Measuring, probe: Segments) -> Tensor:
    """Score of the role for each sequence: [layer, head, sequence]."""
    return measuring.of(_scores, probe)["duplicate_token"]


def _scores(measuring: Measuring, probe: Segments) -> dict[str, Tensor]:
    """All three, from one pass."""
    measuring.require_room(probe.tokens, "the repeated segments")
    return attention_scores(measuring.model, probe.tokens, length=probe.length)


def repeated_segments(
    token_ids: Tensor, *, length: int, n_sequences: int, bos_id: int | None, seed: int
) -> Tensor:
    """Random segments of distinct tokens from `token_ids`, each written twice behind `bos_id`:
    [sequence, (1 +) 2 · length].

    Raises UserError if there are fewer than `length` tokens to draw from.
    """
    if len(token_ids) < length:
        raise UserError(
            f"heads.length={length}: only {len(token_ids)} tokens to draw from; choose a "
            f"smaller length"
        )
    generator = torch.Generator().manual_seed(seed)
    rows = [
        token_ids[torch.randperm(len(token_ids), generator=generator)[:length]].repeat(2)
        for _ in range(n_sequences)
    ]
    sequences = torch.stack(rows)
    if bos_id is None:
        return sequences
    return torch.cat([torch.full((n_sequences, 1), bos_id), sequences], dim=1)


def repeated_pairs(
    sequences: Tensor, token_ids: Tensor, *, length: int, seed: int
) -> PromptSet | None:
    """Prompts that a previous-token head's effect is measured on: a segment, and a beginning of its
    second copy; in its corrupted counterpart the first copy is
    other tokens.

    The right answer is the token that continues the second copy; the wrong one is a later token of
    the segment, which the corrupted counterpart does not hold either: so knowing which tokens were
    seen, without their order, answers nothing. Second copies are cut at each place in turn.

    sequences: [sequence, pos] of `repeated_segments`, with segments of at least 3 tokens;
    token_ids: those the counterparts are drawn from. None if these are fewer than two segments
    hold, or there is one sequence alone, which has no interval.
    """
    if len(token_ids) < 2 * length or length < 3 or len(sequences) < 2:
        return None
    generator = torch.Generator().manual_seed(seed)
    first = sequences.shape[1] - 2 * length
    corrupted, n = sequences.clone(), len(sequences)
    cuts = torch.arange(n) % (length - 2)  # the last token is the cut-th of its copy
    wrong = torch.empty(n, dtype=torch.long)
    for row, (sequence, cut) in enumerate(zip(sequences, cuts.tolist(), strict=True)):
        segment = sequence[first : first + length]
        others = token_ids[~torch.isin(token_ids, segment)]
        corrupted[row, first : first + length] = others[
            torch.randperm(len(others), generator=generator)[:length]
        ]
        wrong[row] = segment[int(torch.randint(cut + 2, length, (1,), generator=generator))]
    lengths = first + length + cuts + 1
    right = sequences.gather(1, lengths[:, None])[:, 0]
    return PromptSet(
        task=REPEATED,
        metric="logit_diff",
        clean_text=("",) * n,
        corrupted_text=("",) * n,
        clean=sequences,
        corrupted=corrupted,
        lengths=lengths,
        answer_ids=torch.stack([right, wrong], 1),
        answer_signs=torch.tensor([[1.0, -1.0]]).repeat(n, 1),
        positions={
            "first": torch.full((n,), first),
            "last": torch.full((n,), first + length - 1),
            "end": lengths - 1,
        },
        lexicon_counts={"tokens": len(token_ids)},
    )


@torch.no_grad()
def attention_scores(
    model: Transformer, sequences: Tensor, *, length: int, batch_size: int = 16
) -> dict[str, Tensor]:
    """Scores of the three roles for each sequence, each [layer, head, sequence] on the CPU; a
    head's score is the mean over sequences.

    sequences [sequence, pos] end in two copies of `length` tokens.
    """
    second = torch.arange(sequences.shape[1] - length, sequences.shape[1])
    targets = {
        "induction": second - (length - 1),
        "previous_token": second - 1,
        "duplicate_token": second - length,
    }
    found: dict[str, list[Tensor]] = {role: [] for role in targets}
    for batch in sequences.split(batch_size):
        patterns = model.attention_patterns(batch.to(model.device))
        for role, attended in targets.items():
            # [layer, sequence, head, position] → [layer, head, sequence]
            found[role].append(patterns[:, :, :, second, attended].mean(3).transpose(1, 2).cpu())
    return {role: torch.cat(parts, 2) for role, parts in found.items()}
