"""Every role of every head at one checkpoint, as one tidy table: the roles of the catalogue that
are seen by observation, without a task's circuit.

A role that can't be measured with a tokenizer or a model is left out, with the reason: a score of 0
would say that it was.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from circuitwatch import catalogue
from circuitwatch.catalogue import Role
from circuitwatch.errors import UserError, errors_of
from circuitwatch.heads.attention import segments
from circuitwatch.heads.intervals import Array
from circuitwatch.heads.measuring import Inputs, Measuring, NotMeasurable, Score
from circuitwatch.heads.settings import HeadsConfig
from circuitwatch.tasks import PromptSet
from circuitwatch.transformer import Transformer

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

COLUMNS = ["role", "layer", "head", "score", "low", "high"]


@dataclass(frozen=True)
class RoleProbes:
    """What roles are measured on; the same at every checkpoint.

    made: the roles that this tokenizer allows, in order, each with what its `probe` made;
    left_out: role → why this tokenizer does not allow it; pairs: prompts that the effect of
    previous-token heads is measured on, None where there are too few tokens.
    """

    inputs: Inputs
    made: Mapping[str, tuple[Role, Any]]
    left_out: Mapping[str, str]
    pairs: PromptSet | None = None

    def at(self, model: Transformer) -> Measuring:
        """A checkpoint, to be measured on these inputs."""
        return Measuring(model, self.inputs)


@dataclass(frozen=True)
class RoleScores:
    """table: one row a role and head, columns role, layer, head, score in [0, 1], low and high;
    left_out: role → why it has no rows.

    low, high: the score's 95 % interval over sequences, items, prompts or pieces of text; missing
    where there is one of them only.
    """

    table: pd.DataFrame
    left_out: dict[str, str]


def role_probes(
    tokenizer: PreTrainedTokenizerBase, heads: HeadsConfig, *, seed: int, n_bootstrap: int = 1000
) -> RoleProbes:
    """Make the inputs with a model's tokenizer; words that it lacks leave roles out.

    Raises UserError for heads.length above the vocabulary's size, a heads.text that is missing, not
    UTF-8 or too short, more text than the prose that comes with circuitwatch has, and whatever a
    role's probe raises.
    """
    inputs = Inputs(tokenizer, heads, seed, n_bootstrap)
    made: dict[str, tuple[Role, Any]] = {}
    left_out: dict[str, str] = {}
    for name, role in catalogue.roles().items():
        if role.score is None:
            continue  # an algorithm scores it, on its task's prompts
        try:
            with errors_of(f"role {name}", NotMeasurable):
                made[name] = (role, None if role.probe is None else inputs.of(role.probe))
        except NotMeasurable as reason:
            left_out[name] = str(reason)
    return RoleProbes(inputs, made, left_out, inputs.of(segments).pairs)


def role_scores(measuring: Measuring, probes: RoleProbes) -> RoleScores:
    """Every role that this model and tokenizer allow.

    Raises UserError for a role whose scores are of another shape than the model's heads, or not
    within [0, 1], and for whatever it raises itself.
    """
    left_out = dict(probes.left_out)
    model = measuring.model
    shape = model.n_layers, model.n_heads
    right = f"[{model.n_layers}, {model.n_heads}, unit], [layer, head, unit], or a measuring.Score"
    layers, heads = np.divmod(np.arange(model.n_layers * model.n_heads), model.n_heads)
    tables = []
    for name, (role, probe) in probes.made.items():
        assert role.score is not None
        try:
            with errors_of(f"role {name}", NotMeasurable):
                found = Score.checked(
                    role.score(measuring, probe),
                    measuring.inputs,
                    called=f"role {name}",
                    shape=shape,
                    right=right,
                )
        except NotMeasurable as reason:
            left_out[name] = str(reason)
            continue
        _require_shares(name, found.score)
        columns = [
            name,
            layers,
            heads,
            *(x.flatten() for x in (found.score, found.low, found.high)),
        ]
        tables.append(pd.DataFrame(dict(zip(COLUMNS, columns, strict=True))))
    table = pd.concat(tables, ignore_index=True) if tables else pd.DataFrame(columns=COLUMNS)
    return RoleScores(table, left_out)


def _require_shares(name: str, scores: Array) -> None:
    """Raise UserError naming the first head whose score [layer, head] is not within [0, 1]."""
    wrong = np.argwhere(~((scores >= 0) & (scores <= 1)))
    if np.isnan(scores).all():
        raise UserError(f"role {name}: its scores are NaN or infinite; they must be within [0, 1]")
    if len(wrong):
        layer, head = wrong[0]
        raise UserError(
            f"role {name}: the score of head {layer}.{head} is {scores[layer, head]:.6g}; it must "
            f"be within [0, 1]"
        )
