"""What there is to chart of a sweep's runs in Weights & Biases, said without any of W&B's words:
the runs with their colours, and one chart for each quantity that some run has.

Charts are made from what the cells say of their quantities (`facts`), so that a user's own quantity
has one too, in the section that its `panel` names. One colour stands for one size, whatever the
task and seed.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import TYPE_CHECKING

import pandas as pd

from circuitwatch.catalogue import METRICS, Quantity
from circuitwatch.errors import UserError
from circuitwatch.facts import Facts, plain
from circuitwatch.records import Cell
from circuitwatch.summary.cells import NO_TASK, CellData
from circuitwatch.summary.overlaps import FINAL, references
from circuitwatch.summary.panels import FULL_RANGE
from circuitwatch.tracking import run_id
from circuitwatch.tracking.names import DETAIL, is_beside, logged_name

if TYPE_CHECKING:
    from circuitwatch.results import Results

SECTIONS = {
    "behaviour": "Behaviour",
    "circuits": "Circuits",
    "overlaps": "Overlap",
    "roles": "Roles",
    "algorithm": "Algorithm",
    "emergence": "Emergence",
}
"""Sections in their order, by the `panel` of their quantities; others come after these."""
EMERGENCE = "emergence"
MARKS = {"ceiling": "dashed", "chance": "dotted"}
"""How lines are drawn that a curve is compared with, as in the figures."""
UNKNOWN = "#777777"
"""The colour of models whose size nobody says."""
DARKEST, LIGHTEST = 0.05, 0.8
"""The part of the colour map that sizes are spread over, as in the figures."""


@dataclass(frozen=True)
class WatchedRun:
    """The W&B run of one cell.

    Attributes:
        id: its id in W&B.
        model, task, seed: of the cell.
        params: of the model, embeddings included; 0 where the cell doesn't say.
        metric: of the task, such as `logit_diff`.
        ranges: the numbers of its records by name: the least and the greatest.
        held_roles: the roles that some head was measured for.
    """

    id: str
    model: str
    task: str
    seed: int
    params: int
    metric: str
    ranges: Mapping[str, tuple[float, float]] = field(default_factory=dict)
    held_roles: frozenset[str] = frozenset()


@dataclass(frozen=True)
class Chart:
    """One panel.

    Attributes:
        section: its section's `panel`.
        title, axis: what stands above it, and at its vertical axis.
        names: what is drawn, by its names in W&B; the first is the quantity itself.
        marks: how each is drawn, `solid`, `dashed` or `dotted`.
        limits: ends of the vertical axis; None where W&B chooses.
        tasks: those whose runs have it.
        role: the head role that it is about, if any.
        by_size: whether it stands against model size, a point a run, instead of over tokens.
    """

    section: str
    title: str
    axis: str
    names: tuple[str, ...]
    tasks: frozenset[str]
    marks: tuple[str, ...] = ("solid",)
    limits: tuple[float | None, float | None] = (None, None)
    role: str = ""
    by_size: bool = False


@dataclass(frozen=True)
class Watched:
    """The runs of a sweep, and what there is to chart of them; runs by model size.

    name: of the sweep, which is the group of its runs.
    """

    name: str
    runs: tuple[WatchedRun, ...]
    charts: tuple[Chart, ...]
    facts: Facts

    @cached_property
    def colours(self) -> dict[str, str]:
        """Run id → colour: one for each size, dark to light."""
        of_size = colours_of([run.params for run in self.runs])
        return {run.id: of_size[run.params] for run in self.runs}

    @property
    def tasks(self) -> list[str]:
        """Those of the runs, in the order of the catalogue."""
        tasks = {run.task for run in self.runs}
        return sorted(tasks, key=lambda task: (self.facts.task(task).place, task))

    def sections(self) -> dict[str, list[Chart]]:
        """The charts by section, in order."""
        others = sorted({chart.section for chart in self.charts} - SECTIONS.keys())
        found = {
            name: [chart for chart in self.charts if chart.section == name]
            for name in (*SECTIONS, *others)
        }
        return {name: charts for name, charts in found.items() if charts}


def watched(results: Results, name: str) -> Watched:
    """What there is to chart of the results of a sweep.

    name: of the sweep's folder, for cells that don't say which sweep they are of. Raises UserError
    where there is no cell, or cells of several sweeps.
    """
    if not results.cells:
        raise UserError(f"{name}: no cell with a record; run circuitwatch sweep={name} first")
    names = {str(cell.header["config"].get("sweep") or name) for cell in results.cells}
    if len(names) > 1:
        raise UserError(
            f"{name}: cells of several sweeps ({', '.join(sorted(names))}), whose runs are in "
            "several groups of W&B; give one sweep"
        )
    runs = tuple(map(_run, results.cells))
    charts = [*_over_tokens(runs, results.facts), *_emergence(runs, results)]
    return Watched(names.pop(), runs, tuple(charts), results.facts)


def section_title(name: str) -> str:
    """What a section is called."""
    words = plain(name)
    return SECTIONS.get(name) or words[:1].upper() + words[1:]


def colours_of(sizes: Iterable[int]) -> dict[int, str]:
    """A colour for each size, dark to light along the colour map of the figures."""
    import matplotlib
    import numpy as np

    known = sorted({size for size in sizes if size > 0})
    shades = matplotlib.colormaps["viridis"](np.linspace(DARKEST, LIGHTEST, max(len(known), 2)))
    found = {
        size: matplotlib.colors.to_hex(shade) for size, shade in zip(known, shades, strict=False)
    }
    return {0: UNKNOWN, **found}


def _run(cell: CellData) -> WatchedRun:
    roles = cell.roles["role"].unique() if "role" in cell.roles else ()
    return WatchedRun(
        id=run_id(Cell.open(cell.folder)),
        model=cell.model,
        task=cell.recorded_task,
        seed=cell.seed,
        params=cell.params,
        metric=cell.facts.task(cell.task).metric,
        ranges=_ranges(cell.curves),
        held_roles=frozenset(map(str, roles)),
    )


def _ranges(curves: pd.DataFrame) -> dict[str, tuple[float, float]]:
    """The numbers that records have; overlaps with the last circuit are no record's."""
    found = {}
    for name in curves.columns.difference(["step", "tokens", *FINAL]):
        values = curves[name].dropna()
        numbers = [v for v in values if isinstance(v, int | float) and not isinstance(v, bool)]
        if numbers:
            found[str(name)] = float(min(numbers)), float(max(numbers))
    return found


def _over_tokens(runs: Sequence[WatchedRun], facts: Facts) -> list[Chart]:
    """The charts over tokens, in the order of their quantities."""
    keys = {key for run in runs for key in run.ranges}
    quantities = sorted((facts.quantity(key) for key in keys), key=lambda q: (q.place, q.key))
    charts = [
        chart
        for quantity in quantities
        if quantity.panel and not is_beside(quantity.key)
        for chart in _of_quantity(quantity, runs, facts)
    ]
    return [*_one_of_each_name(charts), *_holders(runs, facts)]


def _of_quantity(quantity: Quantity, runs: Sequence[WatchedRun], facts: Facts) -> list[Chart]:
    """One chart, or of what is measured in the metric of a task one for each metric."""
    having: dict[str, list[WatchedRun]] = {}
    for run in sorted(runs, key=lambda run: (facts.task(run.task).place, run.task)):
        if quantity.key in run.ranges:
            having.setdefault(logged_name(quantity.key, run.metric), []).append(run)
    return [_chart(quantity, name, own, facts) for name, own in having.items()]


def _chart(quantity: Quantity, name: str, runs: Sequence[WatchedRun], facts: Facts) -> Chart:
    title, axis = quantity.words, quantity.unit
    if quantity.unit == "task":
        metric = METRICS.get(runs[0].metric)  # type: ignore[call-overload]
        title = f"{title} ({metric.words if metric else 'metric'})"
        axis = metric.unit if metric else "metric"
    beside = {
        kind: DETAIL + key
        for kind, key in references(quantity.key).items()
        if any(key in run.ranges for run in runs)
    }
    words = "".join(f"; {MARKS[kind]}: {kind}" for kind in beside)
    return Chart(
        quantity.panel,
        title + words,
        axis or quantity.words,
        (name, *beside.values()),
        frozenset(run.task for run in runs),
        ("solid", *(MARKS[kind] for kind in beside)),
        _limits(quantity, [run.ranges[quantity.key] for run in runs]),
        role=quantity.key.split("/")[1] if quantity.panel == "roles" else "",
    )


def _limits(
    quantity: Quantity, ranges: Sequence[tuple[float, float]]
) -> tuple[float | None, float | None]:
    """The ends of the quantity's range where panels are compared with each other; none that would
    cut a value off.
    """
    if quantity.panel not in FULL_RANGE:
        return None, None
    least, most = quantity.range
    low, high = min(low for low, _ in ranges), max(high for _, high in ranges)
    return (
        None if least is None or low < least else float(least),
        None if most is None or high > most else float(most),
    )


def _holders(runs: Sequence[WatchedRun], facts: Facts) -> list[Chart]:
    """How many heads hold each role, and how many of them an effect confirms (`tracking` counts
    these from the records).
    """
    charts = []
    for name, role in facts.roles.items():
        having = [run for run in runs if name in run.held_roles and role.quantity.key in run.ranges]
        if not having:
            continue
        tasks = frozenset(run.task for run in having)
        confirming = bool(tasks & role.confirmed_on.keys())
        charts.append(
            Chart(
                "roles",
                f"{role.words}: heads that hold it" + "; dashed: confirmed" * confirming,
                "heads",
                (f"roles/{name}/holders", *([f"roles/{name}/confirmed"] * confirming)),
                tasks,
                ("solid", *(["dashed"] * confirming)),
                (0.0, None),
                role=name,
            )
        )
    return charts


def _emergence(runs: Sequence[WatchedRun], results: Results) -> list[Chart]:
    """Tokens of emergence against model size, of what has emerged in any run."""
    facts = results.facts
    # Where a task was asked in several ways, the results call it by each of them.
    known = {cell.task: cell.recorded_task for cell in results.cells}
    metrics = {run.task: run.metric for run in runs}
    found: dict[str, tuple[Quantity, str, set[str]]] = {}
    for row in results.emergence:
        if row.tokens is not None and pd.notna(row.tokens):
            metric = metrics.get(known.get(row.task, ""), "")
            name = logged_name(row.quantity, metric)
            entry = found.setdefault(name, (facts.quantity(row.quantity), metric, set()))
            of_model = {run.task for run in runs if row.quantity in run.ranges}
            entry[2].update(of_model if row.task == NO_TASK else {known.get(row.task, row.task)})
    charts = []
    for name, (quantity, metric, tasks) in sorted(
        found.items(), key=lambda item: (item[1][0].place, item[0])
    ):
        words = quantity.words
        if quantity.unit == "task" and metric in METRICS:
            words += f" ({METRICS[metric].words})"
        charts.append(
            Chart(
                EMERGENCE,
                f"{words}: emergence by size",
                "tokens",
                (f"emergence/{name}/tokens",),
                frozenset(tasks),
                role=quantity.key.split("/")[1] if quantity.panel == "roles" else "",
                by_size=True,
            )
        )
    return charts


def _one_of_each_name(charts: Iterable[Chart]) -> list[Chart]:
    """One chart of what has one name in W&B, such as the log-probability, which some tasks have for
    their metric: called as most tasks call it.
    """
    found: dict[str, Chart] = {}
    for chart in charts:
        first = found.get(chart.names[0], chart)
        most = chart if len(chart.tasks) > len(first.tasks) else first
        found[chart.names[0]] = replace(most, tasks=first.tasks | chart.tasks)
    return list(found.values())
