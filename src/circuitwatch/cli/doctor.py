"""`circuitwatch doctor`: what this installation can do; of a model, which of its checkpoints are
missing, which are duplicates, which tasks its tokenizer has the words for, and if it can be
analysed.
"""

from __future__ import annotations

from dataclasses import asdict
from typing import TYPE_CHECKING, Any

from circuitwatch.cli.command import Command
from circuitwatch.cli.stopping import STOPPING

if TYPE_CHECKING:
    from pathlib import Path

    from rich.console import Console
    from rich.table import Table
    from transformers import PreTrainedTokenizerBase

    from circuitwatch.config import Config

WIDTH = 31
"""Of what is told of the installation: the longest line's."""


def doctor(arguments: list[str]) -> None:
    """Say what this installation can do, if there are no arguments. Else compare the weights'
    hashes of the checkpoints that the configuration chooses, and see what the model is and what it
    can be asked; no weights are fetched and nothing is trained.
    """
    if not arguments:
        _say_installation()
        return
    from circuitwatch.cli.choices import choosable, own_templates
    from circuitwatch.cli.composing import with_hydra

    templates = choosable(own_templates(arguments))
    with_hydra([*arguments, "hydra.run.dir=."], lambda config: _audit_one(config, templates))


def _say_installation() -> None:
    from circuitwatch.cli.installation import lines

    STOPPING.begin()
    for what, there_is in lines():
        print(f"{what.ljust(WIDTH)}  {there_is}", flush=True)  # the hub may keep us waiting


def _audit_one(config: Config, templates: dict[str, Path]) -> None:
    from circuitwatch.cli.paths import require_paths

    require_paths(config)
    from circuitwatch.checkpoints.audit import audit_table
    from circuitwatch.checkpoints.describing import facts_that_fit, first_usable
    from circuitwatch.checkpoints.kinds import adapter_line
    from circuitwatch.checkpoints.schedule import select
    from circuitwatch.checkpoints.tokenizers import bos_question
    from circuitwatch.checkpoints.unusable import Unsupported
    from circuitwatch.errors import UserError
    from circuitwatch.monitor import tokenizer_among
    from circuitwatch.nano.suite import MANIFEST
    from circuitwatch.progress import CellProgress, wide_console

    STOPPING.begin()
    model, console = config.model, wide_console()
    if model.source == "nano" and not (_nano_folder(config) / MANIFEST).is_file():
        _say_untrained(config, templates, console)
        return
    source = _source(config)
    checkpoints = select(source.available(), **asdict(config.schedule))
    lines: list[str] = []
    unusable: UserError | None = None
    try:  # from config.json alone, before anything is hashed
        tokenizer = tokenizer_among(config, source, checkpoints)
        console.print(_tasks(config, templates, tokenizer))
        facts = first_usable(source, checkpoints, facts_that_fit)
        lines.append(
            f"can be analysed: {facts['architecture']}, {facts['n_layers']} layers of "
            f"{facts['n_heads']} heads, {facts['params_total']:,} parameters"
        )
        bos = f"beginning of text: {tokenizer.bos_token or 'none'}"
        lines.append(bos_question(tokenizer) or bos)
        lines.append(first_usable(source, checkpoints, adapter_line))
    except Unsupported:
        raise  # of whatever checkpoint: no need to hash any
    except UserError as error:
        unusable = error  # said last, below what is known of the checkpoints
    with CellProgress(f"doctor {model.name}", len(checkpoints)) as progress:
        audit = source.audit(checkpoints, progress.at)
    size = f", {model.params_total:,} parameters" if model.params_total else ""
    repository = f" ({model.hub_id}{size})" if model.hub_id else ""
    console.print(audit_table(f"{model.name}{repository}", checkpoints, audit))
    if unusable is not None:
        raise unusable
    for line in filter(None, lines):
        console.print(line, highlight=False, markup=False, soft_wrap=True)


def _source(config: Config) -> Any:
    """Where the checkpoints come from, a nano model's from the cache: none is trained here."""
    from circuitwatch.checkpoints.folder import FolderSource
    from circuitwatch.monitor import open_source

    if config.model.source == "nano":
        return FolderSource(_nano_folder(config))
    return open_source(config)


def _nano_folder(config: Config) -> Path:
    from pathlib import Path

    from circuitwatch.nano.training import suite_folder

    return suite_folder(config.model.name, seed=config.seed, cache=Path(config.cache))


def _say_untrained(config: Config, templates: dict[str, Path], console: Console) -> None:
    from circuitwatch.nano.vocabulary import build_tokenizer

    console.print(_tasks(config, templates, build_tokenizer()))
    seed = f" seed={config.seed}" if config.seed else ""
    console.print(
        f"{config.model.name} is not trained yet, and can be analysed once it is: circuitwatch "
        f"train model={config.model.name}{seed}",
        highlight=False,
        soft_wrap=True,
    )


def _tasks(config: Config, templates: dict[str, Path], tokenizer: PreTrainedTokenizerBase) -> Table:
    """Every task, the user's own templates and the configuration's own file among them, as they
    would be asked with the configuration's number of prompts.
    """
    from dataclasses import replace

    from circuitwatch import catalogue
    from circuitwatch.config import TaskConfig
    from circuitwatch.tasks.table import tasks_table

    own = {name: str(path) for name, path in templates.items()}
    tasks = {
        name: TaskConfig(
            name=name,
            path=own.get(name),
            n_prompts=config.task.n_prompts,
            prepend_bos=config.task.prepend_bos,
        )
        for name in [*catalogue.tasks(), *own]
    }
    tasks[config.task.name] = replace(config.task)
    return tasks_table(tasks.values(), tokenizer, seed=config.seed, called=config.model.name)


COMMAND = Command(
    doctor,
    {
        "doctor": "what this installation can do: versions, device, memory, disk, hub, W&B, "
        "launchers",
        "doctor model=<model> [schedule=…]": "hashes of a model's checkpoints: which are missing, "
        "which are duplicates; which tasks its tokenizer has the words for, and if it can be "
        "analysed; downloads no weights and trains nothing",
    },
    when_interrupted="nothing was changed",
)
