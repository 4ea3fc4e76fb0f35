"""Roles that show in what a head writes: name movers and their negatives (Wang et al., arXiv 2211.00593, appendix on copying).

The residual stream after the first block at the name positions of IOI prompts goes through the head's values and output and the
unembedding, as if the head attended to that position alone. The score of a name mover is the share of positions whose own name is among the `top` tokens of
the result; of a negative name mover the same with the head's output negated.
"""

from __future__ import annotations

import torch
from torch import Tensor

from circuitwatch.transformer import Transformer


def head_writes(model: Transformer, layer: int, stream: Tensor) -> Tensor:
    """What each head of a layer writes when it attends to one position alone: stream [n, d_model] → [head, n, d_model]."""
    block = model.blocks[layer]
    attention = block.attention
    values = block.attention_norm(stream) @ attention.W_V + attention.b_V[:, None]
    return attention.of_each_head(values) @ attention.W_O


@torch.no_grad()
def name_mover_scores(model: Transformer, tokens: Tensor, positions: Tensor, *, top: int = 5) -> dict[str, Tensor]:
    """Scores `name_mover` and `negative_name_mover`, each [layer, head] on the CPU.

    tokens [prompt, pos] are IOI prompts; positions [prompt, name] where their names stand.
    """
    tokens, positions = tokens.to(model.device), positions.to(model.device)
    trace = model.run(model.embed(tokens))
    after_first = trace.attention_in[1] if model.n_layers > 1 else trace.final
    rows = torch.arange(len(tokens), device=model.device)[:, None]
    stream = after_first[rows, positions].flatten(0, 1)
    names = tokens[rows, positions].flatten()
    scores = {role: torch.zeros(model.n_layers, model.n_heads) for role in ("name_mover", "negative_name_mover")}
    bias = model.final_norm.bias
    shift = torch.zeros_like(model.final_norm.weight) if bias is None else bias
    fixed = shift @ model.W_U + (0.0 if model.b_U is None else model.b_U)
    for layer in range(model.n_layers):
        for head, written in enumerate(head_writes(model, layer, stream)):
            # A norm of −x is minus the norm of x but for its bias, so one product with the unembedding serves both signs.
            changing = (model.final_norm(written) - shift) @ model.W_U
            for role, sign in (("name_mover", 1), ("negative_name_mover", -1)):
                logits = torch.add(fixed, changing, alpha=sign)
                above = logits > logits.gather(1, names[:, None])
                scores[role][layer, head] = (above.sum(1) < top).float().mean().cpu()
    return scores
