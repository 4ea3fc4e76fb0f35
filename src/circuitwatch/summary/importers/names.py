"""What the name of a file, a folder or a revision says of a checkpoint: its step or its tokens, the
stage of training and the ingredient, the seed of the run; and what is left of the name without
them.

People write `step143k`, `ckpt-1.5B`, `iter_0001000`, `ep1-ba1000`, `checkpoint-1000`,
`step-480k-token-1007B`, `stage2-ingredient1-step1000-tokens2B`, or the bare step. Sizes of models
(`pythia-160m`, `1.5B` within a name), dates and version numbers are none of these.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from circuitwatch.checkpoints.schedule import MULTIPLES

BEFORE, AFTER = r"(?:(?<=^)|(?<=[-_./ =]))", r"(?=$|[-_./ ])"
"""A part of a name stands between its ends or signs."""
COUNT = r"(?P<{0}>\d+(?:\.\d+)?)(?P<{0}_unit>[kKmMbBgGtT]?)"
STAGE = re.compile(BEFORE + r"stage[-_=]?(?P<stage>\d+)" + AFTER, re.IGNORECASE)
INGREDIENT = re.compile(BEFORE + r"ingredient[-_=]?(?P<ingredient>\d+)" + AFTER, re.IGNORECASE)
SEED = re.compile(BEFORE + r"seed[-_=]?(?P<seed>\d+)" + AFTER, re.IGNORECASE)
EPOCH = re.compile(BEFORE + r"(?:epoch|ep)[-_=]?\d+" + AFTER, re.IGNORECASE)
TOKENS = re.compile(
    BEFORE
    + r"(?:tokens?[-_=]?"
    + COUNT.format("tokens")
    + "|"
    + COUNT.format("before")
    + r"[-_]?tokens?(?![-_=]?\d))"
    + AFTER,
    re.IGNORECASE,
)
STEP = re.compile(
    BEFORE
    + r"(?:(?:global[-_]?|train(?:ing)?[-_]?)?step|iter(?:ation)?|ba)[-_=]?"
    + COUNT.format("step")
    + AFTER,
    re.IGNORECASE,
)
CHECKPOINT = re.compile(
    BEFORE + r"(?:checkpoint|ckpt|chkpt)[-_=]?(?:\d+[-_](?=\d))?" + COUNT.format("step") + AFTER,
    re.IGNORECASE,
)
"""The number of an epoch may stand before that of the step."""
BARE = re.compile(r"(?P<step>\d+(?:\.\d+)?)(?P<step_unit>[kKbBgGtT]?)")
"""A whole name that is a number: a step, or tokens where its unit is that of tokens; millions are
more likely those of parameters.
"""
OF_TOKENS = "bgt"
"""Units that no number of steps has."""


@dataclass(frozen=True)
class Checkpoint:
    """What a name says; what it doesn't say is missing.

    Attributes:
        step, tokens: of the checkpoint.
        stage, ingredient: of training, where it has several.
        seed: of the run.
        rest: the name without these.
    """

    step: float | None = None
    tokens: float | None = None
    stage: int | None = None
    ingredient: int | None = None
    seed: int | None = None
    rest: str = ""

    @property
    def is_one(self) -> bool:
        """Whether it names a checkpoint."""
        return self.step is not None or self.tokens is not None


def read_name(name: str) -> Checkpoint:
    """What a name says, such as `160m_step1000` (step 1000, rest `160m`)."""
    found: dict[str, float | None] = {"step": None, "tokens": None}
    whole: dict[str, int | None] = {"stage": None, "ingredient": None, "seed": None}
    name = re.sub(r"\.(ckpt|pt|pth|bin|json|safetensors)$", "", name.strip())
    rest = name
    for pattern in (STAGE, INGREDIENT, SEED, TOKENS, STEP, CHECKPOINT, EPOCH):
        match = pattern.search(rest)
        if match is None or (pattern is CHECKPOINT and found["step"] is not None):
            continue
        parts = match.groupdict()
        for part in whole.keys() & parts.keys():
            whole[part] = int(parts[part])
        for part in ("tokens", "before", "step"):
            if parts.get(part) is not None:
                _count(found, part, parts[part], parts[f"{part}_unit"])
        rest = rest[: match.start()] + rest[match.end() :]
    if rest == name and (match := BARE.fullmatch(name)) is not None:
        _count(found, "step", match["step"], match["step_unit"])
        rest = "" if found["step"] is not None or found["tokens"] is not None else rest
    tidy = re.sub(r"[-_. =]+(?=[-_])|^[-_. =]+|[-_. =]+$", "", rest)
    return Checkpoint(
        found["step"], found["tokens"], whole["stage"], whole["ingredient"], whole["seed"], tidy
    )


def _count(found: dict[str, float | None], part: str, digits: str, unit: str) -> None:
    """Note a number of steps, or of tokens; one with a unit of tokens is that whatever it is
    called.
    """
    unit = unit.lower()
    number = float(digits) * MULTIPLES[{"k": "k", "g": "B"}.get(unit, unit.upper())]
    is_tokens = part != "step" or (unit in OF_TOKENS and unit != "")
    if not is_tokens and number % 1:
        return  # no step is a fraction: a version, or a size
    found["tokens" if is_tokens else "step"] = number
