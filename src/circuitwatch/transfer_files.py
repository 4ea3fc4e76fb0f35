"""What is in the files of transfer (`transfer.store` writes them), for whoever reads them; imports
no torch.
"""

from __future__ import annotations

from pathlib import Path

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq

from circuitwatch.errors import UserError
from circuitwatch.soundness import unfit

COLUMNS = {
    "task": "str",
    "circuit_task": "str",
    "circuit_step": "int64",
    "circuit_tokens": "int64",
    "model_step": "int64",
    "model_tokens": "int64",
    "edges": "int64",
    "value": "float64",
    "recovery": "float64",
    "faithfulness": "float64",
}
"""Columns of a file and their types; recovery and faithfulness are missing where they do not exist.
"""
MAY_LACK = ("recovery", "faithfulness")
"""Columns in which a row may have no value."""
KEY = ["task", "circuit_task", "circuit_step", "model_step"]
"""What tells a row from the others of its file."""
HELD = {"str": "text", "int64": "whole", "float64": "number"}
KINDS = {name: HELD[kind] for name, kind in COLUMNS.items()}
"""What each column holds."""


def read(path: Path) -> pd.DataFrame:
    """The rows of one file, with COLUMNS.

    Raises UserError if it can't be read, or holds what no run of transfer writes.
    """
    try:
        # Files of before have no checksums: of these nothing is verified. What pandas notes in a
        # file is under none, and is not needed.
        table = pq.ParquetFile(path, page_checksum_verification=True).read(use_threads=False)
        table = table.replace_schema_metadata(None)
        problem = _problem(table, path)
        if problem is None:
            return table.select(list(COLUMNS)).to_pandas().astype(COLUMNS)
    except (OSError, ValueError, pa.ArrowException) as error:
        problem = f"it can't be read as Parquet ({type(error).__name__})"
    raise UserError(f"{path}: damaged: {problem}; delete it and run circuitwatch transfer again")


def _problem(table: pa.Table, path: Path) -> str | None:
    needed = [name for name in COLUMNS if name not in MAY_LACK]
    lacking = [name for name in MAY_LACK if name not in table.column_names]
    if (problem := unfit(table, KINDS, needed)) is not None:
        return problem.replace("has", "it has", 1)
    if lacking:
        return f"it has no column {lacking[0]}"
    if not table.num_rows:
        return None
    rows = table.select(list(COLUMNS)).to_pandas()
    others = [step for step in rows["model_step"].unique() if path.stem != f"step{step:06}"]
    if others:
        return f"it holds step {others[0]}"
    if rows[KEY].duplicated().any():
        return "it has rows twice"
    whole = [name for name, kind in COLUMNS.items() if kind == "int64"]
    if (rows[whole] < 0).any(axis=None):
        return "it has steps, tokens or edges below 0"
    return None
