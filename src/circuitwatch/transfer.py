"""Transfer and specificity: a circuit imposed on another checkpoint of its model, and on another
task's prompts.

Beyond Tigges et al. (arXiv 2407.10827). Two checkpoints' circuits may share few edges because the
algorithm changed, or because other heads took over the same places in it. Imposing one checkpoint's
circuit on the model at the other tells: what it keeps there is the share of the behaviour that
still runs through the old edges. Imposed on another task's prompts at its own checkpoint, the
circuit shows how much of it is the task's own.

    <sweep>/<model>/transfer/seed<k>/step000128.parquet    one file a checkpoint of the model

with COLUMNS: the circuit found for `circuit_task` at `circuit_step` imposed on the model at
`model_step`, evaluated on `task`'s prompts. Where circuit_task is task that is transfer, over all
pairs of checkpoints; where it is another one, specificity, at circuit_step = model_step alone. A
task whose behaviour is not above chance at `model_step` has no rows there, since there is nothing
to keep. A file is there whole or not at all, and says by a hash what it was made from: another run
makes what is missing and what the records have left behind.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from functools import partial
from itertools import groupby
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import torch
from omegaconf import OmegaConf
from omegaconf.errors import OmegaConfBaseException
from rich.table import Table

from circuitwatch.analysis import planned_for, torch_device
from circuitwatch.behaviour import TaskMetric, metric_per_prompt
from circuitwatch.checkpoints.loading import (
    DamagedWeights,
    load_model,
    load_tokenizer,
    weights_sha256,
)
from circuitwatch.checkpoints.schedule import Checkpoint
from circuitwatch.checkpoints.source import Missing, NotFetched, Say
from circuitwatch.circuits.evaluation import CircuitEvaluator
from circuitwatch.circuits.memory import with_smaller_batches
from circuitwatch.circuits.prompts import Prepared
from circuitwatch.circuits.search import faithfulness, recovery
from circuitwatch.config import Config, validate
from circuitwatch.errors import UserError
from circuitwatch.monitor import HOPELESS, open_source, prompts_of, say_at
from circuitwatch.progress import STYLE, CellProgress, wide_console
from circuitwatch.records import DUPLICATE_OF, Cell, Scalar, find_cells, sync
from circuitwatch.tasks import PromptSet
from circuitwatch.transformer import Transformer

Mask = npt.NDArray[np.bool_]
COLUMNS = {
    "task": "str",
    "circuit_task": "str",
    "circuit_step": "int64",
    "circuit_tokens": "int64",
    "model_step": "int64",
    "model_tokens": "int64",
    "edges": "int64",
    "value": "float64",
    "recovery": "float64",
    "faithfulness": "float64",
}
"""Columns of a file and their types; recovery and faithfulness are missing where they do not exist.
"""
MADE_FROM = b"circuitwatch.made_from"
"""Key of a file's metadata that holds the hash of what it was made from."""


@dataclass(frozen=True)
class Seen:
    """What the record of a checkpoint says, less its arrays."""

    checkpoint: Checkpoint
    scalars: dict[str, Scalar]
    has_circuit: bool


@dataclass(frozen=True)
class Circuit:
    """A circuit [sender, receiver], where it was found, and a hash of both."""

    mask: Mask
    checkpoint: Checkpoint
    sha256: str

    @classmethod
    def of(cls, mask: Mask, checkpoint: Checkpoint) -> Circuit:
        """A circuit with its hash."""
        about = f"{mask.shape} {checkpoint.step} {checkpoint.tokens}"
        return cls(
            mask,
            checkpoint,
            hashlib.sha256(about.encode() + np.packbits(mask).tobytes()).hexdigest(),
        )


@dataclass(frozen=True)
class Watched:
    """A cell as far as it is.

    seen: step → its record. circuits: chosen step → the circuit found there.
    """

    config: Config
    seen: dict[int, Seen]
    circuits: dict[int, Circuit]

    def is_above_chance(self, step: int) -> bool:
        """Whether there is behaviour at a step; not where there is no record."""
        return step in self.seen and bool(self.seen[step].scalars["behaviour/above_chance"])


@dataclass(frozen=True)
class Asked:
    """One row to be: a task's prompts, and the circuit that is imposed, with the task that it was
    found for.
    """

    task: str
    circuit_task: str
    circuit: Circuit


@dataclass(frozen=True)
class Group:
    """The cells of one model and seed, by task, and the checkpoints chosen of those at which any of
    them has a circuit.
    """

    folder: Path
    title: str
    cells: dict[str, Watched]
    chosen: list[Checkpoint]

    @property
    def config(self) -> Config:
        """Any cell's configuration, for what is common to all."""
        return next(iter(self.cells.values())).config

    def path(self, checkpoint: Checkpoint) -> Path:
        """The file of a model checkpoint."""
        return self.folder / f"step{checkpoint.step:06}.parquet"

    def asked(self, step: int) -> list[Asked]:
        """The rows of a model checkpoint, task by task; a task's own circuits by step, so that
        neighbours in the list are alike.
        """
        rows = []
        for task, watched in self.cells.items():
            if watched.is_above_chance(step):
                rows += [Asked(task, task, circuit) for circuit in watched.circuits.values()]
                others = [
                    (other, of.circuits.get(step))
                    for other, of in self.cells.items()
                    if other != task
                ]
                rows += [Asked(task, other, circuit) for other, circuit in others if circuit]
        return rows

    def weights(self, step: int) -> set[str]:
        """SHA-256 of the weights at a step as the cells' records have it: one, unless they were
        made from different ones.
        """
        seen = (watched.seen.get(step) for watched in self.cells.values())
        return {
            str(s.scalars["weights/sha256"]) for s in seen if s and "weights/sha256" in s.scalars
        }

    def made_from(self, checkpoint: Checkpoint) -> str:
        """Hash of all that decides a file: which rows, their circuits, the prompts, the weights."""
        rows = self.asked(checkpoint.step)
        about = {
            "model": [checkpoint.step, checkpoint.tokens],
            "rows": [[row.task, row.circuit_task, row.circuit.sha256] for row in rows],
            "prompts": {row.task: asdict(self.cells[row.task].config.task) for row in rows},
            "seed": self.config.seed,
            "dtype": self.config.dtype,
            "weights": sorted(self.weights(checkpoint.step)),
        }
        return hashlib.sha256(json.dumps(about, sort_keys=True).encode()).hexdigest()


def transfer(sweep: Path, *, checkpoints: int = 12) -> pd.DataFrame:
    """Impose the circuits of a sweep's cells on at most so many checkpoints of each model, print
    what they keep, and return the rows of all files.

    Columns model, seed, then COLUMNS. A checkpoint that is missing or damaged is skipped and said
    to be. Raises UserError where there is nothing to impose, and after all is done where a
    checkpoint could not be fetched.
    """
    cells = find_cells(sweep)
    if not cells:
        raise UserError(f"{sweep}: no cell in it; run circuitwatch sweep={sweep.name} first")
    by_model: dict[tuple[Path, int], list[Cell]] = {}
    for cell in cells:
        by_model.setdefault((cell.folder.parents[1], cell.header["seed"]), []).append(cell)
    groups = [read_group(of_model, checkpoints) for of_model in by_model.values()]
    if not any(group.chosen for group in groups):
        raise UserError(
            f"{sweep}: none of its {len(cells)} cells has a circuit at any checkpoint, so "
            f"there is none to impose"
        )
    notes = [
        f"{c.folder}: not finished, used as far as it is ({len(c.steps_done())} of "
        f"{len(c.header['schedule'])} checkpoints)"
        for c in cells
        if not c.is_done()
    ]
    notes += [
        f"{group.title}: no circuit at any checkpoint, left out"
        for group in groups
        if not group.chosen
    ]
    again: list[str] = []
    tables = []
    for group in groups:
        if group.chosen:
            impose(group, notes, again)
            tables += [_read(group, c) for c in group.chosen if _is_made(group, c)]
    console = wide_console()
    if tables:
        console.print(summary_table(pd.concat(tables, ignore_index=True)))
    for note in notes + again:
        console.print(note, highlight=False, soft_wrap=True)
    if again:
        raise UserError(
            f"{sweep}: {len(again)} checkpoints could not be fetched; the others are there, "
            f"and the same command tries again"
        )
    if not tables:
        raise UserError(f"{sweep}: none of the checkpoints that have a circuit could be looked at")
    console.print(f"written to {sweep}/*/transfer", highlight=False, soft_wrap=True)
    return pd.concat(tables, ignore_index=True)


def read_group(cells: Sequence[Cell], at_most: int) -> Group:
    """The cells of one model and seed, whose settings must agree, with at most so many checkpoints
    chosen.
    """
    seen: dict[str, dict[int, Seen]] = {}
    for cell in cells:
        _require_same(cells[0], cell)
        seen[cell.header["task"]] = {
            r.step: Seen(Checkpoint(r.step, r.tokens, r.revision), r.scalars, r.mask is not None)
            for r in cell.records()
        }
    every = [s for of_cell in seen.values() for s in of_cell.values()]
    copies = {s.checkpoint.step for s in every if DUPLICATE_OF in s.scalars}
    there = {
        s.checkpoint.step: s.checkpoint
        for s in every
        if s.has_circuit and s.checkpoint.step not in copies
    }
    chosen = [there[step] for step in evenly(sorted(there), at_most)]
    watched = {}
    for cell in cells:
        of_cell = seen[cell.header["task"]]
        found = {
            c.step: cell.read(c.step).mask
            for c in chosen
            if c.step in of_cell and of_cell[c.step].has_circuit
        }
        circuits = {
            step: Circuit.of(mask, there[step]) for step, mask in found.items() if mask is not None
        }
        watched[cell.header["task"]] = Watched(_config(cell), of_cell, circuits)
    model, seed = cells[0].header["model"]["name"], cells[0].header["seed"]
    folder = cells[0].folder.parents[1] / "transfer" / f"seed{seed}"
    return Group(folder, f"{model} seed {seed}", watched, chosen)


def evenly(steps: Sequence[int], at_most: int) -> list[int]:
    """At most so many of some steps, evenly over their list, the first and the last among them."""
    places = np.linspace(0, len(steps) - 1, min(at_most, len(steps))).round().astype(int)
    return [steps[place] for place in np.unique(places)]


def impose(group: Group, notes: list[str], again: list[str]) -> None:
    """Make the files of a group that are not there or are made from something else.

    Why a checkpoint is skipped is added to `notes`, or to `again` where another try may succeed.
    Raises UserError where nothing more can be done now.
    """
    config = group.config
    pending = [checkpoint for checkpoint in group.chosen if not _is_made(group, checkpoint)]
    source = open_source(config) if pending else None
    kept = {group.path(checkpoint) for checkpoint in group.chosen if checkpoint not in pending}
    for path in set(group.folder.glob("step*.parquet*")) - kept:
        path.unlink()  # of other circuits than the records', or what a killed run left behind
    if source is None:
        return
    if config.threads:
        torch.set_num_threads(config.threads)
    group.folder.mkdir(parents=True, exist_ok=True)
    in_a_row = 0
    with CellProgress(f"transfer {group.title}", len(group.chosen), done=len(kept)) as progress:

        def skip(checkpoint: Checkpoint, reason: str, said: list[str]) -> None:
            said.append(f"{group.title} {checkpoint.revision}: skipped, {reason}")
            progress.advance(f"step {checkpoint.step}: skipped, {reason}")

        audit = source.audit(pending, progress.at)
        for checkpoint in pending:
            if checkpoint.step in audit.missing:
                skip(checkpoint, audit.missing[checkpoint.step], notes)
        there = [checkpoint for checkpoint in pending if checkpoint.step not in audit.missing]
        if not there:
            return
        tokenizer = load_tokenizer(source.about(there))
        prompts = {
            task: prompts_of(watched.config, tokenizer) for task, watched in group.cells.items()
        }
        with source.stream(there) as stream:
            for checkpoint in there:
                say = partial(say_at, progress, checkpoint)
                try:
                    with stream.hold(checkpoint, say) as weights:
                        if group.weights(checkpoint.step) - {
                            audit.weights[checkpoint.step].sha256 or weights_sha256(weights)
                        }:
                            skip(
                                checkpoint,
                                "its weights are not those that the cells were made from",
                                notes,
                            )
                            continue
                        rows = imposed(group, checkpoint, weights, prompts, say)
                except (Missing, DamagedWeights) as error:
                    skip(checkpoint, str(error), notes)
                    continue
                except NotFetched as error:
                    skip(checkpoint, str(error), again)
                    in_a_row += 1
                    if in_a_row == HOPELESS:
                        raise UserError(
                            f"{error}; what is made stays, and the same command goes on"
                        ) from error
                    continue
                in_a_row = 0
                _write(group.path(checkpoint), rows, group.made_from(checkpoint))
                progress.advance(f"step {checkpoint.step}: {len(rows)} circuits imposed")


def imposed(
    group: Group, checkpoint: Checkpoint, weights: Path, prompts: dict[str, PromptSet], say: Say
) -> pd.DataFrame:
    """The rows of one model checkpoint, whose weights are in a folder."""
    say("loading")
    model = load_model(
        weights,
        device=_device_of(group.config),
        dtype=getattr(torch, group.config.dtype),
        check_length=max(of_task.clean.shape[1] for of_task in prompts.values()),
    )
    rows: list[dict[str, Any]] = []
    for task, of_task in groupby(group.asked(checkpoint.step), key=lambda asked: asked.task):
        asked = list(of_task)
        masks = [a.circuit.mask for a in asked]
        whole, corrupted, values = behaviours(
            model, prompts[task], masks, group.cells[task].config, say
        )
        below_zero = prompts[task].metric == "log_prob"
        rows += [
            {
                "task": task,
                "circuit_task": a.circuit_task,
                "circuit_step": a.circuit.checkpoint.step,
                "circuit_tokens": a.circuit.checkpoint.tokens,
                "model_step": checkpoint.step,
                "model_tokens": checkpoint.tokens,
                "edges": int(a.circuit.mask.sum()),
                "value": value,
                "recovery": None if below_zero else recovery(value, whole),
                "faithfulness": faithfulness(value, whole, corrupted),
            }
            for a, value in zip(asked, values, strict=True)
        ]
    return pd.DataFrame(rows, columns=list(COLUMNS)).astype(COLUMNS)


def behaviours(
    model: Transformer, prompts: PromptSet, circuits: Sequence[Mask], config: Config, say: Say
) -> tuple[float, float, list[float]]:
    """Mean metric of the model on clean and on corrupted prompts, and with each circuit imposed."""
    planned = planned_for(model, prompts, config.circuit, steps=1)

    def measured(batch_size: int) -> tuple[float, float, list[float]]:
        prepared = Prepared(model, prompts, batch_size=batch_size)
        whole, corrupted = (
            float(metric_per_prompt(logits, prompts).cpu().double().mean())
            for logits in prepared.end_logits()
        )
        evaluate = CircuitEvaluator(prepared, TaskMetric(prompts), reuse=planned.reuse)
        values = []
        for n, circuit in enumerate(circuits, 1):
            say(f"{prompts.task}, circuit {n} of {len(circuits)}")
            values.append(evaluate(circuit))
        return whole, corrupted, values

    return with_smaller_batches(
        measured,
        planned.batch_size,
        on_retry=lambda size: say(f"out of memory: {size} prompts at a time"),
    )


def summary_table(table: pd.DataFrame) -> Table:
    """Mean faithfulness by model, seed and task, from rows as `transfer` returns them.

    Own checkpoint: the circuit on the model it was found in; other checkpoints: all other pairs.
    Other tasks: their circuits on this task's prompts, beside the task's own circuits at the same
    checkpoints.
    """
    caption = "mean faithfulness of circuits imposed on the model, by where they were found"
    shown = Table(title="transfer and specificity", caption=caption, **STYLE)
    for name in (
        "model",
        "seed",
        "task",
        "checkpoints",
        "own checkpoint",
        "other checkpoints",
        "other tasks",
        "own, beside those",
    ):
        shown.add_column(
            name, justify="left" if name in ("model", "task") else "right", no_wrap=True
        )
    for (model, seed, task), rows in table.groupby(["model", "seed", "task"]):
        own_task, at_home = rows["circuit_task"] == task, rows["circuit_step"] == rows["model_step"]
        both = rows["model_step"].isin(rows.loc[own_task & at_home, "model_step"])
        both &= rows["model_step"].isin(rows.loc[~own_task, "model_step"])
        parts = [
            own_task & at_home,
            own_task & ~at_home,
            ~own_task & both,
            own_task & at_home & both,
        ]
        means = [rows.loc[part, "faithfulness"].mean() for part in parts]
        numbers = ["–" if pd.isna(mean) else f"{mean:.2f}" for mean in means]
        shown.add_row(str(model), str(seed), str(task), str(rows["model_step"].nunique()), *numbers)
    return shown


def _require_same(first: Cell, cell: Cell) -> None:
    """Raise UserError unless two cells of a model and seed are about the same weights, and prompts
    of the same kind.
    """
    before, now = (_shared(c.header["config"]) for c in (first, cell))
    for key in sorted(before.keys() | now.keys()):
        if before.get(key) != now.get(key):
            raise UserError(
                f"{first.folder} was made with {key}={before.get(key)} and {cell.folder} "
                f"with {now.get(key)}, so their circuits can't be "
                "imposed on each other's model and prompts; give them sweeps of their own"
            )


def _shared(config: dict[str, Any]) -> dict[str, Any]:
    shared = {f"model.{key}": value for key, value in config["model"].items()} | {
        "dtype": config.get("dtype")
    }
    return shared | {"task.prepend_bos": config["task"].get("prepend_bos")}


def _config(cell: Cell) -> Config:
    """The configuration that a cell was made with.

    Raises UserError if this version has other options.
    """
    try:
        return validate(OmegaConf.merge(OmegaConf.structured(Config), cell.header["config"]))
    except OmegaConfBaseException as error:
        raise UserError(
            f"{cell.folder}: made with options that this version does not have "
            f"({str(error).splitlines()[0]})"
        ) from error


def _device_of(config: Config) -> str:
    """The cell's device, or where this machine has none such the one it has: results are the same
    but for rounding.
    """
    try:
        return torch_device(config.device)
    except UserError:
        return torch_device("auto")


def _is_made(group: Group, checkpoint: Checkpoint) -> bool:
    """Whether a checkpoint's file is there, whole, and made from what the records say now."""
    try:
        metadata = pq.read_schema(group.path(checkpoint)).metadata or {}
    except (OSError, pa.ArrowInvalid):
        return False
    return bool(metadata.get(MADE_FROM) == group.made_from(checkpoint).encode())


def _read(group: Group, checkpoint: Checkpoint) -> pd.DataFrame:
    config, table = group.config, pd.read_parquet(group.path(checkpoint))
    table.insert(0, "model", config.model.name)
    table.insert(1, "seed", config.seed)
    return table


def _write(path: Path, rows: pd.DataFrame, made_from: str) -> None:
    """Write one file, whole or not at all, with the hash of what it was made from."""
    table = pa.Table.from_pandas(rows, preserve_index=False)
    table = table.replace_schema_metadata(
        {**(table.schema.metadata or {}), MADE_FROM: made_from.encode()}
    )
    partial = path.with_name(path.name + ".partial")
    pq.write_table(table, partial)
    sync(partial)
    os.replace(partial, path)
    sync(path.parent)
