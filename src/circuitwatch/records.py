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
                             for good, and there is a record: hashes of the others, see `sealing`

A record is written under a temporary name and renamed, so it is there whole or not at all, and
nothing in it depends on the clock: the same run gives the same bytes. The records are the truth;
what W&B shows can be rebuilt from them. This module imports no torch, so that summaries start
quickly.
"""

from __future__ import annotations

import hashlib
import json
import math
import shutil
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path
from typing import Any

import pandas as pd

from circuitwatch.comparing import compared, require_same
from circuitwatch.errors import UserError
from circuitwatch.headers import Skipped, unsound_header
from circuitwatch.json_files import read_json, sync, write_json
from circuitwatch.locks import hold
from circuitwatch.record_files import (
    TIMING,
    WEIGHTS_SHA256,
    CheckpointRecord,
    Scalar,
    Unpacked,
    about_of,
    unpack,
    write_record,
)
from circuitwatch.sealing import BESIDE, DONE, MANIFEST, broken, identity, seal, sealed_hashes
from circuitwatch.shapes import misfit, shown
from circuitwatch.soundness import unsound, unsound_tables

FORMAT = 5
ONE_FILE = 4
"""The format before, in which the list of checkpoints is in cell.json; it is gone on with."""
READ_TOO = (3,)
"""Earlier formats that can still be read, but not gone on with; see `in_this_format`."""
SCHEDULE = "checkpoints.json"
"""The list of a cell's checkpoints, which may grow."""
SKIPPED = "skipped.json"


class Cell:
    """A cell's folder. Make it with `create` or `open`."""

    def __init__(self, folder: Path, header: dict[str, Any]) -> None:
        self.folder = folder
        self.header = header
        self.identity = identity(header)
        """The hash of what decides its records, which each of them says."""
        self._sealed: Mapping[str, str] | None = None
        """What the seal says, once it was read: every record asks."""
        self.is_shared = False
        """Whether other processes write records at the same time: then what is read, changed and
        written as a whole (skipped.json, seen.json) is so under a lock.
        """

    def shown_as(self, header: dict[str, Any]) -> Cell:
        """The same cell by a header with other names."""
        shown = Cell(self.folder, header)
        shown.identity = self.identity
        return shown

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
                cell._require_own_records(path)
                cell._write_schedule(header["schedule"])
                write_json(path, {k: v for k, v in header.items() if k != "schedule"})
                return cell
            _require_this_format(path)
            cell = cls.open(folder)
            require_same(cell.header, header, folder)
            if cell.header["schedule"] != header["schedule"] or cell.header["format"] != FORMAT:
                cell._write_schedule(header["schedule"])
            if cell.header["format"] != FORMAT:
                cell.header = {**cell.header, "format": FORMAT}
                write_json(path, {k: v for k, v in cell.header.items() if k != "schedule"})
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
            if has_records(folder):
                raise UserError(
                    f"{folder}: its records are there without the cell.json that they were made "
                    f"under; put it back, or delete {folder} and run again"
                )
            raise UserError(f"{folder}: no cell.json there; this is not a cell of a sweep")
        header = read_json(path)
        if "schedule" not in header and (folder / SCHEDULE).is_file():
            header["schedule"] = read_json(folder / SCHEDULE).get("checkpoints")
        said = header.get("format")
        if type(said) is not int or said not in (FORMAT, ONE_FILE, *READ_TOO):
            raise UserError(
                f"{path}: format {shown(said)} is not {FORMAT}, the one this version reads"
            )
        if (problem := unsound_header(header)) is not None:
            at = folder / SCHEDULE if "schedule" in problem.partition(" is ")[0] else path
            raise UserError(f"{at}: damaged: {problem}; delete {folder} and run again")
        cell = cls(folder, header)
        cell._require_own_records(path)
        return cell

    def _require_own_records(self, path: Path) -> None:
        """Raise UserError if no record is of this cell.json: then it is the one that is wrong."""
        is_strange = False
        for step in self.steps_done():
            try:
                said = read_json(self._folder_of(step) / "scalars.json").get("cell")
            except UserError:  # it is told where the record is read
                continue
            if said is None or said == self.identity:
                return
            is_strange = True
        if is_strange:
            raise UserError(
                f"{path}: damaged: it is not the one that the records beside it were made under; "
                f"put that one back, or delete {self.folder} and run again"
            )

    @classmethod
    def finished(cls, folder: Path, config: dict[str, Any]) -> Cell | None:
        """The cell in a folder if it is done and was made with this configuration; none
        otherwise.
        """
        if not (folder / DONE).is_file() or not (folder / "cell.json").is_file():
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
        require_same(self.header, header, self.folder)
        if header != self.header:
            self._write_schedule(header["schedule"])

    def _write_schedule(self, schedule: list[dict[str, Any]]) -> None:
        write_json(self.folder / SCHEDULE, {"checkpoints": schedule})
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
        self.reopen()
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
            write_json(self.folder / SKIPPED, stay)
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
        manifests = self.folder.glob("checkpoints/step*/manifest.json")
        folders = {path.parent.name for path in manifests if path.is_file()}
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
            write_record(partial, record, seconds, self.identity)
        except OSError:  # a full disk: what is there of it is of no use, and takes room
            shutil.rmtree(partial, ignore_errors=True)
            raise
        self.reopen()
        shutil.rmtree(final, ignore_errors=True)
        partial.rename(final)
        sync(final.parent)
        if (self.folder / SKIPPED).exists():
            self._leave_recorded_out_of_skipped()

    def _leave_recorded_out_of_skipped(self) -> None:
        with self._changing():
            if skipped := self.skipped():
                write_json(self.folder / SKIPPED, skipped)
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
            return {str(part): float(taken) for part, taken in read_json(path).items()}
        except (OSError, UserError, TypeError, ValueError, OverflowError):
            return {}  # nothing depends on them

    def seen(self) -> dict[int, str]:
        """Step → a fingerprint of the files that a checkpoint's record was made from."""
        path = self.folder / "seen.json"
        if not path.exists():
            return {}
        content = read_json(path)
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
            write_json(self.folder / "seen.json", noted)

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
            return about_of(self.contents(step, "scalars.json"))
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
        self.reopen()
        entry = {"tokens": tokens, "revision": revision, "reason": reason, "again": again}
        if seen is not None:
            entry["seen"] = seen
        with self._changing():
            write_json(self.folder / SKIPPED, {**self.skipped(), str(step): entry})

    def skipped(self) -> dict[str, dict[str, Any]]:
        """Checkpoints without a record and why: step → tokens, revision, reason, again, and seen
        where its files could be looked at; ascending by step.
        """
        path = self.folder / SKIPPED
        entries: dict[str, dict[str, Any]] = read_json(path) if path.exists() else {}
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
        if not (folder / MANIFEST).is_file():
            raise UserError(f"{folder}: no record of step {step}")
        manifest = self.manifest_bytes(step)
        files = self.contents(step)
        try:
            record = unpack(files, renamed=self.header["format"] in READ_TOO)
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
        if problem is None and record.cell not in (None, self.identity):
            problem = "it is of another cell"
        if self._sealed is None:
            self._sealed = sealed_hashes(self.folder, self.identity)
        sealed = self._sealed.get(f"checkpoints/{folder.name}/{MANIFEST}")
        if problem is None and sealed not in (None, hashlib.sha256(manifest).hexdigest()):
            problem = "it is not the record that was there when the cell was done"
        if problem is not None:
            raise _damaged(folder, problem)
        return record

    def manifest_bytes(self, step: int) -> bytes:
        """A record's manifest, which says what is in it."""
        return (self._folder_of(step) / MANIFEST).read_bytes()

    def record_files(self) -> list[Path]:
        """The files of all records and of what stands beside them, `cell.json` apart."""
        own = [self.folder / name for name in (*BESIDE, DONE)]
        folders = map(self._folder_of, self.steps_done())
        files = [path for folder in folders for path in sorted(folder.iterdir())]
        return files + [path for path in own if path.is_file()]

    def contents(self, step: int, *names: str) -> dict[str, bytes]:
        """The content of some files of a record, or of all, each read once.

        Raises UserError if one is not what the manifest says.
        """
        folder = self._folder_of(step)
        manifest, contents = read_json(folder / MANIFEST), {}
        unlisted = {path.name for path in folder.iterdir()} - {*manifest, MANIFEST, TIMING}
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
        seal(self.folder, self.identity, self._record_folders())
        self._sealed = None

    def reopen(self) -> None:
        """Take back that the cell is done: more checkpoints are waited for."""
        (self.folder / DONE).unlink(missing_ok=True)
        self._sealed = None

    def is_done(self) -> bool:
        """Whether every checkpoint of the schedule has its record or was skipped for good, and all
        is as it was when that was so.
        """
        scheduled = {checkpoint["step"] for checkpoint in self.header["schedule"]}
        if not self.said_done() or self.not_as_sealed() is not None:
            return False
        return (bool(self.steps_done()) or not scheduled) and scheduled <= self.settled()

    def not_as_sealed(self) -> str | None:
        """What is no longer as it was when the cell was done, in words; None where all is."""
        return broken(self.folder, self.identity, self._record_folders())

    def settled(self) -> set[int]:
        """Steps with which nothing is left to do: that have a record, or were skipped for good."""
        skipped = {int(step) for step, entry in self.skipped().items() if not entry["again"]}
        return {*self.steps_done(), *skipped}

    def said_done(self) -> bool:
        """Whether the cell was finished once: where `is_done` is not so now, something is lost."""
        return (self.folder / DONE).exists()

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

    def _record_folders(self) -> list[Path]:
        return [self._folder_of(step) for step in self.steps_done()]

    def _folder_of(self, step: int) -> Path:
        return self.folder / "checkpoints" / f"step{step:06}"


def remove_unfinished(folder: Path) -> None:
    """Remove what killed writes left behind in a cell's folder."""
    for leftover in (folder / "checkpoints").glob("*.partial"):
        shutil.rmtree(leftover)


def _is_step(name: str) -> bool:
    """Whether a key of a file beside the records is a step."""
    return name.isascii() and name.isdecimal() and len(name) < 19


def _damaged(folder: Path, problem: str) -> UserError:
    return UserError(
        f"{folder}: damaged: {problem}; delete it and run the same command again to make it anew"
    )


def has_records(folder: Path) -> bool:
    """Whether there are records in a folder, which make it a cell's."""
    return any(True for _ in folder.glob("checkpoints/step*/manifest.json"))


def cell_folders(below: Path, depth: int = 3) -> list[Path]:
    """The folders of cells, by path, also of those that have lost their cell.json.

    Args:
        below: of a sweep: three folders above its cells; of a model: two; of a task: one; of a
            cell: none.
        depth: how many.
    """
    pattern = "/".join(["*", "*", "seed*"][3 - depth :])
    folders = below.glob(pattern) if depth else [below]
    return sorted(f for f in folders if (f / "cell.json").exists() or has_records(f))


def open_cells(folders: Iterable[Path]) -> tuple[list[Cell], list[str]]:
    """The cells in some folders, and why others can't be opened."""
    cells: list[Cell] = []
    failures: list[str] = []
    for folder in folders:
        try:
            cells.append(Cell.open(folder))
        except UserError as error:
            failures.append(str(error))
    return cells, failures


def find_cells(sweep: Path) -> list[Cell]:
    """All cells of a sweep's folder, by path."""
    return [Cell.open(folder) for folder in cell_folders(sweep)]


def _require_this_format(path: Path) -> None:
    its_format = read_json(path).get("format")
    if its_format in READ_TOO:
        raise UserError(
            f"{path}: format {its_format} is of an earlier version; `circuitwatch summarize` "
            f"reads it, but no run can go on with it: choose another sweep= name or delete "
            f"{path.parent}"
        )
