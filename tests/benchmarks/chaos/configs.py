"""Mutated options, suites, task files, templates, and results of other programs: each is refused in
one line, or taken for what it says.
"""

from __future__ import annotations

import json
import random
import tempfile
import warnings
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import Any

import yaml
from omegaconf import OmegaConf
from omegaconf.errors import OmegaConfBaseException

from benchmarks.chaos.outcomes import TOLD, Tally, outcome_of
from benchmarks.chaos.values import mutated_bytes, mutated_tree
from circuitwatch import results
from circuitwatch.checkpoints.suites import conf_dir, read_suite, read_suites
from circuitwatch.config import Config, ModelConfig, TaskConfig, validate
from circuitwatch.tasks.files import file_task
from circuitwatch.tasks.template_files import read_template
from support import made_up

TAKEN = "taken for what it says"
TASKS = Path(results.__file__).parent / "tasks"
TOKENS_PER_STEP = 2**21


def run(n: int, first: int) -> Tally:
    """So many cases, each from its own seed."""
    warnings.simplefilter("ignore")
    tally = Tally("configs")
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        sources = _sources(folder)
        for seed in range(first, first + n):
            rng = random.Random(seed)
            case, recipe = rng.choice(KINDS)(rng, folder, sources)
            tally.add(seed, recipe, *outcome_of(case))
    return tally


def _sources(folder: Path) -> dict[str, bytes]:
    """Sound files of others' results, by name."""
    made_up.write_benchmarks(folder / "tidy.csv")
    made_up.write_harness(folder / "harness")
    table = (folder / "tidy.csv").read_text(encoding="utf-8").splitlines()
    steps = [{"step": s, "loss": 5.0 - s / 100, "epoch": 1.0} for s in range(0, 100, 10)]
    state = {"global_step": 90, "log_history": steps, "max_steps": 100}
    lines = [{"model": "a", "params": 1e6, "tokens": 10.0 * k + 1, "task": "t", "quantity": "acc"}
             | {"value": k / 10} for k in range(8)]  # fmt: skip
    return {
        "tidy.csv": "\n".join(table[:30]).encode(),
        "results_1.json": next(
            (folder / "harness/pythia-160m").glob("*step1000.json")
        ).read_bytes(),
        "trainer_state.json": json.dumps(state).encode(),
        "rows.jsonl": "\n".join(map(json.dumps, lines)).encode(),
    }


Made = tuple[Callable[[], str], str]


def _options(rng: random.Random, folder: Path, sources: dict[str, bytes]) -> Made:
    """A configuration as Hydra would hand it on."""
    config = Config(
        model=ModelConfig(name="tiny", source="folder", path=str(folder), tokens_per_step=8),
        task=TaskConfig(name="ioi"),
    )
    tree, what = mutated_tree(rng, asdict(config))

    def case() -> str:
        try:
            merged = OmegaConf.merge(OmegaConf.structured(Config), tree)
        except (OmegaConfBaseException, ValueError, TypeError, AssertionError, OverflowError):
            return TOLD  # what the command line says of these is composing's
        validate(merged)
        return TAKEN

    return case, f"options: {what}"


def _suite(rng: random.Random, folder: Path, sources: dict[str, bytes]) -> Made:
    source = rng.choice(sorted((conf_dir() / "suites").glob("*.yaml")))
    suites = folder / "conf" / "suites"
    suites.mkdir(parents=True, exist_ok=True)
    path = suites / "mine.yaml"
    what = _write(rng, path, source.read_bytes(), yaml.safe_load, _as_yaml)

    def case() -> str:
        read_suite(path)
        read_suites([path.parents[1]])
        return TAKEN

    return case, f"suite {source.stem}: {what}"


def _template(rng: random.Random, folder: Path, sources: dict[str, bytes]) -> Made:
    source = rng.choice(sorted(TASKS.glob("*.yaml")))
    path = folder / "mine.yaml"
    what = _write(rng, path, source.read_bytes(), yaml.safe_load, _as_yaml)

    def case() -> str:
        read_template(path.read_bytes(), path, name="mine")
        return TAKEN

    return case, f"template {source.stem}: {what}"


def _rows(rng: random.Random, folder: Path, sources: dict[str, bytes]) -> Made:
    rows = [
        {"prompt": f"{a} is", "corrupted": f"{b} is", "answer": " x", "wrong": " y", "group": a}
        for a, b in (("Ann", "Bob"), ("Bob", "Cid"), ("Cid", "Ann"))
    ]
    path = folder / "rows.jsonl"
    if rng.random() < 0.7:
        tree, what = mutated_tree(rng, rows)
        listed = tree if isinstance(tree, list) else [tree]
        path.write_text("\n".join(json.dumps(row) for row in listed), encoding="utf-8")
    else:
        content, what = mutated_bytes(rng, "\n".join(map(json.dumps, rows)).encode())
        path.write_bytes(content)

    def case() -> str:
        file_task(path.read_bytes(), path, name="mine")
        return TAKEN

    return case, f"task file: {what}"


def _others(rng: random.Random, folder: Path, sources: dict[str, bytes]) -> Made:
    name = rng.choice(sorted(sources))
    path = folder / "given" / name
    path.parent.mkdir(exist_ok=True)
    content = sources[name]
    if name.endswith(".json"):
        what = _write(rng, path, content, json.loads, lambda tree: json.dumps(tree).encode())
    elif rng.random() < 0.5:
        made, what = mutated_bytes(rng, content)
        path.write_bytes(made)
    else:
        what = _cell_of_table(rng, path, content)

    def case() -> str:
        found = results.open(path, n_bootstrap=2, tokens_per_step=TOKENS_PER_STEP)
        _ = found.models, found.all_curves, found.notes
        return TAKEN

    return case, f"{name}: {what}"


def _cell_of_table(rng: random.Random, path: Path, content: bytes) -> str:
    """Put something odd between two separators."""
    lines = content.decode().splitlines()
    at = rng.randrange(len(lines))
    parts = lines[at].split(",")
    place = rng.randrange(len(parts))
    odd = rng.choice(("", "nan", "inf", "-1", "1e999", '"', "=1+1", "x" * 9999, "\t", "1,1", "é"))
    parts[place] = odd
    lines[at] = ",".join(parts)
    path.write_text("\n".join(lines), encoding=rng.choice(("utf-8", "utf-16", "utf-8-sig")))
    return f"line {at + 1}, cell {place + 1} → {odd[:20]!r}"


def _write(
    rng: random.Random,
    path: Path,
    content: bytes,
    read: Callable[[bytes], Any],
    written: Callable[[Any], bytes],
) -> str:
    """Write a mutation of a file to a path; of its tree mostly, else of its bytes."""
    if rng.random() < 0.8:
        tree, what = mutated_tree(rng, read(content))
        path.write_bytes(written(tree))
    else:
        made, what = mutated_bytes(rng, content)
        path.write_bytes(made)
    return what


def _as_yaml(tree: Any) -> bytes:
    return yaml.safe_dump(tree, allow_unicode=True).encode()


KINDS = (_options, _suite, _template, _rows, _others)
