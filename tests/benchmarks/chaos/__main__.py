"""Run the parts of the benchmark; see the package."""

from __future__ import annotations

import importlib
import json
import sys
import time
from pathlib import Path

SIZES = {"kills": 60, "folders": 200, "records": 6000, "configs": 4500}
"""How many cases each part has by default. Kills come first: they fork, which a process that has
computed can't do.
"""
TARGET = Path("multirun/bench/chaos.json")


def main(arguments: list[str]) -> int:
    """Run the named part, or all; the exit status is 1 where any case failed."""
    name, *numbers = arguments or [""]
    if name and name not in SIZES:
        print(f"{name}: no such part; there are {', '.join(SIZES)}", file=sys.stderr)
        return 2
    failed = False
    known = {}
    for part in [name] if name else SIZES:
        n = int(numbers[0]) if numbers else SIZES[part]
        first = int(numbers[1]) if len(numbers) > 1 else 0
        began = time.perf_counter()
        tally = importlib.import_module(f"benchmarks.chaos.{part}").run(n, first)
        known[part] = {**tally.summary(), "seconds": round(time.perf_counter() - began)}
        failed = failed or bool(tally.failures)
        every = [*tally.counts.most_common(), *tally.also.most_common()]
        counts = ", ".join(f"{count} {what}" for what, count in every)
        print(f"{part}: {n} cases in {known[part]['seconds']} s: {counts}", flush=True)
    if TARGET.is_file():  # by now another may have written its part
        known = json.loads(TARGET.read_text(encoding="utf-8")) | known
    TARGET.parent.mkdir(parents=True, exist_ok=True)
    TARGET.write_text(json.dumps(known, indent=1) + "\n", encoding="utf-8")
    return int(failed)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
