"""A run and a task of one's own, from the first command to the report, as the documentation says
it; `make e2e-stranger` does the same from `pip install` on, with the demo before it.
"""

from __future__ import annotations

import os
import sys
from pathlib import Path

from support.stranger import QUICK, Stranger, own_run


def test_two_sizes_and_prompts_of_ones_own(tmp_path: Path) -> None:
    program = [sys.executable, "-m", "circuitwatch"]
    environment = {**os.environ, "COLUMNS": "100"}
    own_run(Stranger(tmp_path, program, sys.executable, environment), *QUICK)
