"""Folders of three checkpoints of which something is damaged: the bad one is skipped with a reason,
the others recorded as ever; or the whole is refused in one line.
"""

from __future__ import annotations

import io
import json
import random
import shutil
import struct
import tempfile
import warnings
from collections.abc import Callable
from contextlib import redirect_stderr, redirect_stdout
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from benchmarks.chaos.outcomes import SAME, TOLD, UNTELLABLE, Silent, Tally, outcome_of
from benchmarks.chaos.suite import tiny_suite
from benchmarks.chaos.values import mutated_bytes, mutated_json, mutated_tree
from checkpoints.test_unusable import FAULTS
from circuitwatch.monitor import watch_cell
from circuitwatch.records import Cell
from support.growing import watching

STEPS = (0, 128, 300)
CHECKPOINTS = tuple(f"step{step}" for step in STEPS)
SCALARS = "scalars.json"
NEIGHBOURS = ("overlap/", "weights/duplicate_of")
"""Scalars that compare a checkpoint with others."""

Damage = Callable[[random.Random, Path, Path], str]


@dataclass(frozen=True)
class Record:
    """What a checkpoint's record says. weights: their hash, None where it has none."""

    files: dict[str, bytes]
    scalars: dict[str, Any]
    weights: str | None


def run(n: int, first: int, folder: Path | None = None) -> Tally:
    """So many cases, each from its own seed."""
    warnings.simplefilter("ignore")
    tally = Tally("folders")
    with tempfile.TemporaryDirectory() as temporary:
        home = folder or Path(temporary)
        pristine = tiny_suite(home / "trained", home / "pristine", STEPS)
        sound = _records(_watched(shutil.copytree(pristine, home / "run"), home / "sound"))
        for seed in range(first, first + n):
            for name in ("run", "cell"):
                shutil.rmtree(home / name, ignore_errors=True)
            shutil.copytree(pristine, home / "run")
            rng = random.Random(seed)
            spoilt = rng.choice(CHECKPOINTS)
            recipe = f"{spoilt}: {rng.choice(DAMAGES)(rng, home / 'run' / spoilt, home / 'run')}"
            outcome, detail = outcome_of(lambda s=spoilt: _judged(home, s, sound))
            tally.add(seed, recipe, outcome, detail)
    return tally


def _judged(home: Path, spoilt: str, sound: dict[int, Record]) -> str:
    """What comes of watching it; raises what it raises."""
    cell = _watched(home / "run", home / "cell")
    found, skipped = _records(cell), cell.skipped()
    step = int(spoilt.removeprefix("step"))
    for entry in skipped.values():
        if not entry["reason"] or "\n" in entry["reason"]:
            raise Silent(f"a reason that is not one line: {entry['reason']!r}")
    for other in set(STEPS) - {step}:
        if other not in found:
            raise Silent(f"step {other} is not recorded: {skipped}")
        if differing := _differing(sound[other], found[other]):
            raise Silent(f"the sound step {other} has other {differing}")
    if step not in found:
        if skipped or not (home / "run" / spoilt).is_dir():
            return TOLD
        raise Silent("it is neither recorded nor skipped")
    differing = _differing(sound[step], found[step])
    if not differing:
        return SAME
    if found[step].weights != sound[step].weights:
        return UNTELLABLE
    raise Silent(f"its record has other {differing}, and the same weights")


def _watched(run: str | Path, cell: Path) -> Cell:
    with redirect_stdout(io.StringIO()), redirect_stderr(io.StringIO()):
        return watch_cell(watching(Path(run)), cell)


def _records(cell: Cell) -> dict[int, Record]:
    found = {}
    for step in cell.steps_done():
        folder = cell.folder / f"checkpoints/step{step:06}"
        files = {p.name: p.read_bytes() for p in folder.iterdir() if p.suffix != ".json"}
        scalars = json.loads((folder / SCALARS).read_text(encoding="utf-8"))["scalars"]
        found[step] = Record(files, scalars, cell.weights_of(step))
    return found


def _differing(one: Record, two: Record) -> list[str]:
    """Names of files and quantities that are others, but for comparisons with a neighbour."""
    names = [k for k in one.files.keys() | two.files.keys() if one.files.get(k) != two.files.get(k)]
    for name in sorted(one.scalars.keys() | two.scalars.keys()):
        if not name.startswith(NEIGHBOURS) and one.scalars.get(name) != two.scalars.get(name):
            names.append(name)
    return sorted(names)[:6]


def _fault(rng: random.Random, checkpoint: Path, run: Path) -> str:
    """One of the faults that the test suite has."""
    name = rng.choice(sorted(FAULTS))
    FAULTS[name][0](checkpoint)
    return name


def _json(rng: random.Random, checkpoint: Path, run: Path) -> str:
    path = rng.choice(sorted(checkpoint.glob("*.json")))
    content, what = mutated_json(rng, path.read_bytes())
    path.write_bytes(content)
    return f"{path.name}: {what}"


def _bytes(rng: random.Random, checkpoint: Path, run: Path) -> str:
    path = _file(rng, checkpoint)
    content, what = mutated_bytes(rng, path.read_bytes())
    path.write_bytes(content)
    return f"{path.name}: {what}"


def _header(rng: random.Random, checkpoint: Path, run: Path) -> str:
    """The JSON at the head of the weights, its length made to fit."""
    path = checkpoint / "model.safetensors"
    content = path.read_bytes()
    (length,) = struct.unpack("<Q", content[:8])
    tree, what = mutated_tree(rng, json.loads(content[8 : 8 + length]))
    head = json.dumps(tree).encode()
    path.write_bytes(struct.pack("<Q", len(head)) + head + content[8 + length :])
    return f"header of {path.name}: {what}"


def _place(rng: random.Random, checkpoint: Path, run: Path) -> str:
    """Files that are missing, folders, links or another checkpoint's."""
    path, kind = _file(rng, checkpoint), rng.choice(("missing", "folder", "loop", "dangling", "up"))
    other = rng.choice([name for name in CHECKPOINTS if name != checkpoint.name])
    if rng.random() < 0.3:
        kind = "another's"
    path.unlink()
    if kind == "folder":
        path.mkdir()
    elif kind != "missing":
        targets = {"loop": path.name, "dangling": "nowhere", "up": ".."}
        path.symlink_to(targets.get(kind, f"../{other}/{path.name}"))
    return f"{path.name}: {kind}{f' ({other})' if kind.startswith('another') else ''}"


def _folder(rng: random.Random, checkpoint: Path, run: Path) -> str:
    """The checkpoint's folder itself, and what lies beside it."""
    kind = rng.choice(("a file", "empty", "loop", "link", "stray", "pickled too", "nested", "odd"))
    if kind in ("a file", "empty", "loop", "nested", "link"):
        away = checkpoint.rename(run.with_name(f"{checkpoint.name}.away"))
        if kind == "a file":
            checkpoint.write_bytes(b"x")
        elif kind == "loop":
            checkpoint.symlink_to(checkpoint.name)
        elif kind == "link":
            checkpoint.symlink_to(Path(shutil.copytree(away, run / "elsewhere")).name)
        else:
            checkpoint.mkdir()
        if kind == "nested":
            shutil.copytree(away, checkpoint / checkpoint.name)
        shutil.rmtree(away)
    elif kind == "stray":
        (checkpoint / rng.choice(("x.safetensors", "a.json", ".hidden"))).write_bytes(b"x")
    elif kind == "pickled too":
        (checkpoint / "pytorch_model.bin").write_bytes(b"\x80\x04x")
    else:
        name = rng.choice(("step", "step-5", "step1e3", "stepé", "step²", "step" + "9" * 40))
        shutil.copytree(checkpoint, run / name)
        kind = f"also as {name}"
    return kind


def _file(rng: random.Random, checkpoint: Path) -> Path:
    return rng.choice(sorted(path for path in checkpoint.iterdir() if path.is_file()))


DAMAGES: tuple[Damage, ...] = (_fault, _json, _json, _bytes, _bytes, _header, _place, _folder)
