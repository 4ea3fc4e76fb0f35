"""`circuitwatch doctor`: which checkpoints of a model are missing, which are duplicates, and if the
model can be analysed.
"""

from __future__ import annotations

from dataclasses import asdict
from typing import TYPE_CHECKING

from circuitwatch.cli.command import Command
from circuitwatch.cli.stopping import STOPPING

if TYPE_CHECKING:
    from circuitwatch.config import Config


def doctor(arguments: list[str]) -> None:
    """Compare the weights' hashes of the checkpoints that the configuration chooses, and see what
    the model is.
    """
    from circuitwatch.cli.composing import with_hydra

    with_hydra([*arguments, "hydra.run.dir=."], _audit_one)


def _audit_one(config: Config) -> None:
    from circuitwatch.cli.paths import require_paths

    require_paths(config)
    from circuitwatch.checkpoints.audit import audit_table
    from circuitwatch.checkpoints.describing import facts_that_fit, first_usable
    from circuitwatch.checkpoints.kinds import adapter_line
    from circuitwatch.checkpoints.schedule import select
    from circuitwatch.checkpoints.tokenizers import bos_question
    from circuitwatch.errors import UserError
    from circuitwatch.monitor import open_source, tokenizer_among
    from circuitwatch.progress import CellProgress, wide_console

    STOPPING.begin()
    model = config.model
    source = open_source(config)
    checkpoints = select(source.available(), **asdict(config.schedule))
    lines: list[str] = []
    unusable: UserError | None = None
    try:  # from config.json alone, before anything is hashed
        tokenizer = tokenizer_among(config, source, checkpoints)
        facts = first_usable(source, checkpoints, facts_that_fit)
        lines.append(
            f"can be analysed: {facts['architecture']}, {facts['n_layers']} layers of "
            f"{facts['n_heads']} heads, {facts['params_total']:,} parameters"
        )
        bos = f"beginning of text: {tokenizer.bos_token or 'none'}"
        lines.append(bos_question(tokenizer) or bos)
        lines.append(first_usable(source, checkpoints, adapter_line))
    except UserError as error:
        unusable = error  # said last, below what is known of the checkpoints
    with CellProgress(f"doctor {model.name}", len(checkpoints)) as progress:
        audit = source.audit(checkpoints, progress.at)
    size = f", {model.params_total:,} parameters" if model.params_total else ""
    repository = f" ({model.hub_id}{size})" if model.hub_id else ""
    console = wide_console()
    console.print(audit_table(f"{model.name}{repository}", checkpoints, audit))
    if unusable is not None:
        raise unusable
    for line in filter(None, lines):
        console.print(line, highlight=False, markup=False, soft_wrap=True)


COMMAND = Command(
    doctor,
    {
        "doctor model=<model> [schedule=…]": "hashes of a model's checkpoints: which are missing, "
        "which are duplicates; downloads no weights",
    },
)
