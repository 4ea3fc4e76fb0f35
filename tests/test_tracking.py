"""What W&B gets, read back from an offline run; no account, no network."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from circuitwatch.config import TrackingConfig
from circuitwatch.records import Cell
from circuitwatch.tracking import Tracker, resolve_mode, run_id
from test_records import HEADER, record


def history(cell: Cell) -> list[dict[str, Any]]:
    """The rows of the cell's only offline run, read with W&B's own command."""
    (path,) = cell.folder.glob("wandb/offline-run-*/run-*.wandb")
    return [message["history"] for message in messages(path) if message["type"] == "history"]


def messages(path: Path) -> list[dict[str, Any]]:
    """What a run's file holds, read with W&B's own command."""
    command = [str(Path(sys.executable).with_name("wandb")), "leet", "inspect", "--json", str(path)]
    shown = subprocess.run(command, check=True, capture_output=True, text=True).stdout
    return [json.loads(line) for line in shown.splitlines()]


def axes(cell: Cell) -> dict[str, str]:
    """Metric, or pattern of metrics → the metric that W&B draws it over."""
    (path,) = cell.folder.glob("wandb/offline-run-*/run-*.wandb")
    metrics = [message["metric"] for message in messages(path) if message["type"] == "metric"]
    return {
        metric.get("glob_name") or metric["name"]: metric.get("step_metric", "")
        for metric in metrics
    }


def values(rows: list[dict[str, Any]], name: str) -> list[Any]:
    """One metric over the rows, wherever a row keeps it."""
    text = [json.dumps(row) for row in rows]
    assert all(name in row for row in text), rows[:1]
    return [find(row, name) for row in rows]


def find(tree: Any, name: str) -> Any:
    if isinstance(tree, dict):
        if name in tree:
            return tree[name]
        return next(
            (found for branch in tree.values() if (found := find(branch, name)) is not None), None
        )
    return None


def test_a_run_holds_every_record_in_token_order_also_after_a_resume(tmp_path: Path) -> None:
    cell = Cell.create(tmp_path, HEADER)
    cell.write(record(0))
    with Tracker(cell, TrackingConfig(mode="offline"), sweep="s") as tracker:
        assert tracker.mode == "offline"
    assert values(history(cell), "tokens") == [0]
    cell.write(record(4))  # written, but the run was killed before it was logged
    with Tracker(cell, TrackingConfig(mode="offline"), sweep="s") as tracker:
        cell.write(record(8))
        tracker.log(record(8))
    rows = history(cell)
    assert values(rows, "tokens") == [0, 40, 80]
    assert values(rows, "behaviour/value") == [0.1, 4.1, 8.1]
    assert values(rows, "circuit/status") == ["found"] * 3


def test_everything_is_drawn_over_tokens(tmp_path: Path) -> None:
    cell = Cell.create(tmp_path, HEADER)
    with Tracker(cell, TrackingConfig(mode="offline"), sweep="s") as tracker:
        tracker.log(record(0))
    assert axes(cell) == {"tokens": "", "*": "tokens"}


def test_off_does_not_even_import_wandb(tmp_path: Path) -> None:
    code = (
        "import sys; from pathlib import Path; from test_records import HEADER, record; from "
        "circuitwatch.records import Cell;"
        "from circuitwatch.tracking import Tracker; from circuitwatch.config import TrackingConfig;"
        "cell = Cell.create(Path(sys.argv[1]), HEADER)\n"
        "with Tracker(cell, TrackingConfig(mode='off'), sweep='s') as tracker: "
        "tracker.log(record(0))\n"
        "assert 'wandb' not in sys.modules"
    )
    subprocess.run(
        [sys.executable, "-c", code, str(tmp_path)], check=True, cwd=Path(__file__).parent
    )
    assert not (tmp_path / "wandb").exists()


def test_auto_is_online_only_with_an_account(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    for name in ("WANDB_API_KEY", "WANDB_MODE", "NETRC"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("HOME", str(tmp_path))
    assert resolve_mode("auto") == "offline"
    (tmp_path / ".netrc").write_text("machine api.wandb.ai login user password secret\n")
    (tmp_path / ".netrc").chmod(0o600)
    assert resolve_mode("auto") == "online"
    (tmp_path / ".netrc").unlink()
    monkeypatch.setenv("WANDB_API_KEY", "secret")
    assert (
        resolve_mode("auto") == "online"
        and resolve_mode("offline") == "offline"
        and resolve_mode("off") == "off"
    )
    monkeypatch.setenv("WANDB_MODE", "offline")
    assert resolve_mode("auto") == "offline"


def test_a_failure_of_wandb_costs_one_line_and_not_the_cell(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    import wandb

    def broken(**_: Any) -> None:
        raise RuntimeError("server is down\nand more")

    monkeypatch.setattr(wandb, "init", broken)
    with Tracker(
        Cell.create(tmp_path, HEADER), TrackingConfig(mode="offline"), sweep="s"
    ) as tracker:
        tracker.log(record(0))
    assert (
        capsys.readouterr().err.strip()
        == "circuitwatch: W&B tracking stopped (server is down); records go on being written"
    )


def test_a_cells_run_has_one_name_for_life(tmp_path: Path) -> None:
    one, again = (Cell.create(tmp_path / "a", HEADER) for _ in range(2))
    other = Cell.create(tmp_path / "b", {**HEADER, "task": "agreement"})
    assert run_id(one) == run_id(again) != run_id(other)
