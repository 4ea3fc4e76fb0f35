"""What is printed when a sweep ends, whatever its launcher: from the records, the tasks with the
models beside each other, the cells that have something left, and the command to go on with.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from statistics import median

from rich.console import Console

from circuitwatch.beside import MISSING, Line, headed, print_beside, say
from circuitwatch.ending import CellEnd
from circuitwatch.errors import UserError
from circuitwatch.facts import Facts
from circuitwatch.records import Cell
from circuitwatch.sweeping.state import DONE, STATES, CellState, state_of
from circuitwatch.units import format_duration, format_number, format_tokens

NAMED = 5
"""Cells that a line names."""


def print_sweep(sweep: Path, folders: Sequence[str], console: Console) -> None:
    """Print how a sweep ended.

    Args:
        sweep: its folder.
        folders: those of its cells, as seen from there; what else is in the folder is left out.
        console: where.
    """
    try:
        states = [state for state in state_of(sweep).cells if state.name in folders]
    except UserError:  # nothing of a sweep is there: the jobs' faults are said by themselves
        return
    ends = [end for state in states if (end := _end_of(sweep / state.name)) is not None]
    if ends:
        _print_table(ends, console)
    for line in _states(states):
        say(console, line)
    if ends:
        where = "" if str(sweep.parent) == "multirun" else f" out={sweep.parent}"
        say(console, f"records: {sweep}")
        say(console, f"next: circuitwatch summarize sweep={sweep.name}{where}")


def _end_of(folder: Path) -> CellEnd | None:
    """A cell that has records which can be read."""
    try:
        end = CellEnd(Cell.open(folder))
    except (UserError, OSError):
        return None
    return end if end.seen else None


def _print_table(ends: Sequence[CellEnd], console: Console) -> None:
    """The tasks with the models beside each other, smallest first; seeds of a cell together."""
    facts = Facts.together(end.facts for end in ends)
    cells: dict[tuple[str, str], list[CellEnd]] = {}
    for end in ends:
        cells.setdefault((end.task, end.model), []).append(end)
    params = {end.model: end.params for end in ends}
    models = sorted(params, key=lambda model: (params[model] is None, params[model] or 0, model))
    tasks = sorted({end.task for end in ends}, key=lambda task: (facts.task(task).place, task))
    lines = []
    for task in tasks:
        own = [cells.get((task, model), []) for model in models]
        words = facts.task(task).words
        values = [
            ("behaviour", [_behaviour(seeds) for seeds in own]),
            ("above chance", [_chance(seeds) for seeds in own]),
            ("circuit", [_circuit(seeds) for seeds in own]),
        ]
        for place, (name, entries) in enumerate(values):
            label = words if place == 0 else ""
            last = place == len(values) - 1
            lines.append(Line((label, name), tuple(entries), ends=last))
    heads = [headed(model, params[model]) for model in models]
    seeds = "; median of seeds" if any(len(own) > 1 for own in cells.values()) else ""
    title = f"Last checkpoint, models by size (circuit: share of edges{seeds})"
    print_beside(console, title, ("task", ""), heads, lines)


def _behaviour(seeds: Sequence[CellEnd]) -> str:
    values = [end.seen[-1].number("behaviour/value") for end in seeds]
    known = [value for value in values if value is not None]
    return format_number(median(known)) if known else MISSING


def _chance(seeds: Sequence[CellEnd]) -> str:
    """`from 1.2M tokens`, the checkpoint from which on it is; of several seeds how many."""
    if not seeds:
        return MISSING
    above = [end for end in seeds if end.seen[-1].is_above_chance]
    if len(seeds) > 1:
        return f"{len(above)} of {len(seeds)} seeds"
    if not above:
        return "no"
    since = above[0].above_chance_from
    return "from the first" if since is None else f"from {format_tokens(since)} tokens"


def _circuit(seeds: Sequence[CellEnd]) -> str:
    found = [end.seen[-1].number("circuit/edges_share") for end in seeds]
    shares = [share for share in found if share is not None]
    if not shares:
        return "none" if seeds else MISSING
    of = f" ({len(shares)} of {len(seeds)} seeds)" if len(shares) < len(seeds) else ""
    return f"{median(shares):.1%}{of}"


def _states(states: Sequence[CellState]) -> list[str]:
    """How many cells are done and how long they took, and which have something left and why."""
    done = [state for state in states if state.state == DONE]
    seconds = format_duration(sum(state.seconds for state in states))
    lines = [f"{len(done)} of {len(states)} cells done, in {seconds} of one process"]
    for name in STATES:
        if name == DONE:
            continue
        found = [state for state in states if state.state == name]
        said = [_left(state) for state in found[:NAMED]]
        more = f" and {len(found) - NAMED} more" if len(found) > NAMED else ""
        if found:
            lines.append(f"{name}: {'; '.join(said)}{more}")
    return lines


def _left(state: CellState) -> str:
    """A cell that is not done, how far it is, and what was wrong."""
    far = "" if state.scheduled is None else f" ({state.recorded} of {state.scheduled} checkpoints)"
    return state.name + far + (f", {state.error}" if state.error else "")
