"""Small trainings of a GPT-2 with dropout, on sentences of the nano corpus in shuffled order: with
transformers' Trainer, and in a loop of our own.
"""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from transformers import (
    GPT2Config,
    GPT2LMHeadModel,
    PreTrainedModel,
    Trainer,
    TrainerCallback,
    TrainingArguments,
)

from circuitwatch.config import HeadsConfig
from circuitwatch.nano.corpus import Corpus
from circuitwatch.watcher import Watcher
from support.tokenizers import tokenizer_named

TASKS = ["gendered_pronoun", "agreement"]
LENGTH, ROWS = 24, 8
SMALL: dict[str, Any] = {
    "n_prompts": 8,
    "n_bootstrap": 20,
    "heads": HeadsConfig(length=6, n_sequences=4, n_prompts=8, n_texts=4, n_destinations=8),
}
"""Options of a watcher that measures little."""


def small_gpt2(seed: int = 0) -> GPT2LMHeadModel:
    """130 thousand parameters, dropout 0.1."""
    torch.manual_seed(seed)
    shape = {"n_embd": 48, "n_layer": 2, "n_head": 4, "n_positions": 48}
    special = {"bos_token_id": 0, "eos_token_id": 0, "pad_token_id": 0}
    return GPT2LMHeadModel(GPT2Config(vocab_size=len(tokenizer_named("nano")), **shape, **special))


def text(n_rows: int = 64) -> Tensor:
    """Rows of sentences [row, LENGTH]."""
    corpus = Corpus(tokenizer_named("nano"), seed=0, rows=n_rows, context=LENGTH)  # type: ignore[arg-type]
    return torch.as_tensor(corpus.batch(1))[:, :LENGTH].long()


class Losses(Trainer):
    """A Trainer that keeps the loss of every batch as it is."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.losses: list[float] = []

    def compute_loss(self, *args: Any, **kwargs: Any) -> Any:
        loss = super().compute_loss(*args, **kwargs)
        self.losses.append(float((loss[0] if isinstance(loss, tuple) else loss).detach()))
        return loss


def trainer(
    folder: Path,
    callbacks: Sequence[TrainerCallback] = (),
    *,
    model: PreTrainedModel | None = None,
    data: Any = None,
    **options: Any,
) -> Losses:
    """A Trainer of the small model, which writes checkpoints to folder / "mine"."""
    settings: dict[str, Any] = {
        "max_steps": 6,
        "learning_rate": 3e-3,
        "lr_scheduler_type": "constant",
        "save_strategy": "no",
        "report_to": [],
        "logging_steps": 2,
        "disable_tqdm": True,
    }
    arguments = TrainingArguments(
        str(folder / "mine"),
        per_device_train_batch_size=ROWS,
        use_cpu=True,
        seed=3,
        dataloader_pin_memory=False,
        **settings | options,
    )
    rows = [{"input_ids": row, "labels": row} for row in text()]
    return Losses(
        small_gpt2() if model is None else model,
        arguments,
        train_dataset=rows if data is None else data,
        eval_dataset=rows,
        processing_class=tokenizer_named("nano"),
        callbacks=list(callbacks),
    )


def plain_loop(
    model: torch.nn.Module, watcher: Watcher | None, *, n_steps: int = 6, lr: float = 3e-3
) -> list[float]:
    """Train in a loop that tells the watcher of every step, and return its losses."""
    torch.manual_seed(5)
    rows, tokens = text(), 0
    optimizer = torch.optim.AdamW(model.parameters(), lr=lr)
    model.train()
    losses = []
    if watcher is not None:
        watcher.step(model, tokens)
    for _ in range(n_steps):
        batch = rows[torch.randperm(len(rows))[:ROWS]]
        loss = model(input_ids=batch, labels=batch).loss
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(float(loss.detach()))
        tokens += batch.numel()
        if watcher is not None:
            watcher.step(model, tokens)
    return losses


def watcher(folder: Path, tasks: Sequence[Any] = TASKS, **options: Any) -> Watcher:
    """A watcher into folder / "multirun" / "live" / "mine" that measures little and has time."""
    settings: dict[str, Any] = {"model_name": "mine", "tokenizer": tokenizer_named("nano")}
    settings |= {"out": folder / "multirun", "max_share": None, "every": 2, **SMALL}
    return Watcher(tasks, **settings | options)


def wandb_messages(folder: Path) -> list[dict[str, Any]]:
    """What the only offline run below a folder holds, read with W&B's own command."""
    (path,) = folder.glob("wandb/offline-run-*/run-*.wandb")
    command = [str(Path(sys.executable).with_name("wandb")), "leet", "inspect", "--json", str(path)]
    shown = subprocess.run(command, check=True, capture_output=True, text=True).stdout
    return [json.loads(line) for line in shown.splitlines()]
