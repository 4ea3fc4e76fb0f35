"""From a sweep's cells to tables: when things emerged, how cells ended, how that changes with model size, how seeds differ.

What is looked at, per model and task: the behaviour (half-rise), its accuracy (half-way between chance and certainty), and whether there is
a circuit. Head roles are properties of a model, whatever the task whose cell recorded them, so they appear once a model, with `-` as task.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from circuitwatch.records import DUPLICATE_OF, Cell
from circuitwatch.summary.emergence import Emergence, fit_emergence
from circuitwatch.summary.scaling import Kind, trend

CHANCE = 0.0
"""Behaviour at chance: every task's metric is 0 for a model that ignores the deciding word."""
ACCURACY_THRESHOLD = 0.75
CIRCUIT_THRESHOLD = 0.5
ROLE_THRESHOLD = 0.5
"""The score from which a role is held, where a cell's configuration doesn't say."""
NO_TASK = "-"
SIZES = ("circuit/nodes", "circuit/edges", "circuit/edges_share")
"""Measures of circuit size whose mean over the checkpoints with a circuit is compared across models (the paper compares nodes)."""


@dataclass(frozen=True)
class CellData:
    """One cell as read from disk.

    `curves` has one row a checkpoint (step, tokens, then the scalars), ascending; `prompts` step, tokens, prompt, value, correct, log_prob; `header` is what
    cell.json says; `skipped` counts checkpoints that could not be looked at; `roles` has step, tokens and the columns of the records' roles tables;
    `circuits` the edges [edge] of each step's circuit, as places in the flattened mask, ascending.
    """

    folder: Path
    header: dict[str, Any]
    finished: bool
    curves: pd.DataFrame
    prompts: pd.DataFrame
    skipped: int = 0
    roles: pd.DataFrame = field(default_factory=pd.DataFrame)
    circuits: dict[int, NDArray[np.intp]] = field(default_factory=dict)

    @property
    def model(self) -> str:
        """Name of the model."""
        return str(self.header["model"]["name"])

    @property
    def task(self) -> str:
        """Name of the task."""
        return str(self.header["task"])

    @property
    def seed(self) -> int:
        """Seed of the cell."""
        return int(self.header["seed"])

    @property
    def params(self) -> int:
        """Parameters of the model, embeddings included."""
        return int(self.header["model"]["params_total"])

    def curve(self, name: str) -> pd.Series:
        """One scalar over the checkpoints that have it, indexed by tokens; checkpoints with the weights of another are left out."""
        if name not in self.curves:
            return pd.Series(dtype=float)
        return without_duplicates(self.curves).set_index("tokens")[name].dropna()

    def last(self, name: str) -> Any:
        """A scalar at the last checkpoint recorded; none if it isn't there."""
        if self.curves.empty or name not in self.curves:
            return None
        value = self.curves[name].iloc[-1]
        return None if pd.isna(value) else value


def read_cell(cell: Cell) -> CellData:
    """Read a cell, reading each record once."""
    rows, prompts, roles, circuits = [], [], [], {}
    for record in cell.records():
        rows.append({"step": record.step, "tokens": record.tokens, **record.scalars})
        prompts.append(record.prompts.assign(step=record.step, tokens=record.tokens))
        if len(record.roles):
            roles.append(record.roles.assign(step=record.step, tokens=record.tokens))
        if record.mask is not None:
            circuits[record.step] = np.flatnonzero(record.mask)
    return CellData(
        cell.folder,
        cell.header,
        cell.is_done(),
        pd.DataFrame(rows, columns=None if rows else ["step", "tokens"]),
        pd.concat(prompts, ignore_index=True) if prompts else pd.DataFrame(columns=["step", "tokens", "prompt"]),
        len(cell.skipped()),
        pd.concat(roles, ignore_index=True) if roles else pd.DataFrame(),
        circuits,
    )


def is_duplicate(curves: pd.DataFrame) -> pd.Series:
    """Which rows are of checkpoints that have the weights of another."""
    if DUPLICATE_OF not in curves:
        return pd.Series(False, index=curves.index)
    return curves[DUPLICATE_OF].notna()


def without_duplicates(curves: pd.DataFrame) -> pd.DataFrame:
    """The rows whose weights are their own: what a wrongly published revision does says nothing about its step."""
    return curves[~is_duplicate(curves)]


def in_order(cells: list[CellData]) -> list[CellData]:
    """Cells by model size, model, task and seed."""
    return sorted(cells, key=lambda cell: (cell.params, cell.model, cell.task, cell.seed))


def models_in_order(cells: list[CellData]) -> list[str]:
    """Names of the models, smallest first."""
    return list(dict.fromkeys(cell.model for cell in in_order(cells)))


def role_curves(cells: list[CellData]) -> dict[tuple[str, int], pd.DataFrame]:
    """Per (model, seed): step, tokens and the `roles/…` scalars of every checkpoint that any of its cells recorded.

    Some roles are measured in some tasks' cells only, so each scalar is the first that any cell has.
    """
    parts: dict[tuple[str, int], list[pd.DataFrame]] = {}
    for cell in in_order(cells):
        names = [name for name in cell.curves if str(name).startswith("roles/") or name == DUPLICATE_OF]
        parts.setdefault((cell.model, cell.seed), []).append(cell.curves[["step", "tokens", *names]])
    return {
        key: pd.concat(tables, ignore_index=True).groupby("step", as_index=False).first()
        for key, tables in parts.items()
    }


def role_threshold(cells: list[CellData], role: str) -> float:
    """The score from which a role is held, as the cells' configuration says (the first that does); ROLE_THRESHOLD if none does."""
    for cell in cells:
        thresholds = (cell.header.get("config", {}).get("heads") or {}).get("thresholds") or {}
        if role in thresholds:
            return float(thresholds[role])
    return ROLE_THRESHOLD


def role_names(curves: pd.DataFrame) -> list[str]:
    """The roles that a table of curves has."""
    return [str(name).split("/")[1] for name in curves if str(name).startswith("roles/") and str(name).endswith("/max")]


def emergence_table(cells: list[CellData], *, n_bootstrap: int = 200) -> pd.DataFrame:
    """One row a (model, task, seed, quantity).

    Columns: model, task (`-` for head roles), seed, quantity, then those of `Emergence` (status, rule, level, tokens with tokens_low and
    tokens_high, crossing and the checkpoints around it, fitted, lower, upper, final, support, n, first_tokens, last_tokens, aicc_…, note), head
    (the head that holds the role at the last checkpoint), params_total, params_non_embedding, finished.
    """
    rows = []
    for cell in in_order(cells):
        value, accuracy, status = (
            cell.curve(f"behaviour/{n}") if n else cell.curve("circuit/status") for n in ("value", "accuracy", "")
        )
        by_prompt = {name: _by_prompt(cell, name, value.index) for name in ("value", "correct")}
        found = {
            "behaviour/value": _emergence(value, n_bootstrap, floor=CHANCE, per_prompt=by_prompt["value"]),
            "behaviour/accuracy": _emergence(
                accuracy, n_bootstrap, threshold=ACCURACY_THRESHOLD, per_prompt=by_prompt["correct"]
            ),
            "circuit/found": _emergence((status == "found").astype(float), n_bootstrap, threshold=CIRCUIT_THRESHOLD),
        }
        rows += [_row(cell, cell.task, quantity, emergence, None) for quantity, emergence in found.items()]
    for (model, seed), every in role_curves(cells).items():
        curves = without_duplicates(every)
        of_model = [cell for cell in cells if (cell.model, cell.seed) == (model, seed)]
        for role in role_names(curves):
            curve = curves.set_index("tokens")[f"roles/{role}/max"].dropna()
            head = curves[f"roles/{role}/head"].iloc[-1] if f"roles/{role}/head" in curves else None
            head = None if pd.isna(head) else head
            emergence = _emergence(curve, n_bootstrap, threshold=role_threshold(of_model, role))
            row = _row(of_model[0], NO_TASK, f"roles/{role}/max", emergence, head)
            rows.append(row | {"finished": any(cell.finished for cell in of_model)})
    return pd.DataFrame(rows)


def cells_table(cells: list[CellData]) -> pd.DataFrame:
    """One row a cell: how it ended, and the means over its checkpoints that have a circuit.

    Columns: model, task, seed, finished, checkpoints, checkpoints_planned, skipped, duplicates, last_tokens, params_total, params_non_embedding,
    n_layers, n_heads, d_model, architecture, n_edges (of the whole graph); behaviour, behaviour_low, behaviour_high, accuracy, circuit_status,
    circuit_edges, circuit_edges_share, circuit_nodes, circuit_nodes_share, recovery, faithfulness at the last checkpoint; checkpoints_with_circuit;
    mean_edges, mean_edges_share, mean_nodes, mean_node_jaccard, mean_edge_jaccard, mean_weighted_edge_jaccard; code_version, folder.
    """
    rows = []
    for cell in in_order(cells):
        header = cell.header["model"]
        facts = ("params_total", "params_non_embedding", "n_layers", "n_heads", "d_model", "architecture")
        at_end = {
            "behaviour": "behaviour/value",
            "behaviour_low": "behaviour/low",
            "behaviour_high": "behaviour/high",
            "accuracy": "behaviour/accuracy",
            "circuit_status": "circuit/status",
            "circuit_edges": "circuit/edges",
            "circuit_edges_share": "circuit/edges_share",
            "circuit_nodes": "circuit/nodes",
            "circuit_nodes_share": "circuit/nodes_share",
            "recovery": "circuit/recovery",
            "faithfulness": "circuit/faithfulness",
        }
        means = {
            "mean_edges": "circuit/edges",
            "mean_edges_share": "circuit/edges_share",
            "mean_nodes": "circuit/nodes",
            "mean_node_jaccard": "overlap/node_jaccard",
            "mean_edge_jaccard": "overlap/edge_jaccard",
            "mean_weighted_edge_jaccard": "overlap/weighted_edge_jaccard",
        }
        rows.append(
            {
                "model": cell.model,
                "task": cell.task,
                "seed": cell.seed,
                "finished": cell.finished,
                "checkpoints": len(cell.curves),
                "checkpoints_planned": len(cell.header["schedule"]),
                "skipped": cell.skipped,
                "duplicates": int(is_duplicate(cell.curves).sum()),
                "last_tokens": cell.last("tokens"),
            }
            | {name: header.get(name) for name in facts}
            | {"n_edges": cell.header.get("graph", {}).get("n_edges")}
            | {column: cell.last(name) for column, name in at_end.items()}
            | {"checkpoints_with_circuit": len(cell.curve("circuit/edges"))}
            | {column: _mean(cell.curve(name)) for column, name in means.items()}
            | {"code_version": cell.header.get("code_version"), "folder": str(cell.folder)}
        )
    return pd.DataFrame(rows)


def scaling_table(emergence: pd.DataFrame, cells: list[CellData]) -> pd.DataFrame:
    """How emergence and circuit size change with `params_total`: one row a (task, quantity).

    Columns: task, quantity, of (`tokens of emergence` or `mean size over checkpoints with a circuit`), models (those used), left_out (models whose status,
    ambiguous or transient, gives no moment), then those of `Trend`. Several seeds of a model count as their median; a model most of whose
    seeds never showed it is censored.
    """
    rows = []
    for (task, quantity), group in emergence.groupby(["task", "quantity"], sort=False):
        points = [
            point
            for model, seeds in group.groupby("model", sort=False)
            if (point := _point(str(model), seeds)) is not None
        ]
        left_out = [model for model in group["model"].unique() if model not in [p[0] for p in points]]
        rows.append(_trend_row(str(task), str(quantity), "tokens of emergence", points, left_out, pearson_in_logs=True))
    for task in dict.fromkeys(cell.task for cell in in_order(cells)):
        for size in SIZES:
            means: dict[str, list[float]] = {}
            of_task = [cell for cell in in_order(cells) if cell.task == task]
            for cell in of_task:
                if (mean := _mean(cell.curve(size))) is not None:
                    means.setdefault(cell.model, []).append(mean)
            params = {cell.model: cell.params for cell in of_task}
            sizes: list[tuple[str, float, float, Kind]]
            sizes = [
                (model, float(params[model]), float(np.median(values)), "observed") for model, values in means.items()
            ]
            left_out = [model for model in params if model not in means]
            rows.append(
                _trend_row(
                    task, size, "mean size over checkpoints with a circuit", sizes, left_out, pearson_in_logs=False
                )
            )
    return pd.DataFrame(rows)


def seeds_table(
    emergence: pd.DataFrame, others: dict[str, tuple[pd.DataFrame, list[str]]] | None = None
) -> pd.DataFrame:
    """Spread over seeds, only for models with several of them; a median and the ends, never a mean of curves.

    Args:
        emergence: as made by `emergence_table`.
        others: name → (a table with columns model, seed, others that name a row, and numbers; the columns that hold the numbers).

    Returns:
        one row a (model, task, quantity): model, task, quantity, seeds (how many). For emergence then emerged (how many did), tokens_median, tokens_min,
        tokens_max; for the others quantity is `name/row's other names/column`, and known (how many seeds have the number), median, min, max.
    """
    rows: list[dict[str, Any]] = []
    for (model, task, quantity), group in emergence.groupby(["model", "task", "quantity"], sort=False):
        if len(group) > 1:
            tokens = group.loc[group["status"] == "emerged", "tokens"]
            about = {"model": model, "task": task, "quantity": quantity, "seeds": len(group), "emerged": len(tokens)}
            rows.append(about | {f"tokens_{name}": value for name, value in _spread(tokens).items()})
    for name, (table, columns) in (others or {}).items():
        if table.empty:
            continue
        keys = [key for key in ("task", "role", "circuit_task", "quantity") if key in table]
        for (model, *key), group in table.groupby(["model", *keys], sort=False):
            if group["seed"].nunique() > 1:
                named = dict(zip(keys, key, strict=True))
                task = named.pop("task", NO_TASK)
                about = {"model": model, "task": task, "seeds": group["seed"].nunique()}
                for column in columns:
                    values = group[column].astype(float).dropna()
                    quantity = "/".join([name, *map(str, named.values()), column])
                    rows.append(about | {"quantity": quantity, "known": len(values)} | _spread(values))
    return pd.DataFrame(rows)


def _spread(values: pd.Series) -> dict[str, float | None]:
    return {name: float(getattr(values, name)()) if len(values) else None for name in ("median", "min", "max")}


def _emergence(curve: pd.Series, n_bootstrap: int, **options: Any) -> Emergence:
    """Emergence of a curve indexed by tokens, also where it has too few points to say anything."""
    tokens, values = curve.index.to_numpy(dtype=float), curve.to_numpy(dtype=float)
    if values.size < 2:
        rule = "threshold" if "threshold" in options else "half rise"
        ends = (float(tokens[0]), float(tokens[-1]), float(values[-1])) if values.size else (np.nan, np.nan, np.nan)
        return Emergence("ambiguous", rule, values.size, *ends, note=f"too few checkpoints (n={values.size})")  # type: ignore[arg-type]
    return fit_emergence(tokens, values, n_bootstrap=n_bootstrap, **options)


def _row(cell: CellData, task: str, quantity: str, emergence: Emergence, head: Any) -> dict[str, Any]:
    known = asdict(emergence)
    known["tokens_low"], known["tokens_high"] = known.pop("low"), known.pop("high")
    order = ["status", "rule", "level", "tokens", "tokens_low", "tokens_high"]
    known = {name: known[name] for name in order} | {name: value for name, value in known.items() if name not in order}
    note = known.pop("note")
    sizes = {name: cell.header["model"].get(name) for name in ("params_total", "params_non_embedding")}
    about = {"model": cell.model, "task": task, "seed": cell.seed, "quantity": quantity}
    return about | known | {"head": head, **sizes, "finished": cell.finished, "note": note}


def _by_prompt(cell: CellData, column: str, tokens: pd.Index) -> pd.DataFrame | None:
    """One row a checkpoint, one column a prompt; none unless every checkpoint has the same prompts."""
    if column not in cell.prompts or cell.prompts.empty:
        return None
    wide = cell.prompts.pivot(index="tokens", columns="prompt", values=column).astype(float).reindex(tokens)
    return None if wide.isna().to_numpy().any() else wide


def _point(model: str, seeds: pd.DataFrame) -> tuple[str, float, float, Kind] | None:
    """A model's place in a trend: (model, parameters, tokens, kind); none where no seed gives a moment."""
    params = float(seeds["params_total"].iloc[0])
    counts = seeds["status"].value_counts()
    emerged, never, already = (int(counts.get(name, 0)) for name in ("emerged", "never", "already"))
    if emerged and emerged >= max(never, already):
        return (
            model,
            params,
            float(np.exp(np.log(seeds.loc[seeds["status"] == "emerged", "tokens"].astype(float)).median())),
            "observed",
        )
    if never and never >= already:
        return model, params, float(seeds.loc[seeds["status"] == "never", "last_tokens"].min()), "later"
    if already:
        first = float(seeds.loc[seeds["status"] == "already", "first_tokens"].max())
        return (model, params, first, "earlier") if first > 0 else None
    return None


def _trend_row(
    task: str,
    quantity: str,
    of: str,
    points: list[tuple[str, float, float, Kind]],
    left_out: list[str],
    *,
    pearson_in_logs: bool,
) -> dict[str, Any]:
    names, params, values, kinds = (
        (list(column) for column in zip(*points, strict=True)) if points else ([], [], [], [])
    )
    fitted = trend(params, values, kinds, pearson_in_logs=pearson_in_logs)
    about = {
        "task": task,
        "quantity": quantity,
        "of": of,
        "models": " ".join(map(str, names)),
        "left_out": " ".join(left_out),
    }
    return about | asdict(fitted)


def _mean(curve: pd.Series) -> float | None:
    return float(curve.astype(float).mean()) if len(curve) else None
