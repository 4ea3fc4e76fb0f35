"""`circuitwatch prompts`: some of a task's prompts as a model's tokens."""

from __future__ import annotations

from typing import TYPE_CHECKING

from circuitwatch.cli.command import Command
from circuitwatch.cli.stopping import STOPPING
from circuitwatch.limits import MOST_PROMPTS, whole_of

if TYPE_CHECKING:
    from circuitwatch.config import Config


def prompts(arguments: list[str]) -> None:
    """Show the first few prompts (show=…) that a cell of the configuration would have."""
    from circuitwatch.cli.composing import with_hydra

    shown = [argument for argument in arguments if argument.startswith("show=")]
    number = (shown or ["show=5"])[-1].removeprefix("show=")
    count = whole_of(number, "show", 1, MOST_PROMPTS)
    others = [argument for argument in arguments if argument not in shown]
    with_hydra([*others, "hydra.run.dir=."], lambda config: _show(config, count))


def _show(config: Config, number: int) -> None:
    from circuitwatch.cli.paths import require_paths

    require_paths(config)
    from circuitwatch.monitor import prompts_of, tokenizer_of
    from circuitwatch.progress import wide_console
    from circuitwatch.tasks.showing import prompts_table

    STOPPING.begin()
    tokenizer, console = tokenizer_of(config), wide_console()
    table = prompts_table(prompts_of(config, tokenizer), tokenizer, n=number, width=console.width)
    console.print(table)


COMMAND = Command(
    prompts,
    {
        "prompts task=<task> model=<model>": "some of a task's prompts as this model's tokens, "
        "clean above corrupted, with the answers; needs no weights  [show=5]",
    },
    when_interrupted="nothing was changed",
)
