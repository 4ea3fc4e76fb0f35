"""What W&B gets, read back from an offline run; no account, no network."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from circuitwatch.config import TrackingConfig
from circuitwatch.errors import UserError
from circuitwatch.records import Cell
from circuitwatch.tracking import Tracker, run_id, sending
from circuitwatch.tracking.account import NotTaken
from circuitwatch.tracking.sending import Sent
from support.offline_runs import axes, find, hidden, history, values
from test_records import HEADER, record

LONGER = {
    **HEADER,
    "schedule": [{"step": s, "tokens": 10 * s, "revision": f"step{s}"} for s in (0, 4, 8)],
    "model": {"name": "m", "n_layers": 1, "n_heads": 2},
}


def track(cell: Cell, *written: int, mode: str = "offline", **options: Any) -> str:
    """Log a cell and more records of it; what was said, in lines."""
    with Tracker(cell, TrackingConfig(mode=mode, **options), sweep="s") as tracker:
        for step in written:
            cell.write(record(step), {"total": 1.5})
            tracker.log(record(step), {"total": 1.5})
    return tracker.mode


def test_a_run_holds_every_record_in_token_order_also_after_a_resume(tmp_path: Path) -> None:
    cell = Cell.create(tmp_path, LONGER)
    cell.write(record(0))
    assert track(cell) == "offline"
    assert values(history(cell), "tokens") == [0]
    cell.write(record(4))  # written, but the run was killed before it was logged
    track(cell, 8)
    rows = history(cell)
    assert values(rows, "tokens") == [0, 40, 80]
    assert values(rows, "behaviour/logit_diff") == [0.1, 4.1, 8.1]
    assert values(rows, "detail/circuit/status") == ["found"] * 3
    assert values(rows, "circuit/found") == [1, 1, 1]
    assert values(rows, "_step") == [0, 1, 2]
    assert find(rows[2], "cost/seconds_total") == 1.5
    assert find(rows[1], "log10_tokens") == pytest.approx(np.log10(40))
    assert find(rows[0], "log10_tokens") is None


def test_everything_is_drawn_over_tokens_and_helpers_are_hidden(tmp_path: Path) -> None:
    cell = Cell.create(tmp_path, LONGER)
    track(cell, 0)
    assert axes(cell) == {
        "tokens": "",
        "log10_tokens": "",
        "step": "",
        "detail/*": "tokens",
        "*": "tokens",
    }
    assert hidden(cell) == {"log10_tokens", "step", "detail/*"}


def test_a_record_that_comes_late_is_said_and_the_next_start_has_all(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    cell = Cell.create(tmp_path, LONGER)
    track(cell, 0, 8, 4)
    said = capsys.readouterr().err
    assert "some rows came out of order and are not there" in said
    assert "circuitwatch track sweep=s" in said
    assert values(history(cell), "tokens") == [0, 80]
    track(cell)
    assert values(history(cell), "tokens") == [0, 40, 80]


def test_an_offline_run_says_how_it_is_sent(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    cell = Cell.create(tmp_path / "out/s/m/ioi/seed0", LONGER)
    track(cell, 0)
    (run,) = cell.folder.glob("wandb/offline-run-*")
    assert capsys.readouterr().err == (
        f"circuitwatch: W&B: run kept offline; `wandb sync {run}` or `circuitwatch track sweep=s "
        f"out={tmp_path / 'out'}` sends it\n"
    )


def test_a_long_name_and_a_folder_with_a_space_are_no_obstacle(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    cell = Cell.create(
        tmp_path / "my out/s/m/ioi/seed0", {**LONGER, "model": LONGER["model"] | {"name": "m" * 80}}
    )
    track(cell, 0)
    assert len(history(cell)) == 1
    (run,) = cell.folder.glob("wandb/offline-run-*")
    assert capsys.readouterr().err.endswith(
        f"`wandb sync '{run}'` or `circuitwatch track sweep=s out='{tmp_path / 'my out'}'` sends "
        "it\n"
    )


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
        [sys.executable, "-c", code, str(tmp_path)], check=True, cwd=Path(__file__).parents[1]
    )
    assert not (tmp_path / "wandb").exists()


KEY = "0123456789" * 4


@pytest.mark.parametrize(
    ("environment", "files", "mode"),
    [
        ({}, {}, "offline"),
        ({"WANDB_API_KEY": KEY}, {}, "online"),
        ({"WANDB_API_KEY": KEY, "WANDB_MODE": "offline"}, {}, "offline"),
        ({"WANDB_API_KEY": KEY, "WANDB_MODE": "dryrun"}, {}, "offline"),
        ({"WANDB_API_KEY": KEY, "WANDB_MODE": "disabled"}, {}, "off"),
        ({"WANDB_API_KEY": "short"}, {}, "offline"),
        ({"WANDB_API_KEY": KEY, "WANDB_BASE_URL": "nonsense"}, {}, "off"),
        ({}, {".netrc": f"machine api.wandb.ai login user password {KEY}"}, "online"),
        ({}, {".netrc": f"machine elsewhere.org login user password {KEY}"}, "offline"),
        # a server of one's own, named in the environment, or in W&B's settings
        (
            {"WANDB_BASE_URL": "http://ours.org:8080"},
            {".netrc": f"machine ours.org:8080 login user password {KEY}"},
            "online",
        ),
        (
            {"NETRC": "keys"},
            {
                "keys": f"machine ours.org login user password {KEY}",
                ".config/wandb/settings": "[default]\nbase_url = http://ours.org\n",
            },
            "online",
        ),
        (
            {"WANDB_API_KEY": KEY},
            {".config/wandb/settings": "[default]\nmode = disabled\n"},
            "off",
        ),
    ],
)
def test_auto_is_what_wandb_says_of_the_account(
    environment: dict[str, str], files: dict[str, str], mode: str, tmp_path: Path
) -> None:
    for name, content in files.items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(content)
        (tmp_path / name).chmod(0o600)
    if "NETRC" in environment:
        environment = {**environment, "NETRC": str(tmp_path / environment["NETRC"])}
    code = (
        "from circuitwatch.tracking import resolve_mode\n"
        "print(*map(resolve_mode, ('auto', 'online', 'offline', 'off')))"
    )
    kept = {k: v for k, v in os.environ.items() if not k.startswith("WANDB") and k != "NETRC"}
    shown = subprocess.run(
        [sys.executable, "-c", code],
        env={**kept, "HOME": str(tmp_path), **environment},
        check=True,
        capture_output=True,
        text=True,
        cwd=tmp_path,
    )
    assert shown.stdout.split() == [mode, "online", "offline", "off"]
    assert ("40+ characters" in shown.stderr) == (environment.get("WANDB_API_KEY") == "short")
    assert KEY not in shown.stderr


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
    assert capsys.readouterr().err.strip() == (
        "circuitwatch: W&B: server is down; tracking stopped, records go on; "
        f"`circuitwatch track sweep=s out={tmp_path.parents[3]}` sends it"
    )


def test_a_cells_run_has_one_id_for_life(tmp_path: Path) -> None:
    def id_with(number: int, header: dict[str, Any] = HEADER, **config: Any) -> str:
        changed = {**header, "config": {**header["config"], **config}}
        return run_id(Cell.create(tmp_path / str(number), changed))

    id = id_with(0)
    harmless = {"threads": 4, "device": "cuda", "out": "elsewhere", "cache": "c", "experiment": "e"}
    harmless |= {"checkpoints": {"disk": "1GiB"}, "tracking": {"mode": "online", "entity": "me"}}
    assert id_with(1, **harmless) == id
    others = [
        id_with(2, {**HEADER, "task": "agreement"}),
        id_with(3, {**HEADER, "seed": 1}),
        id_with(4, {**HEADER, "model": {"name": "other"}}),
        id_with(5, sweep="another"),
        id_with(6, circuit={"threshold": 0.9}),
    ]
    assert len({id, *others}) == 6


def test_a_run_that_the_server_will_not_have_stops_no_other(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("a", "b"):
        Cell.create(tmp_path / "s/m" / name / "seed0", HEADER).write(record(0))

    def send(cell: Cell, *_: Any) -> Sent:
        if "a" in cell.folder.parts:
            raise NotTaken("the server has 0 of 1 rows, or others")
        return Sent("", "made", 1, "")

    monkeypatch.setattr(sending, "connect", lambda: None)
    monkeypatch.setattr(sending, "send_cell", send)
    sent: list[Sent] = []
    with pytest.raises(UserError, match="not sent: m/a/seed0: the server has 0 of 1 rows"):
        sending.send_sweep(tmp_path / "s", TrackingConfig(), done=sent.append)
    assert [one.name for one in sent] == ["m/b/seed0"]
