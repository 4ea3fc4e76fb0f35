"""What is printed when a cell and a sweep end, from small records with known numbers."""

from __future__ import annotations

import io
import json
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from rich.console import Console

from circuitwatch.beside import Line, blocks, print_beside
from circuitwatch.ending import CellEnd, one_line, print_cell
from circuitwatch.record_files import CheckpointRecord
from circuitwatch.records import Cell
from circuitwatch.sweeping.ending import print_sweep
from circuitwatch.sweeping.failures import write_failure

NOTHING = pd.DataFrame({"prompt": [0], "value": [0.5]})
ROLES = pd.DataFrame({"role": ["induction"], "layer": [0], "head": [0], "score": [0.5]})


def scalars(value: float, *, above: bool, edges: int | None = None, **more: Any) -> dict[str, Any]:
    """Those of one checkpoint."""
    found: dict[str, Any] = {
        "behaviour/value": value,
        "behaviour/low": value - 0.1,
        "behaviour/high": value + 0.1,
        "behaviour/effect": 2 * value,
        "behaviour/accuracy": 0.5 + value / 10,
        "behaviour/above_chance": above,
        "circuit/status": "found" if edges else "none: behaviour not above chance",
        "roles/induction/max": value / 5,
        "roles/induction/head": "a1.h0",
    }
    if not above:
        found["behaviour/not_above_chance"] = "value and effect"
    if edges:
        found |= {"circuit/edges": edges, "circuit/edges_share": edges / 100}
        found |= {"circuit/recovery": 0.81, "circuit/faithfulness": 0.79}
    return found | more


def make_cell(
    sweep: Path,
    model: str,
    task: str,
    *checkpoints: dict[str, Any],
    params: int | None = 1000,
    seed: int = 0,
    planned: int = 0,
    done: bool = True,
) -> Cell:
    """A cell with these checkpoints, a million tokens apart, of `planned` ones."""
    schedule = [
        {"step": k, "tokens": k * 10**6, "revision": f"step{k}"}
        for k in range(max(planned, len(checkpoints)))
    ]
    header = {
        "config": {},
        "model": {"name": model, "params_total": params},
        "task": task,
        "seed": seed,
        "schedule": schedule,
        "bos": "<s>",
        "lexicon": {"names": 12},
    }
    cell = Cell.create(sweep / model / task / f"seed{seed}", header)
    for k, own in enumerate(checkpoints):
        record = CheckpointRecord(k, k * 10**6, f"step{k}", own, NOTHING, ROLES)
        cell.write(record, {"total": 30.0})
    if done:
        cell.mark_done()
    return cell


def printed(show: Any, width: int = 80) -> str:
    """What is printed on a console of a width."""
    out = io.StringIO()
    show(Console(file=out, width=width))
    return out.getvalue()


def row(text: str, name: str) -> list[str]:
    """The words of the table's row that begins with a name."""
    (line,) = [line for line in text.splitlines() if line.strip().startswith(name)]
    return line.strip().removeprefix(name).split()


def test_a_cell_has_its_first_and_last_checkpoint_and_what_is_next(tmp_path: Path) -> None:
    cell = make_cell(
        tmp_path / "s",
        "mine",
        "ioi",
        scalars(0.25, above=False),
        scalars(1.0, above=True, edges=5),
        scalars(0.5, above=False, edges=None),
        scalars(3.0, above=True, edges=9),
        scalars(4.0, above=True, edges=7, **{"circuit/out_of_range": True}),
    )
    text = printed(lambda console: print_cell(cell, console, "circuitwatch summarize sweep=s"))
    assert text.startswith("mine · IOI (logit difference) · seed 0")
    assert row(text, "tokens") == ["0", "4M"]
    assert row(text, "behaviour") == ["0.25", "[0.15,", "0.35]", "4.00", "[3.90,", "4.10]"]
    assert row(text, "effect of the deciding word") == ["0.50", "8.00"]
    assert row(text, "both above chance") == ["no", "(value", "and", "effect)", "yes"]
    assert row(text, "accuracy") == ["0.53", "0.90"]
    assert row(text, "circuit") == ["none", "7", "edges", "(7.0%)"]
    assert row(text, "recovery") == ["–", "0.81"]
    assert row(text, "induction") == ["0.05", "a1.h0", "0.80", "a1.h0"]
    assert max(len(line) for line in text.splitlines() if "·" not in line[:3]) <= 120
    *_, since, flagged, prompts, took, then = text.splitlines()
    assert since == "above chance from 3M tokens on"
    assert flagged.startswith("at 1 of 5 checkpoints faithfulness above 1.2 or below −0.2")
    assert prompts == "every prompt begins with <s>; with this tokenizer: 12 names"
    assert took == f"5 checkpoints in 2 min: {cell.folder}"
    assert then == "next: circuitwatch summarize sweep=s"
    assert one_line(cell) == (
        "mine × ioi: behaviour 4.00, above chance, circuit 7 edges (7.0%); 5 checkpoints in 2 min"
    )


def test_one_checkpoint_is_the_last_and_none_above_chance_has_no_moment(tmp_path: Path) -> None:
    cell = make_cell(tmp_path, "mine", "my [task]", scalars(0.1, above=False))
    text = printed(lambda console: print_cell(cell, console))
    assert "first checkpoint" not in text and "my [task]" in text
    assert row(text, "circuit") == ["none"]
    assert "above chance from" not in text and "recovery" not in text and "next:" not in text
    assert CellEnd(cell).above_chance_from is None
    assert one_line(cell).startswith("mine × my [task]: behaviour 0.10, not above chance, circuit")


def test_a_cell_that_was_above_chance_all_along_or_lost_it_has_no_moment(tmp_path: Path) -> None:
    always = make_cell(tmp_path, "a", "ioi", scalars(1, above=True), scalars(1, above=True))
    lost = make_cell(tmp_path, "b", "ioi", scalars(1, above=True), scalars(0, above=False))
    assert CellEnd(always).above_chance_from is None is CellEnd(lost).above_chance_from
    text = printed(lambda c: print_sweep(tmp_path, ["a/ioi/seed0", "b/ioi/seed0"], c))
    assert row(text, "above chance") == ["from", "the", "first", "no"]


def a_sweep(sweep: Path) -> list[str]:
    """Three sizes (the names aren't in their order), two tasks, two seeds of one cell; one cell
    stopped on the way, one failed before it began, one that nobody asked for.
    """
    small = [scalars(0.2, above=False), scalars(1.0, above=True, edges=20)]
    make_cell(sweep, "z-small", "ioi", *small, params=10**6)
    make_cell(sweep, "m-mid", "ioi", *small, params=10**7)
    make_cell(sweep, "m-mid", "ioi", scalars(3.0, above=False), params=10**7, seed=1)
    make_cell(sweep, "a-large", "agreement", *small, params=10**8, planned=4, done=False)
    make_cell(sweep, "other", "ioi", *small)
    (sweep / "sweep.json").write_text(json.dumps({"cells": []}))
    write_failure(sweep, "a-large/ioi/seed0", ValueError("no room"))
    return [
        *("z-small/ioi/seed0", "m-mid/ioi/seed0", "m-mid/ioi/seed1"),
        *("a-large/agreement/seed0", "a-large/ioi/seed0"),
    ]


def test_a_sweep_has_the_models_by_size_beside_each_other(tmp_path: Path) -> None:
    sweep = tmp_path / "mine"
    asked = a_sweep(sweep)
    text = printed(lambda console: print_sweep(sweep, asked, console), 90)
    heads = next(line for line in text.splitlines() if "z-small" in line)
    assert heads.split() == ["z-small", "m-mid", "a-large"]
    ioi, agreement = text.partition("agreement")[::2]
    assert row(ioi, "IOI") == ["behaviour", "1.00", "2.00", "–"]
    assert row(ioi, "above chance") == ["from", "1M", "tokens", "1", "of", "2", "seeds", "–"]
    assert row(ioi, "circuit") == ["20.0%", "20.0%", "(1", "of", "2", "seeds)", "–"]
    assert "from 1M tokens" in agreement and "20.0%" in agreement
    assert text.splitlines()[0].endswith("; median of seeds)") and "other" not in text
    lines = text.splitlines()
    assert "3 of 5 cells done, in 3 min of one process" in lines
    assert "stopped: a-large/agreement/seed0 (2 of 4 checkpoints)" in lines
    (failed,) = [line for line in lines if line.startswith("failed: ")]
    assert failed.startswith("failed: a-large/ioi/seed0, ValueError: no room")
    assert lines[-2:] == [
        f"records: {sweep}",
        f"next: circuitwatch summarize sweep=mine out={tmp_path}",
    ]
    narrow = printed(lambda console: print_sweep(sweep, asked, console), 80)
    assert narrow.count("IOI") == 2  # the largest model stands below the others
    for shown, width in ((text, 90), (narrow, 80)):
        table = shown[: shown.index("3 of 5 cells")]
        assert max(map(len, table.splitlines())) <= width


def test_a_sweep_without_a_record_has_no_table(tmp_path: Path) -> None:
    assert printed(lambda console: print_sweep(tmp_path, ["a/ioi/seed0"], console)) == ""
    write_failure(tmp_path, "a/ioi/seed0", ValueError("no room"))
    text = printed(lambda console: print_sweep(tmp_path, ["a/ioi/seed0"], console))
    assert text.splitlines()[0] == "0 of 1 cells done, in 0 s of one process"
    assert "next:" not in text and "no room" in text


def test_a_damaged_cell_is_named_and_stops_no_other(tmp_path: Path) -> None:
    make_cell(tmp_path, "m", "ioi", scalars(1.0, above=True, edges=5))
    cell = make_cell(tmp_path, "n", "ioi", scalars(1.0, above=True, edges=5))
    (cell.folder / "cell.json").write_text("{")
    text = printed(lambda c: print_sweep(tmp_path, ["m/ioi/seed0", "n/ioi/seed0"], c))
    assert row(text, "IOI") == ["behaviour", "1.00"]
    assert "damaged: n/ioi/seed0" in text


@pytest.mark.parametrize(
    ("widths", "room", "expected"),
    [
        ((5, 5, 5), 15, [(0, 3)]),
        ((5, 5, 5), 14, [(0, 2), (2, 3)]),
        ((50, 5), 10, [(0, 1), (1, 2)]),
        ((5,), -3, [(0, 1)]),
    ],
)
def test_columns_go_into_blocks(
    widths: tuple[int, ...], room: int, expected: list[tuple[int, int]]
) -> None:
    assert [(block.start, block.stop) for block in blocks(widths, room)] == expected


@pytest.mark.parametrize("width", [60, 80, 120])
def test_models_that_do_not_fit_stand_in_further_blocks_and_nothing_is_cut(width: int) -> None:
    models = [f"model-{k}\n{k} parameters" for k in range(9)]
    lines = [Line(("tasks",)), Line(("  [bold]IOI[/]",), tuple(f"{k}.25M" for k in range(9)))]
    text = printed(lambda c: print_beside(c, "title", ("",), models, lines), width)
    assert max(map(len, text.splitlines())) <= width and "…" not in text
    for k in range(9):
        assert text.count(f"model-{k}") == 1 and text.count(f"{k}.25M") == 1
    blocks_shown = text.count("[bold]IOI[/]")
    assert blocks_shown == text.count("tasks") > (1 if width < 120 else 0)
    assert text.count("title") == 1
