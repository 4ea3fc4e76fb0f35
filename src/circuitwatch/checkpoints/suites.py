"""The registry of published suites: conf/suites/*.yaml, one file a suite, and what its revisions
are called.

Every model of a suite, and every variant of it (a deduplicated corpus, another seed), becomes a
choice `model=<name>`. Keys of a file:

    about            one line for --help
    hub_id           repository on the hub; {model} stands for the model's name, its variant
                     included
    revisions        names of its revisions; {step} and {tokens} stand for numbers, * for anything
    tokens_per_step  training tokens of one step; where it is missing, {tokens} in the revisions'
                     names gives them, rounded as they are
    steps            the steps that were published, numbers and ranges "1000..143000 by 1000";
                     without it the hub is asked
    tokenizer        where the tokenizer is, if revisions have none: a folder, or org/name
    stages           join: revisions are of several stages, told from their names, see `stages`;
                     stage_steps and stage_tokens say how long each but the last is, ingredient
                     which branch it is
    models           name: {params_total, params_non_embedding, variants: [...]}, and any key above
                     that differs for this model

A user's own suite is a file <folder>/suites/<name>.yaml, given by --config-dir <folder>.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from omegaconf import OmegaConf
from omegaconf.errors import OmegaConfBaseException
from yaml import YAMLError

from circuitwatch.checkpoints.schedule import MULTIPLES, Checkpoint
from circuitwatch.checkpoints.stages import Stages, joined, require_one_each
from circuitwatch.errors import UserError
from circuitwatch.limits import MOST_STEP, MOST_STEPS_LISTED, shown
from circuitwatch.names import plain_name

JOINING = ("stages", "stage_steps", "stage_tokens", "ingredient")
SHARED_KEYS = ("hub_id", "revisions", "tokens_per_step", "steps", "tokenizer", *JOINING)
MODEL_KEYS = ("params_total", "params_non_embedding")
RANGE = re.compile(r"(\d{1,18})\.\.(\d{1,18})(?: by (\d{1,18}))?$")


@dataclass(frozen=True)
class Suite:
    """One file of the registry; models: name → what `ModelConfig` takes."""

    name: str
    about: str
    models: dict[str, dict[str, Any]]


def conf_dir() -> Path:
    """The configuration groups: the installed package's own, else the repository's."""
    package = Path(__file__).parents[1]
    packaged = package / "conf"
    return packaged if packaged.is_dir() else package.parents[1] / "conf"


def read_suites(folders: Iterable[Path]) -> list[Suite]:
    """All suites in the `suites` folders below some configuration folders.

    Raises UserError for a file that is not one.
    """
    return [
        read_suite(path)
        for folder in folders
        for path in sorted((folder / "suites").glob("*.yaml"))
    ]


def read_suite(path: Path) -> Suite:
    """One suite's file. Raises UserError naming the file and the key that is wrong."""
    try:
        content: Any = OmegaConf.to_container(OmegaConf.load(path))
    except (OmegaConfBaseException, YAMLError, OSError, ValueError, RecursionError) as error:
        raise UserError(
            f"{path}: can't be read as YAML ({' '.join(str(error).split())})"
        ) from error
    if not isinstance(content, dict) or not isinstance(content.get("models"), dict):
        raise UserError(f"{path}: a suite needs `models`, with one entry a model")
    _refuse_unknown(path, content, ("about", "models", *SHARED_KEYS))
    shared = {key: content[key] for key in SHARED_KEYS if key in content}
    models = {}
    for name, given in content["models"].items():
        if not isinstance(given, dict | None):
            raise UserError(
                f"{path}: models: {name}: {given!r} is not what is known of a model; write "
                f"`{name}: {{params_total: …}}`, or `{name}:` alone"
            )
        of_model = shared | (given or {})
        _refuse_unknown(path, of_model, ("variants", *SHARED_KEYS, *MODEL_KEYS))
        if not isinstance(of_model.get("variants", []), list):
            raise UserError(f"{path}: {name}: variants: give a list, e.g. [deduped, seed1]")
        for variant in [None, *of_model.pop("variants", [])]:
            full_name = f"{name}-{variant}" if variant else str(name)
            plain_name(full_name, f"{path}: model")
            models[full_name] = _model(path, full_name, of_model)
    return Suite(path.stem, str(content.get("about", "")), models)


def _model(path: Path, name: str, given: dict[str, Any]) -> dict[str, Any]:
    for key in ("hub_id", "revisions"):
        if not isinstance(given.get(key), str):
            raise UserError(f"{path}: {name} has no {key}")
    steps = parse_steps(given["steps"], path) if given.get("steps") is not None else None
    pattern = given["revisions"]
    require_naming(f"{path}: {name}", pattern, steps, given.get("tokens_per_step"))
    return {
        **given,
        "name": name,
        "source": "hub",
        "hub_id": given["hub_id"].replace("{model}", name),
        "steps": steps,
    }


def require_naming(
    where: str, pattern: str, steps: Sequence[int] | None, tokens_per_step: int | None
) -> None:
    """Raise UserError unless the step and the tokens of each revision can be told.

    Args:
        where: What the revisions are of, for the error.
        pattern: What they are called.
        steps: Those that were published, if that is said.
        tokens_per_step: Training tokens of one step, if that is said.
    """
    if not steps and "{step}" not in pattern:
        raise UserError(
            f"{where}: revisions={pattern} has no {{step}}, so `steps` must name its one step"
        )
    if steps and len(steps) > 1 and "{step}" not in pattern:
        raise UserError(
            f"{where}: revisions={pattern} has no {{step}}, but there are {len(steps)} steps"
        )
    if tokens_per_step is None and "{tokens}" not in pattern:
        raise UserError(
            f"{where}: tokens_per_step is missing, and the revisions' names hold no {{tokens}}"
        )


def _refuse_unknown(path: Path, content: dict[str, Any], allowed: Sequence[str]) -> None:
    for key in content:
        if key not in allowed:
            raise UserError(f"{path}: {key}: no such key; there are {', '.join(allowed)}")


def parse_steps(given: Sequence[Any], where: Path | str) -> list[int]:
    """Steps and ranges `a..b by c`, ascending. Raises UserError for anything else."""
    steps: set[int] = set()
    for item in given:
        if isinstance(item, int) and not isinstance(item, bool):
            found: Sequence[int] = [item]
        elif isinstance(item, str) and (match := RANGE.match(item)) and int(match[3] or 1) > 0:
            found = range(int(match[1]), int(match[2]) + 1, int(match[3] or 1))
        else:
            raise UserError(
                f"{where}: steps: {shown(item)!r} is neither a number nor a range such as "
                f"1000..143000 by 1000"
            )
        if any(not 0 <= end <= MOST_STEP for end in (*found[:1], *found[-1:])):
            raise UserError(f"{where}: steps: {shown(item)}: must be from 0 to {MOST_STEP}")
        if len(steps) + len(found) > MOST_STEPS_LISTED:
            raise UserError(f"{where}: steps: lists more than {MOST_STEPS_LISTED} steps")
        steps.update(found)
    return sorted(steps)


LONGEST = 30
"""Digits of a number that is read, among which there may be zeros in front."""


def checkpoints_named(
    names: Iterable[str],
    pattern: str,
    tokens_per_step: int | None,
    stages: Stages | None = None,
) -> list[Checkpoint]:
    """The checkpoints among a repository's revisions, ascending by step; names that the pattern
    does not fit are left out, and those with steps that no training has.

    Args:
        names: Of the revisions.
        pattern: What they are called.
        tokens_per_step: Training tokens of one step; None: their names say the tokens.
        stages: How their stages are joined; None: they are all of one.

    Raises UserError if two are of the same step, or the stages can't be joined.
    """
    found = list(_matches(names, pattern, tokens_per_step))
    if stages is not None:
        return joined(found, stages, pattern)
    require_one_each(found, pattern)
    return sorted(found, key=lambda checkpoint: checkpoint.step)


def can_be_named(pattern: str, tokens_per_step: int | None) -> bool:
    """Whether a step alone tells its revision's name and its tokens."""
    is_plain = not re.search(r"\*|\{tokens\}|\{step\}[kKM]", pattern)
    return tokens_per_step is not None and is_plain


def checkpoint_at(step: int, pattern: str, tokens_per_step: int) -> Checkpoint:
    """The checkpoint of a step, its revision's name made from a pattern that `can_be_named`."""
    return Checkpoint(step, step * tokens_per_step, pattern.replace("{step}", str(step)))


def _matches(
    names: Iterable[str], pattern: str, tokens_per_step: int | None
) -> Iterator[Checkpoint]:
    parts = {
        "{step}": r"(?P<step>\d+(?:\.\d+(?=[kKM]))?)(?P<multiple>[kKM]?)",
        "{tokens}": r"(?P<tokens>\d{1,20}(?:\.\d{1,20})?)(?P<unit>[kMBT]?)",
        "*": ".*",
    }
    pieces = re.split(r"(\{step\}[kKM]?|\{tokens\}[kMBT]?|\*)", pattern)
    expression = "".join(
        parts.get(re.sub(r"\}[kKMBT]$", "}", piece), re.escape(piece)) for piece in pieces
    )
    for name in names:
        if match := re.fullmatch(expression, name):
            numbers = match.groupdict()
            count, multiple = numbers["step"], MULTIPLES[numbers["multiple"].replace("K", "k")]
            if len(count) > LONGEST:
                continue
            step = round(float(count) * multiple) if "." in count else int(count) * multiple
            if step > MOST_STEP:
                continue
            rounded = (
                float(numbers["tokens"]) * MULTIPLES[numbers["unit"]]
                if "tokens" in numbers
                else 0.0
            )
            yield Checkpoint(
                step, round(rounded) if tokens_per_step is None else step * tokens_per_step, name
            )
