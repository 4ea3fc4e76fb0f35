"""The stored logits of hf_olmo's models are those that ai2-olmo computes, in an environment of its
own: it needs numpy < 2, and with that an older pyarrow than ours.
"""

from __future__ import annotations

import json
import os
import subprocess
import venv
from pathlib import Path

import pytest
import torch

PACKAGES = ("ai2-olmo==0.6.0", "numpy<2", "datasets", "pyarrow<21", "pandas<2.3")
HERE = Path(__file__).parent

pytestmark = pytest.mark.e2e


def test_the_stored_logits_are_those_of_the_package(tmp_path: Path) -> None:
    venv.create(tmp_path / "env", with_pip=True)
    python = tmp_path / "env/bin/python"
    install = [python, "-m", "pip", "install", "--quiet", *PACKAGES]
    installed = subprocess.run(install, capture_output=True, text=True, check=False)
    if installed.returncode:
        pytest.skip(f"ai2-olmo can't be installed here: {installed.stderr.strip()[-200:]}")
    written = tmp_path / "logits.json"
    environment = {**os.environ, "PYTHONPATH": str(HERE.parent)}
    script = [python, HERE / "hf_olmo_logits.py", written]
    ran = subprocess.run(script, env=environment, capture_output=True, text=True, check=False)
    assert ran.returncode == 0, ran.stderr
    now = json.loads(written.read_text())
    stored = json.loads((HERE.parent / "data/hf_olmo/logits.json").read_text())
    assert now.keys() == stored.keys()
    for name, numbers in stored.items():
        assert now[name]["shapes"] == numbers["shapes"]
        torch.testing.assert_close(
            torch.tensor(now[name]["logits"]),
            torch.tensor(numbers["logits"]),
            rtol=1e-5,
            atol=2e-5,
        )
