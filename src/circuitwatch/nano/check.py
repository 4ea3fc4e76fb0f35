"""Whether a nano model has learnt greater-than, or only that some years are likelier than others.

A fixed taste for late years makes the metric positive whatever the start year is. So the check asks
what the start year changes: the slope of the end year that the model expects on the start year (0
for any fixed taste, 1 for "the start and a constant"), and the metric against that of the same
prompts with the start year 01. Beside it stand the other tasks' accuracies and the best induction
head's score.

    python -m circuitwatch.nano.check model=nano-200k,nano-400k seed=0

trains what the cache lacks, prints a line for each model and seed, and ends with exit code 1 and
one line if any has not learnt it.
"""

from __future__ import annotations

import itertools
import os
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from circuitwatch.behaviour import Behaviour, measure
from circuitwatch.checkpoints.folder import list_checkpoints
from circuitwatch.checkpoints.loading import load_model
from circuitwatch.checkpoints.tokenizers import load_tokenizer
from circuitwatch.circuits.prompts import Prepared
from circuitwatch.config import Config, ModelConfig
from circuitwatch.errors import UserError
from circuitwatch.heads.attention import attention_scores, segments
from circuitwatch.heads.measuring import Inputs
from circuitwatch.heads.settings import HeadsConfig
from circuitwatch.monitor import trained_suite
from circuitwatch.nano.model import nano_size
from circuitwatch.tasks import PromptSet, build_prompts
from circuitwatch.tasks.greater_than import usable_years

TASKS = ("ioi", "greater_than", "gendered_pronoun", "agreement")
"""What the nano corpus teaches."""
LEAST_SLOPE = 0.5
N_PROMPTS = 128
"""Prompts of each task; their start years, pairs of names and combinations of words are held out of
the corpus.
"""
N_BOOTSTRAP = 2000
USAGE = "python -m circuitwatch.nano.check model=<nano size>[,…] seed=<number>[,…] [cache=<folder>]"


@dataclass(frozen=True)
class Learnt:
    """What the last checkpoint of a suite does: behaviour and accuracy by task, the slope, and the
    best induction head's score.
    """

    name: str
    slope: float
    behaviour: dict[str, Behaviour]
    induction: float

    @property
    def faults(self) -> list[str]:
        """Why greater-than is not learnt; empty if it is."""
        years = self.behaviour["greater_than"]
        faults = []
        if not self.slope >= LEAST_SLOPE:
            faults.append(
                f"the expected end year moves by {self.slope:.2f} a start year, below {LEAST_SLOPE}"
            )
        if years.not_above_chance:
            faults.append(f"its behaviour is not above chance ({years.not_above_chance})")
        return faults

    def __str__(self) -> str:
        years = self.behaviour["greater_than"]
        accuracies = ", ".join(
            f"{task} {behaviour.accuracy:.2f}" for task, behaviour in self.behaviour.items()
        )
        return (
            f"{self.name}: slope {self.slope:.2f}, greater-than {years.value:.2f} "
            f"[{years.low:.2f}, {years.high:.2f}], "
            f"corrupted {years.corrupted:.2f}, effect {years.effect:.2f} "
            f"[{years.effect_low:.2f}, {years.effect_high:.2f}]; "
            f"accuracy {accuracies}; induction {self.induction:.2f}"
        )


def expected_years(logits: Tensor, year_tokens: Tensor) -> Tensor:
    """Σ yy · p(yy) [prompt] under the softmax of logits [prompt, d_vocab] over the two-digit tokens
    [year], token of 00 first.
    """
    years = torch.arange(len(year_tokens), dtype=torch.float64)
    return logits[:, year_tokens].double().softmax(-1) @ years


def slope_on_start(logits: Tensor, starts: Tensor, year_tokens: Tensor) -> float:
    """Least-squares slope of the expected end year on the start years [prompt], from logits
    [prompt, d_vocab] at the ends of prompts.
    """
    return float(np.polyfit(starts.numpy(), expected_years(logits, year_tokens).numpy(), 1)[0])


def start_years(prompts: PromptSet, year_tokens: Tensor) -> Tensor:
    """The two-digit start years [prompt] of greater-than prompts."""
    tokens = prompts.clean.gather(1, prompts.positions["year"][:, None])  # [prompt, 1]
    return (tokens == year_tokens).int().argmax(1)


def check(suite: Path, name: str, *, n_prompts: int = N_PROMPTS, seed: int = 0) -> Learnt:
    """Measure the last checkpoint of the suite in a folder, on `n_prompts` prompts of each task;
    `seed` draws prompts and resamples.
    """
    folder = suite / list_checkpoints(suite)[-1].revision
    model, tokenizer = load_model(folder), load_tokenizer(folder)
    behaviour, slope = {}, float("nan")
    for task in TASKS:
        prompts = build_prompts(task, tokenizer, n_prompts=n_prompts, seed=seed)
        clean, corrupted = Prepared(model, prompts).end_logits()
        behaviour[task] = measure(clean, corrupted, prompts, n_bootstrap=N_BOOTSTRAP, seed=seed)
        if task == "greater_than":
            tokens = {yy: token for (_, yy), token in usable_years(tokenizer).items()}
            year_tokens = torch.tensor([tokens[yy] for yy in range(100)])
            slope = slope_on_start(clean, start_years(prompts, year_tokens), year_tokens)
    repeated = segments(Inputs(tokenizer, HeadsConfig(), seed))
    induction = attention_scores(model, repeated.tokens, length=repeated.length)["induction"]
    return Learnt(name, slope, behaviour, float(induction.mean(-1).max()))


def main(argv: Sequence[str] | None = None) -> None:
    """Check the models and seeds of the command line."""
    arguments = list(sys.argv[1:] if argv is None else argv)
    try:
        checked = []
        for config in _parsed(arguments):
            checked.append(check(trained_suite(config), f"{config.model.name}, seed {config.seed}"))
            print(checked[-1], flush=True)
    except UserError as error:
        print(f"circuitwatch: error: {error}", file=sys.stderr)
        sys.exit(2)
    faults = [
        f"{learnt.name}: {' and '.join(learnt.faults)}" for learnt in checked if learnt.faults
    ]
    if faults:
        print(
            f"circuitwatch: error: greater-than is not learnt ({'; '.join(faults)})",
            file=sys.stderr,
        )
        sys.exit(1)


def _parsed(arguments: list[str]) -> list[Config]:
    """A configuration for each model and seed of the command line.

    Raises UserError for anything else in it.
    """
    given = dict(argument.split("=", 1) for argument in arguments if "=" in argument)
    if len(given) < len(arguments) or not {"model"} <= set(given) <= {"model", "seed", "cache"}:
        raise UserError(f"{' '.join(arguments) or 'nothing to check'}: the command is {USAGE}")
    names, seeds = given["model"].split(","), given.get("seed", "0").split(",")
    for name in names:
        nano_size(name)
    if not all(seed.isdecimal() for seed in seeds):
        raise UserError(f"seed={given['seed']}: give whole numbers, with commas between them")
    cache = given.get("cache", os.environ.get("CIRCUITWATCH_CACHE", Config.cache))
    return [
        Config(model=ModelConfig(name=name, source="nano"), seed=int(seed), cache=cache)
        for name, seed in itertools.product(names, seeds)
    ]


if __name__ == "__main__":
    main()
