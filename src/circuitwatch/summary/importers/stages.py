"""Stages of training: a second one counts its steps from 0 again, and has a branch for each of its
ingredients.

Files of several stages are not put together by guessing: without `stages=join` they are an error
that names two of them. With it, stage 2 goes on where stage 1 ended, as the registry has it, else
at the last checkpoint of stage 1 that is there; each ingredient is a model of its own, stage 1 and
that ingredient, so that branches are never strung together.
"""

from __future__ import annotations

import numpy as np
import pandas as pd

from circuitwatch.errors import UserError
from circuitwatch.summary.importers.registry import Registry

COLUMNS = ("stage", "ingredient")
"""What rows have beside model, step, tokens and file; missing where a name says none."""


def with_stages(rows: pd.DataFrame, registry: Registry, *, join: bool) -> pd.DataFrame:
    """Rows without the columns `stage` and `ingredient`, models of several stages told apart.

    Args:
        rows: one row a value, with model, step, tokens, stage, ingredient and file.
        registry: where stages end, of models that it knows.
        join: whether later stages go on from the one before.

    Raises:
        UserError: a model has several stages and they are not to be joined, or it isn't known
            where the one before ended.
    """
    if not set(COLUMNS) <= set(rows):
        return rows
    parts = []
    for model, own in rows.groupby("model", sort=False):
        branches = own[["stage", "ingredient"]].drop_duplicates()
        if len(branches) < 2 and not (own["stage"] > 1).any():
            parts.append(own)
        elif not join:
            raise UserError(_clash(str(model), own))
        else:
            parts.append(_joined(str(model), own, registry))
    return pd.concat(parts, ignore_index=True).drop(columns=list(COLUMNS))


def _clash(model: str, rows: pd.DataFrame) -> str:
    """The error that names two files of different stages, of the same step where there are such."""
    first = rows.drop_duplicates(["stage", "ingredient", "step"])
    same = first[first.duplicated("step", keep=False)].sort_values("step", kind="stable")
    pair = (same if len(same) > 1 else first.drop_duplicates(["stage", "ingredient"]))["file"]
    files = " and ".join(dict.fromkeys(pair.iloc[:2]))
    step = f", both step {same['step'].iloc[0]:.15g}" if len(same) > 1 else ""
    return (
        f"{model} has several stages of training ({files}{step}), whose steps each begin at 0: "
        f"give stages=join to put later stages after the first, each ingredient a model of its "
        f"own, or leave out the files of all but one"
    )


def _joined(model: str, rows: pd.DataFrame, registry: Registry) -> pd.DataFrame:
    """The stages of a model one after another, for each ingredient of the last."""
    stages = rows["stage"].fillna(1).to_numpy()
    later = rows[stages > 1]
    branches = sorted(later["ingredient"].dropna().unique()) or [np.nan]
    joined = []
    for branch in branches:
        name = model if np.isnan(branch) else f"{model} ingredient{int(branch)}"
        step = tokens = 0.0
        for stage in range(1, int(stages.max()) + 1):
            own = rows[stages == stage]
            if stage > 1:
                of_branch = own["ingredient"].isna() | (own["ingredient"] == branch)
                own = own[of_branch]
            joined.append(
                own.assign(model=name, step=own["step"] + step, tokens=own["tokens"] + tokens)
            )
            if (stages > stage).any():
                step, tokens = _end(model, stage, own, registry, step, tokens)
    return pd.concat(joined, ignore_index=True)


def _end(
    model: str, stage: int, rows: pd.DataFrame, registry: Registry, step: float, tokens: float
) -> tuple[float, float]:
    """Step and tokens at the end of a stage that began at some."""
    if stage == 1 and (steps := registry.steps(model)):
        rate = registry.tokens_per_step(model)
        return float(steps[-1]), np.nan if rate is None else steps[-1] * rate
    if rows.empty:
        raise UserError(
            f"{model}: stages=join puts stage {stage + 1} after stage {stage}, of which there is "
            f"no file, and the registry doesn't know where it ended: add the file of its last "
            f"checkpoint"
        )
    return step + float(rows["step"].max()), tokens + float(rows["tokens"].max())
