"""A model made by hand whose circuit is known: a previous-token head and an induction head, among
heads and MLPs that have nothing to do with it.
"""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from circuitwatch.circuits.attribution import edge_scores, graph_of
from circuitwatch.circuits.evaluation import CircuitEvaluator
from circuitwatch.circuits.prompts import Prepared, run_metric
from circuitwatch.circuits.search import SearchSpec, smallest_circuit
from support.built import induction_model
from support.models import Pairs

WORDS, POSITIONS = 8, 6


def test_the_induction_circuit_is_found() -> None:
    """Prompts x A B y z A → B; in the twin the first A is another word, so nothing is to be found
    and the answer is left to chance.
    """
    clean = torch.tensor(
        [[0, 1, 2, 3, 4, 1], [5, 3, 6, 0, 1, 3], [7, 2, 4, 6, 5, 2], [6, 0, 3, 1, 2, 0]]
    )
    corrupted = clean.clone()
    corrupted[:, 1] = torch.tensor([7, 2, 0, 5])
    model, prompts = (
        induction_model(WORDS, POSITIONS),
        Pairs(clean, corrupted, torch.full((4,), POSITIONS)),
    )
    assert (
        model.unembed(model.run(model.embed(clean)).final[:, -1]).argmax(-1) == clean[:, 2]
    ).all()

    def metric(logits: Tensor, indices: Tensor) -> Tensor:
        rows = torch.arange(len(indices))
        return logits[rows, clean[indices, 2]] - logits[rows, clean[indices, 4]]

    prepared, graph = Prepared(model, prompts), graph_of(model)
    whole, broken = (values.mean().item() for values in run_metric(prepared, metric))
    scores = edge_scores(prepared, metric, steps=20, quadrature="midpoint")
    evaluate = CircuitEvaluator(prepared, metric)
    found = smallest_circuit(
        graph, scores, evaluate, model=whole, corrupted=broken, spec=SearchSpec(search="exhaustive")
    )
    assert found.mask is not None
    named = {f"{graph.senders[s]}->{graph.receivers[r]}" for s, r in np.argwhere(found.mask)}
    assert named == {"input->a0.h0<v>", "a0.h0->a1.h0<k>", "a1.h0->logits"}
