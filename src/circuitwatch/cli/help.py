"""What `circuitwatch --help` prints: the commands, the choices, and every option with its
meaning.
"""

from __future__ import annotations

import itertools
import re
import textwrap
from collections.abc import Sequence

from circuitwatch import __version__, catalogue, config
from circuitwatch.checkpoints.suites import Suite
from circuitwatch.cli.choices import config_dirs, offered_in, suites
from circuitwatch.cli.command import COMMANDS, load
from circuitwatch.errors import UserError
from circuitwatch.options import as_written, options_of

WIDTH = 120
HELP = """\
circuitwatch {version}: when does an ability emerge in training, which circuit computes it, and does
that stay?

{commands}
  circuitwatch [command] --help | --version

`circuitwatch watch` alone watches {default}.

Examples
  circuitwatch model=nano-400k task=ioi
  circuitwatch -m model=nano-200k,nano-400k task=ioi,greater_than sweep=mine
  circuitwatch -m experiment=demo
  circuitwatch -m model=pythia-70m,pythia-160m,pythia-160m-seed3 task=ioi schedule=sparse \\
               schedule.to=100B checkpoints.disk=10GiB
  circuitwatch model=folder model.path=runs/mine model.name=mine model.tokens_per_step=524288 \\
               task=ioi follow=true follow_idle=30min              (while it trains)
  circuitwatch -m model=nano-200k,nano-400k hydra/launcher=joblib        (or submitit_slurm, ray)

Choices
{choices}
Options
{options}
A cell that is done is skipped, and one that was killed goes on where it stopped: run the same
command again. Without a W&B account nothing leaves this machine (tracking=off: W&B is not used at
all). Add --cfg job to see the resolved configuration.
"""


SHORT = """\
circuitwatch {version}: when does an ability emerge in training, which circuit computes it, and does
that stay?

{commands}

  circuitwatch watch                              {default}
  circuitwatch -m experiment=demo                 the example sweep
  circuitwatch <command> --help                   about one command
  circuitwatch --help                             every choice and option
"""
OF_COMMAND = """\
{commands}
{more}
circuitwatch --help: all commands, and every option with its meaning.
"""
DEFAULT = "the default cell: model=nano-400k task=ioi, all checkpoints"
NUMBER = r"\2"
"""Of what is numbered, the number."""
COMPOSED = ("watch", "train", "doctor", "prompts")
"""The commands that take the options of the configuration."""


def _that_are_there(arguments: Sequence[str]) -> Sequence[str]:
    """Arguments, without --config-dir if its folder isn't there: help is for those who err."""
    try:
        config_dirs(arguments)
    except UserError:
        return ()
    return arguments


def help_text(arguments: Sequence[str] = ()) -> str:
    """The whole help, with the choices that folders of --config-dir add."""
    return HELP.format(
        version=__version__,
        commands=_commands(COMMANDS),
        default=DEFAULT,
        choices=_choices(_that_are_there(arguments)),
        options=_options(),
    )


def short_help() -> str:
    """What `circuitwatch` alone prints."""
    return SHORT.format(version=__version__, commands=_commands(COMMANDS), default=DEFAULT).rstrip()


def command_help(name: str, arguments: Sequence[str] = ()) -> str:
    """The help of one command: how it is called, and what there is to choose from if it takes
    the configuration's options.
    """
    more = f"\nChoices\n{_choices(_that_are_there(arguments))}" if name in COMPOSED else ""
    if name == COMMANDS[0]:
        more = f"\n`circuitwatch watch` alone watches {DEFAULT}.\n{more}"
    return OF_COMMAND.format(commands=_commands([name]), more=more).rstrip()


def _commands(names: Sequence[str]) -> str:
    """How commands are called, and what each does."""
    usages = [usage for name in names for usage in load(name).usage.items()]
    return "\n".join(_filled(f"  circuitwatch {usage}", words, 48) for usage, words in usages)


def _choices(arguments: Sequence[str]) -> str:
    """What each configuration group offers, and the suites."""
    lines = [
        _filled(f"  {group}=", " | ".join(offered_in(group, arguments)), 14)
        for group in ("model", "task", "schedule", "circuit", "tracking", "experiment")
    ]
    lines.append("Suites, each model of which is a choice of model=")
    for suite in suites(arguments):
        lines.append(f"  {suite.name}: {suite.about}")
        lines.append(_filled("", ", ".join(as_listed(suite)), 4))
        lines += [_filled(f"    {{{axis}}}:", ", ".join(values), 16) for axis, values in suite.axes]
    return "\n".join(lines) + "\n"


def _options() -> str:
    """Every option, one a line."""
    lines = [
        f"  {as_written(key, spec)}".ljust(26) + f" {spec.explained()}"
        for key, spec in options_of(config.Config)
    ]
    lines.append("Scores from which roles are held by default, and where each number comes from")
    lines += [
        f"  heads.thresholds.{role.name}".ljust(42) + f" {role.threshold:g}: {role.source}"
        for role in catalogue.roles().values()
    ]
    return "\n".join(lines) + "\n"


def _filled(name: str, words: str, indent: int) -> str:
    """A name, and beside it, from a column on, words that are wrapped there."""
    return textwrap.fill(
        words,
        WIDTH,
        initial_indent=name.ljust(indent) if len(name) < indent else f"{name}  ",
        subsequent_indent=" " * indent,
        break_on_hyphens=False,
        break_long_words=False,
    )


def as_listed(suite: Suite) -> list[str]:
    """The models of a suite, a family under one name, variants behind it in brackets."""
    names = []
    for entry in suite.entries:
        base, family = next(iter(entry.names.items()))
        names += [entry.pattern + name.removeprefix(base) for name in family]
    return folded(names)


def folded(names: list[str]) -> list[str]:
    """Names of models, a model's variants behind it in brackets."""
    variants_of: dict[str, list[str]] = {}
    for name in names:
        base = next((base for base in variants_of if name.startswith(f"{base}-")), None)
        if base is None:
            variants_of[name] = []
        else:
            variants_of[base].append(name.removeprefix(base))
    numbered = re.compile(r"(.*\D)(\d+)$")
    for variants in variants_of.values():
        groups = [
            list(group)
            for _, group in itertools.groupby(variants, lambda name: numbered.sub(r"\1", name))
        ]
        variants[:] = [
            name
            for group in groups
            for name in (
                [f"{group[0]}…{numbered.sub(NUMBER, group[-1])}"] if len(group) > 2 else group
            )
        ]
    return [
        f"{base}[{'|'.join(variants)}]" if variants else base
        for base, variants in variants_of.items()
    ]
