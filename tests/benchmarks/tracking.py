"""What Weights & Biases costs a cell of Pythia-160m's shape, and whether 30 kills lose or double a
row.

    PYTHONPATH=tests .venv/bin/python -m benchmarks.tracking                both
    PYTHONPATH=tests .venv/bin/python -m benchmarks.tracking cost 30        of so many checkpoints
    PYTHONPATH=tests .venv/bin/python -m benchmarks.tracking kills 30       so many kills

Cost: seconds in the tracker, of made-up records of that shape sent online to a server on loopback
(pictures, tables, artifact and all), over the seconds that the analysis of as many checkpoints
takes (`benchmarks.cost`: one with random weights, on one thread, side by side in this run).

Kills: a cell is written record by record and killed at a random moment, by SIGKILL or SIGTERM, then
gone on with until it is done; after every second one it is killed again. What the server has must
be the records, each once and in order.
"""

from __future__ import annotations

import itertools
import json
import os
import random
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
import pandas as pd
from rich.console import Console

from circuitwatch.circuits.graph import Graph
from circuitwatch.facts import Facts
from circuitwatch.record_files import CheckpointRecord
from circuitwatch.records import Cell
from circuitwatch.tracking.identity import run_id
from support.sweeps import write_sweep
from support.wandb import WandbServer
from support.wandb.client import environment, kill

SHAPE, LAYERS, HEADS = "pythia-160m", 12, 12
CHECKPOINTS, KILLS = 30, 30
BOUND = 0.02
TESTS = Path(__file__).parents[1]


def made_up_cell(folder: Path, n: int) -> Cell:
    """A finished cell of that shape, whose records have what real ones have."""
    graph = Graph(LAYERS, HEADS, parallel=True)
    rng = np.random.default_rng(0)
    steps = [1000 * k for k in range(n)]
    facts = Facts.of_installation()
    model = {"name": SHAPE, "n_layers": LAYERS, "n_heads": HEADS, "params_total": 162_322_944}
    header = {
        "config": {"sweep": "demo", "model": {"name": SHAPE}, "task": {"name": "ioi"}},
        "code_version": "0",
        "model": model | {"params_non_embedding": 85_056_000, "parallel": True},
        "task": "ioi",
        "seed": 0,
        "facts": facts.of_cell("ioi"),
        "schedule": [{"step": s, "tokens": s * 2_097_152, "revision": f"step{s}"} for s in steps],
        "graph": {
            "senders": graph.senders,
            "receivers": graph.receivers,
            "n_edges": graph.n_edges,
        },
    }
    cell = Cell.create(folder, header)
    prompts = pd.DataFrame({"prompt": range(70), "correct": True, "log_prob": -1.0})
    for k, step in enumerate(steps):
        rise = 1 / (1 + np.exp(-(k - n / 3)))
        mask = rng.random((len(graph.senders), len(graph.receivers))) < 0.01
        roles = pd.DataFrame(
            list(itertools.product(facts.roles, range(LAYERS), range(HEADS))),
            columns=["role", "layer", "head"],
        )
        roles["score"] = rng.random(len(roles)) * rise
        roles["in_circuit"], roles["effect"] = rng.random(len(roles)) < 0.3, np.nan
        roles["confirmed"] = pd.array([True, None] * (len(roles) // 2), dtype="boolean")
        edges = np.geomspace(1, graph.n_edges, 20).astype(int)
        curve = pd.DataFrame(
            {"edges_before_pruning": edges, "edges": edges, "value": rng.random(20)}
        )
        curve["recovery"] = curve["faithfulness"] = np.sort(rng.random(20))
        scalars = {key: float(rng.random()) for key in facts.quantities}
        scalars |= {
            "circuit/edges": int(mask.sum()),
            "behaviour/value": 4 * rise,
            "behaviour/low": 3.9 * rise,
        }
        scalars |= {f"overlap/made_up{j}": float(rng.random()) for j in range(40)}
        cell.write(
            CheckpointRecord(
                step, step * 2_097_152, f"step{step}", scalars | {"circuit/status": "found"},
                prompts.assign(value=4 * rise, corrupted=-rise),
                roles, curve, rng.normal(size=mask.shape).astype(np.float32), mask,
            )
        )  # fmt: skip
    cell.mark_done()
    return cell


def of_tracking(n: int) -> float:
    """Seconds in the tracker for a cell of n checkpoints."""
    code = (
        "import sys, time\n"
        "from pathlib import Path\n"
        "from circuitwatch.records import Cell\n"
        "from circuitwatch.tracking import Tracker, TrackingConfig\n"
        "cell = Cell.open(Path(sys.argv[1]))\n"
        "records = list(cell.records())\n"
        "import matplotlib.figure, PIL.Image\n"  # as a cell's table or a next cell would have
        "began = time.perf_counter()\n"
        "cell.steps_done = lambda: []\n"
        "tracker = Tracker(cell, TrackingConfig(mode='online'), sweep='demo')\n"
        "for record in records: tracker.log(record, {'total': 1.0})\n"
        "del cell.steps_done\n"
        "tracker.complete()\n"
        "tracker.finish()\n"
        "print(time.perf_counter() - began)\n"
    )
    with tempfile.TemporaryDirectory() as home, WandbServer() as server:
        cell = made_up_cell(Path(home) / f"multirun/demo/{SHAPE}/ioi/seed0", n)
        done = subprocess.run(
            [sys.executable, "-c", code, str(cell.folder)],
            env=environment(server.url, Path(home)),
            capture_output=True,
            text=True,
            check=True,
        )
        (run,) = server.runs("circuitwatch")
        assert len(run.rows) == n and "records/sha256" in run.summary, done.stderr
    return float(done.stdout)


def of_analysis() -> float:
    """Seconds of one checkpoint's analysis: everything but what is compared with it."""
    with tempfile.TemporaryDirectory() as folder:
        times: dict[str, float] = {}
        for code in (
            f"cost.write({SHAPE!r}, Path({folder!r}))",  # a process of its own: it sets the dtype
            f"print(json.dumps(cost.watch(Path({folder!r}))))",
        ):
            code = f"import json; from pathlib import Path; from benchmarks import cost; {code}"
            command = [sys.executable, "-c", code]
            done = subprocess.run(command, capture_output=True, text=True, check=True)
            times = json.loads(done.stdout.splitlines()[-1]) if done.stdout.strip() else times
    return sum(
        seconds
        for name, seconds in times.items()
        if name in ("load", "behaviour", "circuit and noise ceiling", "roles")
        or (name.startswith("patching") and "÷" not in name)
    )


def kills(n: int) -> tuple[int, int]:
    """How many kills were survived by all rows, each once; and after how many records, in mean."""
    chosen, survived, records = random.Random(0), 0, 0
    with tempfile.TemporaryDirectory() as source, tempfile.TemporaryDirectory() as home:
        write_sweep(Path(source) / "demo", models=("nano-400k",), tasks=("ioi",))
        original = Path(source) / "demo/nano-400k/ioi/seed0"
        steps = Cell.open(original).steps_done()
        for k in range(n):
            folder = Path(home) / f"out{k}/demo/nano-400k/ioi/seed0"
            command = [sys.executable, "-m", "support.replay", str(original), str(folder)]
            with WandbServer() as server:
                run_in = {"env": environment(server.url, Path(home)) | {"PYTHONPATH": str(TESTS)}}
                for _ in range(1 + k % 2):
                    process = subprocess.Popen(
                        [*command, "pause=0.05"],
                        stdout=subprocess.DEVNULL,
                        stderr=subprocess.DEVNULL,
                        **run_in,  # type: ignore[call-overload]
                    )
                    time.sleep(chosen.uniform(1.0, 4.5))
                    if process.poll() is None:
                        how = signal.SIGTERM if chosen.random() < 0.5 else signal.SIGKILL
                        os.kill(process.pid, how)
                    process.wait()
                    kill(process)
                    records += len(list(folder.glob("checkpoints/*/manifest.json")))
                subprocess.run(command, check=True, capture_output=True, **run_in)  # type: ignore[call-overload]
                run = server.run("circuitwatch", run_id(Cell.open(folder)))
                survived += [row["step"] for row in run.rows] == steps
    return survived, records


def main() -> None:
    what, n = [*sys.argv[1:], "", ""][:2]
    console = Console()
    if what in ("", "cost"):
        checkpoints = int(n or CHECKPOINTS)
        ours, analysis = of_tracking(checkpoints), checkpoints * of_analysis()
        console.print(
            f"tracking of {checkpoints} checkpoints of {SHAPE}'s shape: {ours:.1f} s, "
            f"{100 * ours / analysis:.2f} % of the analysis ({analysis:.0f} s on one thread)"
        )
        assert ours <= BOUND * analysis
    if what in ("", "kills"):
        wanted = int(n or KILLS)
        survived, records = kills(wanted)
        console.print(f"{survived} of {wanted} killed cells have every row once, in order")
        console.print(f"records on disk at the kills, in all: {records}")
        assert survived == wanted


if __name__ == "__main__":
    main()
