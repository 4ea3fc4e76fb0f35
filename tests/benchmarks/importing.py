"""How long a million rows take: from a tidy file to curves, checks included, and what each kind of
file costs.

    PYTHONPATH=tests python -m benchmarks.importing [rows]

Prints seconds of this process for a CSV and a Parquet file of 8 models, 52 tasks, 10 seeds or so
and 240 checkpoints, and for the start of the program.
"""

from __future__ import annotations

import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
import pandas as pd

from circuitwatch.summary.importers import parse_request, read_sources

CHECKPOINTS, MODELS, TASKS = 240, 8, 52


def million(rows: int) -> pd.DataFrame:
    """Curves that rise at some moment, with a little noise; `rows` values at most."""
    n_curves = rows // CHECKPOINTS
    rng = np.random.default_rng(0)
    curve = np.repeat(np.arange(n_curves), CHECKPOINTS)
    tokens = np.tile(np.r_[0, np.geomspace(2e6, 3e11, CHECKPOINTS - 1).astype(np.int64)], n_curves)
    moment = rng.uniform(15, 25, n_curves)[curve]
    value = 1 / (1 + np.exp(-(np.log(np.maximum(tokens, 1e6)) - moment))) + rng.normal(
        0, 0.01, curve.size
    )
    model, task, seed = curve % MODELS, curve // MODELS % TASKS, curve // (MODELS * TASKS)
    return pd.DataFrame(
        {
            "model": pd.Series([f"m{k}" for k in range(MODELS)]).take(model).to_numpy(),
            "params": 10**7 * 2**model,
            "tokens": tokens,
            "task": pd.Series([f"task{k}" for k in range(TASKS)]).take(task).to_numpy(),
            "quantity": "acc",
            "value": value,
            "stderr": 0.01,
            "seed": seed,
        }
    )


def main() -> None:
    """Time each kind of file."""
    rows = int(sys.argv[1]) if len(sys.argv) > 1 else 1_000_000
    table = million(rows)
    with tempfile.TemporaryDirectory() as folder:
        csv, parquet = Path(folder) / "curves.csv", Path(folder) / "curves.parquet"
        table.to_csv(csv, index=False)
        table.to_parquet(parquet, index=False)
        shuffled = Path(folder) / "shuffled.csv"
        table.sample(frac=1, random_state=0).to_csv(shuffled, index=False)
        for path in (csv, parquet, shuffled):
            start, used = time.perf_counter(), time.process_time()
            curves = read_sources(parse_request({"from": str(path), "to": folder})).curves
            print(
                f"{path.name}: {len(curves.table):,} rows in {time.perf_counter() - start:.2f} s "
                f"({time.process_time() - used:.2f} s of processor time), "
                f"{path.stat().st_size / 1e6:.0f} MB"
            )
    start = time.perf_counter()
    subprocess.run([sys.executable, "-c", "import circuitwatch.summary.importers"], check=True)
    print(f"start of the importers: {time.perf_counter() - start:.2f} s")


if __name__ == "__main__":
    main()
