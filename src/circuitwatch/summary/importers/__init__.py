"""Where curves come from: cells of a sweep, runs of W&B, and files of the formats that `formats`
lists, in any mix.

    circuitwatch summarize from=multirun/demo,evals/pythia-160m,mine.csv,wandb:me/project to=summary

What a path is, is told by looking at it. A source that can't be used is a note and costs no other;
only if nothing is left is there an error. No torch is imported here, and W&B only where a source
asks for it.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from circuitwatch.checkpoints.suites import Suite
from circuitwatch.directions import said_direction
from circuitwatch.errors import UserError, nearest
from circuitwatch.records import Cell
from circuitwatch.summary.cells import CellData
from circuitwatch.summary.curves import Curves, combine, without_repeats
from circuitwatch.summary.importers.cells import (
    curves_of,
    find_cells_below,
    has_cells,
    read_cells,
)
from circuitwatch.summary.importers.format import CONSTANTS, Asked, File, constant
from circuitwatch.summary.importers.formats import FORMATS, format_of_file, formats_in, read_source
from circuitwatch.summary.importers.options import (
    directions_by_name,
    is_join,
    numbers_by_name,
    pairs,
    sizes_by_name,
    tokens_per_step_of,
)
from circuitwatch.summary.importers.rates import Given, TokensPerStep
from circuitwatch.summary.importers.registry import Registry
from circuitwatch.summary.importers.tables import columns_of
from circuitwatch.summary.importers.tidy import check_columns, few
from circuitwatch.summary.variants import told_apart

if TYPE_CHECKING:
    from circuitwatch.summary.importers.wandb_runs import Runs

__all__ = ["OPTIONS", "Request", "Sources", "kind_of", "parse_request", "read_sources"]

WANDB = "wandb:"
NEEDED = {"from", "to"}
OPTIONS = {"columns", "tokens_per_step", "params", "thresholds", "direction", "stages"}
"""What may be given beside from= and to=."""
HINT = (
    "give from=<path or wandb:entity/project>[,…] and to=<folder>; also columns=<ours>:<the "
    "file's, or a constant in quotes>[,…], tokens_per_step=<number or model:number,…>, "
    "params=<model>:160M[,…], thresholds=<task>/<quantity>:<level>[,…], "
    "direction=<quantity>:falls|rises[,…], stages=join"
)


@dataclass(frozen=True)
class Request:
    """What the command line asks for: sources, the folder to write to, and how to read.

    columns: our column → the file's, or a constant in quotes (`"mine"`), for tables and what only a
    file's place tells. tokens_per_step: for sources that give steps, one number or one by model.
    thresholds: a quantity, or task/quantity → the level whose crossing is asked for instead of the
    half-rise. directions: a quantity that circuitwatch doesn't know, or a pattern such as *_bpb →
    whether it falls as a model learns. params: model → parameters, of models whose size no source
    says. join_stages: later stages of training go on from the one before.
    """

    sources: tuple[str, ...]
    to: Path
    columns: Mapping[str, str] = field(default_factory=dict)
    tokens_per_step: Given = None
    thresholds: Mapping[str, float] = field(default_factory=dict)
    directions: Mapping[str, bool] = field(default_factory=dict)
    params: Mapping[str, float] = field(default_factory=dict)
    join_stages: bool = False


@dataclass(frozen=True)
class Sources:
    """What was read: the curves of all sources together, and the cells among the sources, for what
    only records tell, each (model, task, seed) once.
    """

    curves: Curves
    cells: tuple[CellData, ...] = ()


def parse_request(given: Mapping[str, str]) -> Request:
    """The request that some key=value arguments make.

    Raises UserError for a key or a value that can't be one.
    """
    unknown = given.keys() - NEEDED - OPTIONS
    if unknown or not all(given.get(key) for key in NEEDED):
        raise UserError(
            f"summarize {' '.join(f'{key}={value}' for key, value in given.items())}: {HINT}"
        )
    whole = given["from"]
    # A path may hold a comma.
    sources = (
        [whole]
        if Path(whole).expanduser().exists()
        else [part.strip() for part in whole.split(",") if part.strip()]
    )
    if not sources:
        raise UserError(f"from={whole}: {HINT}")
    return Request(
        tuple(dict.fromkeys(sources)),
        Path(given["to"]).expanduser(),
        dict(pairs("columns", given.get("columns", ""))),
        tokens_per_step_of(given.get("tokens_per_step", "")),
        numbers_by_name("thresholds", given.get("thresholds", "")),
        directions_by_name(given.get("direction", "")),
        sizes_by_name(given.get("params", "")),
        is_join(given.get("stages", "")),
    )


def read_sources(request: Request, suites: Iterable[Suite] = ()) -> Sources:
    """Read every source of a request, each record of a cell once.

    Args:
        request: see `parse_request`.
        suites: the registry, as `checkpoints.suites.read_suites` gives it: sizes, and tokens of a
            step.

    Raises:
        UserError: no source gave a value, and its one line has every source's reason; or `columns`
            names one that no table has, or `tokens_per_step` a model that no source has.
    """
    _check_columns(request)
    registry = Registry(suites)
    rates = TokensPerStep(request.tokens_per_step, registry)
    asked = Asked(registry, request.columns, rates, request.join_stages)
    cells: list[Cell] = []
    others: list[tuple[str, Runs | None]] = []
    notes: list[str] = []
    for source in request.sources:
        with _left_out(source, notes):
            kind = kind_of(source)
            if kind == "cells":
                found, damaged = find_cells_below(Path(source).expanduser())
                cells += found
                notes += damaged
            else:
                others.append((source, _runs(source) if kind == "wandb" else None))
    cells, others, told = _told_apart(cells, others)
    parts: list[Curves] = []
    for source, runs in others:
        with _left_out(source, notes):
            part = _read(source, runs, asked)
            parts.append(replace(part, table=without_repeats(part.table)))
    read, doubts = read_cells(cells)
    curves = combine([curves_of(read), *parts] if cells else parts, params=request.params)
    once, twice = _once(read)
    curves.notes.extend([*told, *doubts, *notes, *twice])
    rates.check(curves.models)
    if curves.table.empty:
        reasons = [note.removeprefix("left out: ") for note in curves.notes]
        raise UserError(
            "nothing to summarise: " + "; ".join(reasons or ["no source holds a value"])
        )
    _check_directions(request, curves)
    return Sources(replace(curves, directions=request.directions), once)


@contextmanager
def _left_out(source: str, notes: list[str]) -> Iterator[None]:
    """A source that can't be used is a note."""
    try:
        yield
    except UserError as error:
        notes.append(f"left out: {error}")
    except OSError as error:
        notes.append(
            f"left out: {error.filename or source}: can't be read ({error.strerror or error})"
        )


def _told_apart(
    cells: Sequence[Cell], others: Sequence[tuple[str, Runs | None]]
) -> tuple[list[Cell], list[tuple[str, Runs | None]], list[str]]:
    """The same cells and runs, with the names that tasks have in the summary, and notes on tasks
    that are several (`variants`).
    """
    said: list[Mapping[str, Any]] = [cell.header for cell in cells]
    said += [header for _, runs in others if runs is not None for header in runs.headers]
    headers, notes = told_apart(said)
    of = iter(headers)
    renamed = [cell.shown_as(dict(next(of))) for cell in cells]
    return (
        renamed,
        [
            (source, runs and replace(runs, headers=[next(of) for _ in runs.headers]))
            for source, runs in others
        ],
        notes,
    )


def _once(cells: Sequence[CellData]) -> tuple[tuple[CellData, ...], list[str]]:
    """Each (model, task, seed) once, and a note on those that came twice."""
    first: dict[tuple[str, str, int], CellData] = {}
    twice = [
        f"{cell.model} {cell.task} seed{cell.seed}"
        for cell in cells
        if first.setdefault((cell.model, cell.task, cell.seed), cell) is not cell
    ]
    note = f"several cells of {', '.join(twice)}: circuits and heads are of the first"
    return tuple(first.values()), [note] if twice else []


def kind_of(source: str, columns: Mapping[str, str] | None = None) -> str:
    """What a source is: `cells`, `wandb`, or the name of a format; columns: those that the user
    named.

    Raises UserError, saying what was looked for, if it is nothing that can be read.
    """
    if source.startswith(WANDB):
        return "wandb"
    path = Path(source).expanduser()
    if not path.exists():
        raise UserError(f"{source}: no such file or folder")
    if path.is_file():
        return format_of_file(File(path), columns or {}).name
    if has_cells(path):
        return "cells"
    if found := formats_in(path):
        return found[0].name
    looks = "; ".join(known.looks for known in FORMATS if known.files)
    raise UserError(
        f"{source}: looked for cells of a sweep (<model>/<task>/seed<k>/cell.json) and for "
        f"{looks}, and found none; tables are given as files"
    )


def _runs(source: str) -> Runs:
    """The runs of a source in W&B."""
    from circuitwatch.summary.importers.wandb_runs import find_runs

    return find_runs(source.removeprefix(WANDB))


def _read(source: str, runs: Runs | None, asked: Asked) -> Curves:
    """The curves of a source that is no sweep; runs: those of one in W&B."""
    if runs is None:
        return read_source(Path(source).expanduser(), asked)
    from circuitwatch.summary.importers.wandb_runs import read_runs

    return read_runs(runs, registry=asked.registry, tokens_per_step=asked.tokens_per_step)


def _check_columns(request: Request) -> None:
    """A mapping serves all tables of a command, but one that serves none is a mistake that would
    else change nothing, in silence.
    """
    check_columns(request.columns)
    tables: dict[str, list[str]] = {}
    unreadable: list[str] = []
    with_columns = {known.name for known in FORMATS if known.takes_columns}
    with_constants = {known.name for known in FORMATS if known.takes_constants}
    kinds: set[str] = set()
    for source in request.sources if request.columns else ():
        try:
            kinds.add(kind := kind_of(source, request.columns))
            if kind in with_columns:
                tables[source] = columns_of(Path(source).expanduser())
        except (UserError, OSError) as error:
            unreadable.append(str(error))
    for ours, theirs in request.columns.items():
        if constant(theirs) is not None:
            if kinds and not kinds & with_constants:
                raise UserError(
                    f"columns={ours}:{theirs}: no source takes it: cells, runs of W&B and results "
                    f"of lm-evaluation-harness say {ours} themselves"
                )
            continue
        if (tables or not unreadable) and not any(theirs in names for names in tables.values()):
            columns = [
                f"{Path(source).name} has {few(names, [theirs])}"
                for source, names in tables.items()
            ]
            have = "; ".join([*columns, *unreadable])
            if ours in CONSTANTS and tables:
                have += (
                    f"; what all rows have is given in quotes that the shell keeps: "
                    f"'columns={ours}:\"{theirs}\"'"
                )
            raise UserError(
                f"columns={ours}:{theirs}: no table has a column {theirs}; "
                f"{have or 'no source is a table'}"
            )


def _check_directions(request: Request, curves: Curves) -> None:
    """A direction that serves no curve is a mistake that would else change nothing, in silence."""
    names = list(dict.fromkeys(curves.table["quantity"]))
    for pattern, falls in request.directions.items():
        fitting = [name for name in names if said_direction(name, {pattern: falls}) is not None]
        given = f"direction={pattern}:{'falls' if falls else 'rises'}"
        if not fitting:
            near = ", ".join(nearest(pattern, names))
            raise UserError(f"{given}: no curve has such a quantity; near it: {near}")
        known = [name for name in fitting if name in curves.facts.quantities]
        if len(known) == len(fitting):
            raise UserError(f"{given}: circuitwatch measures {known[0]}, and knows how it goes")
