"""What one checkpoint of IOI costs on a model of a published shape, with random weights: time of
each stage and the process' peak memory.

    PYTHONPATH=tests .venv/bin/python -m benchmarks.cost pythia-410m pythia-1.4b

Each shape runs in a process of its own, from float16 weights on disk as a hub has them, 70 prompts,
in float32. Random weights have no behaviour above chance, so answers' signs are set such that
corrupting a prompt costs behaviour, and circuits are searched by faithfulness: as many are looked
at as in a trained model. `steps` is what ig_steps=auto took. Nor do their heads hold roles, so path
patching is given the places that roles have in trained models: three name movers in the last third,
three S-inhibition heads in the middle, six sources before those. Seconds are of process time on one
thread, so that stages can be compared on a machine that does other work; `wall` has the seconds
that passed.
"""

from __future__ import annotations

import json
import resource
import subprocess
import sys
import tempfile
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from transformers import GPTNeoXConfig, GPTNeoXForCausalLM

from benchmarks.opponents import SHAPES
from circuitwatch.algorithms.causes import Case
from circuitwatch.algorithms.ioi import inputs_of, into_queries
from circuitwatch.analysis import find_circuits, steps_at_once
from circuitwatch.behaviour import TaskMetric, measure, metric_per_prompt
from circuitwatch.checkpoints.loading import load_model
from circuitwatch.checkpoints.tokenizers import load_tokenizer
from circuitwatch.circuits.attribution import Scored, graph_of
from circuitwatch.circuits.memory import plan
from circuitwatch.circuits.patching import PathPatcher
from circuitwatch.circuits.prompts import Prepared
from circuitwatch.circuits.resampling import bootstrap_weights
from circuitwatch.circuits.search import SearchResult
from circuitwatch.config import CircuitConfig, Config, HeadsConfig
from circuitwatch.heads.roles import role_probes, role_scores
from circuitwatch.tasks import build_prompts
from support.tokenizers import tokenizer_named

MEASURED = ("pythia-70m", "pythia-160m", "pythia-410m", "pythia-1.4b")


def write(shape: str, folder: Path) -> None:
    """A model of a shape with random weights, in float16."""
    n_layers, d_model, n_heads = SHAPES[shape]
    torch.manual_seed(0)
    torch.set_default_dtype(torch.float16)
    config = GPTNeoXConfig(
        num_hidden_layers=n_layers,
        hidden_size=d_model,
        num_attention_heads=n_heads,
        intermediate_size=4 * d_model,
        vocab_size=50304,
    )
    GPTNeoXForCausalLM(config).save_pretrained(folder)
    tokenizer_named("pythia").save_pretrained(folder)


def watch(folder: Path) -> dict[str, float]:
    """One checkpoint: seconds of each stage, GB at the peak."""
    torch.set_num_threads(1)
    times: dict[str, float] = {}
    wall, before = time.perf_counter(), time.process_time()

    def stage(name: str) -> None:
        nonlocal before
        times[name], before = time.process_time() - before, time.process_time()

    tokenizer = load_tokenizer(folder)
    prompts = build_prompts("ioi", tokenizer, n_prompts=70, seed=0)
    heads = HeadsConfig()
    probes = role_probes(tokenizer, heads, seed=0)
    wall, before = time.perf_counter(), time.process_time()
    model = load_model(folder)
    stage("load")
    planned = plan(model, prompts, steps=steps_at_once(CircuitConfig()))
    prepared = Prepared(model, prompts, batch_size=planned.batch_size)
    logits = prepared.end_logits()
    clean, corrupted = (metric_per_prompt(of, prompts) for of in logits)
    signs = (clean - corrupted).sign()
    prompts = replace(prompts, answer_signs=prompts.answer_signs * signs[:, None])
    behaviour = measure(*logits, prompts, n_bootstrap=1000, seed=0)
    stage("behaviour")

    def circuits(**options: Any) -> tuple[SearchResult, Scored]:
        config = Config(circuit=CircuitConfig(criterion="faithfulness", **options))
        return find_circuits(prepared, prompts, behaviour, config, planned.reuse, lambda _: None)[
            :2
        ]

    found, scored = circuits(resamples=0)
    stage("circuit")
    circuits(resamples=2)
    stage("circuit and noise ceiling")
    role_scores(probes.at(model), probes)
    stage("roles")
    weights = bootstrap_weights(len(prompts.lengths), 1000, 0)
    case = Case(model, PathPatcher(prepared, TaskMetric(prompts)), prompts, None, heads, weights)
    last, middle = (round(share * (model.n_layers - 1)) for share in (0.75, 0.55))
    last = min(last, model.n_layers - 3)
    movers = [f"a{layer}.h{h}" for layer, h in ((last, 0), (last + 1, 1), (last + 2, 2))]
    inhibitors = [f"a{layer}.h{h}" for layer, h in ((middle, 0), (middle, 1), (middle + 1, 2))]
    sources = [f"a{layer}.h{h}" for layer in (1, 3, middle - 1) for h in (0, 1)]
    end, s2 = (prompts.positions[name][:, None] for name in ("end", "s2"))
    case.direct_effects(case.every_head).table()
    stage("patching: logits")
    sent = case.patcher.send(
        [[head] for head in case.every_head], [f"{head}<q>" for head in movers], positions=end
    )
    queries = into_queries(case, sent, movers)[0]
    queries.table()
    into_movers = [f"{head}<q>" for head in movers]
    case.patcher.patch([*beginnings(inhibitors), queries.senders], into_movers, positions=end)
    stage("patching: queries")
    case.patcher.patch([[head] for head in sources], inputs_of(inhibitors), positions=s2)
    case.patcher.patch(
        [*beginnings(sources), case.heads_before(middle + 1)], inputs_of(inhibitors), positions=s2
    )
    stage("patching: keys and values")
    circuits(ig_steps=30, quadrature="right", resamples=0)
    stage("circuit, 30 steps")
    ours = sum(
        seconds for name, seconds in times.items() if name == "roles" or name.startswith("patching")
    )
    return {
        **times,
        "roles and patching ÷ circuit": ours / times["circuit"],
        "roles and patching ÷ circuit of 30 steps": ours / times["circuit, 30 steps"],
        "circuit and noise ceiling ÷ circuit": times["circuit and noise ceiling"]
        / times["circuit"],
        "wall": time.perf_counter() - wall,
        "circuits evaluated": len(found.curve),
        "steps": scored.steps or 0,
        "edges": graph_of(model).n_edges,
        "batch": planned.batch_size,
        "peak_gb": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024 / 1e9,
    }


def beginnings(heads: list[str]) -> list[list[str]]:
    """As many sets as a band of cut-offs has if every head passes at another one."""
    return [heads[: n + 1] for n in range(len(heads))]


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
                f"from pathlib import Path; from benchmarks.cost import write; "
                f"write({shape!r}, Path({folder!r}))",
            ]
            subprocess.run(command, check=True, stderr=subprocess.DEVNULL)
            done = subprocess.run(
                [sys.executable, "-m", "benchmarks.cost", "--one", folder],
                check=True,
                capture_output=True,
                text=True,
            )
            print(shape, done.stdout.strip().splitlines()[-1], flush=True)


if __name__ == "__main__":
    main(sys.argv[1:])
