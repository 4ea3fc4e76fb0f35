"""Cells with one damaged file: everything that reads cells is tried on them."""

from __future__ import annotations

import hashlib
import io
import pickle
import random
import shutil
import tempfile
import warnings
from collections.abc import Mapping
from contextlib import redirect_stdout
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from benchmarks.chaos.cells import MODELS, TARGET, TASK, Mutation, mutate, restore, sound_sweep
from benchmarks.chaos.outcomes import (
    SAME,
    TOLD,
    UNTELLABLE,
    Silent,
    Tally,
    outcome_of,
)
from circuitwatch import results
from circuitwatch.cli.export import export
from circuitwatch.errors import UserError
from circuitwatch.records import Cell, find_cells
from circuitwatch.results import Results
from circuitwatch.sealing import DONE, MANIFEST, identity
from circuitwatch.summary.cells import CellData
from circuitwatch.summary.writing import summarize
from circuitwatch.tracking.identity import identity_of
from circuitwatch.transfer.planning import plan_model

N_BOOTSTRAP = 3
EVERY = 40
"""How many cases go by for each that is summarised in full, with figures and report."""


@dataclass
class Sound:
    """What the sweep says before anything is damaged; known: tables by what was read."""

    folder: Path
    read: dict[str, str]
    tables: Mapping[str, pd.DataFrame]
    notes: set[str]
    known: set[str] = field(default_factory=set)


def run(n: int, first: int, folder: Path | None = None) -> Tally:
    """So many cases, each from its own seed."""
    warnings.simplefilter("ignore")
    tally = Tally("records")
    with tempfile.TemporaryDirectory() as temporary:
        below = folder or Path(temporary)
        pristine = sound_sweep(below / "sound" / "sweep")
        sweep = Path(shutil.copytree(pristine, below / "sweep"))
        sounds = {True: _sound(sweep)}
        (sweep / TARGET / DONE).unlink()
        sounds[False] = _sound(sweep)
        for seed in range(first, first + n):
            restore(pristine, sweep)
            rng = random.Random(seed)
            mutation = mutate(rng, sweep)
            sound = sounds[mutation.sealed]
            whole = seed % EVERY == 0 or n == 1
            outcome, detail = outcome_of(lambda m=mutation, s=sound, w=whole: judge(sweep, s, m, w))
            tally.add(seed, mutation.recipe, outcome, detail)
    return tally


def _sound(sweep: Path) -> Sound:
    found = results.open(sweep, n_bootstrap=N_BOOTSTRAP)
    tables = {name: table.frame() for name, table in found.tables.items()}
    return Sound(sweep, digests(found.cells), tables, set(found.notes))


def judge(sweep: Path, sound: Sound, mutation: Mutation, whole: bool) -> str:
    """What comes of everything that reads the cell; raises what it raises."""
    others = [_told(lambda: _status(sweep / TARGET)), _told(lambda: _transfer(sweep))]
    others += [_told(lambda: _exported(sweep)), _told(lambda: _identity(sweep))]
    outcome = _read(sweep, sound, mutation, whole)
    _told(lambda: Cell.open(sweep / TARGET).put_away_damaged())
    return outcome


def _read(sweep: Path, sound: Sound, mutation: Mutation, whole: bool) -> str:
    found = results.open(sweep, n_bootstrap=N_BOOTSTRAP)
    read = digests(found.cells)
    mine, other = (f"{model} {TASK} 0" for model in reversed(MODELS))
    if read.get(other) != sound.read[other]:
        raise Silent("the other cell is read otherwise")
    transfer = "transfer/" in mutation.recipe
    key = hashlib.sha256(repr((read, mutation.recipe if transfer else "")).encode()).hexdigest()
    if whole or transfer or key not in sound.known:
        sound.known.add(key)
        tables = {name: table.frame() for name, table in found.tables.items()}
        _require_others_same(sound.tables, tables)
        for cell in found.cells:
            for step in list(cell.circuits)[-1:]:
                circuit = found.circuit(cell.model, cell.task, step, cell.seed)
                _ = circuit.frame(), circuit.nodes, circuit.faithfulness
        if found.models:
            found.curves(model=found.models[-1]).frame()
        if transfer and not _equal(tables["transfer"], sound.tables["transfer"]):
            if not _says(found, sound, sweep, "transfer/"):
                raise Silent("transfer's table is another")
            return TOLD
        if whole:
            summarize(sweep, n_bootstrap=N_BOOTSTRAP, formats=())
    if _says(found, sound, sweep, str(TARGET)):
        return TOLD
    if read.get(mine) == sound.read[mine]:
        return SAME
    if mine not in read:
        raise Silent("the cell is gone without a word")
    return _untellable(mutation)


def _untellable(mutation: Mutation) -> str:
    """Read otherwise without a word: right only in a cell that is not done, and so has no seal,
    where nothing on disk says what it was before.
    """
    path, _, what = mutation.recipe.partition(": ")
    if Path(path).name == DONE and what in ("missing", "dangling", "loop"):
        return UNTELLABLE  # a cell that is not done, which is done again
    unproven = Path(path).name in ("skipped.json", "checkpoints.json")
    # A record without its manifest is none: it will be made.
    unproven = unproven or what in ("missing", "rename record", "no checkpoints")
    unproven = unproven or (Path(path).name == MANIFEST and what in ("folder", "dangling", "loop"))
    if not mutation.sealed and (unproven or mutation.fitting):
        return UNTELLABLE
    raise Silent("the cell is read otherwise")


def _says(found: Results, sound: Sound, sweep: Path, where: str) -> bool:
    new = [note for note in found.notes if note not in sound.notes]
    about = (where, " ".join((MODELS[1], TASK)))
    return any(word in note for note in new for word in about)


def _require_others_same(
    sound: Mapping[str, pd.DataFrame], tables: Mapping[str, pd.DataFrame]
) -> None:
    """The rows of the other model must be as they were."""
    for name in ("emergence", "cells", "overlap", "roles", "turnover", "algorithm", "transfer"):
        before, now = sound[name], tables[name]
        if "model" not in before or before.empty:
            continue
        before = before[before["model"] == MODELS[0]].dropna(axis=1, how="all")
        now = now[now["model"] == MODELS[0]] if "model" in now else now
        now = now.dropna(axis=1, how="all")
        if not _equal(before, now):
            raise Silent(f"the other model's rows in {name} are others")


def _equal(one: pd.DataFrame, two: pd.DataFrame) -> bool:
    as_text = (t.reset_index(drop=True).to_csv(float_format="%.9g") for t in (one, two))
    return next(as_text) == next(as_text)


def _told(run: Any) -> str | None:
    """The line in which a reader refuses; whatever else it raises goes through."""
    try:
        run()
    except UserError as error:
        return str(error)
    return None


def _status(folder: Path) -> None:
    cell = Cell.open(folder)
    cell.is_done()
    cell.seen()
    Cell.finished(folder, cell.header["config"])
    for step in cell.steps_done():
        cell.seconds(step)
        _told(lambda s=step: cell.entry_of(s))
        _told(lambda s=step: cell.weights_of(s))
        _told(lambda s=step: cell.read(s))


def _transfer(sweep: Path) -> None:
    for cell in find_cells(sweep):
        plan = plan_model([cell], 3)
        for checkpoint in plan.checkpoints:
            plan.made_from(checkpoint)


def _exported(sweep: Path) -> None:
    with tempfile.TemporaryDirectory() as to, redirect_stdout(io.StringIO()):
        export([f"cell={sweep / TARGET}", f"to={to}"])


def _identity(sweep: Path) -> None:
    identity_of(Cell.open(sweep / TARGET))


def digests(cells: list[CellData]) -> dict[str, str]:
    """A hash of all that was read of each cell."""
    return {f"{c.model} {c.task} {c.seed}": _digest(c) for c in cells}


def _digest(cell: CellData) -> str:
    # Of cell.json what decides the records: no table says anything of the rest.
    parts: list[Any] = [identity(cell.header), cell.header["schedule"], cell.finished, cell.skipped]
    tables = (cell.curves, cell.prompts, cell.roles, cell.direct, cell.bands)
    parts += [table.to_csv(index=False) for table in tables]
    for arrays in (cell.circuits, cell.strengths, cell.scores):
        parts += [(step, array.tobytes()) for step, array in arrays.items()]
    for step, both in cell.resamples.items():
        parts += [
            (step, None if one is None else (np.asarray(one.places), np.asarray(one.scores)))
            for one in both
        ]
    return hashlib.sha256(pickle.dumps(parts)).hexdigest()
