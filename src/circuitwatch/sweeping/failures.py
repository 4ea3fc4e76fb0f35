"""Why cells failed, a file for each in the sweep's folder. What names this machine is taken out."""

from __future__ import annotations

import json
import os
import re
import sys
import traceback
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path

from circuitwatch.errors import UserError

FAILED = "failed"


@dataclass(frozen=True)
class Failure:
    """Why the last job of a cell failed.

    name: short; error: one line; when: UTC, to the second; log: the file with the traceback as
    seen from the sweep's folder, None where the error says all there is; job: the number that the
    cluster gave it, if one did.
    """

    name: str
    error: str
    when: str
    log: str | None = None
    job: str | None = None

    def said(self, sweep: Path) -> str:
        """What people are told of it."""
        log = f" (its log is {sweep / self.log})" if self.log else ""
        return f"{self.name}: {self.error}{log}"


def write_failure(sweep: Path, name: str, error: BaseException) -> Failure:
    """Note that a cell's job failed, with a log unless it is the user's to mend.

    Raises OSError if it can't be written.
    """
    folder = sweep / FAILED
    folder.mkdir(parents=True, exist_ok=True)
    log = None
    if not isinstance(error, UserError):
        log = f"{FAILED}/{_file_name(name)}.log"
        text = "".join(traceback.format_exception(error))
        (sweep / log).write_text(without_places(text), encoding="utf-8")
    failure = Failure(
        name,
        without_places(one_line_of(error)),
        datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ"),
        log,
        os.environ.get("SLURM_JOB_ID"),
    )
    path = folder / f"{_file_name(name)}.json"
    partial = path.with_suffix(f".{os.getpid()}.partial")
    partial.write_text(json.dumps(asdict(failure), indent=1) + "\n", encoding="utf-8")
    os.replace(partial, path)
    return failure


def forget_failure(sweep: Path, name: str) -> None:
    """A cell's job starts again, or ended well: what was wrong before is no more."""
    for suffix in (".json", ".log"):
        (sweep / FAILED / f"{_file_name(name)}{suffix}").unlink(missing_ok=True)
    folder = sweep / FAILED
    if folder.is_dir() and not any(folder.iterdir()):
        try:
            folder.rmdir()
        except OSError:
            return  # another job's failure has come meanwhile


def read_failures(sweep: Path) -> list[Failure]:
    """The failures of a sweep by name; a file that is none is left out."""
    failures = []
    for path in sorted((sweep / FAILED).glob("*.json")):
        try:
            said = json.loads(path.read_text(encoding="utf-8"))
            name, error, when = (str(said[key]) for key in ("name", "error", "when"))
        except (OSError, ValueError, LookupError, TypeError, RecursionError):
            continue
        log, job = (None if said.get(key) is None else str(said[key]) for key in ("log", "job"))
        failures.append(Failure(name, error, when, log, job))
    return failures


def say(line: str) -> None:
    """Say an error while a sweep goes on."""
    print(f"circuitwatch: error: {line}", file=sys.stderr, flush=True)


def one_line_of(error: BaseException) -> str:
    """What is wrong, in one line: of an error that is not the user's also its kind."""
    text = " ".join(str(error).split())
    return text if isinstance(error, UserError) else f"{type(error).__name__}: {text}"


def without_places(text: str) -> str:
    """A text without the folders of this machine: the working folder, those of packages, the
    home.
    """
    for place in sorted({*filter(None, sys.path), sys.prefix}, key=len, reverse=True):
        if len(Path(place).parts) > 2:
            text = text.replace(f"{place}/", "")
    for place, instead in ((str(Path.cwd()), ""), (str(Path.home()), "~/")):
        if len(Path(place).parts) > 1:
            text = text.replace(f"{place}/", instead)
    return text


def _file_name(name: str) -> str:
    """A cell's short name as the name of a file."""
    return re.sub(r"[^\w.=+-]+", "__", name)[:200]
