"""A small sound sweep, and mutations of one file or folder of its first cell."""

from __future__ import annotations

import json
import random
import shutil
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from unittest.mock import patch

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
from safetensors.numpy import load, save

from benchmarks.chaos.values import mutated_bytes, mutated_json
from circuitwatch.facts import Facts
from circuitwatch.sealing import DONE
from support import sweeps
from support.headers import change_header, refit

STEPS = [0, 128, 300, 600, 1000]
MODELS = ("nano-100k", "nano-400k")
TASK = "gendered_pronoun"
TARGET = Path(MODELS[1], TASK, "seed0")
"""The cell that is spoilt; that of the other model must stay as it was."""
UNSEALED = 0.2
"""The share of cases in which the cell is not done yet."""


@dataclass(frozen=True)
class Mutation:
    """What was done: recipe in words, whether the manifest was made to fit, and whether the cell
    was done before.
    """

    recipe: str
    fitting: bool = False
    sealed: bool = True


def sound_sweep(folder: Path) -> Path:
    """Two finished cells of two models, with transfer, and with facts, as `watch` writes them."""
    with patch.object(sweeps, "STEPS", STEPS):
        sweeps.write_sweep(folder, models=MODELS, tasks=(TASK,), transfer=True)
    facts = Facts.of_installation()
    for path in folder.glob("*/*/seed0/cell.json"):
        change_header(path.parent, lambda h: h.update(facts=facts.of_cell(h["task"])))
        (path.parent / "seen.json").write_text('{"0": "a", "128": "b"}\n', encoding="utf-8")
        for record in path.parent.glob("checkpoints/step*"):
            (record / "timing.json").write_text('{"total": 1.5}\n', encoding="utf-8")
    return folder


def restore(sound: Path, sweep: Path) -> None:
    """Put back what a mutation may have touched."""
    for part in (TARGET, Path(MODELS[1], "transfer")):
        shutil.rmtree(sweep / part, ignore_errors=True)
        if (sweep / part).is_file():
            (sweep / part).unlink()
        shutil.copytree(sound / part, sweep / part)


def mutate(rng: random.Random, sweep: Path) -> Mutation:
    """Spoil one file or folder of the cell, or of the transfer beside it; the cell is done, or
    not yet.
    """
    sealed = rng.random() >= UNSEALED
    if not sealed:
        (sweep / TARGET / DONE).unlink()
    return replace(_mutate(rng, sweep), sealed=sealed)


def _mutate(rng: random.Random, sweep: Path) -> Mutation:
    cell = sweep / TARGET
    records = sorted((cell / "checkpoints").iterdir())
    kind = rng.choice(
        (
            *("header", "header", "state", "scalars", "scalars", "table", "table", "arrays"),
            *("manifest", "bytes", "places", "transfer"),
        )
    )
    if kind == "header":
        return _json(rng, cell / "cell.json", sweep)
    if kind == "state":
        name = rng.choice(("checkpoints.json", "skipped.json", "done.json", "seen.json"))
        path = cell / name
        if not path.exists():
            entry = {"tokens": 1, "revision": "a", "reason": "b", "again": False}
            path.write_text(json.dumps({"7": entry, "128": entry}), encoding="utf-8")
        return _json(rng, path, sweep)
    if kind == "places":
        return _place(rng, sweep)
    if kind == "transfer":
        path = rng.choice(sorted((sweep / MODELS[1] / "transfer/seed0").glob("*.parquet")))
        if rng.random() < 0.3:
            return _bytes(rng, path, sweep)
        return Mutation(f"{path.relative_to(sweep)}: {_table(rng, path)}")
    record = rng.choice(records)
    timing = record / "timing.json"
    if rng.random() < 0.05:
        return _json(rng, timing, sweep)
    if kind == "manifest":
        return _in_record(rng, record, "manifest.json", _json_of, sweep, never_fitting=True)
    if kind == "scalars":
        return _in_record(rng, record, "scalars.json", _json_of, sweep)
    every = sorted(p.name for p in record.iterdir() if p.suffix not in (".json",))
    if kind == "bytes":
        return _in_record(rng, record, rng.choice(every), _bytes_of, sweep)
    if kind == "arrays":
        names = [name for name in every if name.endswith(".safetensors")]
        if names:
            return _in_record(rng, record, rng.choice(names), _arrays, sweep)
    names = [name for name in every if name.endswith(".parquet")]
    return _in_record(rng, record, rng.choice(names), _table, sweep)


def _in_record(
    rng: random.Random,
    record: Path,
    name: str,
    change: Callable[[random.Random, Path], str],
    sweep: Path,
    *,
    never_fitting: bool = False,
) -> Mutation:
    what = change(rng, record / name)
    fitting = not never_fitting and rng.random() < 0.7
    if fitting:
        refit(record)
    hashes = ", its hash fits" if fitting else ""
    return Mutation(f"{record.relative_to(sweep) / name}: {what}{hashes}", fitting)


def _json(rng: random.Random, path: Path, sweep: Path) -> Mutation:
    return Mutation(f"{path.relative_to(sweep)}: {_json_of(rng, path)}")


def _json_of(rng: random.Random, path: Path) -> str:
    content, what = mutated_json(rng, path.read_bytes())
    path.write_bytes(content)
    return what


def _bytes(rng: random.Random, path: Path, sweep: Path) -> Mutation:
    return Mutation(f"{path.relative_to(sweep)}: {_bytes_of(rng, path)}")


def _bytes_of(rng: random.Random, path: Path) -> str:
    content, what = mutated_bytes(rng, path.read_bytes())
    path.write_bytes(content)
    return what


def _table(rng: random.Random, path: Path) -> str:
    table = pd.read_parquet(path)
    kind = rng.choice(
        (
            *("drop column", "rename column", "retype", "nulls", "odd", "no rows", "fewer rows"),
            *("rows twice", "other", "shuffled", "no columns", "nested", "extra"),
        )
    )
    name = rng.choice(list(table.columns))
    if kind == "drop column":
        table = table.drop(columns=name)
    elif kind == "rename column":
        table = table.rename(columns={name: f"{name}_"})
    elif kind == "retype":
        table[name] = table[name].astype(str)
    elif kind == "nulls":
        table[name] = pd.Series([None] * len(table), dtype=object)
    elif kind == "odd":
        odd = rng.choice((float("nan"), float("inf"), -1e308, -5, 10**9))
        if pd.api.types.is_numeric_dtype(table[name]):
            table[name] = table[name].astype("Float64").astype(float)
            table.loc[rng.randrange(max(len(table), 1)), name] = odd
        else:
            table[name] = odd
    elif kind == "no rows":
        table = table.iloc[:0]
    elif kind == "fewer rows":
        table = table.iloc[: len(table) // 2]
    elif kind == "rows twice":
        table = pd.concat([table, table], ignore_index=True)
    elif kind == "other":
        table = pd.DataFrame({"a": [1, 2], "b": ["x", None]})
    elif kind == "shuffled":
        table = table.sample(frac=1, random_state=rng.randrange(1000))
    elif kind == "extra":
        table["step"] = 1
    elif kind == "no columns":
        table = pd.DataFrame(index=range(3))
    arrow = pa.Table.from_pandas(table, preserve_index=False)
    if kind == "nested":
        nested = pa.array([[1, 2]] * len(table))
        arrow = arrow.set_column(arrow.column_names.index(name), name, nested)
    pq.write_table(arrow, path)
    return f"{kind} {name}"


def _arrays(rng: random.Random, path: Path) -> str:
    arrays = load(path.read_bytes())
    name = rng.choice(sorted(arrays))
    array = arrays[name]
    kind = rng.choice(("drop", "rename", "shape", "dtype", "nan", "empty", "negative", "huge", "1"))
    if kind in ("drop", "rename"):
        del arrays[name]
        if kind == "rename":
            arrays[f"{name}_"] = array
    elif kind == "shape":
        arrays[name] = np.ascontiguousarray(array.reshape(-1)[:-1])
    elif kind == "dtype":
        arrays[name] = array.astype(rng.choice((np.float64, np.int64, np.uint8, np.float16)))
    elif kind == "nan":
        arrays[name] = np.full(array.shape, np.nan, dtype=np.float32)
    elif kind == "empty":
        arrays[name] = array[:0]
    else:
        value = {"negative": -1, "huge": 2**31 - 1, "1": 1}[kind]
        arrays[name] = np.full_like(array, value % 256 if array.dtype == np.uint8 else value)
    path.write_bytes(save(arrays))
    return f"{kind} {name}"


def _place(rng: random.Random, sweep: Path) -> Mutation:
    """Missing, renamed, swapped or linked files and folders, folders in place of files."""
    cell, other = sweep / TARGET, sweep / MODELS[0] / TASK / "seed0"
    record, second = rng.sample(sorted((cell / "checkpoints").iterdir()), 2)
    files = [p for p in cell.rglob("*") if p.is_file()]
    path = rng.choice(files)
    kind = rng.choice(
        (
            *("missing", "folder", "dangling", "loop", "from the other cell", "swap records"),
            *(
                "record of the other cell",
                "rename record",
                "no checkpoints",
                "stray",
                "link",
                "odd",
            ),
        )
    )
    where = f"{path.relative_to(sweep)}"
    if kind == "missing":
        path.unlink()
    elif kind == "folder":
        path.unlink()
        path.mkdir()
    elif kind in ("dangling", "loop"):
        path.unlink()
        path.symlink_to(path if kind == "loop" else path.with_name("nowhere"))
    elif kind == "from the other cell":
        theirs = other / path.relative_to(cell)
        if theirs.is_file():
            shutil.copyfile(theirs, path)
    elif kind == "link":
        target = path.rename(path.with_name(f"{path.name}.real"))
        path.symlink_to(target.name)
    else:
        where = f"{record.relative_to(sweep)}"
        if kind == "swap records":
            where += f", {second.name}"
            record.rename(record.with_name("a"))
            second.rename(record)
            record.with_name("a").rename(second)
        elif kind == "record of the other cell":
            shutil.rmtree(record)
            shutil.copytree(other / "checkpoints" / record.name, record)
        elif kind == "rename record":
            names = ("step7", "step-1", "step", "stepx", "step000128 ", "step²", "step9" * 9)
            record.rename(record.with_name(rng.choice(names)))
        elif kind == "no checkpoints":
            shutil.rmtree(cell / "checkpoints")
        elif kind == "stray":
            (record / rng.choice(("x", "curve.parquet", "a.json"))).write_bytes(b"")
        else:
            (cell / "checkpoints" / rng.choice(("x", "step1"))).write_bytes(b"x")
    return Mutation(f"{where}: {kind}")
