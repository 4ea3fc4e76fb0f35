"""Does fetching the next checkpoint hide the download? A hub on loopback, slowed until a download
takes as long as the analysis, against fetching in turn.

    PYTHONPATH=tests .venv/bin/python -m benchmarks.prefetch

Wall time over the same checkpoints in one process, the analysis being the circuit engine's on a
small model. One run each; at best the ratio is (N + 1) ÷ 2N = 0.53.
"""

from __future__ import annotations

import tempfile
import threading
import time
from pathlib import Path

from benchmarks.measuring import one_thread
from circuitwatch.behaviour import metric_per_prompt
from circuitwatch.checkpoints.hub import Repository
from circuitwatch.checkpoints.loading import load_model
from circuitwatch.checkpoints.schedule import Checkpoint
from circuitwatch.checkpoints.store import Held
from circuitwatch.checkpoints.stream import HubSource
from circuitwatch.checkpoints.tokenizers import load_tokenizer
from circuitwatch.circuits.attribution import edge_scores
from circuitwatch.circuits.prompts import Prepared
from circuitwatch.config import CheckpointsConfig, ModelConfig
from circuitwatch.tasks import build_prompts
from support.hub import running_hub
from support.pythias import write_pythia

N = 16
SECONDS = 2.0
"""What the analysis of a checkpoint takes here; it is repeated until then."""


def analyse(folder: Path) -> None:
    """Work as the monitor does it, for about SECONDS."""
    end = time.perf_counter() + SECONDS
    model, prompts = (
        load_model(folder),
        build_prompts("ioi", load_tokenizer(folder), n_prompts=16, seed=0),
    )
    while time.perf_counter() < end:
        edge_scores(
            Prepared(model, prompts),
            lambda logits, indices: metric_per_prompt(logits, prompts, indices),
        )


def in_turn(source: HubSource, checkpoints: list[Checkpoint]) -> None:
    """Fetch, analyse, delete, one after another."""
    for checkpoint in checkpoints:
        place = source.fetch(checkpoint, threading.Event(), lambda _: None)
        assert isinstance(place, Held)
        analyse(place.folder)
        source.store.release(place, keep=False)


def streamed(source: HubSource, checkpoints: list[Checkpoint]) -> None:
    """As the monitor does it."""
    with source.stream(checkpoints) as stream:
        for checkpoint in checkpoints:
            with stream.hold(checkpoint, lambda _: None) as folder:
                analyse(folder)


def main() -> None:
    """Print both times and their ratio."""
    one_thread()  # so that the hub, in this process too, has a core
    with tempfile.TemporaryDirectory() as root, running_hub(Path(root) / "hub") as hub:
        for step in range(N):
            write_pythia(Path(root) / "hub/org/tiny" / f"step{step}", step)
        size = (Path(root) / "hub/org/tiny/step0/model.safetensors").stat().st_size
        hub.faults.rate = size / SECONDS
        model = ModelConfig(
            name="tiny", source="hub", hub_id="org/tiny", revisions="step{step}", tokens_per_step=1
        )
        times: dict[str, float] = {}
        for name, way in (("in turn", in_turn), ("streamed", streamed)):
            source = HubSource(model, CheckpointsConfig(folder=str(Path(root) / name)))
            source.repository = Repository(
                "org/tiny", Path(root) / name / "listings", endpoint=hub.url
            )
            checkpoints = source.available()
            start = time.perf_counter()
            way(source, checkpoints)
            times[name] = time.perf_counter() - start
        print({name: round(seconds, 2) for name, seconds in times.items()})
        print(f"streamed ÷ in turn: {times['streamed'] / times['in turn']:.2f}")


if __name__ == "__main__":
    main()
