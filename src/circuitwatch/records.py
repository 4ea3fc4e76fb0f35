"""What is on disk: a folder for each cell (model × task × seed), and in it a record for each
checkpoint.

    cell.json                what is watched: resolved config, model, facts, graph; written once
    checkpoints.json         the schedule: step, tokens and revision of each; it may grow
    checkpoints/step000128/  scalars.json, prompts.parquet, roles.parquet; where a circuit was
                             searched patching.parquet, curve.parquet, bands.parquet,
                             resamples.safetensors and edges.safetensors ("scores" float32 and
                             "mask" uint8, both [sender, receiver]); manifest.json, written last,
                             has every file's size and hash
    skipped.json             checkpoints that were skipped: step → revision, tokens,
                             reason, whether another run should try again, and what was seen of
                             its files: it is also tried again once that has changed
    set_aside/1/step000256/  records of a training that was watched live, later than where it was
                             taken up again with other results
    damaged/step000256.1/    records that were found damaged, and made anew
    seen.json                a fingerprint of the files that each record was made from: names, sizes
                             and times; where it has changed the weights are hashed and compared
    done.json                once every checkpoint of the schedule has its record or was skipped
                             for good, and there is a record

A record is written under a temporary name and renamed, so it is there whole or not at all, and
nothing in it depends on the clock: the same run gives the same bytes. The records are the truth;
what W&B shows can be rebuilt from them. This module imports no torch, so that summaries start
quickly.
"""

from __future__ import annotations

import hashlib
import json
import math
import os
import shutil
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
from safetensors.numpy import load, save

from circuitwatch.errors import UserError
from circuitwatch.headers import About, Skipped, unsound_header
from circuitwatch.locks import hold
from circuitwatch.shapes import misfit, shown
from circuitwatch.soundness import unsound, unsound_tables

FORMAT = 5
ONE_FILE = 4
"""The format before, in which the list of checkpoints is in cell.json; it is gone on with."""
READ_TOO = (3,)
"""Earlier formats that can still be read, but not gone on with; see `in_this_format`."""
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
SCHEDULE = "checkpoints.json"
"""The list of a cell's checkpoints, which may grow."""
TIMING = "timing.json"
"""Seconds of a record's analysis: beside the record, in no manifest, equal to nothing."""
SKIPPED = "skipped.json"
NOT_ASKED = "none: not asked for"
"""What `circuit/status` says where no circuit was looked for, because nobody asked for one."""
NOT_COMPARED = (
    "out",
    "sweep",
    "cache",
    "device",
    "threads",
    "tracking",
    "experiment",
    "checkpoints",
    "follow",
    "follow_idle",
    "follow_every",
    "shard",
)
"""Parts of the configuration that do not decide what a record says, and so may differ when a cell
is resumed.
"""
TASK_FILE, TASK_HASH = "task.path", "task.sha256"
"""A user's own file of prompts may be moved, but must have the same content."""


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
    """A record as it is on disk: `CheckpointRecord`, but for its tables, by their files' names."""

    step: int
    tokens: int
    revision: str
    scalars: dict[str, Scalar]
    tables: dict[str, pa.Table]
    scores: npt.NDArray[np.float32] | None
    mask: npt.NDArray[np.bool_] | None
    resamples: tuple[Edges | None, ...]
    made_by: dict[str, Any] = field(default_factory=dict)


class Cell:
    """A cell's folder. Make it with `create` or `open`."""

    def __init__(self, folder: Path, header: dict[str, Any]) -> None:
        self.folder = folder
        self.header = header
        self.is_shared = False
        """Whether other processes write records at the same time: then what is read, changed and
        written as a whole (skipped.json, seen.json) is so under a lock.
        """

    @classmethod
    def create(cls, folder: Path, header: dict[str, Any], *, alone: bool = True) -> Cell:
        """Start a cell, or go on with one that was started with the same configuration, to whose
        checkpoints new ones may have come; what a killed write left behind is removed, if no other
        process may be writing it (alone).

        Raises UserError if the folder holds a cell of another configuration, or can't be written.
        """
        header = json.loads(json.dumps({"format": FORMAT, **header}))
        path = folder / "cell.json"
        try:
            (folder / "checkpoints").mkdir(parents=True, exist_ok=True)
            if alone:
                remove_unfinished(folder)
            if not path.exists():
                cell = cls(folder, header)
                cell._write_schedule(header["schedule"])
                _write_json(path, {k: v for k, v in header.items() if k != "schedule"})
                return cell
            _require_this_format(path)
            cell = cls.open(folder)
            _require_same(cell.header, header, folder)
            if cell.header["schedule"] != header["schedule"] or cell.header["format"] != FORMAT:
                cell._write_schedule(header["schedule"])
            if cell.header["format"] != FORMAT:
                cell.header = {**cell.header, "format": FORMAT}
                _write_json(path, {k: v for k, v in cell.header.items() if k != "schedule"})
            return cell
        except OSError as error:
            raise UserError(
                f"{folder}: can't be written ({error.strerror}); choose another folder with out="
            ) from error

    @classmethod
    def open(cls, folder: Path) -> Cell:
        """An existing cell. Raises UserError if there is none or it is of another format."""
        path = folder / "cell.json"
        if not path.is_file():
            raise UserError(f"{folder}: no cell.json there; this is not a cell of a sweep")
        header = _read_json(path)
        if "schedule" not in header and (folder / SCHEDULE).is_file():
            header["schedule"] = _read_json(folder / SCHEDULE).get("checkpoints")
        said = header.get("format")
        if type(said) is not int or said not in (FORMAT, ONE_FILE, *READ_TOO):
            raise UserError(
                f"{path}: format {shown(said)} is not {FORMAT}, the one this version reads"
            )
        if (problem := unsound_header(header)) is not None:
            at = folder / SCHEDULE if "schedule" in problem.partition(" is ")[0] else path
            raise UserError(f"{at}: damaged: {problem}; delete {folder} and run again")
        return cls(folder, header)

    @classmethod
    def finished(cls, folder: Path, config: dict[str, Any]) -> Cell | None:
        """The cell in a folder if it is done and was made with this configuration; none
        otherwise.
        """
        if not (folder / "done.json").is_file() or not (folder / "cell.json").is_file():
            return None
        cell = cls.open(folder)
        same = compared(cell.header["config"]) == compared(json.loads(json.dumps(config)))
        return cell if same and cell.is_done() else None

    def grow(self, schedule: Sequence[Mapping[str, Any]]) -> None:
        """Take more checkpoints into the schedule, which new ones may enter at any place.

        Args:
            schedule: all checkpoints, ascending by step: each with step, tokens and revision.

        Raises:
            UserError: one that the schedule has is no longer there, or says something else.
        """
        header = {**self.header, "schedule": [dict(entry) for entry in schedule]}
        _require_same(self.header, header, self.folder)
        if header != self.header:
            self._write_schedule(header["schedule"])

    def _write_schedule(self, schedule: list[dict[str, Any]]) -> None:
        _write_json(self.folder / SCHEDULE, {"checkpoints": schedule})
        self.header = {**self.header, "schedule": schedule}

    def set_aside(self, after: int) -> list[int]:
        """Take what is later than a step out of the cell: of its schedule, of what was skipped, and
        its records, which are kept in `set_aside/<n>/`.

        Args:
            after: the step up to which everything stays.

        Returns:
            The steps whose records are kept there.
        """
        steps = [step for step in self.steps_done() if step > after]
        if steps:
            kept = self.folder / "set_aside"
            kept.mkdir(exist_ok=True)
            folder = kept / str(1 + sum(1 for _ in kept.iterdir()))
            folder.mkdir()
            for step in steps:
                self._folder_of(step).rename(folder / self._folder_of(step).name)
        left = [entry for entry in self.header["schedule"] if entry["step"] <= after]
        self._write_schedule(left)
        skipped = self.skipped()
        if stay := {step: entry for step, entry in skipped.items() if int(step) <= after}:
            _write_json(self.folder / SKIPPED, stay)
        else:
            (self.folder / SKIPPED).unlink(missing_ok=True)
        return steps

    def put_away_damaged(self, of: Collection[int] | None = None) -> dict[int, str]:
        """Take records that are damaged out of the cell, into `damaged/`, so that they are made
        anew; `of` these steps alone.

        Returns:
            step → what is wrong with it.
        """
        found: dict[int, str] = {}
        for step in self.steps_done():
            if of is not None and step not in of:
                continue
            try:
                self.unpacked(step)
            except UserError as error:
                found[step] = str(error).partition("; delete")[0]
                folder = self._folder_of(step)
                kept = self.folder / "damaged"
                kept.mkdir(exist_ok=True)
                folder.rename(kept / f"{folder.name}.{sum(1 for _ in kept.iterdir()) + 1}")
        return found

    def steps_done(self) -> list[int]:
        """Steps that have a whole record, ascending."""
        folders = {path.parent.name for path in self.folder.glob("checkpoints/step*/manifest.json")}
        steps = (int(name[4:]) for name in folders if name[4:].isdecimal() and len(name) < 24)
        # Others are of a write that was killed, or were renamed by hand.
        return sorted(step for step in steps if self._folder_of(step).name in folders)

    def write(self, record: CheckpointRecord, seconds: Mapping[str, float] | None = None) -> None:
        """Write one checkpoint's record, whole or not at all.

        Args:
            record: of the checkpoint.
            seconds: that each part of the analysis took; beside the record, not part of it.

        Raises:
            ValueError: a scalar is NaN or infinite.
            OSError: it can't be written.
        """
        for name, value in record.scalars.items():
            if isinstance(value, float) and not math.isfinite(value):
                raise ValueError(
                    f"scalar {name} at step {record.step} is {value}; leave out what does not exist"
                )
        final = self._folder_of(record.step)
        partial = final.with_name(final.name + ".partial")
        shutil.rmtree(partial, ignore_errors=True)
        try:
            _write_record(partial, record, seconds)
        except OSError:  # a full disk: what is there of it is of no use, and takes room
            shutil.rmtree(partial, ignore_errors=True)
            raise
        shutil.rmtree(final, ignore_errors=True)
        partial.rename(final)
        sync(final.parent)
        if (self.folder / SKIPPED).exists():
            self._leave_recorded_out_of_skipped()

    def _leave_recorded_out_of_skipped(self) -> None:
        with self._changing():
            if skipped := self.skipped():
                _write_json(self.folder / SKIPPED, skipped)
            else:
                (self.folder / SKIPPED).unlink(missing_ok=True)

    def _changing(self) -> AbstractContextManager[None]:
        """What no other process may do meanwhile: to read a file, and write it with a change."""
        if not self.is_shared:
            return nullcontext()
        return hold(self.folder / ".files.lock", f"{self.folder}: a file is changed", wait=True)

    def seconds(self, step: int) -> dict[str, float]:
        """Seconds that each part of a checkpoint's analysis took, where they were kept."""
        path = self._folder_of(step) / TIMING
        try:
            return {str(part): float(taken) for part, taken in _read_json(path).items()}
        except (OSError, UserError, TypeError, ValueError):
            return {}  # nothing depends on them

    def seen(self) -> dict[int, str]:
        """Step → a fingerprint of the files that a checkpoint's record was made from."""
        path = self.folder / "seen.json"
        if not path.exists():
            return {}
        content = _read_json(path)
        problem = misfit(content, Mapping[str, str])
        problem = problem or next(
            (f"{shown(k)} is no step" for k in content if not _is_step(k)), None
        )
        if problem is not None:
            raise UserError(f"{path}: damaged: {problem}; delete it and run the same command again")
        return {int(step): seen for step, seen in content.items()}

    def note_seen(self, step: int, fingerprint: str) -> None:
        """Note a fingerprint of the files that a checkpoint's record was made from."""
        with self._changing():
            noted = {str(k): v for k, v in self.seen().items()} | {str(step): fingerprint}
            _write_json(self.folder / "seen.json", noted)

    def entry_of(self, step: int) -> dict[str, Any]:
        """What a checkpoint's record says that it is of, as the schedule has it: step, tokens and
        revision; also where the schedule does not have it yet. Raises UserError if it is damaged.
        """
        said = self._about(step)
        return {name: said[name] for name in ("step", "tokens", "revision")}

    def weights_of(self, step: int) -> str | None:
        """The hash of the weights that a checkpoint's record was made from, if it says one.

        Raises UserError if the record is damaged.
        """
        scalars = self.scalars_of(step)
        return str(scalars[WEIGHTS_SHA256]) if WEIGHTS_SHA256 in scalars else None

    def scalars_of(self, step: int) -> dict[str, Scalar]:
        """The scalars of a checkpoint's record, without the rest. Raises UserError if they are
        damaged.
        """
        return dict(self._about(step)["scalars"])

    def _about(self, step: int) -> dict[str, Any]:
        try:
            return _about_of(self.contents(step, "scalars.json"))
        except ValueError as error:
            raise _damaged(self._folder_of(step), f"can't be read ({error})") from error

    def skip(
        self,
        step: int,
        tokens: int,
        revision: str,
        reason: str,
        *,
        again: bool,
        seen: str | None = None,
    ) -> None:
        """Record why a checkpoint has no record.

        Args:
            step: The checkpoint's.
            tokens: Training tokens seen by then.
            revision: Its name.
            reason: In words.
            again: Whether another run of the same command should try it once more.
            seen: A fingerprint of its files; it is worth another try once that has changed.
        """
        entry = {"tokens": tokens, "revision": revision, "reason": reason, "again": again}
        if seen is not None:
            entry["seen"] = seen
        with self._changing():
            _write_json(self.folder / SKIPPED, {**self.skipped(), str(step): entry})

    def skipped(self) -> dict[str, dict[str, Any]]:
        """Checkpoints without a record and why: step → tokens, revision, reason, again, and seen
        where its files could be looked at; ascending by step.
        """
        path = self.folder / SKIPPED
        entries: dict[str, dict[str, Any]] = _read_json(path) if path.exists() else {}
        for step, entry in entries.items():
            problem = None if _is_step(step) else f"{shown(step)} is no step"
            if problem := problem or misfit(entry, Skipped, step):
                raise UserError(
                    f"{path}: damaged: {problem}; delete it and run the same command again"
                )
        recorded = set(self.steps_done()) if entries else set()
        known = {int(step): entry for step, entry in entries.items()}
        return {str(step): known[step] for step in sorted(known.keys() - recorded)}

    def read(self, step: int) -> CheckpointRecord:
        """One checkpoint's record.

        Raises UserError if a file is missing or is not what the manifest says.
        """
        record = self.unpacked(step)
        tables = {name: table.to_pandas() for name, table in record.tables.items()}
        return CheckpointRecord(
            step=record.step,
            tokens=record.tokens,
            revision=record.revision,
            scalars=record.scalars,
            prompts=tables["prompts"],
            roles=tables["roles"],
            curve=tables.get("curve"),
            patching=tables.get("patching"),
            bands=tables.get("bands"),
            resamples=record.resamples,
            scores=record.scores,
            mask=record.mask,
            made_by=record.made_by,
        )

    def unpacked(self, step: int) -> Unpacked:
        """One checkpoint's record with its tables as Arrow's, which are quicker to stack.

        Raises UserError if a file is missing, is not what the manifest says, or says what no record
        of this checkpoint can (`soundness`).
        """
        folder = self._folder_of(step)
        if not (folder / "manifest.json").is_file():
            raise UserError(f"{folder}: no record of step {step}")
        files = self.contents(step)
        try:
            record = _unpack(files, renamed=self.header["format"] in READ_TOO)
        except (
            Exception
        ) as error:  # whatever the libraries raise of bytes that are no file of theirs
            why = " ".join(str(error).split())[:200] or type(error).__name__
            raise _damaged(folder, f"can't be read ({why})") from error
        problem = f"it is of step {record.step}" if record.step != step else None
        if problem is None and self.header["format"] in READ_TOO:
            problem = unsound_tables(record)
        elif problem is None:
            problem = unsound(record, self.header)
        if problem is not None:
            raise _damaged(folder, problem)
        return record

    def manifest_bytes(self, step: int) -> bytes:
        """A record's manifest, which says what is in it."""
        return (self._folder_of(step) / "manifest.json").read_bytes()

    def record_files(self) -> list[Path]:
        """The files of all records and of what stands beside them, `cell.json` apart."""
        own = [self.folder / name for name in (SKIPPED, "done.json")]
        folders = map(self._folder_of, self.steps_done())
        files = [path for folder in folders for path in sorted(folder.iterdir())]
        return files + [path for path in own if path.is_file()]

    def contents(self, step: int, *names: str) -> dict[str, bytes]:
        """The content of some files of a record, or of all, each read once.

        Raises UserError if one is not what the manifest says.
        """
        folder = self._folder_of(step)
        manifest, contents = _read_json(folder / "manifest.json"), {}
        unlisted = {path.name for path in folder.iterdir()} - {*manifest, "manifest.json", TIMING}
        if unlisted and not names:
            raise _damaged(folder, f"{min(unlisted)} is not in its manifest")
        for name in names or manifest:
            entry, path = manifest.get(name), folder / name
            if Path(name).name != name:  # a file elsewhere is none of this record
                raise _damaged(folder, f"its manifest lists {shown(name)}")
            try:
                contents[name] = path.read_bytes() if path.is_file() else b""
            except OSError as error:
                raise UserError(f"{path}: can't be read ({error.strerror or error})") from error
            sha256 = hashlib.sha256(contents[name]).hexdigest()
            if not isinstance(entry, dict) or entry.get("sha256") != sha256:
                raise UserError(
                    f"{path}: damaged; delete {folder} and run the same command again to "
                    f"make it anew"
                )
        return contents

    def records(self) -> Iterator[CheckpointRecord]:
        """All records in the order of their steps."""
        return (self.read(step) for step in self.steps_done())

    def scalars_table(self) -> pd.DataFrame:
        """One row a checkpoint: step, tokens, then the scalars."""
        rows = [{"step": r.step, "tokens": r.tokens, **r.scalars} for r in self.records()]
        return pd.DataFrame(rows, columns=None if rows else ["step", "tokens"])

    def roles_table(self) -> pd.DataFrame:
        """Columns step, tokens, then those of a record's roles."""
        return self._stacked("roles")

    def prompts_table(self) -> pd.DataFrame:
        """Columns step, tokens, prompt, value, corrupted, correct, log_prob."""
        return self._stacked("prompts")

    def mark_done(self) -> None:
        """Record that every checkpoint of the schedule has its record or was skipped for good."""
        if (self.folder / SKIPPED).exists():
            self._leave_recorded_out_of_skipped()  # a kill may have left them there
        _write_json(self.folder / "done.json", {"checkpoints": len(self.steps_done())})

    def reopen(self) -> None:
        """Take back that the cell is done: more checkpoints are waited for."""
        (self.folder / "done.json").unlink(missing_ok=True)

    def is_done(self) -> bool:
        """Whether every checkpoint of the schedule has its record or was skipped for good."""
        scheduled = {checkpoint["step"] for checkpoint in self.header["schedule"]}
        try:
            said = _read_json(self.folder / "done.json").get("checkpoints")
        except (OSError, UserError):  # not there, or what a crash left of it
            return False
        recorded = self.steps_done()
        is_count = isinstance(said, int) and 0 <= said <= len(recorded)
        return is_count and (bool(recorded) or not scheduled) and scheduled <= self.settled()

    def settled(self) -> set[int]:
        """Steps with which nothing is left to do: that have a record, or were skipped for good."""
        skipped = {int(step) for step, entry in self.skipped().items() if not entry["again"]}
        return {*self.steps_done(), *skipped}

    def said_done(self) -> bool:
        """Whether the cell was finished once: where `is_done` is not so now, something is lost."""
        return (self.folder / "done.json").exists()

    def _stacked(self, table: str) -> pd.DataFrame:
        frames = [getattr(r, table).assign(step=r.step, tokens=r.tokens) for r in self.records()]
        if not frames:
            return pd.DataFrame(columns=["step", "tokens"])
        stacked = pd.concat(frames, ignore_index=True)
        return stacked[
            [
                "step",
                "tokens",
                *(name for name in stacked.columns if name not in ("step", "tokens")),
            ]
        ]

    def _folder_of(self, step: int) -> Path:
        return self.folder / "checkpoints" / f"step{step:06}"


def _write_record(
    folder: Path, record: CheckpointRecord, seconds: Mapping[str, float] | None
) -> None:
    """Write a record's files into a new folder, the manifest last."""
    folder.mkdir(parents=True)
    content = {
        "step": record.step,
        "tokens": record.tokens,
        "revision": record.revision,
        "scalars": record.scalars,
    }
    if record.made_by:
        content["made_by"] = record.made_by
    _write_json(folder / "scalars.json", content)
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
    _write_json(
        folder / "manifest.json",
        {path.name: {"bytes": path.stat().st_size, "sha256": _sha256(path)} for path in files},
    )
    if seconds is not None:  # after the manifest, which knows nothing of the clock
        _write_json(folder / TIMING, dict(seconds))


def remove_unfinished(folder: Path) -> None:
    """Remove what killed writes left behind in a cell's folder."""
    for leftover in (folder / "checkpoints").glob("*.partial"):
        shutil.rmtree(leftover)


def _unpack(files: Mapping[str, bytes], *, renamed: bool) -> Unpacked:
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
    about = _about_of(files)
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


def _about_of(files: Mapping[str, bytes]) -> dict[str, Any]:
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


def _is_step(name: str) -> bool:
    """Whether a key of a file beside the records is a step."""
    return name.isascii() and name.isdecimal() and len(name) < 19


def _damaged(folder: Path, problem: str) -> UserError:
    return UserError(
        f"{folder}: damaged: {problem}; delete it and run the same command again to make it anew"
    )


def in_this_format(scalars: dict[str, Scalar]) -> dict[str, Scalar]:
    """Scalars of an earlier format by the names that they have now."""
    return {RENAMED.get(name, name): value for name, value in scalars.items()}


def open_cells(headers: Iterable[Path]) -> tuple[list[Cell], list[str]]:
    """The cells of some `cell.json`, and why others can't be opened."""
    cells: list[Cell] = []
    failures: list[str] = []
    for path in headers:
        try:
            cells.append(Cell.open(path.parent))
        except UserError as error:
            failures.append(str(error))
    return cells, failures


def circuit_found(status: object) -> float | None:
    """`circuit/found` by what `circuit/status` says: 1 or 0; None where no circuit was looked
    for.
    """
    return float(status == "found") if isinstance(status, str) and status != NOT_ASKED else None


def find_cells(sweep: Path) -> list[Cell]:
    """All cells of a sweep's folder, by path."""
    return [Cell.open(path.parent) for path in sorted(sweep.glob("*/*/seed*/cell.json"))]


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


def _require_this_format(path: Path) -> None:
    its_format = _read_json(path).get("format")
    if its_format in READ_TOO:
        raise UserError(
            f"{path}: format {its_format} is of an earlier version; `circuitwatch summarize` "
            f"reads it, but no run can go on with it: choose another sweep= name or delete "
            f"{path.parent}"
        )


def _require_same(old: dict[str, Any], new: dict[str, Any], folder: Path) -> None:
    before, now = compared(old["config"]), compared(new["config"])
    if before.get(TASK_HASH) != now.get(TASK_HASH):
        raise UserError(
            f"{folder} was made from a file of prompts with another content than "
            f"{new['config']['task']['path']} has now; choose another sweep= name or delete that "
            f"folder"
        )
    for key in sorted(before.keys() | now.keys()):
        if before.get(key) != now.get(key):
            raise UserError(
                f"{folder} was made with {key}={before.get(key)}, you ask for "
                f"{now.get(key)}; choose another sweep= name or delete that folder"
            )
    gone = [entry for entry in old["schedule"] if entry not in new["schedule"]]
    if gone:
        raise UserError(
            f"{folder} was made with another list of checkpoints: {gone[0]['revision']} (step "
            f"{gone[0]['step']}, {gone[0]['tokens']} tokens) is not among those there are now; "
            f"choose another sweep= name or delete that folder"
        )


def compared(config: dict[str, Any]) -> dict[str, Any]:
    """The parts of a configuration that decide what records say."""
    deciding = _flat({key: value for key, value in config.items() if key not in NOT_COMPARED})
    return {key: value for key, value in deciding.items() if key != TASK_FILE}


def _flat(tree: Any, prefix: str = "") -> dict[str, Any]:
    """Nested dictionaries as dotted keys."""
    if not isinstance(tree, dict):
        return {prefix: tree}
    return {
        key: value
        for name, branch in tree.items()
        for key, value in _flat(branch, f"{prefix}.{name}" if prefix else name).items()
    }


def _read_json(path: Path) -> dict[str, Any]:
    """A file that holds an object. Raises UserError if it doesn't."""
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except (ValueError, RecursionError) as error:
        raise UserError(f"{path}: damaged: not JSON; delete {path.parent} and run again") from error
    except OSError as error:
        raise UserError(f"{path}: can't be read ({error.strerror or error})") from error
    if not isinstance(content, dict):
        raise UserError(f"{path}: damaged: not a JSON object; delete {path.parent} and run again")
    return content


def _write_json(path: Path, content: Any) -> None:
    """Replace a file in one motion."""
    partial = path.with_name(path.name + ".partial")
    text = json.dumps(content, indent=1, sort_keys=True, allow_nan=False) + "\n"
    try:
        partial.write_text(text, encoding="utf-8")
        sync(partial)
        os.replace(partial, path)
    except OSError:
        partial.unlink(missing_ok=True)
        raise


def sync(path: Path) -> None:
    """Make sure that a file, or a folder's list of names, is on disk."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _sha256(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()
