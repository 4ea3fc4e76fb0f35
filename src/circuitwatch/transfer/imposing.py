"""Circuits imposed on a model: at each chosen checkpoint its weights are loaded once, and every
circuit of the plan is evaluated on its task's prompts.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import partial
from itertools import groupby
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch

from circuitwatch.analysis import planned_for, torch_device
from circuitwatch.behaviour import TaskMetric, metric_per_prompt
from circuitwatch.catalogue import BELOW_ZERO
from circuitwatch.checkpoints.files import weights_sha256
from circuitwatch.checkpoints.loading import load_model
from circuitwatch.checkpoints.schedule import Checkpoint
from circuitwatch.checkpoints.source import Missing, NotFetched, Say
from circuitwatch.checkpoints.unusable import Unusable
from circuitwatch.circuits.evaluation import CircuitEvaluator
from circuitwatch.circuits.memory import with_smaller_batches
from circuitwatch.circuits.prompts import Prepared
from circuitwatch.circuits.search import faithfulness, recovery
from circuitwatch.config import Config
from circuitwatch.errors import UserError
from circuitwatch.monitor import open_source, prompts_of, tokenizer_among
from circuitwatch.progress import CellProgress
from circuitwatch.recording import HOPELESS, say_at
from circuitwatch.tasks import PromptSet
from circuitwatch.transfer.planning import Mask, ModelPlan
from circuitwatch.transfer_files import COLUMNS, is_made, remove_others, write
from circuitwatch.transformer import Transformer
from circuitwatch.units import counted
from circuitwatch.usable import require_room_for, unless_diverged


@dataclass
class Skipped:
    """Checkpoints that could not be looked at, a line each: for good, and where another try may
    succeed.
    """

    for_good: list[str] = field(default_factory=list)
    for_now: list[str] = field(default_factory=list)


def impose(plan: ModelPlan) -> Skipped:
    """Make the files of a model that are not there or are made from something else; say what was
    skipped. Raises UserError where nothing more can be done now.
    """
    config, skipped = plan.config, Skipped()
    made = {c.step for c in plan.checkpoints if is_made(plan.path(c), plan.made_from(c))}
    pending = [checkpoint for checkpoint in plan.checkpoints if checkpoint.step not in made]
    source = open_source(config) if pending else None
    remove_others(plan.folder, {plan.path(c) for c in plan.checkpoints if c.step in made})
    if source is None:
        return skipped
    if config.threads:
        torch.set_num_threads(config.threads)
    plan.folder.mkdir(parents=True, exist_ok=True)
    in_a_row = 0
    with CellProgress(f"transfer {plan.title}", len(plan.checkpoints), done=len(made)) as progress:

        def skip(checkpoint: Checkpoint, reason: str, lines: list[str]) -> None:
            lines.append(f"{plan.title} {checkpoint.revision}: skipped, {reason}")
            progress.advance(f"step {checkpoint.step}: skipped, {reason}")

        audit = source.audit(pending, progress.at)
        for checkpoint in pending:
            if checkpoint.step in audit.missing:
                skip(checkpoint, audit.missing[checkpoint.step], skipped.for_good)
        present = [checkpoint for checkpoint in pending if checkpoint.step not in audit.missing]
        if not present:
            return skipped
        tokenizer = tokenizer_among(config, source, present)
        prompts = {task: prompts_of(cell.config, tokenizer) for task, cell in plan.cells.items()}
        with source.stream(present) as stream:
            for checkpoint in present:
                say = partial(say_at, progress, checkpoint)
                try:
                    with stream.hold(checkpoint, say) as weights:
                        sha256 = audit.weights[checkpoint.step].sha256 or weights_sha256(weights)
                        if plan.weights(checkpoint.step) - {sha256}:
                            other = "its weights are not those that the cells were made from"
                            skip(checkpoint, other, skipped.for_good)
                            continue
                        rows = imposed(plan, checkpoint, weights, prompts, say)
                except (Missing, Unusable) as error:
                    skip(checkpoint, str(error), skipped.for_good)
                    continue
                except NotFetched as error:
                    skip(checkpoint, str(error), skipped.for_now)
                    in_a_row += 1
                    if in_a_row == HOPELESS:
                        raise UserError(
                            f"{error}; what is made stays, and the same command goes on"
                        ) from error
                    continue
                in_a_row = 0
                write(plan.path(checkpoint), rows, plan.made_from(checkpoint))
                progress.advance(f"step {checkpoint.step}: {counted(len(rows), 'circuit')} imposed")
    return skipped


def imposed(
    plan: ModelPlan, checkpoint: Checkpoint, weights: Path, prompts: dict[str, PromptSet], say: Say
) -> pd.DataFrame:
    """The rows of one model checkpoint.

    Args:
        plan: What is to be imposed on the model.
        checkpoint: Which of its checkpoints.
        weights: The folder of that checkpoint.
        prompts: Task → its prompts.
        say: Told what is done now.

    Returns:
        A table with COLUMNS.

    Raises:
        Unusable: The model has diverged, or no room for the prompts.
    """
    say("loading")
    model = load_model(
        weights,
        device=_device_of(plan.config),
        dtype=getattr(torch, plan.config.dtype),
        check_length=max(of_task.clean.shape[1] for of_task in prompts.values()),
    )
    for task, of_task in prompts.items():
        require_room_for(model, of_task, f"the prompts of {task}")
    rows: list[dict[str, Any]] = []
    for task, of_rows in groupby(plan.rows(checkpoint.step), key=lambda row: row.task):
        planned = list(of_rows)
        with unless_diverged(model, prompts[task].clean):
            whole, corrupted, values = behaviours(
                model,
                prompts[task],
                [row.circuit.mask for row in planned],
                plan.cells[task].config,
                say,
            )
            if not np.isfinite([whole, corrupted, *values]).all():
                raise FloatingPointError(f"{task}: a behaviour is no number")
        below_zero = prompts[task].metric == BELOW_ZERO  # a share of it means nothing
        rows += [
            {
                "task": task,
                "circuit_task": row.circuit_task,
                "circuit_step": row.circuit.checkpoint.step,
                "circuit_tokens": row.circuit.checkpoint.tokens,
                "model_step": checkpoint.step,
                "model_tokens": checkpoint.tokens,
                "edges": int(row.circuit.mask.sum()),
                "value": value,
                "recovery": None if below_zero else recovery(value, whole),
                "faithfulness": faithfulness(value, whole, corrupted),
            }
            for row, value in zip(planned, values, strict=True)
        ]
    return pd.DataFrame(rows, columns=list(COLUMNS)).astype(COLUMNS)


def behaviours(
    model: Transformer, prompts: PromptSet, circuits: Sequence[Mask], config: Config, say: Say
) -> tuple[float, float, list[float]]:
    """The behaviour of a model, whole and with circuits imposed.

    Args:
        model: The checkpoint's.
        prompts: Of one task.
        circuits: Masks [sender, receiver].
        config: The task's cell's, for how much memory may be used.
        say: Told what is done now.

    Returns:
        The mean metric on the clean and on the corrupted prompts, and with each circuit imposed.
    """
    planned = planned_for(model, prompts, config.circuit, steps=1)

    def measured(batch_size: int) -> tuple[float, float, list[float]]:
        prepared = Prepared(model, prompts, batch_size=batch_size)
        whole, corrupted = (
            float(metric_per_prompt(logits, prompts).cpu().double().mean())
            for logits in prepared.end_logits()
        )
        evaluate = CircuitEvaluator(prepared, TaskMetric(prompts), reuse=planned.reuse)
        values = []
        for n, circuit in enumerate(circuits, 1):
            say(f"{prompts.task}, circuit {n} of {len(circuits)}")
            values.append(evaluate(circuit))
        return whole, corrupted, values

    return with_smaller_batches(
        measured,
        planned.batch_size,
        on_retry=lambda size: say(f"out of memory: {size} prompts at a time"),
    )


def _device_of(config: Config) -> str:
    """The cell's device, or where this machine has none such the one it has: results are the same
    but for rounding.
    """
    try:
        return torch_device(config.device)
    except UserError:
        return torch_device("auto")
