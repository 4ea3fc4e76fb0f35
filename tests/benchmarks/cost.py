"""What one checkpoint of IOI costs on a model of a published shape, with random weights: time of each stage and the process' peak memory.

    PYTHONPATH=tests .venv/bin/python -m benchmarks.cost pythia-410m pythia-1.4b

Each shape runs in a process of its own, from float16 weights on disk as a hub has them, 70 prompts and 5 steps, in float32. Random weights have no behaviour
above chance, so the search is run all the same: it looks at as many circuits as it would in a trained model.
"""

from __future__ import annotations

import json
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import torch
from transformers import GPTNeoXConfig, GPTNeoXForCausalLM

from benchmarks.opponents import SHAPES
from circuitwatch.checkpoints.loading import load_model, load_tokenizer
from circuitwatch.circuits.attribution import graph_of
from circuitwatch.circuits.memory import plan
from circuitwatch.circuits.prompts import Prepared
from circuitwatch.config import CircuitConfig
from circuitwatch.heads.roles import role_probes, role_scores
from circuitwatch.monitor import find_circuit
from circuitwatch.tasks import build_prompts
from circuitwatch.tasks.behaviour import metric_per_prompt
from support.tokenizers import tokenizer_named

MEASURED = ("pythia-70m", "pythia-160m", "pythia-410m", "pythia-1.4b")


def write(shape: str, folder: Path) -> None:
    """A model of a shape with random weights, in float16."""
    n_layers, d_model, n_heads = SHAPES[shape]
    torch.manual_seed(0)
    torch.set_default_dtype(torch.float16)
    config = GPTNeoXConfig(
        num_hidden_layers=n_layers, hidden_size=d_model, num_attention_heads=n_heads, intermediate_size=4 * d_model,
        vocab_size=50304,
    )  # fmt: skip
    GPTNeoXForCausalLM(config).save_pretrained(folder)
    tokenizer_named("pythia").save_pretrained(folder)


def watch(folder: Path) -> dict[str, float]:
    """One checkpoint: seconds of each stage, GB at the peak."""
    torch.set_num_threads(2)
    times: dict[str, float] = {}
    before = time.perf_counter()

    def stage(name: str) -> None:
        nonlocal before
        times[name], before = time.perf_counter() - before, time.perf_counter()

    tokenizer = load_tokenizer(folder)
    prompts = build_prompts("ioi", tokenizer, n_prompts=70, seed=0)
    probes = role_probes(tokenizer, length=12, n_sequences=32, n_prompts=64, seed=0)
    before = time.perf_counter()
    model = load_model(folder)
    stage("load")
    planned = plan(model, prompts, steps=5)
    prepared = Prepared(model, prompts, batch_size=planned.batch_size)
    values = [float(metric_per_prompt(logits, prompts).mean()) for logits in prepared.end_logits()]
    stage("behaviour")
    found, _ = find_circuit(prepared, prompts, CircuitConfig(), values[0], values[1], planned.reuse, lambda _: None)
    stage("circuit")
    role_scores(model, probes)
    stage("roles")
    return {
        **times,
        "circuits evaluated": len(found.curve),
        "edges": graph_of(model).n_edges,
        "batch": planned.batch_size,
        "peak_gb": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024 / 1e9,
    }


def main(shapes: list[str]) -> None:
    """Print one line a shape."""
    if shapes[:1] == ["--one"]:
        print(json.dumps(watch(Path(shapes[1]))))
        return
    for shape in shapes or MEASURED:
        with tempfile.TemporaryDirectory() as folder:
            command = [
                sys.executable,
                "-c",
                f"from pathlib import Path; from benchmarks.cost import write; write({shape!r}, Path({folder!r}))",
            ]
            subprocess.run(command, check=True, stderr=subprocess.DEVNULL)
            done = subprocess.run(
                [sys.executable, "-m", "benchmarks.cost", "--one", folder], check=True, capture_output=True, text=True
            )
            print(shape, done.stdout.strip().splitlines()[-1], flush=True)


if __name__ == "__main__":
    main(sys.argv[1:])
