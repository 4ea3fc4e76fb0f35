"""The options of where checkpoints come from, which of them are taken, and how they are kept."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

from circuitwatch.checkpoints.completeness import has_tokenizer
from circuitwatch.checkpoints.schedule import parse_bound
from circuitwatch.errors import UserError
from circuitwatch.limits import (
    MOST_PARAMETERS,
    MOST_STEP,
    MOST_STEPS_LISTED,
    MOST_TOKENS,
    MOST_TOKENS_PER_STEP,
    shown,
)
from circuitwatch.names import plain_name, plain_path
from circuitwatch.options import option
from circuitwatch.units import parse_size

REPOSITORY = re.compile(r"[\w.-]+/[\w.-]+")


def tokenizer_place(text: str, key: str) -> None:
    """Raise UserError unless a text names a folder with a tokenizer, or a repository."""
    plain_path(text, key)
    folder = Path(text).expanduser()
    if folder.is_dir():
        if not has_tokenizer(folder):
            raise UserError(f"{key}={shown(text)}: no tokenizer.json or tokenizer.model in it")
    elif not REPOSITORY.fullmatch(text):
        raise UserError(
            f"{key}={shown(text)}: no such folder; give one that has tokenizer.json or "
            f"tokenizer.model, or a repository on the hub, org/name"
        )


def not_too_many(steps: list[int], key: str) -> None:
    """Raise UserError for a list that nobody can have meant."""
    if len(steps) > MOST_STEPS_LISTED:
        raise UserError(f"{key}: lists {len(steps)} steps; at most {MOST_STEPS_LISTED} are taken")


@dataclass
class ModelConfig:
    """Where the checkpoints come from."""

    name: str = option("What the model is called in folders, tables and figures", check=plain_name)
    source: str = option(
        "Where the checkpoints come from",
        "nano",
        choices={
            "nano": "trained here and kept in the cache",
            "folder": "a directory of Hugging Face checkpoints",
            "hub": "revisions of a repository",
        },
    )
    path: str | None = option(
        "For `folder`: the directory that holds step128/ or checkpoint-128/ folders",
        None,
        check=plain_path,
    )
    tokens_per_step: int | None = option(
        "Training tokens of one optimiser step; `folder` reads it from suite.json if that is "
        "there, `hub` from the revisions' names if they hold {tokens}",
        None,
        least=1,
        most=MOST_TOKENS_PER_STEP,
    )
    hub_id: str | None = option("For `hub`: the repository, org/name", None)
    revisions: str | None = option(
        "For `hub`: what revisions are called; {step} and {tokens} stand for numbers, * for "
        "anything",
        None,
    )
    steps: list[int] | None = option(  # noqa: RUF009
        "For `hub`: steps that were published; null: those that the repository has",
        None,
        least=0,
        most=MOST_STEP,
        check=not_too_many,
    )
    stages: str = option(
        "For `hub`: what is done about revisions of several stages of a training, told from names "
        "such as stage2-ingredient1-step1000-tokens3B",
        "apart",
        choices={
            "apart": "revisions names one of them",
            "join": "a later one's steps and tokens go on from the end of the one before",
        },
    )
    stage_steps: list[int] | None = option(  # noqa: RUF009
        "For stages=join: optimiser steps of each stage but the last; null: up to its last "
        "revision",
        None,
        least=1,
        most=MOST_STEP,
        check=not_too_many,
    )
    stage_tokens: list[int] | None = option(  # noqa: RUF009
        "For stages=join: the same in training tokens",
        None,
        least=1,
        most=MOST_TOKENS,
        check=not_too_many,
    )
    ingredient: int | None = option(
        "For stages=join: which of several branches after stage 1 it is; the model is called "
        "<name>-ingredient<n> then",
        None,
        least=0,
        most=999,
    )
    tokenizer: str | None = option(
        "Where the tokenizer is, if not beside the checkpoints: a folder, or a repository on the "
        "hub, org/name",
        None,
        check=tokenizer_place,
    )
    params_total: int | None = option(
        "For `hub`: parameters as the registry says, shown by doctor; records count them from the "
        "model's own configuration",
        None,
        least=1,
        most=MOST_PARAMETERS,
    )
    params_non_embedding: int | None = option(
        "For `hub`: the same without embeddings and unembedding",
        None,
        least=0,
        most=MOST_PARAMETERS,
    )


@dataclass
class ScheduleConfig:
    """Which of the model's checkpoints are watched; the first and the last are always among
    them.
    """

    kind: str = option(
        "Which checkpoints are watched",
        "all",
        choices={
            "all": "",
            "log": "those nearest to steps that double",
            "sparse": "about 12 of them, evenly in log steps",
            "steps": "the ones listed",
            "every": "each n-th",
        },
    )
    steps: list[int] | None = option(  # noqa: RUF009
        "For `steps`: optimiser steps", None, least=0, most=MOST_STEP, check=not_too_many
    )
    every: int | None = option("For `every`: n", None, least=1, most=MOST_STEP)
    start: str | None = option(
        "Leave out what is before, in steps (1000) or tokens (2.1B, 2e9tokens)",
        None,
        check=parse_bound,
        written="from",  # which can be no name of a field
    )
    stop: str | None = option("Leave out what is after", None, check=parse_bound, written="to")


@dataclass
class CheckpointsConfig:
    """How checkpoints of a hub are fetched and kept, and what is done about wrong ones."""

    disk: str = option(
        "Never more than this on disk, for all runs on this machine that share the folder",
        "20GiB",
        check=parse_size,
    )
    keep: str = option(
        "What stays after use",
        "none",
        choices={
            "none": "",
            "last": "the schedule's last one",
            "all": "as many as `disk` holds, for the next task to find",
        },
    )
    folder: str | None = option(
        "Where fetched checkpoints lie; null: circuitwatch/ below HF_HOME. What is in the hub's "
        "own cache already is read from there",
        None,
        check=plain_path,
    )
    duplicates: str = option(
        "What is done about checkpoints with the same weights as another",
        "flag",
        choices={"skip": "", "flag": "in records and figures", "error": ""},
    )
    changed: str = option(
        "What is done about a record whose checkpoint has other weights by now",
        "redo",
        choices={"redo": "it is made anew, and what others took from it", "error": ""},
    )
