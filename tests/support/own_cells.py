"""Cells of a task, a role and quantities that no catalogue here knows: what is known of them is in
the cells' headers alone, as `cell.json` keeps it. And curves as an importer gives them, made from
any cells' numbers one by one.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from circuitwatch.facts import Facts
from circuitwatch.summary.cells import CellData, is_duplicate
from circuitwatch.summary.curves import COLUMNS, Curves, combine

TOKENS = np.array([0, 1e5, 2e5, 4e5, 8e5, 16e5, 32e5])
RISE = np.array([0.0, 0.0, 0.1, 0.4, 0.8, 0.9, 1.0])


def own_facts(task: str = "capitals", **words: str) -> dict[str, Any]:
    """Facts of a cell: one task, one role, three quantities; words: what they are called."""
    return {
        "tasks": {
            task: {
                "name": task,
                "words": words.get("task_words", "capital cities"),
                "metric": "log_prob",
                "unit": "nats",
                "metric_words": "log-probability of the answer",
                "chance": None,
                "roles": ["sink"],
                "quantities": ["algorithm/lookup"],
                "steps": [["country", "look up", "algorithm/lookup"], ["logits", "", ""]],
                "place": 1000,
            }
        },
        "roles": {
            "sink": {
                "name": "sink",
                "words": words.get("role_words", "attention sink"),
                "about": "",
                "threshold": 0.3,
                "source": "",
                "colour": "#123456",
                "line": "dotted",
            }
        },
        "quantities": {
            "algorithm/lookup": {
                "key": "algorithm/lookup",
                "words": "look-up by MLPs",
                "unit": "share",
                "range": [0, 1],
                "panel": "algorithm",
                "interval": ["algorithm/lookup_low", "algorithm/lookup_high"],
            },
            "text/loss": {
                "key": "text/loss",
                "words": words.get("quantity_words", "loss on text"),
                "unit": "nats per token",
                "falls": True,
                "panel": "text",
                "of": "model",
                "interval": ["text/loss_low", "text/loss_high"],
            },
            "mine/depth": {
                "key": "mine/depth",
                "words": "mean depth",
                "unit": "layers",
                "range": [0, None],
                "panel": "depth of circuits",
            },
        },
    }


def own_cell(model: str, params: int, task: str = "capitals", **words: str) -> CellData:
    """A cell of that task. Its behaviour, role, share and depth rise, the loss falls, each with
    other numbers; larger models have more of all.
    """
    scale = 1 + params / 1e6
    n = TOKENS.size
    columns: dict[str, Any] = {
        "step": np.arange(n),
        "tokens": TOKENS.astype(int),
        "behaviour/value": -4 + 3 * RISE * scale,
        "behaviour/low": -4 + 3 * RISE * scale - 0.2,
        "behaviour/high": -4 + 3 * RISE * scale + 0.5,
        "behaviour/above_chance": RISE > 0.3,
        "roles/sink/max": 0.5 * RISE * scale,
        "algorithm/lookup": np.where(RISE > 0.3, 0.2 + 0.5 * RISE, np.nan),
        "algorithm/lookup_low": np.where(RISE > 0.3, 0.1 + 0.5 * RISE, np.nan),
        "algorithm/lookup_high": np.where(RISE > 0.3, 0.4 + 0.5 * RISE, np.nan),
        "text/loss": 5 - 2 * RISE * scale,
        "text/loss_low": 5 - 2 * RISE * scale - 0.1,
        "text/loss_high": 5 - 2 * RISE * scale + 0.3,
        "mine/depth": 1 + 2 * RISE * scale,
        "timing/seconds": np.arange(n) * 1.0,
    }
    header = {
        "model": {"name": model, "params_total": params, "params_non_embedding": params},
        "task": task,
        "seed": 0,
        "config": {},
        "code_version": "0",
        "schedule": [],
        "graph": {"n_edges": 4},
        "facts": own_facts(task, **words),
    }
    folder = Path("/sweep") / "model" / "task" / "seed0"
    return CellData(folder, header, True, pd.DataFrame(columns), pd.DataFrame())


def curves_of(cells: Sequence[CellData]) -> Curves:
    """The curves of some cells: every number of every checkpoint that has its own weights."""
    facts = Facts.of_headers([cell.header for cell in cells])
    rows: dict[tuple[Any, ...], dict[str, Any]] = {}
    for cell in cells:
        for _, record in cell.curves[~is_duplicate(cell.curves)].iterrows():
            for name, value in record.items():
                if name in ("step", "tokens") or isinstance(value, str | bool | np.bool_):
                    continue
                if value is None or pd.isna(value):
                    continue
                own = facts.quantity(str(name)).of == "task"
                task = cell.task if own else "-"
                key = (cell.model, cell.seed, task, name, record["tokens"])
                about = dict(zip(("model", "seed", "task", "quantity", "tokens"), key, strict=True))
                rest = {"params": float(cell.params), "step": record["step"], "source": "made up"}
                rows.setdefault(key, about | rest | {"value": float(value), "stderr": np.nan})
    table = pd.DataFrame(rows.values())[list(COLUMNS)]
    numbers = dict.fromkeys(("params", "tokens", "step", "value", "stderr"), "float64")
    made = Curves(table.astype(numbers | {"seed": "int64"}), cell_facts=facts)
    return combine([made])
