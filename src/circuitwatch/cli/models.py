"""`circuitwatch models`: which models there are to choose from, and what is known of them."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from circuitwatch.checkpoints.analysable import ANALYSABLE
from circuitwatch.checkpoints.suite_files import Entry
from circuitwatch.checkpoints.suites import Suite
from circuitwatch.cli.choices import choices_of, suites
from circuitwatch.cli.command import Command
from circuitwatch.errors import UserError, meant
from circuitwatch.limits import shown

COLUMNS = (
    *("model", "parameters", "not embedding", "checkpoints", "tokens a step", "licence"),
    *("architecture", "can be analysed"),
)
RIGHT = frozenset(COLUMNS[1:5])
UNKNOWN = "–"
NANO = "gpt_neox"
UNITS = ((10**9, "B"), (10**6, "M"), (10**3, "k"))
MOST_LINES = 40
"""Models of a family that are listed by themselves; more are under one name."""
FOOT = (
    "Each is a choice of model=<name>; {axis} stands for each of its values, brackets add one of "
    "the variants.",
    f"{UNKNOWN} of checkpoints: the hub is asked; `circuitwatch doctor model=<name>` does so "
    f"without fetching weights.",
)
Row = tuple[str, ...]


def models(arguments: list[str]) -> None:
    """Print the suites and their models; words among the arguments must all be in a model's
    name, suite, architecture or licence.
    """
    from circuitwatch.cli.arguments import Line

    line = Line.of(arguments)
    if other := next((flag for flag in line.flags if flag != "--config-dir"), None):
        raise UserError(f"models {other}: give words to look for, and --config-dir=<folder>")
    if option := next((word for word in line.overrides if "=" in word), None):
        raise UserError(f"models {shown(option)}: takes no options; give words to look for")
    words = [word.casefold() for word in line.overrides]
    listed = [_nano(), *suites(arguments)]
    rows_of = [
        (suite, [row for entry in suite.entries for row in _rows(suite, entry, words)])
        for suite in listed
    ]
    found = [(suite, rows) for suite, rows in rows_of if rows]
    if not found:
        names = [name for suite in listed for name in (suite.name, *suite.models)]
        said = " ".join(line.overrides)
        raise UserError(
            f"models {shown(said)}: no model is called so; {meant(said, names)}`circuitwatch "
            f"models` lists all"
        )
    print("\n".join(_table(found)))


def _table(found: Sequence[tuple[Suite, Sequence[Row]]]) -> Iterator[str]:
    """The lines of the table: a heading, then each suite with its axes and its models."""
    every = [row for _, rows in found for row in rows]
    widths = [max(map(len, column)) for column in zip(COLUMNS, *every, strict=True)]

    def line(row: Row) -> str:
        cells = (
            cell.rjust(width) if name in RIGHT else cell.ljust(width)
            for cell, name, width in zip(row, COLUMNS, widths, strict=True)
        )
        return "  ".join(cells).rstrip()

    yield line(COLUMNS)
    for suite, rows in found:
        yield ""
        yield f"{suite.name}: {suite.about}" if suite.about else suite.name
        for axis, values in suite.axes:
            if any(f"{{{axis}}}" in row[0] for row in rows):
                yield f"{{{axis}}}: {', '.join(values)}"
        yield from map(line, rows)
    yield ""
    yield from FOOT


def _nano() -> Suite:
    """The models that are trained here, as a suite."""
    names = [name for name in choices_of("model") if name.startswith("nano-")]
    names.sort(key=lambda name: (name[-1] == "m", len(name), name))
    entries = [Entry(name, {name: (name,)}, architecture=NANO) for name in names]
    about = "trained here on a synthetic corpus, in seconds to minutes, and kept in the cache"
    trained: dict[str, dict[str, Any]] = {name: {"name": name, "source": "nano"} for name in names}
    return Suite("nano", about, trained, tuple(entries))


def _rows(suite: Suite, entry: Entry, words: Sequence[str]) -> Iterator[Row]:
    """What is shown of an entry: one line, or one for each of its models that has the words."""
    from circuitwatch.cli.help import folded

    def has(*texts: str | None) -> bool:
        said = " ".join(text for text in texts if text).casefold()
        return all(word in said for word in words)

    facts = (entry.licence, entry.architecture, suite.name)
    bases = [base for base, family in entry.names.items() if has(*family, *facts)]
    if not bases:
        return
    if bases == list(entry.names) or len(bases) > MOST_LINES:
        first, family = next(iter(entry.names.items()))
        shown_as = {entry.pattern: [entry.pattern + name.removeprefix(first) for name in family]}
        shown_of = {entry.pattern: first}
    else:
        shown_as = {base: [*entry.names[base]] for base in bases}
        shown_of = {base: base for base in bases}
    for name, names in shown_as.items():
        model = suite.models[shown_of[name]]
        yield (
            f"  {folded(names)[0]}",
            _size(model.get("params_total")),
            _size(model.get("params_non_embedding")),
            _checkpoints(entry, model),
            _rate(model),
            entry.licence or UNKNOWN,
            entry.architecture or UNKNOWN,
            _usable(entry, model),
        )


def _size(value: Any) -> str:
    """A number of parameters; a user's file may have anything there."""
    if not isinstance(value, int):
        return UNKNOWN
    unit, name = next(((u, n) for u, n in UNITS if value >= u), (1, ""))
    return f"{value / unit:.3g}{name}"


def _rate(model: dict[str, Any]) -> str:
    """Tokens of a step, of which a single state says nothing."""
    rate = model.get("tokens_per_step")
    is_single = len(model.get("steps") or [0, 0]) == 1
    return f"{rate:,}" if isinstance(rate, int) and not is_single else UNKNOWN


def _checkpoints(entry: Entry, model: dict[str, Any]) -> str:
    if model.get("steps"):
        return str(len(model["steps"]))
    if model["source"] == "nano":
        return "trained"
    if model["source"] == "folder":
        folder = Path(model["path"])
        return str(_in_folder(folder)) if folder.is_dir() else "0"
    return UNKNOWN if entry.checkpoints is None else str(entry.checkpoints)


def _in_folder(folder: Path) -> int:
    from circuitwatch.checkpoints.folder import NAME

    return sum(NAME.match(path.name) is not None for path in folder.iterdir() if path.is_dir())


def _usable(entry: Entry, model: dict[str, Any]) -> str:
    """Whether its architecture can be analysed; of a folder also whether it is there."""
    if model["source"] == "folder" and not Path(model["path"]).is_dir():
        return f"no: no such folder, {model['path']}"
    if entry.architecture is None:
        return "doctor tells"
    return "yes" if entry.architecture in ANALYSABLE else "not yet"


COMMAND = Command(
    models,
    {
        "models [<word> …]": "the suites and their models: sizes, how many checkpoints, licence, "
        "architecture, and if that can be analysed; with words, those that have all of them in "
        "their name, suite, architecture or licence"
    },
    when_interrupted="nothing was changed",
)
