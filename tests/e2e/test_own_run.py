"""A run and a task of one's own, from the first command to the report, as the documentation says
it: the middle of a stranger's path (`test_stranger.py`), without the installation.
"""

from __future__ import annotations

import os
import sys
from pathlib import Path

import pytest

from support.stranger import QUICK, Stranger, own_run

pytestmark = pytest.mark.e2e


def test_two_sizes_and_prompts_of_ones_own(tmp_path: Path) -> None:
    program = [sys.executable, "-m", "circuitwatch"]
    environment = {**os.environ, "COLUMNS": "100"}
    own_run(Stranger(tmp_path, program, sys.executable, environment), *QUICK)
