"""The registry of published suites: conf/suites/*.yaml, one file a suite, and what its revisions
are called.

Every model of a suite, and every variant of it (a deduplicated corpus, another seed), becomes a
choice `model=<name>`. Keys of a file:

    about            one line for --help
    hub_id           repository on the hub; {model} stands for the model's name, its variant
                     included, {base} for the name without the variant
    path             instead of hub_id: the folder of the model's checkpoints on this machine,
                     relative to the file, with {model} and {base} as above
    revisions        names of its revisions; {step} and {tokens} stand for numbers, * for anything
    tokens_per_step  training tokens of one step; where it is missing, {tokens} in the revisions'
                     names gives them, rounded as they are
    steps            the steps that were published, numbers and ranges "1000..143000 by 1000";
                     without it the hub is asked
    tokenizer        where the tokenizer is, if revisions have none: a folder, or org/name
    stages           join: revisions are of several stages, told from their names, see `stages`;
                     stage_steps and stage_tokens say how long each but the last is, ingredient
                     which branch it is
    licence, architecture (model_type in config.json), checkpoints (how many, where no steps are
                     listed): shown by `circuitwatch models`
    each             axis: [values]; a name of a model with {axis} in it stands for one model a
                     value, or a combination of values
    models           name: {params_total, params_non_embedding, variants: [...]}, and any key above
                     that differs for this model; variants may also be {variant: {what differs}}

A user's own suite is a file <folder>/suites/<name>.yaml, given by --config-dir <folder>.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from circuitwatch.checkpoints.schedule import MULTIPLES, Checkpoint
from circuitwatch.checkpoints.stages import Stages, joined, require_one_each
from circuitwatch.checkpoints.suite_files import (
    Entry,
    axes_of,
    facts_of,
    filled,
    folder_of,
    put,
    read_yaml,
    variants_of,
)
from circuitwatch.errors import UserError
from circuitwatch.limits import MOST_STEP, MOST_STEPS_LISTED, shown
from circuitwatch.names import plain_name

PLACES = ("hub_id", "path")
JOINING = ("stages", "stage_steps", "stage_tokens", "ingredient")
OF_HUB = ("hub_id", "revisions", "steps", *JOINING)
"""What nothing is made of where checkpoints lie in a folder."""
SHARED_KEYS = (*PLACES, "revisions", "tokens_per_step", "steps", "tokenizer", *JOINING)
PASSED_ON = ("tokens_per_step", "tokenizer")
"""What is taken as it is, wherever the checkpoints are."""
MODEL_KEYS = ("params_total", "params_non_embedding")
FACTS = ("licence", "architecture", "checkpoints")
RANGE = re.compile(r"(\d{1,18})\.\.(\d{1,18})(?: by (\d{1,18}))?$")


@dataclass(frozen=True)
class Suite:
    """One file of the registry; models: name → what `ModelConfig` takes. entries: the models as
    they are written, families of which stand under one name; axes: what stands for what in them.
    """

    name: str
    about: str
    models: dict[str, dict[str, Any]]
    entries: tuple[Entry, ...] = ()
    axes: tuple[tuple[str, tuple[str, ...]], ...] = ()

    def named_in(self, text: str) -> Suite:
        """The same with only those models of its families that a text names: there are too many to
        tell Hydra of all at each start.
        """
        if not self.axes or "glob(" in text:
            return self
        return Suite(
            self.name,
            self.about,
            {name: model for name, model in self.models.items() if name in text},
            self.entries,
            self.axes,
        )


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
    content = read_yaml(path)
    if not isinstance(content, dict) or not isinstance(content.get("models"), dict):
        raise UserError(f"{path}: a suite needs `models`, with one entry a model")
    _refuse_unknown(path, content, ("about", "each", "models", *SHARED_KEYS, *FACTS))
    shared = {key: content[key] for key in (*SHARED_KEYS, *FACTS) if key in content}
    _one_place(path, "the suite", shared)
    axes = axes_of(path, content.get("each"))
    models: dict[str, dict[str, Any]] = {}
    entries = []
    for pattern, given in content["models"].items():
        if not isinstance(given, dict | None):
            raise UserError(
                f"{path}: models: {pattern}: {given!r} is not what is known of a model; write "
                f"`{pattern}: {{params_total: …}}`, or `{pattern}:` alone"
            )
        own = given or {}
        _refuse_unknown(path, own, ("variants", *SHARED_KEYS, *MODEL_KEYS, *FACTS))
        variants = variants_of(path, str(pattern), own.get("variants", []))
        names: dict[str, tuple[str, ...]] = {}
        steps = _steps(path, _over(path, str(pattern), shared, own))
        for base, values in filled(path, str(pattern), axes).items():
            of_base = _over(path, base, shared, own)
            family = {base: of_base}
            for variant, differs in variants.items():
                _refuse_unknown(path, differs, (*SHARED_KEYS, *MODEL_KEYS))
                name = f"{base}-{variant}"
                family[name] = _over(path, name, of_base, differs)
            for name, of_model in family.items():
                plain_name(name, f"{path}: model")
                if name in models:
                    raise UserError(f"{path}: {name}: is there twice; give one another name")
                own_steps = steps if of_model.get("steps") is of_base.get("steps") else None
                models[name] = _model(path, name, {**values, "base": base}, of_model, own_steps)
            names[base] = tuple(family)
        facts = facts_of(path, str(pattern), shared | own)
        entries.append(Entry(str(pattern), names, **facts))
    return Suite(
        path.stem,
        str(content.get("about", "")),
        models,
        tuple(entries),
        tuple((axis, tuple(values)) for axis, values in axes.items()),
    )


def _one_place(path: Path, name: str, given: dict[str, Any]) -> None:
    """Raise UserError where checkpoints would lie in two places, or something is said that nothing
    is made of in a folder.
    """
    if given.get("path") is None:
        return
    if given.get("hub_id") is not None:
        raise UserError(
            f"{path}: {name} has both path and hub_id; give path for a folder on this machine, "
            f"hub_id for a repository on the hub"
        )
    if idle := next((key for key in OF_HUB if given.get(key) is not None), None):
        raise UserError(
            f"{path}: {name}: {idle} does nothing with path: in a folder the checkpoints are those "
            f"called step<N> or checkpoint-<N>"
        )


def _over(path: Path, name: str, shared: dict[str, Any], own: dict[str, Any]) -> dict[str, Any]:
    """What holds of a model, given what its suite says and what is said of it itself, which wins:
    its own place is not that of the others.
    """
    _one_place(path, name, own)
    if own.get("path") is not None:
        shared = {key: value for key, value in shared.items() if key not in OF_HUB}
    elif own.get("hub_id") is not None:
        shared = {key: value for key, value in shared.items() if key != "path"}
    both = shared | own
    _one_place(path, name, both)
    return both


def _steps(path: Path, given: dict[str, Any]) -> list[int] | None:
    return parse_steps(given["steps"], path) if given.get("steps") is not None else None


def _model(
    path: Path,
    name: str,
    values: dict[str, str],
    given: dict[str, Any],
    steps: list[int] | None,
) -> dict[str, Any]:
    """What `ModelConfig` takes of a model; values: of {axes} and {base}; steps: if they are known
    to be those of the others, which a list of hundreds should not be read for once a model.
    """
    values = {**values, "model": name}
    as_given = {key: given[key] for key in (*MODEL_KEYS, *PASSED_ON) if key in given}
    if given.get("path") is not None:
        folder = folder_of(path, name, given["path"], values)
        return {**as_given, "name": name, "source": "folder", "path": folder}
    for key in ("hub_id", "revisions"):
        if not isinstance(given.get(key), str):
            other = ", nor a path" if key == "hub_id" else ""
            raise UserError(f"{path}: {name} has no {key}{other}")
    pattern = put(given["revisions"], values)
    steps = steps if steps is not None else _steps(path, given)
    require_naming(f"{path}: {name}", pattern, steps, given.get("tokens_per_step"))
    return {
        **as_given,
        **{key: given[key] for key in JOINING if key in given},
        "name": name,
        "source": "hub",
        "hub_id": put(given["hub_id"], values),
        "revisions": pattern,
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
    if not isinstance(given, list | tuple):
        raise UserError(f"{where}: steps: is {shown(given)}, not a list of steps and ranges")
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
