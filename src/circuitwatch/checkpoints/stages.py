"""Revisions of several stages of a training, as OLMo-2's: stage 1 on the whole corpus, then stage 2
on one of several ingredients, each from the end of stage 1; steps and tokens begin anew in each.

They are told from the revisions' names (stage2-ingredient3-step1000-tokens5B). Joined, a later
stage's steps and tokens go on from the end of the one before. Ingredients are branches: a model is
stage 1 and one of them, and they are never strung together, since none follows another.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from circuitwatch.checkpoints.schedule import Checkpoint
from circuitwatch.errors import UserError

STAGE = re.compile(r"stage[-_]?(\d{1,3})", re.IGNORECASE)
INGREDIENT = re.compile(r"ingredient[-_]?(\d{1,3})", re.IGNORECASE)


@dataclass(frozen=True)
class Stages:
    """How a model's stages are joined.

    steps, tokens: of each stage but the last, where its end is known; what is not known is that of
    its last revision. ingredient: the branch, where there are several.
    """

    steps: Sequence[int] = ()
    tokens: Sequence[int] = ()
    ingredient: int | None = None


def require_one_each(checkpoints: Iterable[Checkpoint], pattern: str) -> None:
    """Raise UserError if two revisions are of the same step, naming both and a way out."""
    found: dict[int, str] = {}
    for checkpoint in checkpoints:
        other = found.setdefault(checkpoint.step, checkpoint.revision)
        if other != checkpoint.revision:
            raise UserError(
                f"model.revisions={pattern}: {other} and {checkpoint.revision} are both of step "
                f"{checkpoint.step}; {_way_out(pattern, other, checkpoint.revision)}"
            )


def _way_out(pattern: str, one: str, other: str) -> str:
    stages = [match[0] for name in (one, other) if (match := STAGE.search(name))]
    ingredients = {match[0] for name in (one, other) if (match := INGREDIENT.search(name))}
    if not stages:
        return "give a pattern that only one of them has"
    of_one = stages[0] if len(set(stages)) > 1 else f"{stages[0]}*{min(ingredients, default='')}"
    chosen = pattern.replace("stage*", f"{of_one}*", 1) if "stage*" in pattern else f"{of_one}*"
    return (
        f"choose a stage, e.g. model.revisions='{chosen}', or join them with model.stages=join "
        f"(one branch for each ingredient, model.ingredient=)"
    )


def ingredients_of(names: Iterable[str]) -> list[int]:
    """The ingredients that some revisions are of, ascending."""
    return sorted({int(match[1]) for name in names if (match := INGREDIENT.search(name))})


def joined(checkpoints: Sequence[Checkpoint], stages: Stages, pattern: str) -> list[Checkpoint]:
    """One list of the checkpoints of all stages, ascending by step.

    Args:
        checkpoints: With steps and tokens as their revisions' names give them.
        stages: Where stages end, and which ingredient it is.
        pattern: What revisions are called, for errors.

    Returns:
        The checkpoints of one branch, with steps and tokens from the beginning of stage 1.

    Raises:
        UserError: a revision has no stage, the ingredient is not said or there is none such, or it
            is not known where a stage ends.
    """
    of_stage: dict[int, list[Checkpoint]] = {}
    for checkpoint in _of_branch(checkpoints, stages.ingredient):
        match = STAGE.search(checkpoint.revision)
        if match is None or not int(match[1]):
            raise UserError(
                f"model.stages=join: {checkpoint.revision} has no stage in its name; give a "
                f"narrower pattern than model.revisions={pattern}"
            )
        of_stage.setdefault(int(match[1]), []).append(checkpoint)
    result: list[Checkpoint] = []
    begin = Checkpoint(0, 0, "")
    for stage in range(1, max(of_stage, default=0) + 1):
        own = sorted(of_stage.get(stage, ()), key=lambda checkpoint: checkpoint.step)
        require_one_each(own, pattern)
        moved = [
            Checkpoint(begin.step + c.step, begin.tokens + c.tokens, c.revision)
            for c in own
            # A later stage's step 0 is the end of the one before, under another name.
            if c.step or stage == 1
        ]
        result += moved
        if stage < max(of_stage):
            begin = _end(stage, begin, moved, stages)
    return result


def _of_branch(checkpoints: Sequence[Checkpoint], ingredient: int | None) -> list[Checkpoint]:
    """Those of a branch: of one ingredient, or of none."""
    there = ingredients_of(checkpoint.revision for checkpoint in checkpoints)
    listed = ", ".join(map(str, there)) or "none"
    if ingredient is None and len(there) > 1:
        raise UserError(
            f"model.stages=join: there are ingredients {listed}, each from the end of stage 1 on "
            f"by itself; choose one, e.g. model.ingredient={there[0]}, or all with -m "
            f"model.ingredient={','.join(map(str, there))}"
        )
    if ingredient is not None and ingredient not in there:
        raise UserError(f"model.ingredient={ingredient}: there is no such one; there are {listed}")
    return [
        checkpoint
        for checkpoint in checkpoints
        if (match := INGREDIENT.search(checkpoint.revision)) is None
        or ingredient in (None, int(match[1]))
    ]


def _end(stage: int, begin: Checkpoint, own: Sequence[Checkpoint], stages: Stages) -> Checkpoint:
    """Where a stage ends, counted from the beginning of stage 1: as it is said, else where its last
    revision is.
    """
    said = [known[stage - 1 : stage] for known in (stages.steps, stages.tokens)]
    if not own and not all(said):
        raise UserError(
            f"model.stages=join: no revision of stage {stage} is there, so it is not known where "
            f"it ends; say model.stage_steps=[…] and model.stage_tokens=[…]"
        )
    last = own[-1] if own else begin
    step = begin.step + said[0][0] if said[0] else last.step
    tokens = begin.tokens + said[1][0] if said[1] else last.tokens
    if step < last.step or tokens < last.tokens:
        raise UserError(
            f"model.stages=join: {last.revision} is later than the end of stage {stage}, step "
            f"{step} and {tokens} tokens, as model.stage_steps and model.stage_tokens say"
        )
    return Checkpoint(step, tokens, "")
