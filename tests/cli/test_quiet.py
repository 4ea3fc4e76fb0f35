"""Nothing of what the libraries say of themselves reaches the terminal."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from support.growing import Run, arguments

NOISE = ("Token indices", "[transformers]", "Loading weights", "generation flags", "Warning")


@pytest.mark.parametrize("command", ["prompts", "watch"])
def test_texts_longer_than_the_tokenizer_is_made_for(
    command: str, trained_suite: Path, tmp_path: Path
) -> None:
    """They are cut to pieces or asked for piece by piece, so that its warning is wrong."""
    run = Run(trained_suite, tmp_path / "run")
    run.write(0)
    path = run.at(0) / "tokenizer_config.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | {"model_max_length": 3}))
    done = subprocess.run(
        [sys.executable, "-m", "circuitwatch", command, *arguments(run.folder, tmp_path / "out")],
        capture_output=True,
        text=True,
        check=False,
        timeout=300,
    )
    assert done.returncode == 0, done.stderr
    assert not [words for words in NOISE if words in done.stderr + done.stdout], done.stderr
