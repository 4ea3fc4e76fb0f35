"""Curves over training tokens, wherever they come from, in one long table, and the notes on what
was left out of it.

Every importer returns `Curves`. What concerns several sources at once is done here, when they are
put together: the same value given twice, models whose parameter count is not known, curves of a
single checkpoint, too few sizes for a trend.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Any

import numpy as np
import pandas as pd

from circuitwatch.errors import UserError, nearest
from circuitwatch.facts import Facts
from circuitwatch.summary.cells import NO_TASK
from circuitwatch.summary.disagreements import disagreements
from circuitwatch.summary.statistics.scaling import MIN_SIZES
from circuitwatch.units import counted, format_tokens

KEYS = ("model", "task", "quantity", "seed")
"""What makes a curve."""
COLUMNS = (
    "model",
    "params",
    "tokens",
    "step",
    "task",
    "quantity",
    "value",
    "stderr",
    "seed",
    "source",
)
NORMAL_95 = 1.959964
"""Half the width of a 95 % interval, in standard errors."""
SAME = 1e-9
"""Two sources may round differently: values that differ by this share are the same."""
NAMED = 3
"""Curves or models that a note names; of more it says how many."""

CurveKey = tuple[str, str, str, int]
BehaviourKey = tuple[str, str, int]
"""Model, task and seed: what a behaviour is of."""


@dataclass(frozen=True)
class Curves:
    """Values over training tokens.

    Attributes:
        table: one row a value, with `COLUMNS`. model, task, quantity, source are strings, seed an
            integer, the rest float64. `params` counts all parameters, missing where it isn't known.
            Rows without tokens are values of a model, not of a checkpoint. Sorted by model size,
            then model, task, quantity, seed, tokens; no (curve, tokens) appears twice.
        notes: what was left out, changed or doubtful, one line each.
        prompts: for some curves the values per prompt, one row a checkpoint (indexed by tokens),
            one column a prompt.
        cell_facts: what the cells among the sources say of tasks, roles and quantities; of one name
            the first is believed.
        said: the headers (`cell.json`) of these cells, each with its model, task and seed.
        directions: of quantities that nobody knows, by name or pattern: whether they fall.
        not_above_chance: for some behaviours (model, task, seed), by tokens, what of it is not
            above chance there (`value`, `effect`, `value and effect`); empty where it is.
    """

    table: pd.DataFrame
    notes: list[str] = field(default_factory=list)
    prompts: Mapping[CurveKey, pd.DataFrame] = field(default_factory=dict)
    not_above_chance: Mapping[BehaviourKey, Mapping[float, str]] = field(default_factory=dict)
    cell_facts: Facts | None = None
    said: Sequence[tuple[BehaviourKey, Mapping[str, Any]]] = ()
    directions: Mapping[str, bool] = field(default_factory=dict)

    @cached_property
    def facts(self) -> Facts:
        """What is known of its tasks, roles, quantities: as cells say, else this installation."""
        known = self.cell_facts or Facts.of_installation()
        return replace(known, directions=self.directions)

    def facts_of(self, key: CurveKey) -> Facts:
        """What is known where a curve comes from: as the cells of its model, seed and, unless it is
        a model's, task say; beside that as all say.
        """
        model, task, _, seed = key
        of = (model, task, seed)
        if of not in self._facts_of:
            own = [
                header
                for (a_model, a_task, a_seed), header in self.said
                if (a_model, a_seed) == (model, seed) and task in (a_task, NO_TASK)
            ]
            own_facts = [Facts.of_headers(own)] if own else []
            self._facts_of[of] = Facts.together([*own_facts, self.facts])
        return self._facts_of[of]

    @cached_property
    def _facts_of(self) -> dict[BehaviourKey, Facts]:
        """What `facts_of` has found."""
        return {}

    def chance_of(self, key: CurveKey, tokens: pd.Series) -> list[str] | None:
        """What of a behaviour is not above chance at some token counts, empty where it is; none for
        other curves, and where no source says it.
        """
        known = (
            self.not_above_chance.get((key[0], key[1], key[3]))
            if key[2].startswith("behaviour/")
            else None
        )
        return None if known is None else [known.get(float(count), "") for count in tokens]

    def curve(self, model: str, task: str, quantity: str, seed: int = 0) -> pd.Series:
        """The values of one curve, indexed by tokens, ascending; empty if there is no such
        curve.
        """
        return self.rows((model, task, quantity, seed)).set_index("tokens")["value"]

    def rows(self, key: CurveKey) -> pd.DataFrame:
        """The rows of one curve, by tokens, ascending; none if there is no such curve."""
        return self.table.iloc[self._places.get(key, np.empty(0, dtype=np.intp))]

    @cached_property
    def _places(self) -> dict[CurveKey, np.ndarray]:
        """Where each curve's rows are: found once, as tables of many curves are asked for each of
        them.
        """
        over_tokens = np.flatnonzero(self.table["tokens"].notna())
        found = self.table.iloc[over_tokens].groupby(list(KEYS), sort=False).indices
        return {
            (str(m), str(t), str(q), int(s)): over_tokens[places]
            for (m, t, q, s), places in found.items()
        }

    @property
    def models(self) -> list[str]:
        """Names of the models, smallest first; those of unknown size last."""
        return list(dict.fromkeys(self.table["model"]))


def empty_table() -> pd.DataFrame:
    """A table of no values, with the columns and types of `Curves`."""
    kinds = {name: "str" for name in ("model", "task", "quantity", "source")} | {"seed": "int64"}
    return pd.DataFrame({name: pd.Series(dtype=kinds.get(name, "float64")) for name in COLUMNS})


def look_up(column: pd.Series, found: Mapping[str, float]) -> np.ndarray:
    """A number for each entry of a column of names, NaN where there is none; what `Series.map`
    gives, at a fifth of its time.
    """
    codes, names = pd.factorize(column)
    return np.array([found.get(name, np.nan) for name in names], dtype=float)[codes]


def named(names: Iterable[str]) -> str:
    """The first few of some names, and how many there are beside them."""
    every = list(dict.fromkeys(names))
    more = f" and {len(every) - NAMED} more" if len(every) > NAMED else ""
    return ", ".join(every[:NAMED]) + more


def curve_names(rows: pd.DataFrame) -> list[str]:
    """How notes call the curves of some rows."""
    first = rows[list(KEYS)].drop_duplicates()
    return [
        f"{model} {task} {quantity}" + (f" seed {seed}" if seed else "")
        for model, task, quantity, seed in first.itertuples(index=False)
    ]


def combine(parts: Sequence[Curves], *, params: Mapping[str, float] | None = None) -> Curves:
    """Put sources together, and note what a reader of the whole should know.

    The table is empty if every part is. params: sizes that a person gives, before what sources say.
    Raises UserError if two sources give different values for the same curve and tokens, or a size
    is of no model that is there.
    """
    notes = [note for part in parts for note in part.notes]
    filled = [part.table for part in parts if len(part.table)]
    if not filled:
        return Curves(empty_table(), notes)
    table = pd.concat(filled, ignore_index=True)
    sizes = table.groupby("model")["params"].median()
    for model, size in (params or {}).items():
        sizes[_one_of(model, list(sizes.index))] = size
    table["params"] = look_up(table["model"], sizes.to_dict())
    table = without_repeats(table)
    table = table.sort_values(["params", *KEYS, "tokens"], ignore_index=True, kind="stable")
    notes += _doubts(table, sizes)
    prompts = {key: values for part in parts for key, values in part.prompts.items()}
    not_above: dict[BehaviourKey, dict[float, str]] = {}
    for part in parts:
        for behaviour, known in part.not_above_chance.items():
            not_above.setdefault(behaviour, {}).update(known)
    said = [part.cell_facts for part in parts if part.cell_facts is not None]
    facts = Facts.together(said) if said else None
    headers = [header for part in parts for header in part.said]
    notes += disagreements(
        [(f"{model} {task} seed{seed}", header) for (model, task, seed), header in headers]
    )
    return Curves(table, notes, prompts, not_above, facts, headers)


def _one_of(model: str, models: Sequence[str]) -> str:
    """A model by its name, or by the end of it behind an organisation."""
    found = [name for name in models if name == model or name.endswith(f"/{model}")]
    if len(found) != 1:
        near = found or nearest(model, models)
        many = f"{len(found)} models" if found else "no model"
        raise UserError(f"params={model}: {many} of that name; there is {', '.join(near)}")
    return found[0]


def without_repeats(table: pd.DataFrame) -> pd.DataFrame:
    """Each (curve, tokens) once.

    Raises:
        UserError: sources give different values for the same; it names them.
    """
    key = [*KEYS, "tokens"]
    repeated = table.duplicated(key, keep=False)
    if not repeated.any():
        return table
    several = table[repeated]
    differs = differ(several, key)
    if differs.any():
        odd = several[differs]
        one = like_the_first(odd, key)
        at = (
            f" at {format_tokens(one['tokens'].iloc[0])} tokens"
            if one["tokens"].notna().all()
            else ""
        )
        raise UserError(
            f"{named(one['source'])}: different values of {named(curve_names(one))}{at} "
            f"({two_values(one)}), "
            f"{len(odd.drop_duplicates(key))} in all: leave one source out, or say what "
            f"tells them apart by a column model, task or seed"
        )
    first = several.assign(stderr=several.groupby(key, dropna=False)["stderr"].transform("median"))
    return pd.concat([table[~repeated], first.drop_duplicates(key)], ignore_index=True)


def differ(rows: pd.DataFrame, key: Sequence[str]) -> pd.Series:
    """Which rows are of a key (the columns that make a value) that has values further apart than
    rounding puts them.
    """
    values = rows.groupby(list(key), dropna=False, sort=False)["value"]
    spread = values.transform("max") - values.transform("min")
    return spread > SAME * rows["value"].abs().clip(lower=1e-3)


def like_the_first(rows: pd.DataFrame, key: Sequence[str]) -> pd.DataFrame:
    """The rows of the key of the first; what is missing in both is the same."""
    keys = rows[list(key)].fillna(-1)
    return rows[keys.eq(keys.iloc[0]).all(axis=1)]


def two_values(rows: pd.DataFrame) -> str:
    """The first two values of some rows, as an error shows them."""
    return " and ".join(f"{value:.6g}" for value in rows["value"].iloc[:2])


def _doubts(table: pd.DataFrame, params: pd.Series) -> list[str]:
    """What the curves are too few or too short to say."""
    notes = []
    over_tokens = table[table["tokens"].notna()]
    lengths = over_tokens.groupby(list(KEYS), sort=False)["tokens"].transform("size")
    if (lengths == 1).any():
        short = curve_names(over_tokens[lengths == 1])
        notes.append(
            f"one checkpoint only in {counted(len(short), 'curve')} ({named(short)}): "
            f"nothing can be said about when"
        )
    unsized = params.index[params.isna()]
    if len(unsized):
        notes.append(
            f"no parameter count for {named(unsized)}: left out of trends over size; give it as "
            f"params={unsized[0]}:160M,…, or in a column `params`"
        )
    sizes = (
        table.dropna(subset="params").groupby(["task", "quantity"], sort=False)["params"].nunique()
    )
    few = sizes[sizes < MIN_SIZES]
    if len(few):
        counts = " or ".join(map(str, sorted(few.unique())))
        which = (
            f"{len(few)} of {len(sizes)} quantities" if len(few) < len(sizes) else "any quantity"
        )
        notes.append(
            f"fewer than {MIN_SIZES} model sizes ({counts}): no trend over size for {which}"
        )
    return notes
