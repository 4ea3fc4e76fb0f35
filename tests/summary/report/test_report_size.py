"""The report of a large sweep, eight sizes × four tasks × 154 checkpoints, stays below its bound,
and its circuits can be read back.
"""

from __future__ import annotations

import base64
import re
import zlib
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from circuitwatch import catalogue
from circuitwatch.summary.cells import CellData
from circuitwatch.summary.charts.together import charts
from circuitwatch.summary.comparison import ComparisonRows
from circuitwatch.summary.curve_tables import emergence_rows, scaling_rows
from circuitwatch.summary.curves import COLUMNS, Curves, combine
from circuitwatch.summary.fits import Fits
from circuitwatch.summary.heads.histories import CHECKS, RoleHistory
from circuitwatch.summary.heads.holders import turnover_table
from circuitwatch.summary.heads.tables import head_tables
from circuitwatch.summary.panels import specification
from circuitwatch.summary.report.circuits import circuits_blob, varints
from circuitwatch.summary.report.page import MOST_BYTES, Findings, write_report
from circuitwatch.summary.tables import cells_table, with_cells
from circuitwatch.summary.together import Comparisons
from support.sweeps import TASKS

SHAPES = {  # layers, heads, parameters of Pythia's models
    "pythia-70m": (6, 8, 70e6),
    "pythia-160m": (12, 12, 162e6),
    "pythia-410m": (24, 16, 405e6),
    "pythia-1b": (16, 8, 1.0e9),
    "pythia-1.4b": (24, 16, 1.4e9),
    "pythia-2.8b": (32, 32, 2.8e9),
    "pythia-6.9b": (32, 32, 6.9e9),
    "pythia-12b": (36, 40, 12e9),
}
STEPS = [0, *(2**k for k in range(10)), *range(1000, 144_000, 1000)]
TOKENS = np.array(STEPS) * 2_097_152
SCALARS = (
    "behaviour/value",
    "behaviour/accuracy",
    "behaviour/log_prob",
    "circuit/edges",
    "circuit/edges_share",
    "circuit/nodes",
    "circuit/faithfulness",
    "circuit/recovery",
    "overlap/node_jaccard",
    "overlap/edge_jaccard",
    "overlap/weighted_edge_jaccard",
    "algorithm/B",
    "algorithm/C",
    "algorithm/D",
)


def made_up(model: str, task: str, rng: np.random.Generator) -> CellData:
    """A cell whose circuits have up to 2,000 edges, a quarter of which are replaced from each
    checkpoint to the next.
    """
    layers, heads, params = SHAPES[model]
    n_receivers, n_senders = layers * (3 * heads + 1) + 1, 1 + layers * (heads + 1)
    circuits, strengths = {}, {}
    n_edges = min(2000, n_senders * n_receivers // 4)
    edges = rng.choice(n_senders * n_receivers, n_edges, replace=False)
    for step in STEPS[11:]:
        kept = rng.permutation(edges)[: n_edges * 3 // 4]
        fresh = np.setdiff1d(rng.choice(n_senders * n_receivers, n_edges, replace=False), kept)
        edges = np.sort(np.concatenate([kept, rng.permutation(fresh)[: n_edges - kept.size]]))
        circuits[step], strengths[step] = edges, rng.exponential(size=edges.size).astype(np.float32)
    rise = 1 / (1 + np.exp(-2 * (np.log(np.maximum(TOKENS, 1e6)) - np.log(5e9))))
    curves = pd.DataFrame(
        {
            "step": STEPS,
            "tokens": TOKENS,
            **{name: rise + rng.normal(0, 0.02, len(STEPS)) for name in SCALARS},
        }
    )
    about = {
        "name": model,
        "params_total": params,
        "params_non_embedding": params,
        "n_layers": layers,
        "n_heads": heads,
        "d_model": 1,
        "architecture": "gpt_neox",
    }
    graph = {"receivers": ["x"] * n_receivers, "n_edges": 10**5}
    header = {
        "model": about,
        "task": task,
        "seed": 0,
        "config": {},
        "code_version": "0",
        "schedule": [],
        "graph": graph,
    }
    return CellData(
        Path("/sweep") / model / task / "seed0",
        header,
        True,
        curves,
        pd.DataFrame(),
        circuits=circuits,
        strengths=strengths,
    )


def curves_of(cells: list[CellData], rng: np.random.Generator) -> Curves:
    rows = []
    roles = {role: rng.uniform(size=len(STEPS)) for role in catalogue.roles()}
    for cell in cells:
        columns = {name: cell.curves[name] for name in SCALARS}
        if cell.task == TASKS[0]:
            columns |= {f"roles/{role}/max": values for role, values in roles.items()}
        for name, values in columns.items():
            rows.append(
                pd.DataFrame(
                    {
                        "model": cell.model,
                        "params": cell.params,
                        "tokens": TOKENS,
                        "step": STEPS,
                        "value": values,
                        "stderr": 0.01234,
                        "task": "-" if name.startswith("roles/") else cell.task,
                        "quantity": name,
                        "seed": 0,
                        "source": "x",
                    }
                )[list(COLUMNS)]
            )
    return combine([Curves(pd.concat(rows, ignore_index=True))])


@pytest.fixture(scope="module")
def cells() -> list[CellData]:
    rng = np.random.default_rng(0)
    return [made_up(model, task, rng) for model in SHAPES for task in TASKS]


def test_the_report_of_a_large_sweep_stays_small(cells: list[CellData], tmp_path: Path) -> None:
    rng = np.random.default_rng(1)
    curves = curves_of(cells, rng)
    table = curves.table[curves.table["quantity"].isin(["behaviour/value", "roles/induction/max"])]
    rows = with_cells(emergence_rows(Fits(Curves(table), n_bootstrap=0)), cells)
    emergence = rows.frame()
    histories = []
    for model in SHAPES:
        for role in catalogue.roles():
            index = pd.MultiIndex.from_arrays([STEPS, TOKENS], names=["step", "tokens"])
            scores = pd.DataFrame(
                rng.uniform(size=(len(STEPS), 12)),
                index=index,
                columns=[f"a3.h{k}" for k in range(12)],
            )
            checked = scores.rename_axis(columns="node").stack().rename("score").reset_index()
            known = dict.fromkeys(CHECKS, pd.NA) | {
                "sign": "helps",
                "confirmed": checked["score"] > 0.6,
            }
            checked = checked.assign(**known)
            histories.append(
                RoleHistory(model, 0, role, 0.5, scores, {"ioi": checked.astype(CHECKS)})
            )
    chosen = TOKENS[10::3]
    grid = pd.MultiIndex.from_product(
        [SHAPES, TASKS, chosen, chosen], names=["model", "task", "circuit_tokens", "model_tokens"]
    )
    transfer = pd.DataFrame(index=grid).reset_index()
    transfer = transfer.assign(
        seed=0, circuit_task=transfer["task"], faithfulness=rng.normal(size=len(transfer))
    )
    heads = replace(
        head_tables([], emergence),
        histories=histories,
        transfer=transfer,
        turnover=turnover_table(histories),
    )
    none = pd.DataFrame()
    spec, scaling = specification(curves, cells, heads.bands), scaling_rows(curves, rows)
    found = Findings(
        "large",
        charts(spec, cells, emergence, scaling.frame(), heads),
        curves,
        cells,
        emergence,
        scaling.frame(),
        cells_table(cells).frame(),
        none,
        heads,
        Comparisons(none, none, none, none, none, none),
        [],
        {"emergence": emergence, **heads.files()},
        ComparisonRows(()),
    )
    write_report(tmp_path / "report.html", found)
    page = (tmp_path / "report.html").read_text(encoding="utf-8")
    assert len(page.encode()) <= MOST_BYTES == 5_000_000
    assert len(page.encode()) > 2_000_000  # it has all that it was given, not a part
    assert re.search(
        r"circuit graphs draw the (300|150|75|40|20) strongest edges of \d+ larger circuits", page
    )


def decode(blob: str, lines: list[dict]) -> list[list[tuple[set[int], set[int]]]]:
    """The stream of `circuits_blob`, read one number at a time."""
    content = iter(zlib.decompress(base64.b64decode(blob), -15))

    def number() -> int:
        value, shift = 0, 0
        while True:
            byte = next(content)
            value |= (byte & 127) << shift
            if byte < 128:
                return value
            shift += 7

    cells = []
    for line in lines:
        now: tuple[set[int], set[int]] = (set(), set())
        steps = []
        for _ in line["tokens"]:
            for members in now:
                place = 0
                for _ in range(number()):
                    place += number()
                    members ^= {place}
            steps.append((set(now[0]), set(now[1])))
        cells.append(steps)
    assert next(content, None) is None
    return cells


def test_circuits_can_be_read_back(cells: list[CellData]) -> None:
    few = cells[:2]
    lines, blob, notes = circuits_blob(few, list(SHAPES), room=10**9)
    for cell, line, steps in zip(few, lines, decode(blob, lines), strict=True):
        for step, count, (nodes, edges) in zip(line["steps"], line["edges"], steps, strict=True):
            every = cell.circuits.get(step, np.empty(0, dtype=int))
            assert count == every.size
            strength = cell.strengths.get(step, np.empty(0))
            assert edges == set(every[np.argsort(-strength, kind="stable")[:300]].tolist())
            assert len(nodes) <= 1 + 6 * 9 + 1 and (len(nodes) > 0) == (count > 0)
    assert notes == [
        f"circuit graphs draw the 300 strongest edges of {2 * len(STEPS[11:])} larger circuits"
    ]
    tight = circuits_blob(few, list(SHAPES), room=20_000)
    assert len(tight[1]) < len(blob) / 3 and "20 strongest" in tight[2][0]


@pytest.mark.parametrize(
    "value", [0, 1, 127, 128, 16_383, 16_384, 2_097_151, 2_097_152, 4_000_000_000]
)
def test_varints(value: int) -> None:
    expected, left = b"", value
    while True:
        expected += bytes([left % 128 + (128 if left >= 128 else 0)])
        left //= 128
        if not left:
            break
    assert (
        varints(np.array([value])) == expected
        and varints(np.array([value, 5])) == expected + b"\x05"
    )
