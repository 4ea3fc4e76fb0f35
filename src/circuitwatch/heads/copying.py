"""Roles that show in what a head writes: name movers and their negatives (Wang et al., arXiv
2211.00593, appendix on copying).

The residual stream after the first block at the name positions of IOI prompts goes through the
head's values and output and the unembedding, as if the head attended to that position alone. The
score of a name mover is the share of positions whose own name is among the `top` tokens of the
result; of a negative name mover the same with the head's output negated. A head that writes nothing
there copies nothing.

Most heads put thousands of tokens above the name, which a slice of the vocabulary shows already;
only what is still undecided meets the rest of it.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import torch
from torch import Tensor

from circuitwatch.errors import UserError
from circuitwatch.heads.measuring import Inputs, Measuring, NotMeasurable
from circuitwatch.tasks import build_prompts
from circuitwatch.transformer import Transformer

FIRST_SLICE, LARGEST_SLICE = 512, 8192
"""Tokens of the vocabulary that are looked at first, and at most at a time; each slice is twice as
large as the one before.
"""
NAMES = ("io", "s1", "s2")


@dataclass(frozen=True, eq=False)
class Names:
    """What name movers are measured on: tokens [prompt, pos] are IOI prompts; positions [prompt,
    name] where their names stand.
    """

    tokens: Tensor
    positions: Tensor


def names(inputs: Inputs) -> Names:
    """IOI prompts. Raises NotMeasurable for a tokenizer that lacks too many names."""
    heads = inputs.heads
    try:
        prompts = build_prompts(
            "ioi", inputs.tokenizer, n_prompts=heads.n_prompts, seed=inputs.seed
        )
    except UserError as error:
        raise NotMeasurable(str(error).removeprefix("task=ioi: ")) from error
    return Names(prompts.clean, torch.stack([prompts.positions[name] for name in NAMES], dim=1))


def name_mover(measuring: Measuring, probe: Names) -> Tensor:
    """Score of the role for each prompt: [layer, head, prompt]."""
    return measuring.of(_scores, probe)["name_mover"]


def negative_name_mover(measuring: Measuring, probe: Names) -> Tensor:
    """Score of the role for each prompt: [layer, head, prompt]."""
    return measuring.of(_scores, probe)["negative_name_mover"]


def _scores(measuring: Measuring, probe: Names) -> dict[str, Tensor]:
    """Both, from one pass."""
    measuring.require_room(probe.tokens, "the prompts with names")
    return name_mover_scores(measuring.model, probe.tokens, probe.positions)


def head_writes(model: Transformer, layer: int, stream: Tensor) -> Tensor:
    """What each head of a layer writes when it attends to one position alone: stream [n, d_model] →
    [head, n, d_model].

    Where a norm divides what the heads of a layer add together, that scale is left out: it is the
    same for all that a head could write there.
    """
    block = model.blocks[layer]
    attention = block.attention
    projected = block.before_heads(stream) @ attention.W_V + attention.b_V[:, None]
    return attention.of_each_head(attention.finish("v", projected, None)) @ block.writes


@torch.no_grad()
def name_mover_scores(
    model: Transformer, tokens: Tensor, positions: Tensor, *, top: int = 5
) -> dict[str, Tensor]:
    """Scores `name_mover` and `negative_name_mover` for each prompt, each [layer, head, prompt] on
    the CPU; a head's is the mean over prompts.

    tokens [prompt, pos] are IOI prompts; positions [prompt, name] where their names stand.
    """
    tokens, positions = tokens.to(model.device), positions.to(model.device)
    first = replace(model, blocks=model.blocks[:1])  # what comes after is not needed
    after_first = first.run(first.embed(tokens)).final
    rows = torch.arange(len(tokens), device=model.device)[:, None]
    stream = after_first[rows, positions].flatten(0, 1)
    names = tokens[rows, positions].flatten().repeat(model.n_heads)
    fixed = fixed_logits(model)
    scores = torch.zeros(2, model.n_layers, model.n_heads, len(tokens))
    for layer in range(model.n_layers):
        written = head_writes(model, layer, stream).flatten(0, 1)
        copied = among_top(model, fixed, written, names, top) & written.any(1)
        scores[:, layer] = copied.view(2, model.n_heads, *positions.shape).float().mean(-1).cpu()
    return {"name_mover": scores[0], "negative_name_mover": scores[1]}


def fixed_logits(model: Transformer) -> Tensor:
    """What the biases of the final norm and the unembedding give every token, whatever is
    unembedded: [d_vocab].
    """
    bias = model.final_norm.bias
    fixed = model.W_U.new_zeros(model.W_U.shape[1]) if bias is None else bias @ model.W_U
    return fixed if model.b_U is None else fixed + model.b_U


def among_top(
    model: Transformer, fixed: Tensor, written: Tensor, tokens: Tensor, top: int
) -> Tensor:
    """Whether fewer than `top` tokens have a larger logit than the row's own, when `written` is
    unembedded, and when it is negated.

    fixed: see `fixed_logits`; written [row, d_model], tokens [row]; bool [2, row]. Ties are not
    larger.
    """
    norm, vocabulary = model.final_norm, model.W_U.shape[1]
    # A norm of −x is minus the norm of x but for its bias, so one product with the unembedding
    # serves both signs.
    changing = norm.standardise(written)[0] * norm.weight
    distinct, which = tokens.unique(return_inverse=True)

    # The tokens of the rows come first, being the strongest rivals where names are written; in the
    # slices they are not counted again.
    logits = changing @ model.W_U[:, distinct]
    mine = logits.gather(1, which[:, None])
    own = torch.stack([fixed[tokens, None] + mine, fixed[tokens, None] - mine])
    counts = (
        torch.stack([fixed[distinct] + logits, fixed[distinct] - logits]) > own
    ).count_nonzero(2)
    undecided = torch.arange(len(written), device=written.device)
    start, size = 0, FIRST_SLICE
    while start < vocabulary and len(undecided := undecided[(counts[:, undecided] < top).any(0)]):
        part = slice(start, min(start + size, vocabulary))
        logits = changing[undecided] @ model.W_U[:, part]
        above = torch.stack([fixed[part] + logits, fixed[part] - logits]) > own[:, undecided]
        above[:, :, distinct[(distinct >= part.start) & (distinct < part.stop)] - start] = False
        counts[:, undecided] += above.count_nonzero(2)
        start, size = part.stop, min(2 * size, LARGEST_SLICE)
    return counts < top
