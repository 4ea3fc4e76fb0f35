"""A small sweep, two models × two tasks, one of them a user's own, as commands of a launcher."""

from __future__ import annotations

import hashlib
import json
import os
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

import pytest

from circuitwatch.nano import corpus
from circuitwatch.nano.model import NanoSize
from circuitwatch.nano.training import Recipe, train_suite
from circuitwatch.record_files import TIMING

TASKS = "gendered_pronoun,cooks"
SMALL = (
    *("task.n_prompts=16", "heads.length=6", "heads.n_sequences=2", "heads.n_prompts=4"),
    *("circuit.resamples=0", "n_bootstrap=50", "tracking=off", "device=cpu", "schedule=steps"),
    "schedule.steps=[0,64,100]",
)
TEMPLATE = """
words: who is meant
patterns:
  - "So {name} is such a {adjective} cook, isn't"
lists:
  name, pronoun: [[Mary, she], [Anna, she], [Lucy, she], [Emma, she], [Kate, she], [Alice, she],
                  [John, he], [Tom, he], [James, he], [Paul, he], [Mark, he], [Jack, he]]
  adjective: [good, great, bad, fine]
corrupted: {name: "{name2}"}
answer: "{pronoun}"
wrong: "{pronoun2}"
"""


def write_models(folder: Path, n_steps: int = 100, every: int = 50) -> Path:
    """Two models' checkpoints, and a folder for --config-dir by which they are called small and
    large, with a task `cooks`.

    Returns the latter.
    """
    own = folder / "own"
    (own / "model").mkdir(parents=True)
    (own / "tasks").mkdir()
    (own / "tasks/cooks.yaml").write_text(TEMPLATE)
    recipe = Recipe(warmup=10, every=every, muon_lr=0.02, adam_lr=0.01)
    families = dict.fromkeys(corpus.MIXTURE, 0.0) | {"pronoun": 0.4, "agreement": 0.6}
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(corpus, "MIXTURE", families)
        for name, layers in (("small", 1), ("large", 2)):
            size = NanoSize(name, n_layers=layers, d_model=32, n_heads=2, n_steps=n_steps)
            suite = train_suite(size, recipe, seed=0, folder=folder / name)
            (own / f"model/{name}.yaml").write_text(
                f"name: {name}\nsource: folder\npath: {suite}\ntokens_per_step: 1008\n"
            )
    return own


def start(own: Path, out: Path, *more: str, **environment: str) -> subprocess.Popen[str]:
    """The sweep's command, in a process of its own."""
    return subprocess.Popen(
        [
            *(sys.executable, "-m", "circuitwatch", "-m", "--config-dir", str(own)),
            *("model=small,large", f"task={TASKS}", f"out={out}", "sweep=s"),
            *(option for option in SMALL if not _is_among(option, more)),
            *more,
        ],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env=os.environ | environment,
    )


def _is_among(option: str, others: Sequence[str]) -> bool:
    """Whether others say something else of the same key, or of its whole group."""
    key = option.partition("=")[0]
    return any(f"{key}.".startswith(f"{other.partition('=')[0]}.") for other in others)


def run(own: Path, out: Path, *more: str, **environment: str) -> subprocess.CompletedProcess[str]:
    """The sweep from start to end."""
    process = start(own, out, *more, **environment)
    stdout, stderr = process.communicate(timeout=600)
    return subprocess.CompletedProcess(process.args, process.returncode, stdout, stderr)


def records(out: Path) -> Mapping[str, str]:
    """File of a cell → SHA-256, of all but clock times, which differ; `out` in cell.json is left
    out.
    """
    found = {}
    for path in sorted((out / "s").glob("*/*/seed*/**/*")):
        if not path.is_file() or path.name == TIMING:
            continue
        content = path.read_bytes()
        if path.name == "cell.json":
            header = json.loads(content)
            del header["config"]["out"]
            content = json.dumps(header, sort_keys=True).encode()
        found[str(path.relative_to(out))] = hashlib.sha256(content).hexdigest()
    return found


def cells(out: Path) -> set[str]:
    """The cells that are done."""
    done = (out / "s").glob("*/*/seed*/done.json")
    return {str(path.parent.relative_to(out / "s")) for path in done}
