"""What is looked at in a training that is watched live: a cell's configuration for each task, and
its prompts, made with the training's tokenizer before it begins.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import torch

from circuitwatch.analysis import Subject
from circuitwatch.checkpoints.settings import ModelConfig
from circuitwatch.config import Config, TaskConfig, require_criterion, require_midpoints
from circuitwatch.errors import UserError
from circuitwatch.heads.quantities import make_inputs
from circuitwatch.heads.roles import role_probes
from circuitwatch.monitor import prompts_of
from circuitwatch.options import check_options
from circuitwatch.tasks import with_hash
from circuitwatch.tracking import TrackingConfig

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase


def configurations(
    tasks: Sequence[str | TaskConfig], model_name: str, n_prompts: int, **parts: Any
) -> list[Config]:
    """A cell's configuration for each task.

    Args:
        tasks: names of the catalogue, or options of a task such as a file of one's own.
        model_name: what the model is called in folders and figures.
        n_prompts: pairs of prompts of a task given by name.
        parts: other parts of the configuration; None is the default.

    Raises:
        UserError: there is no task, or one is not known or stands there twice, or an option can't
            have its value.
    """
    if isinstance(tasks, str) or not tasks:
        raise UserError(f"tasks={tasks}: give a list of at least one task, such as ['ioi']")
    configs = []
    for task in tasks:
        if isinstance(task, str):
            task = TaskConfig(name=task, n_prompts=n_prompts)
        config = Config(
            model=ModelConfig(name=model_name, source="folder"),
            task=task,
            tracking=TrackingConfig(mode="off"),  # what is logged goes into the user's own run
            threads=torch.get_num_threads(),
            **{name: part for name, part in parts.items() if part is not None},
        )
        check_options(config)
        require_midpoints(config.circuit)
        require_criterion(config)
        configs.append(replace(config, task=with_hash(config.task)))
    names = [config.task.name for config in configs]
    if twice := next((name for name in names if names.count(name) > 1), None):
        raise UserError(f"tasks: {twice} stands there twice; give each task once")
    return configs


def subjects_of(
    configs: Sequence[Config], tokenizer: PreTrainedTokenizerBase
) -> dict[str, Subject]:
    """Task → what is looked at; the inputs of roles and quantities are the same for all.

    Raises UserError for a tokenizer that lacks too many of a task's words.
    """
    if not hasattr(tokenizer, "encode") or isinstance(tokenizer, str):
        raise UserError(f"tokenizer={tokenizer!r}: give the tokenizer that the model is trained on")
    config = configs[0]
    probes = role_probes(tokenizer, config.heads, seed=config.seed, n_bootstrap=config.n_bootstrap)
    make_inputs(probes.inputs)
    return {
        config.task.name: Subject(prompts_of(config, tokenizer), probes, config)
        for config in configs
    }
