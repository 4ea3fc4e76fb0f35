"""A cell written once more, record by record, and tracked as `monitor` does it: what W&B does to a
run can be tried in a second or two, without a model.

    python -m support.replay SOURCE TARGET KEY=VALUE…   mode, finish_timeout, init_timeout,
                                                        reach_timeout, pictures, pause,
                                                        stop (so many records), later (a step that
                                                        comes last)
"""

from __future__ import annotations

import json
import sys
import time
from pathlib import Path

from circuitwatch.cli.stopping import STOPPING
from circuitwatch.records import Cell
from circuitwatch.tracking import Tracker, account, sessions
from circuitwatch.tracking.settings import TrackingConfig

SECONDS = {"heads": 0.5, "total": 1.5}


def replay(source: Path, target: Path, options: dict[str, str]) -> None:
    """Write the target's records that are missing and track them."""
    sessions.FINISH_TIMEOUT = float(options.get("finish_timeout", 3))
    sessions.INIT_TIMEOUT = float(options.get("init_timeout", 4))
    account.REACH_TIMEOUT = float(options.get("reach_timeout", 2))
    original = Cell.open(source)
    header = {**original.header, "config": {**original.header["config"], "sweep": "demo"}}
    cell = Cell.create(target, header)
    steps = original.steps_done()[: int(options.get("stop", 10_000))]
    if "later" in options:
        steps = [s for s in steps if s != int(options["later"])] + [int(options["later"])]
    pictures = int(options.get("pictures", 0))
    config = TrackingConfig(mode=options.get("mode", "online"), pictures=pictures)
    began = time.monotonic()
    with Tracker(cell, config, sweep="demo") as tracker:
        print(json.dumps({"started": time.monotonic() - began, "mode": tracker.mode}), flush=True)
        for step in steps:
            if step not in cell.steps_done():
                record = original.read(step)
                cell.write(record, SECONDS)
                tracker.log(record, SECONDS)
                print(step, flush=True)
                time.sleep(float(options.get("pause", 0)))
        cell.mark_done()
        tracker.complete()
    print(json.dumps({"took": time.monotonic() - began}), flush=True)


if __name__ == "__main__":
    STOPPING.listen()
    STOPPING.begin()
    replay(Path(sys.argv[1]), Path(sys.argv[2]), dict(a.split("=") for a in sys.argv[3:]))
