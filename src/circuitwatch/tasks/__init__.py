"""Tasks: pairs of prompts whose behaviour, and circuit, is watched. Each is one file: a generator
that works with any tokenizer having its words as single tokens (.py), or a template (.yaml, see
`templates`). A user's own is a file of prompts (`files`) or a template, at `task.path`.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from dataclasses import fields, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from circuitwatch import catalogue
from circuitwatch.catalogue import METRICS, Task
from circuitwatch.errors import UserError, errors_of
from circuitwatch.names import plain_name
from circuitwatch.tasks.prompts import PromptSet

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

    from circuitwatch.config import TaskConfig

__all__ = [
    "OWN_TASK",
    "PromptSet",
    "build_prompts",
    "own_task",
    "prompts_for",
    "task_called",
    "task_of",
    "templates_in",
    "with_hash",
]
OWN_TASK = "file"
"""The choice of task= that is a user's own file."""
TEMPLATES = (".yaml", ".yml")
OF_FILES = ("min_prompts", "space", "counterfactual")
"""Options for a file of prompts, not for a template."""


def task_called(name: str) -> Task:
    """The task of that name. Raises UserError if there is none."""
    known = catalogue.tasks()
    if name not in known:
        raise UserError(
            f"task={name}: no such task; choose one of {', '.join(known)}, or task=file with "
            f"task.path="
        )
    return known[name]


def own_task(path: Path | str, *, name: str | None = None, metric: str | None = None) -> Task:
    """The task of a user's file: a file of prompts (.csv, .tsv, .jsonl, .parquet), or a template
    (.yaml); see `rows` and `templates` for what is in them.

    Args:
        path: the file.
        name: what the task is called; the file's stem if None.
        metric: of a file of prompts: logit_diff (if None), prob_diff or log_prob.

    Raises:
        UserError: the file can't be read, or its name is that of a task in the catalogue.
    """
    path = Path(path).expanduser()
    return _own(_content(path), path, name=name or path.stem, metric=metric)


def task_of(config: TaskConfig) -> Task:
    """What a cell's task is: one of the catalogue, or the user's file at `path`.

    Raises UserError for a task that there isn't, a file that can't be read or is another than when
    the configuration was made, and options that do nothing with the task.
    """
    if config.path is None:
        task = task_called(config.name)
        _refuse_idle(config, task, ("metric", *OF_FILES))
        return task
    path = Path(config.path).expanduser()
    content = _content(path)
    found = hashlib.sha256(content).hexdigest()
    if config.sha256 is not None and config.sha256 != found:
        raise UserError(
            f"task.path={config.path}: its content has changed (SHA-256 {found[:12]}…, not "
            f"{config.sha256[:12]}…)"
        )
    task = _own(content, path, name=config.name, metric=config.metric)
    _refuse_idle(config, task, OF_FILES)
    return task


def prompts_for(config: TaskConfig, tokenizer: PreTrainedTokenizerBase, *, seed: int) -> PromptSet:
    """The prompts of a cell's task. Raises UserError as `task_of` and the task's own do."""
    task = task_of(config)
    options = {name: getattr(config, name) for name in task.options}
    return build_prompts(
        task,
        tokenizer,
        n_prompts=config.n_prompts,
        seed=seed,
        prepend_bos=config.prepend_bos,
        **options,
    )


def with_hash(config: TaskConfig) -> TaskConfig:
    """The same with the SHA-256 of the user's file, if the task is one.

    Raises UserError if the file can't be read.
    """
    if config.path is None or config.sha256 is not None:
        return config
    content = _content(Path(config.path).expanduser())
    return replace(config, sha256=hashlib.sha256(content).hexdigest())


def templates_in(folders: Iterable[Path]) -> dict[str, list[Path]]:
    """Name → files of the templates in the `tasks` folders below some configuration folders; more
    than one file where several have the same name.
    """
    found: dict[str, list[Path]] = {}
    for folder in dict.fromkeys(folders):
        for path in sorted((folder / "tasks").glob("*")):
            if path.suffix.lower() in TEMPLATES:
                plain_name(path.stem, f"{path.parent}: name of a task's file")
                found.setdefault(path.stem, []).append(path)
    return found


def build_prompts(
    task: str | Task,
    tokenizer: PreTrainedTokenizerBase,
    *,
    n_prompts: int,
    seed: int,
    prepend_bos: bool = True,
    **options: Any,
) -> PromptSet:
    """Make `n_prompts` pairs of prompts of a task; the same arguments give the same prompts.

    Raises UserError for an unknown task, a tokenizer that lacks too many of the task's words, and
    whatever the task raises itself.
    """
    chosen = task_called(task) if isinstance(task, str) else task
    with errors_of(f"task {chosen.name}"):
        prompts = chosen.make_prompts(
            tokenizer, n_prompts=n_prompts, seed=seed, prepend_bos=prepend_bos, **options
        )
    if not isinstance(prompts, PromptSet):
        raise UserError(
            f"task {chosen.name}: make_prompts gives {type(prompts).__name__}; it must give a "
            f"PromptSet"
        )
    return prompts


def _refuse_idle(config: TaskConfig, task: Task, options: Iterable[str]) -> None:
    """Raise UserError if one of the options is given and the task does not take it."""
    chosen = config.path or f"task={config.name}"
    usual = {field.name: field.default for field in fields(config)}
    for option in options:
        if option not in task.options and getattr(config, option) != usual[option]:
            raise UserError(
                f"task.{option} does nothing with {chosen}; it is for a file of prompts, task=file "
                f"task.path=<file>"
            )


def _own(content: bytes, path: Path, *, name: str, metric: str | None) -> Task:
    from circuitwatch.tasks.files import file_task
    from circuitwatch.tasks.templates import require_roles, template_task

    if name in catalogue.tasks():
        raise UserError(f"task.name={name}: is a task of the catalogue; give {path} another name")
    if path.suffix.lower() in TEMPLATES:
        if metric is not None:
            raise UserError(f"task.metric={metric}: {path} says itself what its metric is")
        task = template_task(content, path, name=name)
        require_roles(task, path)
        return task
    if metric is not None and metric not in METRICS:
        raise UserError(f"task.metric={metric}: choose one of {', '.join(METRICS)}")
    return file_task(content, path, name=name, metric=metric)


def _content(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except IsADirectoryError as error:
        raise UserError(f"task.path={path}: is a folder; give a file") from error
    except OSError as error:
        raise UserError(f"task.path={path}: can't be read ({error.strerror})") from error
