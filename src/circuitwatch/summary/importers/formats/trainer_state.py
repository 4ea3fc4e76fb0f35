"""`trainer_state.json`, which `transformers.Trainer` leaves in each checkpoint: its `log_history`
is a list of `{"step": 500, "epoch": 0.4, "loss": 2.3, …}`, a curve a key.

Recognised by a `log_history` that is a list. The last checkpoint of a run has the log of all before
it, so of a folder with several (`<run>/checkpoint-500/trainer_state.json`) that of the largest
`global_step` is read, and it is said where an earlier one disagrees. The run's folder is the model.
Tokens are in the log where the training counted them (`num_input_tokens_seen`); else
`tokens_per_step=` says what a step has. Epochs, times, speeds and the schedule of the learning rate
are no curves, nor is `train_loss`, a mean over the whole run.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from circuitwatch.errors import UserError
from circuitwatch.summary.curves import Curves, named
from circuitwatch.summary.importers.format import (
    RUN,
    Asked,
    File,
    Format,
    finish,
    left_out,
    number_of,
)
from circuitwatch.summary.importers.formats.wide import CLOCKS

NAME = "trainer_state.json"
LOG, STEP, TOKENS = "log_history", "step", "num_input_tokens_seen"
WHOLE_RUN = ("train_loss",)
Log = dict[tuple[str, float], float]
"""(key, step) → value."""


def _is_state(content: Any) -> bool:
    return isinstance(content, dict) and isinstance(content.get(LOG), list)


def _read(files: Sequence[File], root: Path, asked: Asked) -> Curves:
    source = root.name or str(root)
    folders: dict[Path, list[File]] = {}
    bad: dict[str, list[str]] = {}
    for file in files:
        if _is_state(file.json):
            folders.setdefault(_run_of(file.path), []).append(file)
        else:
            bad.setdefault(f"no {LOG} in it", []).append(_short(file.path))
    parts: list[pd.DataFrame] = []
    notes = left_out(bad)
    runs = _names(folders, root)
    for run, states in runs.items():
        rows, said = _rows(run, sorted(states, key=_last_step))
        parts.append(rows)
        notes += said
    rows = pd.concat(parts, ignore_index=True) if parts else pd.DataFrame()
    if rows.empty:
        why = "; ".join(notes) or f"its {LOG} has no number beside a step"
        raise UserError(f"{root}: no curve in it: {why}")
    if "model" not in asked.constants:
        notes.append(
            f'models are called after the folders of their runs: {named(runs)} (columns=model:"…" '
            f"would name one)"
        )
    if rows["tokens"].isna().all() and not asked.tokens_per_step:
        notes.append(
            "the log has steps and no tokens: give tokens_per_step=, the batch over all devices × "
            "gradient accumulation × tokens of a sequence"
        )
    return finish(rows, source=source, asked=asked, notes=notes, from_path=("model", "task"))


def _rows(run: str, states: Sequence[File]) -> tuple[pd.DataFrame, list[str]]:
    """Rows of a run by its last state, and notes on where earlier ones disagree."""
    notes: list[str] = []
    last = states[-1]
    log, tokens, dropped = _log(last.json[LOG])
    if dropped:
        notes.append(f"{run}: {named(dropped)} in its log are no curves: left out")
    for state in states[:-1]:
        earlier, _, _ = _log(state.json[LOG])
        lost = [key for key in earlier if key not in log]
        odd = [key for key in earlier if key in log and not _same(earlier[key], log[key])]
        for keys, what in ((odd, "has other values of"), (lost, "also has")):
            if keys:
                shown = named(f"{name} at step {step:g}" for name, step in keys)
                notes.append(
                    f"{run}: {_short(state.path)} {what} {shown} than {_short(last.path)}, which "
                    f"is last and is used"
                )
    return (
        pd.DataFrame(
            [
                {
                    "model": run,
                    "task": RUN,
                    "quantity": name,
                    "step": step,
                    "tokens": tokens.get(step, np.nan),
                    "value": value,
                }
                for (name, step), value in log.items()
            ],
            columns=["model", "task", "quantity", "step", "tokens", "value"],
        ),
        notes,
    )


def _log(history: Sequence[Any]) -> tuple[Log, dict[float, float], list[str]]:
    """Values, tokens by step, and the keys that are no curves; of a step that was logged again the
    later entry counts.
    """
    log: Log = {}
    tokens: dict[float, float] = {}
    dropped: dict[str, None] = {}
    for entry in history:
        step = number_of(entry.get(STEP)) if isinstance(entry, Mapping) else None
        if step is None:
            dropped["entries without a step"] = None
            continue
        for key, given in entry.items():
            value = number_of(given)
            if key == TOKENS and value is not None:
                tokens[step] = value
            elif key in (STEP, TOKENS):
                continue
            elif value is None or key in WHOLE_RUN or CLOCKS.search(key):
                dropped[key] = None
            else:
                log[key, step] = value
    return log, tokens, list(dropped)


def _same(a: float, b: float) -> bool:
    return a == b or (np.isnan(a) and np.isnan(b))


def _last_step(file: File) -> float:
    return number_of(file.json.get("global_step")) or 0.0


def _run_of(path: Path) -> Path:
    """The folder of a run: the one above `checkpoint-…`."""
    folder = path.resolve().parent
    return folder.parent if folder.name.startswith("checkpoint-") else folder


def _names(folders: Mapping[Path, list[File]], root: Path) -> dict[str, list[File]]:
    """The states of runs by the names of their folders, or by their paths where two have the same
    name.
    """
    names = [folder.name for folder in folders]
    return {
        (
            folder.name
            if names.count(folder.name) == 1
            else folder.relative_to(root.resolve()).as_posix()
        ): states
        for folder, states in folders.items()
    }


def _short(path: Path) -> str:
    return f"{path.parent.name}/{path.name}"


FORMAT = Format(
    "trainer-state",
    f"{NAME} of transformers (`{LOG}`)",
    (NAME,),
    lambda file, given: _is_state(file.json),
    _read,
)
