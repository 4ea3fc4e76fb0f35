"""What is set against what: one model of a Pythia shape with random weights, prompts, and the same
work done by us and by tests/support/published.py.
"""

from __future__ import annotations

import tempfile
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor
from transformers import GPTNeoXConfig, GPTNeoXForCausalLM

from circuitwatch.checkpoints.loading import load_model
from circuitwatch.circuits.attribution import edge_scores, graph_of
from circuitwatch.circuits.evaluation import CircuitEvaluator
from circuitwatch.circuits.prompts import Prepared, PromptPairs, run_metric
from circuitwatch.circuits.quadrature import quadrature_points
from circuitwatch.circuits.search import (
    SearchResult,
    SearchSpec,
    circuit_of_size,
    greedy_order,
    smallest_circuit,
)
from circuitwatch.nano.vocabulary import build_tokenizer
from circuitwatch.tasks import build_prompts
from support.models import Pairs
from support.published import Published, circuit_by_heap

SHAPES = {
    "pythia-14m": (6, 128, 4),
    "pythia-70m": (6, 512, 8),
    "pythia-160m": (12, 768, 12),
    "pythia-410m": (24, 1024, 16),
    "pythia-1.4b": (24, 2048, 16),
}
"""Layers, width, heads."""
SMALL, REAL = 2048, 50304
STEPS, BATCH = 5, 16


def prompts_of(task: str, n: int) -> PromptPairs:
    """IOI (a swapped second subject) or greater-than prompts of real lengths; `unshared`: 20 random
    tokens of which the first differs.
    """
    if task != "unshared":
        return build_prompts(task, build_tokenizer(), n_prompts=n, seed=0)
    clean = torch.randint(1, SMALL, (n, 20), generator=torch.Generator().manual_seed(0))
    corrupted = clean.clone()
    corrupted[:, 0] = clean[:, 0] % (SMALL - 1) + 1
    return Pairs(clean, corrupted, torch.full((n,), 20))


def metric(logits: Tensor, indices: Tensor) -> Tensor:
    """A logit difference."""
    return logits[:, 3] - logits[:, 5]


@dataclass
class Duel:
    """One model, one set of prompts, each piece of work twice."""

    shape: str
    vocabulary: int
    task: str
    n_prompts: int = BATCH

    def __post_init__(self) -> None:
        layers, width, heads = SHAPES[self.shape]
        torch.manual_seed(0)
        config = GPTNeoXConfig(
            vocab_size=self.vocabulary,
            hidden_size=width,
            num_hidden_layers=layers,
            num_attention_heads=heads,
            intermediate_size=4 * width,
            max_position_embeddings=64,
            bos_token_id=0,
            eos_token_id=0,
        )
        self.hf = GPTNeoXForCausalLM(config).eval()
        with tempfile.TemporaryDirectory() as folder:
            self.hf.save_pretrained(folder)
            self.model = load_model(Path(folder))
        self.prompts = prompts_of(self.task, self.n_prompts)
        self.published = Published(self.hf, BATCH)
        self.graph = graph_of(self.model)

    def prepare(self) -> Prepared:
        return Prepared(self.model, self.prompts, batch_size=BATCH)

    @torch.no_grad()
    def forward(self) -> None:
        """One plain forward pass of the same model, logits everywhere."""
        for rows in torch.arange(self.n_prompts).split(BATCH):
            self.hf(self.prompts.clean[rows])

    def score(self) -> npt.NDArray[np.float32]:
        """All that scoring needs, the corrupted run and the shared beginning included."""
        return edge_scores(self.prepare(), metric, steps=STEPS, quadrature="right")

    def score_theirs(self) -> Tensor:
        p = self.prompts
        return self.published.edge_scores(
            p.clean, p.corrupted, p.lengths - 1, metric, quadrature_points(STEPS, "right")
        )

    @cached_property
    def order(self) -> npt.NDArray[np.int64]:
        return greedy_order(self.graph, self.score())

    def circuit(self, edges: int) -> npt.NDArray[np.bool_]:
        return circuit_of_size(self.graph, self.order, edges)

    @cached_property
    def evaluator(self) -> CircuitEvaluator:
        """Nothing is reused between circuits, so that an evaluation repeated is one done anew; the
        corrupted run is kept, as in a search.
        """
        return CircuitEvaluator(self.prepare(), metric, reuse=False)

    def evaluate_theirs(self, mask: npt.NDArray[np.bool_]) -> float:
        p = self.prompts
        return self.published.evaluate(
            torch.from_numpy(mask), p.clean, p.corrupted, p.lengths - 1, metric
        )

    def search(self) -> SearchResult:
        """The smallest circuit from nothing: scores, order, every evaluation.

        By faithfulness: random weights have no behaviour to recover.
        """
        prepared = self.prepare()
        scores = edge_scores(prepared, metric, steps=STEPS, quadrature="right")
        clean, corrupted = (float(values.mean()) for values in run_metric(prepared, metric))
        return smallest_circuit(
            self.graph,
            scores,
            CircuitEvaluator(prepared, metric),
            model=clean,
            corrupted=corrupted,
            spec=SearchSpec(criterion="faithfulness"),
        )

    def search_theirs(self, sizes: list[int]) -> None:
        """The same sizes: scores once, then for each size the greedy circuit and its evaluation."""
        scores = self.score_theirs()
        graph = self.graph
        for n in sizes:
            mask = circuit_by_heap(
                scores, graph.visible.tolist(), graph.node_of_receiver.tolist(), len(graph.nodes), n
            )
            self.evaluate_theirs(mask.numpy())
