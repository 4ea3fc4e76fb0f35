"""Which model and checkpoint a result file of lm-evaluation-harness is of.

What the file says counts first: `pretrained` and `revision` in `config.model_args`, `model_name`;
only where it says nothing do the names of the file and its folders. A path to weights is the model
of the folder that holds the checkpoints (`runs/mymodel/checkpoint-1000` is step 1000 of `mymodel`).
The registry's name is used where the file names the repository of a model that it knows. So an
ablation or an intervention in a folder named after its base model is not that model.

Two files for the same model, checkpoint, task and quantity are never silently one: equal values
count once, different ones are two models if the files say in what they differ (such as `dtype`),
and an error otherwise.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from circuitwatch.errors import UserError
from circuitwatch.summary.curves import differ, like_the_first, named, two_values
from circuitwatch.summary.importers.names import Checkpoint, read_name
from circuitwatch.summary.importers.registry import Registry

KEY = ["model", "stage", "ingredient", "seed", "step", "tokens", "task", "quantity"]
"""What makes a value of these files."""
NO_VARIANT = frozenset(
    "pretrained revision device device_map batch_size use_accelerate parallelize cache_dir "
    "trust_remote_code tokenizer low_cpu_mem_usage max_batch_size".split()
)
"""Arguments of a model that its results don't depend on, or that name it."""
RESULT_FILE = "results"
"""How the harness calls its files, of whatever model."""


def checkpoint_of(
    path: Path, root: Path, content: dict[str, Any], registry: Registry
) -> dict[str, Any] | str:
    """Model and checkpoint of a result, or why it can't be used.

    Returns:
        model (its short name), whole (its name with all that tells it apart), step, tokens, stage,
        ingredient, seed (missing where not said), file, limit, variant.
    """
    config = content.get("config") or {}
    if not isinstance(config, dict):
        return "its `config` is no group of settings"
    arguments = _arguments(config.get("model_args"))
    weights = str(arguments.get("pretrained") or content.get("model_name") or "").rstrip("/")
    revision = str(arguments.get("revision") or config.get("model_revision") or "")
    inner = path.relative_to(root).parent.parts if path != root else ()
    folders = [*inner[::-1], root.name if path != root else path.parent.name]
    model, whole, said = _model(weights, registry)
    if model is not None and (adapter := arguments.get("peft") or arguments.get("delta")):
        # An adapter makes another model of its base.
        model, whole = (f"{name} + {adapter.rstrip('/')}" for name in (model, whole))
    stem = read_name(path.stem)
    if model is None:
        model, whole = _model_of_path(path, root, inner, stem, registry)
    step, tokens = registry.checkpoint(model, revision) if revision else (None, None)
    revised = read_name(revision)
    if step is None and revised.is_one:
        step, tokens = revised.step, revised.tokens
    places = [said, stem, *(read_name(part) for name in folders for part in name.split("__")[::-1])]
    if step is None and tokens is None:
        found = next((place for place in places if place.is_one), Checkpoint())
        step, tokens = found.step, found.tokens
    elif stem.step is not None and step is not None and stem.step != step:
        return f"the file's name says another step than its revision {revision}"
    if step is None and tokens is None:
        return "no step in its revision, its name or its folder's"
    every = [revised, *places]
    return {
        "model": model,
        "whole": whole,
        "step": np.nan if step is None else step,
        "tokens": np.nan if tokens is None else tokens,
        **{part: _first(every, part) for part in ("stage", "ingredient")},
        "seed": _first([said, *every], "seed", 0),
        "file": str(path),
        "limit": config.get("limit") not in (None, "None"),
        "variant": ", ".join(
            f"{key}={arguments[key]}" for key in sorted(arguments.keys() - NO_VARIANT)
        ),
    }


def told_apart(rows: pd.DataFrame) -> pd.DataFrame:
    """Models of one short name that are several, by as much more of their names as it takes."""
    renamed: dict[str, str] = {}
    for model, own in rows.groupby("model", sort=False):
        wholes = list(dict.fromkeys(own["whole"]))
        if len(wholes) < 2:
            continue
        parts = {whole: whole.split("/") for whole in wholes}
        for length in range(1, max(map(len, parts.values())) + 1):
            short = {whole: "/".join(names[-length:]) for whole, names in parts.items()}
            if len(set(short.values())) == len(wholes):
                break
        renamed |= {whole: str(model) if whole == model else short[whole] for whole in wholes}
    return rows.assign(
        model=[renamed.get(w, m) for w, m in zip(rows["whole"], rows["model"], strict=True)]
    )


def without_limited(rows: pd.DataFrame) -> tuple[pd.DataFrame, list[str]]:
    """Rows without those of runs on the first few examples of a task (`limit`) where there are
    full ones; and notes.
    """
    limited = rows["limit"].to_numpy(dtype=bool)
    if not limited.any():
        return rows, []
    ids = rows.groupby(KEY, dropna=False, sort=False).ngroup().to_numpy()
    full = np.isin(ids, ids[~limited])
    notes = []
    if (replaced := limited & full).any():
        files = named(Path(file).name for file in rows.loc[replaced, "file"])
        notes.append(
            f"results of the first few examples (limit=) left out, as there are full ones: {files}"
        )
    if (kept := limited & ~full).any():
        files = named(Path(file).name for file in rows.loc[kept, "file"])
        notes.append(f"results of the first few examples only (limit=): {files}")
    return rows[~replaced], notes


def once(rows: pd.DataFrame, key: Sequence[str] = KEY) -> pd.DataFrame:
    """Each value once: equal ones of several files, and those of files that differ in how the model
    was run (`variant`) as models of their own; key: the columns that make a value.

    Raises:
        UserError: two files give different values for the same, and nothing says why.
    """
    differs = differ(rows, key)
    rows = rows if "variant" in rows else rows.assign(variant="")
    if differs.any():
        clashing = rows[differs].groupby(list(key), dropna=False, sort=False)
        told = clashing["variant"].transform("nunique") == clashing["file"].transform("nunique")
        if not told.all():
            raise UserError(_clash(rows[differs][~told], key))
        models = rows.loc[differs, "model"].unique()
        apart = rows["model"].isin(models) & (rows["variant"] != "")
        rows = rows.assign(
            model=np.where(apart, rows["model"] + " (" + rows["variant"] + ")", rows["model"])
        )
    return rows.drop_duplicates(list(key)).drop(columns="variant").reset_index(drop=True)


def _clash(rows: pd.DataFrame, key: Sequence[str]) -> str:
    """The error that names two of the files that give different values for the same."""
    one = rows.iloc[0]
    same = like_the_first(rows, key)
    first, second = same["file"].iloc[:2]
    at = f"step {one['step']:.15g}" if pd.notna(one["step"]) else f"{one['tokens']:g} tokens"
    return (
        f"{first} and {second} give different values for {one['model']} {one['task']} "
        f"{one['quantity']} at {at} ({two_values(same)}): leave one of them out"
    )


def _model(weights: str, registry: Registry) -> tuple[str | None, str, Checkpoint]:
    """Short and whole name of some weights, and what their path says of the checkpoint; no name
    where nothing is said.
    """
    parts = [part for part in weights.split("/") if part not in ("", ".", "~")]
    said = Checkpoint()
    is_path = weights[:1] in ("/", ".", "~") or len(parts) > 2
    while parts and (last := read_name(parts[-1])).is_one:
        said, is_path = last if not said.is_one else said, True
        if last.rest:
            parts[-1] = last.rest
            break
        parts.pop()
    if not parts:
        return None, "", said
    last = read_name(parts[-1])
    # What the registry knows only with its seed, as it is of the data alone, keeps it.
    if last.seed is not None and (is_path or registry.name_of("/".join(parts)) is None):
        said = replace(said, seed=last.seed)
        parts[-1] = last.rest
    whole = "/".join(parts)
    known = registry.name_of(whole) if len(parts) <= 2 else None
    if known is not None:
        return known, known, said
    # A local or another lab's model of a name that the registry has is not the registry's.
    taken = registry.name_of(parts[-1]) is not None
    return "/".join(parts[-2:]) if taken or not is_path else parts[-1], whole, said


def _model_of_path(
    path: Path, root: Path, inner: tuple[str, ...], stem: Checkpoint, registry: Registry
) -> tuple[str, str]:
    """Short and whole name of the model that a file is of by where it lies: a folder that the
    registry knows, else the outermost folder, as a lone folder of results may be called anything.
    """
    folders = [*inner[::-1], root.name if path != root else path.parent.name]
    known = next((name for folder in folders if (name := registry.name_of(folder))), None)
    if known is not None:
        return known, known
    for folder in inner or folders:
        rest = [part for part in folder.split("__") if not read_name(part).is_one]
        if rest:
            return rest[-1], "/".join(rest)
    own = folders[-1] if stem.rest.startswith(RESULT_FILE) else stem.rest or folders[-1]
    return own, own


def _first(places: list[Checkpoint], part: str, default: float = np.nan) -> float:
    """What the first of some names says of a part."""
    said = (getattr(place, part) for place in places)
    return next((float(value) for value in said if value is not None), default)


def _arguments(given: Any) -> dict[str, str]:
    """`a=b,c=d` as a dictionary; later versions write the dictionary itself."""
    if isinstance(given, dict):
        return {str(key): str(value) for key, value in given.items() if value is not None}
    pairs = (part.partition("=") for part in str(given or "").split(","))
    return {key.strip(): value.strip() for key, _, value in pairs if value}
