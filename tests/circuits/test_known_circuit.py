"""A model made by hand whose circuit is known: a previous-token head and an induction head, among heads and MLPs that have nothing to do with it."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from circuitwatch.circuits.attribution import edge_scores, graph_of
from circuitwatch.circuits.evaluation import CircuitEvaluator
from circuitwatch.circuits.prompts import Prepared, run_metric
from circuitwatch.circuits.search import smallest_circuit
from circuitwatch.transformer import MLP, Attention, Block, Norm, Transformer
from support.models import Pairs

WORDS, POSITIONS = 8, 6
TOKEN, PREVIOUS, ANSWER, PLACE = (slice(8 * i, 8 * i + 8) for i in range(4))
D_MODEL = 40
NOISE = slice(32, 40)


def to_head(part: slice, scale: float = 1.0) -> Tensor:
    """Reads one part of the residual stream: [d_model, d_head]."""
    weight = torch.zeros(D_MODEL, 8)
    weight[part] = scale * torch.eye(8)
    return weight


def induction_model() -> Transformer:
    """a0.h0 copies the token before into PREVIOUS; a1.h0 finds the place whose PREVIOUS is the present token, and copies its token to ANSWER.

    a0.h1, a1.h1 and both MLPs read tokens and write into NOISE, which nothing reads.
    """
    back = torch.zeros(D_MODEL, 8)
    back[PLACE] = torch.diag(torch.ones(7), -1) * 30  # place i asks for place i − 1
    random = torch.Generator().manual_seed(0)

    def into(part: slice) -> Tensor:
        return to_head(part).T

    def attention(q: Tensor, k: Tensor, v: Tensor, out: Tensor) -> Attention:
        other = [torch.randn(D_MODEL, 8, generator=random) for _ in range(3)]
        pairs = [torch.stack([mine, theirs]) for mine, theirs in zip((q, k, v), other, strict=True)]
        return Attention(*pairs, torch.stack([out, into(NOISE) / 20]), *torch.zeros(3, 2, 8), torch.zeros(D_MODEL))

    def block(heads: Attention) -> Block:
        norm = Norm(torch.ones(D_MODEL), None, eps=1e-5, centred=False)
        w_out = torch.zeros(16, D_MODEL)
        w_out[:, NOISE] = torch.randn(16, 8, generator=random) / 20
        mlp = MLP(torch.randn(D_MODEL, 16, generator=random), torch.zeros(16), w_out, torch.zeros(D_MODEL), torch.relu)
        return Block(norm, heads, norm, mlp)

    previous = attention(back, to_head(PLACE), to_head(TOKEN), into(PREVIOUS))
    induction = attention(to_head(TOKEN, 6.0), to_head(PREVIOUS), to_head(TOKEN), into(ANSWER))
    embedding, places = torch.zeros(WORDS, D_MODEL), torch.zeros(POSITIONS, D_MODEL)
    embedding[:, TOKEN] = torch.eye(8)
    places[:, PLACE] = torch.eye(8)[:POSITIONS]
    unembedding = torch.zeros(D_MODEL, WORDS)
    unembedding[ANSWER] = torch.eye(8)
    return Transformer(
        blocks=(block(previous), block(induction)),
        W_E=embedding,
        W_pos=places,
        rotary=None,
        final_norm=Norm(torch.ones(D_MODEL), None, eps=1e-5, centred=False),
        W_U=unembedding,
        b_U=None,
        parallel=False,
        attention_scale=1.0,
    )


def test_the_induction_circuit_is_found() -> None:
    """Prompts x A B y z A → B; in the twin the first A is another word, so nothing is to be found and the answer is left to chance."""
    clean = torch.tensor([[0, 1, 2, 3, 4, 1], [5, 3, 6, 0, 1, 3], [7, 2, 4, 6, 5, 2], [6, 0, 3, 1, 2, 0]])
    corrupted = clean.clone()
    corrupted[:, 1] = torch.tensor([7, 2, 0, 5])
    model, prompts = induction_model(), Pairs(clean, corrupted, torch.full((4,), POSITIONS))
    assert (model.unembed(model.run(model.embed(clean)).final[:, -1]).argmax(-1) == clean[:, 2]).all()

    def metric(logits: Tensor, indices: Tensor) -> Tensor:
        rows = torch.arange(len(indices))
        return logits[rows, clean[indices, 2]] - logits[rows, clean[indices, 4]]

    prepared, graph = Prepared(model, prompts), graph_of(model)
    whole, broken = (values.mean().item() for values in run_metric(prepared, metric))
    scores = edge_scores(prepared, metric, steps=20, quadrature="midpoint")
    evaluate = CircuitEvaluator(prepared, metric)
    found = smallest_circuit(graph, scores, evaluate, model=whole, corrupted=broken, search="exhaustive")
    assert found.mask is not None
    named = {f"{graph.senders[s]}->{graph.receivers[r]}" for s, r in np.argwhere(found.mask)}
    assert named == {"input->a0.h0<v>", "a0.h0->a1.h0<k>", "a1.h0->logits"}
