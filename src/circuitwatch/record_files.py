"""A checkpoint's record: what is in it, and its files."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
from safetensors.numpy import load, save

from circuitwatch.headers import About
from circuitwatch.json_files import sync, write_json
from circuitwatch.shapes import misfit, shown

RENAMED_COLUMNS = {"edges_asked": "edges_before_pruning"}
RENAMED = {f"circuit/{old}": f"circuit/{new}" for old, new in RENAMED_COLUMNS.items()}
"""What columns of curves, and scalars, were called in format 3."""
Scalar = float | int | str | bool
WEIGHTS_SHA256 = "weights/sha256"
"""The scalar that says which weights a checkpoint has."""
DUPLICATE_OF = "weights/duplicate_of"
"""The scalar that says whose weights a checkpoint has, if not its own."""
PREFIX_REMOVED = "weights/prefix_removed"
"""The scalar that says what was taken off the names of a checkpoint's tensors, where a wrapper had
put something there.
"""
TIMING = "timing.json"
"""Seconds of a record's analysis: beside the record, in no manifest, equal to nothing."""
NOT_ASKED = "none: not asked for"
"""What `circuit/status` says where no circuit was looked for, because nobody asked for one."""


@dataclass(frozen=True)
class Edges:
    """The edges of a circuit, few of many: places [edge] in the flattened [sender, receiver], and
    scores [edge].
    """

    places: npt.NDArray[np.int32]
    scores: npt.NDArray[np.float32]


@dataclass(frozen=True)
class CheckpointRecord:
    """Everything known of one checkpoint. scalars: flat names such as `behaviour/value`; a value
    that does not exist is left out, never NaN.

    prompts: columns prompt, value, corrupted, correct, log_prob. roles: role, layer, head (−1 for
    the layer's MLP), score, low, high (its 95 % interval), in_circuit, effect, effect_low,
    effect_high, effect_on, confirmed, sign (helps or hurts); what was not measured is missing.
    curve: edges_before_pruning, edges, value, recovery, faithfulness. patching: sender, receivers,
    effect, low, high. bands: measure, cutoff, value, low, high. scores, mask: [sender, receiver].
    resamples: the circuit of each resample of the prompts, None for one that has none. made_by:
    versions, threads and whatever else decides the last bits; empty in records of before.
    """

    step: int
    tokens: int
    revision: str
    scalars: dict[str, Scalar]
    prompts: pd.DataFrame
    roles: pd.DataFrame
    curve: pd.DataFrame | None = None
    scores: npt.NDArray[np.float32] | None = None
    mask: npt.NDArray[np.bool_] | None = None
    patching: pd.DataFrame | None = None
    bands: pd.DataFrame | None = None
    resamples: tuple[Edges | None, ...] = ()
    made_by: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Unpacked:
    """A record as it is on disk: `CheckpointRecord`, but for its tables, by their files' names.

    cell: the identity of the cell.json that it was made under, where it says one (`sealing`).
    """

    step: int
    tokens: int
    revision: str
    scalars: dict[str, Scalar]
    tables: dict[str, pa.Table]
    scores: npt.NDArray[np.float32] | None
    mask: npt.NDArray[np.bool_] | None
    resamples: tuple[Edges | None, ...]
    made_by: dict[str, Any] = field(default_factory=dict)
    cell: str | None = None


def write_record(
    folder: Path, record: CheckpointRecord, seconds: Mapping[str, float] | None, cell: str
) -> None:
    """Write a record's files into a new folder, the manifest last.

    Args:
        folder: of the record.
        record: of the checkpoint.
        seconds: that each part of the analysis took; beside the record, not part of it.
        cell: the identity of its cell (`sealing`).

    Raises:
        OSError: it can't be written.
    """
    folder.mkdir(parents=True)
    content = {
        "cell": cell,
        "step": record.step,
        "tokens": record.tokens,
        "revision": record.revision,
        "scalars": record.scalars,
    }
    if record.made_by:
        content["made_by"] = record.made_by
    write_json(folder / "scalars.json", content)
    record.prompts.to_parquet(folder / "prompts.parquet", index=False)
    record.roles.to_parquet(folder / "roles.parquet", index=False)
    for name, table in (
        ("curve", record.curve),
        ("patching", record.patching),
        ("bands", record.bands),
    ):
        if table is not None:
            table.to_parquet(folder / f"{name}.parquet", index=False)
    if record.scores is not None:
        arrays = {"scores": np.ascontiguousarray(record.scores, dtype=np.float32)}
        if record.mask is not None:
            arrays["mask"] = np.ascontiguousarray(record.mask, dtype=np.uint8)
        (folder / "edges.safetensors").write_bytes(save(arrays))
    if record.resamples:
        (folder / "resamples.safetensors").write_bytes(save(_of_resamples(record.resamples)))
    files = sorted(folder.iterdir())
    for path in files:
        sync(path)
    write_json(
        folder / "manifest.json",
        {path.name: {"bytes": path.stat().st_size, "sha256": _sha256(path)} for path in files},
    )
    if seconds is not None:  # after the manifest, which knows nothing of the clock
        write_json(folder / TIMING, dict(seconds))


def unpack(files: Mapping[str, bytes], *, renamed: bool) -> Unpacked:
    """A record from the content of its files; renamed: its scalars and columns have the names of
    an earlier format.
    """
    arrays = load(files["edges.safetensors"]) if "edges.safetensors" in files else {}
    tables = {
        name.removesuffix(".parquet"): pq.ParquetFile(pa.BufferReader(content)).read(
            use_threads=False
        )
        for name, content in files.items()
        if name.endswith(".parquet")
    }
    about = about_of(files)
    if renamed:
        about["scalars"] = in_this_format(about["scalars"])
        if "curve" in tables:
            tables["curve"] = tables["curve"].rename_columns(
                [RENAMED_COLUMNS.get(name, name) for name in tables["curve"].column_names]
            )
    return Unpacked(
        **about,
        tables=tables,
        resamples=_resamples_of(load(files.get("resamples.safetensors", save({})))),
        scores=arrays.get("scores"),
        mask=arrays["mask"].astype(bool) if "mask" in arrays else None,
    )


def about_of(files: Mapping[str, bytes]) -> dict[str, Any]:
    """What a record's scalars.json says. Raises ValueError, in words, if it can't be what `write`
    wrote.
    """
    try:
        about = json.loads(files.get("scalars.json", b""))
    except (ValueError, RecursionError) as error:
        raise ValueError("scalars.json is not JSON") from error
    problem = misfit(about, About)
    if problem is None and (more := about.keys() - About.__annotations__.keys()):
        problem = f"scalars.json says {shown(min(more))}, which no record does"
    if problem is not None:
        raise ValueError(problem)
    content: dict[str, Any] = about
    return content


def in_this_format(scalars: dict[str, Scalar]) -> dict[str, Scalar]:
    """Scalars of an earlier format by the names that they have now."""
    return {RENAMED.get(name, name): value for name, value in scalars.items()}


def circuit_found(status: object) -> float | None:
    """`circuit/found` by what `circuit/status` says: 1 or 0; None where no circuit was looked
    for.
    """
    return float(status == "found") if isinstance(status, str) and status != NOT_ASKED else None


def _of_resamples(resamples: tuple[Edges | None, ...]) -> dict[str, np.ndarray]:
    """As arrays: `found` [resample], then the places and scores of those that there are."""
    arrays: dict[str, np.ndarray] = {
        "found": np.array([r is not None for r in resamples], dtype=np.uint8)
    }
    for which, edges in enumerate(resamples):
        if edges is not None:
            arrays[f"places{which}"] = np.ascontiguousarray(edges.places, dtype=np.int32)
            arrays[f"scores{which}"] = np.ascontiguousarray(edges.scores, dtype=np.float32)
    return arrays


def _resamples_of(arrays: dict[str, np.ndarray]) -> tuple[Edges | None, ...]:
    return tuple(
        Edges(arrays[f"places{which}"], arrays[f"scores{which}"]) if found else None
        for which, found in enumerate(arrays.get("found", ()))
    )


def _sha256(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()
