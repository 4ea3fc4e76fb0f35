"""The code in docs/live.md runs, on a small training."""

from __future__ import annotations

import re
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import torch

import circuitwatch as cw
from circuitwatch import callback as of_trainer
from circuitwatch.records import find_cells
from support.tokenizers import tokenizer_named
from support.trainings import SMALL, small_gpt2, text, trainer

PAGE = Path(__file__).parents[2] / "docs" / "live.md"


@pytest.mark.parametrize("number", [0, 1])
def test_the_page(number: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Both blocks, but for less being measured."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(
        of_trainer,
        "CircuitwatchCallback",
        partial(of_trainer.CircuitwatchCallback, max_share=None, **SMALL),
    )
    monkeypatch.setattr(cw, "Watcher", partial(cw.Watcher, max_share=None, **SMALL), raising=False)
    model = small_gpt2()
    names: dict[str, Any] = {
        "model": model,
        "args": trainer(tmp_path, max_steps=3).args,
        "data": [{"input_ids": row, "labels": row} for row in text(16)],
        "tokenizer": tokenizer_named("nano"),
        "batches": text(16).split(8),
        "optimizer": torch.optim.AdamW(model.parameters()),
    }
    block = re.findall(r"```python\n(.*?)```", PAGE.read_text(encoding="utf-8"), flags=re.S)[number]
    exec(compile(block, "live.md", "exec"), names)
    cells = find_cells(tmp_path / "multirun/live")
    assert len(cells) == 2 - number and all(cell.is_done() for cell in cells)
    assert all(cell.steps_done() == [0, 1, 2, 3][: 4 - number] for cell in cells)
