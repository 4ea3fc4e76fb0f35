"""Speed of the circuit engine against the textbook implementation of tests/support, side by side in one process.

    make bench        a table, and multirun/bench/results.json

One thread and process time, since machines are shared: what counts is the ratio. `forward` is one plain forward pass of the same model with
logits everywhere. Prompts are 20 tokens long and differ from their twins in one token: the first ("unshared") or the one in the middle.
"""

from __future__ import annotations

import json
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
from rich.console import Console
from rich.table import Table
from torch import Tensor
from transformers import GPTNeoXConfig, GPTNeoXForCausalLM

from circuitwatch.checkpoints.loading import load_model
from circuitwatch.circuits.attribution import edge_scores, graph_of, quadrature_points
from circuitwatch.circuits.evaluation import CircuitEvaluator
from circuitwatch.circuits.search import circuit_of_size, greedy_order
from support.models import Pairs
from support.textbook import Textbook

SHAPES = {"nano-1m": (4, 128, 4), "pythia-70m": (6, 512, 8)}
LENGTH, PROMPTS, STEPS, VOCABULARY = 20, 8, 5, 512
EDGES = (30, 100, 500)


def metric(logits: Tensor, indices: Tensor) -> Tensor:
    return logits[:, 3] - logits[:, 5]


def seconds(action: Callable[[], object], repeats: int = 3) -> float:
    """The shortest process time of a few runs, after one to warm up."""
    action()
    times = []
    for _ in range(repeats):
        start = time.process_time()
        action()
        times.append(time.process_time() - start)
    return min(times)


def textbook_scores(textbook: Textbook, prompts: Pairs) -> None:
    """EAP-IG as one would write it down: autograd on every receiver's own input, one contraction for each edge."""
    clean, corrupted = textbook.embed(prompts.clean), textbook.embed(prompts.corrupted)
    with torch.no_grad():
        one, other = textbook.run(clean)[1], textbook.run(corrupted)[1]
        difference = {name: other[name] - one[name] for name in one}
    scores = dict.fromkeys(textbook.edges(), 0.0)
    for alpha in quadrature_points(STEPS, "right"):
        logits, _, inputs = textbook.run(torch.lerp(corrupted, clean, alpha).requires_grad_())
        metric(logits[:, -1], torch.arange(PROMPTS)).sum().backward()
        for sender, receiver in scores:
            scores[sender, receiver] += float((difference[sender] * inputs[receiver].grad).sum())


def measure(shape: str, start: int) -> list[dict[str, object]]:
    """Scoring and evaluation of one model on prompts that first differ at `start`."""
    layers, width, heads = SHAPES[shape]
    torch.manual_seed(0)
    config = GPTNeoXConfig(
        vocab_size=VOCABULARY, hidden_size=width, num_hidden_layers=layers, num_attention_heads=heads, intermediate_size=4 * width,
        max_position_embeddings=64, bos_token_id=0, eos_token_id=0,
    )  # fmt: skip
    hf = GPTNeoXForCausalLM(config).eval().requires_grad_(False)
    with tempfile.TemporaryDirectory() as folder:
        hf.save_pretrained(folder)
        model = load_model(Path(folder))
    clean = torch.randint(1, VOCABULARY, (PROMPTS, LENGTH))
    corrupted = clean.clone()
    corrupted[:, start] = clean[:, start] % (VOCABULARY - 1) + 1
    prompts, textbook, graph = Pairs(clean, corrupted, torch.full((PROMPTS,), LENGTH)), Textbook(hf), graph_of(model)
    forward = seconds(lambda: hf(clean).logits)
    kind = "shared" if start else "unshared"

    def row(name: str, ours: Callable[[], object], other: Callable[[], object]) -> dict[str, object]:
        ours_s, other_s = seconds(ours), seconds(other, repeats=1)
        return {
            "name": name,
            "shape": shape,
            "task": kind,
            "ratio": other_s / ours_s,
            "ours_s": ours_s,
            "other_s": other_s,
            "forward_s": forward,
        }

    rows = [
        row(
            "scoring",
            lambda: edge_scores(model, prompts, metric, steps=STEPS),
            lambda: textbook_scores(textbook, prompts),
        )
    ]
    order = greedy_order(graph, edge_scores(model, prompts, metric, steps=1))
    evaluate = CircuitEvaluator(model, prompts, metric)
    with torch.no_grad():
        outputs = textbook.run(textbook.embed(corrupted))[1]
        for n in EDGES:
            mask = circuit_of_size(graph, order, n)
            circuit = {(graph.senders[s], graph.receivers[r]) for s, r in np.argwhere(mask)}
            other = lambda c=circuit: textbook.run(textbook.embed(clean), outputs, c)  # noqa: E731
            rows.append(row(f"evaluation of {int(mask.sum())} edges", lambda m=mask: evaluate(m), other))
    return rows


def main() -> None:
    torch.set_num_threads(1)
    rows = [row for shape in SHAPES for start in (0, LENGTH // 2) for row in measure(shape, start)]
    table = Table(title="circuit engine against the textbook implementation, one thread, process time")
    for name in ("what", "shape", "prompts", "textbook ÷ ours", "ours ÷ forward", "textbook ÷ forward"):
        table.add_column(name, justify="left" if name in ("what", "shape", "prompts") else "right")
    for row in rows:
        ours, other, forward = (float(str(row[key])) for key in ("ours_s", "other_s", "forward_s"))
        table.add_row(
            str(row["name"]),
            str(row["shape"]),
            str(row["task"]),
            *(f"{x:.2f}" for x in (other / ours, ours / forward, other / forward)),
        )
    Console(width=110).print(table)
    path = Path("multirun/bench/results.json")
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(rows, indent=1) + "\n", encoding="utf-8")
    print(path)


if __name__ == "__main__":
    main()
