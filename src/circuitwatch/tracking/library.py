"""The package `wandb-workspaces`, whose models say what a workspace and a report are; and what ours
are called.
"""

from __future__ import annotations

import hashlib
import json
import warnings
from dataclasses import dataclass
from typing import Any, Literal

from circuitwatch.errors import UserError
from circuitwatch.tracking.account import load_wandb, reason_of

Kind = Literal["workspace", "report"]
ID_LENGTH = 11
"""Letters of a view's name, as W&B's own have."""


@dataclass(frozen=True)
class Library:
    """The modules of `wandb-workspaces`: workspaces and reports, and the models behind each."""

    workspaces: Any
    reports: Any
    workspace_models: Any
    report_models: Any
    expressions: Any


def load_library() -> Library:
    """The package, imported without what it warns of. Raises UserError if it is not installed."""
    load_wandb()
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # it has validators of an older pydantic
            from wandb_workspaces import expr, workspaces
            from wandb_workspaces.reports import v2
            from wandb_workspaces.reports.v2 import internal as report_models
            from wandb_workspaces.workspaces import internal as workspace_models
    except ImportError as error:
        raise UserError(
            f"workspace: the package wandb-workspaces can't be imported ({error}); "
            "pip install wandb-workspaces"
        ) from error
    return Library(workspaces, v2, workspace_models, report_models, expr)


def stable_id(*parts: object) -> str:
    """Letters and digits that follow from what something is, instead of by chance: the same command
    makes the same view.
    """
    text = json.dumps([str(part) for part in parts])
    return hashlib.sha256(text.encode()).hexdigest()[:ID_LENGTH]


def name_of(kind: Kind, entity: str, project: str, sweep: str) -> str:
    """What the view of a sweep is called on the server; its title is for people."""
    own = stable_id(kind, entity, project, sweep)
    return f"nw-{own}-v" if kind == "workspace" else own


def title_of(sweep: str) -> str:
    """What people call the workspace and the report of a sweep."""
    return f"circuitwatch: {sweep}"


def as_json(model: Any) -> dict[str, Any]:
    """A model of the library as JSON has it, once the library has read it back and says the same.

    Raises UserError where it does not: then W&B would not show what is meant.
    """
    said: dict[str, Any] = _dumped(model)
    with warnings.catch_warnings():
        warnings.simplefilter("error")  # it warns of a block that it can't read, and goes on
        try:
            again = _dumped(type(model).model_validate(said))
        except Exception as error:
            why = reason_of(error)
            raise UserError(f"workspace: wandb-workspaces refuses it: {why}") from error
    if again != said:
        raise UserError("workspace: wandb-workspaces reads back something else than was written")
    return said


def _dumped(model: Any) -> Any:
    return _plain(model.model_dump(by_alias=True, exclude_none=True, mode="json"))


def _plain(part: Any) -> Any:
    """The same without the empty lists of comments that the library adds to a heading's words when
    it reads them.
    """
    if isinstance(part, dict):
        return {k: _plain(v) for k, v in part.items() if (k, v) != ("inlineComments", [])}
    return [_plain(one) for one in part] if isinstance(part, list) else part
