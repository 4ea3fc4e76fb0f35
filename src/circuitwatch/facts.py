"""What a cell says of its task, roles and quantities: the part of the catalogue that can be written
down, kept in `cell.json`, so that a summary needs no import of the package that made it.

Sources that say nothing (cells of earlier versions, tables of others) are read with what this
installation knows; what nobody knows gets its own name for words. Imports no torch.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, fields, replace
from typing import Any

from circuitwatch import catalogue
from circuitwatch.catalogue import BELOW_ZERO, METRICS, Quantity, Role, Task
from circuitwatch.directions import falls_by_name, said_direction

CIRCUIT_SIZE = re.compile(r"(^|[/_])circuit_?(nodes|edges)([/_]|$)")
"""Names of others' circuit sizes."""
BOOKKEEPING = ("behaviour", "circuit", "overlap", "roles", "algorithm", "weights", "timing")
"""Groups of a record's scalars. What the catalogue does not list there is the program's own
bookkeeping, such as the number of circuits evaluated: nothing asks when it rose.
"""
METRIC = "behaviour/value"
"""The quantity that is a task's metric."""
FUNCTIONS = ("make_prompts", "algorithm", "probe", "score", "measure")
"""What of an object in the catalogue can't be written down."""


@dataclass(frozen=True)
class TaskFacts:
    """What of a `catalogue.Task` can be written down; unit and metric_words follow from its metric.
    variant: which of several ways of making its prompts this was, empty for the one there is.
    """

    name: str
    words: str
    metric: str = ""
    unit: str = ""
    metric_words: str = ""
    chance: float | None = 0.0
    roles: tuple[str, ...] = ()
    quantities: tuple[str, ...] = ()
    steps: tuple[tuple[str, str, str], ...] = ()
    variant: str = ""
    place: int = catalogue.LAST_PLACE

    @classmethod
    def of(cls, task: Task, variant: str = "") -> TaskFacts:
        """Those of a task; quantities: keys of what its algorithm measures. A metric
        that is below 0 whatever the model does has no chance to clear.
        """
        metric = METRICS[task.metric]
        measured = () if task.algorithm is None else task.algorithm.quantities
        return cls(
            name=task.name,
            words=task.words,
            metric=task.metric,
            unit=metric.unit,
            metric_words=metric.words,
            chance=None if task.metric == BELOW_ZERO else task.chance,
            roles=task.roles,
            quantities=tuple(quantity.key for quantity in measured),
            steps=() if task.algorithm is None else task.algorithm.steps,
            variant=variant,
            place=task.place,
        )


@dataclass(frozen=True)
class Facts:
    """What is known of tasks, roles and quantities, by name; the roles and quantities in order.

    directions: of quantities that nobody knows, by name or pattern: whether they fall.
    """

    tasks: Mapping[str, TaskFacts] = field(default_factory=dict)
    roles: Mapping[str, Role] = field(default_factory=dict)
    quantities: Mapping[str, Quantity] = field(default_factory=dict)
    directions: Mapping[str, bool] = field(default_factory=dict)

    @classmethod
    def of_installation(cls, task: TaskFacts | None = None) -> Facts:
        """All that this installation knows, with a task that may be in no catalogue."""
        known = {name: TaskFacts.of(item) for name, item in catalogue.tasks().items()}
        if task is not None:
            known[task.name] = task
        return cls(known, catalogue.roles(), catalogue.quantities())

    @classmethod
    def of_headers(cls, headers: Sequence[Mapping[str, Any]]) -> Facts:
        """What the headers of cells say, the first that says anything of a name; what none says,
        as this installation has it.
        """
        said: dict[str, dict[str, Any]] = {"tasks": {}, "roles": {}, "quantities": {}}
        for header in headers:
            for kind in said.keys() & (header.get("facts") or {}).keys():
                for name, item in header["facts"][kind].items():
                    said[kind].setdefault(name, item)
        here = with_thresholds(cls.of_installation(), thresholds_of(headers))
        return cls(
            _in_order({**here.tasks, **_read(said["tasks"], TaskFacts)}),
            _in_order({**here.roles, **_read(said["roles"], Role)}),
            _in_order({**here.quantities, **_read(said["quantities"], Quantity)}),
        )

    @classmethod
    def together(cls, parts: Iterable[Facts]) -> Facts:
        """What several say; of one name the first is believed."""
        tasks: dict[str, TaskFacts] = {}
        roles: dict[str, Role] = {}
        quantities: dict[str, Quantity] = {}
        directions: dict[str, bool] = {}
        for part in parts:
            directions = {**part.directions, **directions}
            tasks, roles = {**part.tasks, **tasks}, {**part.roles, **roles}
            quantities = {**part.quantities, **quantities}
        return cls(_in_order(tasks), _in_order(roles), _in_order(quantities), directions)

    def of_cell(self, task: str) -> dict[str, Any]:
        """As `cell.json` keeps it: one task, known or not, and all roles and quantities."""
        return {
            "tasks": {task: _written(self.task(task))},
            "roles": {name: _written(role) for name, role in self.roles.items()},
            "quantities": {key: _written(q) for key, q in self.quantities.items()},
        }

    def task(self, name: str) -> TaskFacts:
        """Of one task; one that nobody knows has its name for words."""
        return self.tasks.get(name) or TaskFacts(name, plain(name))

    def role(self, name: str) -> Role:
        """Of one role; one that nobody knows has its name for words, and half as threshold."""
        unknown = Role(name, plain(name), "", 0.5, "")
        return self.roles.get(name) or unknown

    def quantity(self, key: str) -> Quantity:
        """Of one quantity; one that nobody knows has its name for words, and rises by half."""
        if key in self.quantities:
            return self.quantities[key]
        if (role := re.fullmatch(r"roles/([^/]+)/max", key)) is not None:
            return self.role(role[1]).quantity
        group = key.partition("/")[0] if "/" in key else ""
        if group in BOOKKEEPING:
            return Quantity(key, plain(key), of="model" if group == "roles" else "task")
        said = said_direction(key, self.directions)
        return Quantity(
            key,
            plain(key),
            rise=catalogue.HALF_RISE,
            falls=falls_by_name(key) if said is None else said,
            panel="curves",
            compared_by_size=bool(CIRCUIT_SIZE.search(key)),
        )

    def intervals(self, names: Collection[str]) -> dict[str, tuple[str, str]]:
        """Of the scalars of a record, by name: those that have an interval, and the names of its
        ends.

        The ends are those that the quantity says. Where it says none (cells of earlier versions,
        names that nobody knows) they are told by name, `x_low` and `x_high` beside `x`, or
        `x/low` and `x/high` beside `x/value`, unless they are quantities themselves.
        """
        found: dict[str, tuple[str, str]] = {}
        for name in names:
            ends = self.quantities[name].interval if name in self.quantities else None
            if ends is None:
                stem = name.removesuffix("value") if name.endswith("/value") else f"{name}_"
                ends = (f"{stem}low", f"{stem}high")
                if any(end in self.quantities for end in ends):
                    continue
            if any(end in names for end in ends):
                found[name] = ends
        return found

    def of_task(self, key: str, task: str) -> Quantity:
        """One quantity as a task has it: the chance of its metric is the task's."""
        quantity = self.quantity(key)
        return replace(quantity, chance=self.task(task).chance) if key == METRIC else quantity

    def words(self, name: str) -> str:
        """What a person calls a task, a role or a quantity, whichever has that name."""
        for known in (self.tasks, self.roles, self.quantities):
            if name in known:
                return str(known[name].words)
        return self.quantity(name).words

    def unit(self, key: str, task: str) -> str:
        """What a quantity of a task is measured in, for an axis: of a behaviour the metric."""
        unit = self.quantity(key).unit
        return self.task(task).metric_words or "metric" if unit == "task" else unit


def variant_of(header: Mapping[str, Any]) -> str:
    """Which way of making its task's prompts a cell's header says, empty for the usual one.

    Cells of one task with different variants measure different things: they are not pooled.
    """
    return str(header.get("task_variant") or "")


def plain(name: str) -> str:
    """A name that nobody explains, as it is read."""
    return name.replace("_", " ")


def with_thresholds(facts: Facts, thresholds: Mapping[str, float]) -> Facts:
    """The same with the thresholds that a configuration gives the roles, and their curves."""
    roles = {
        name: replace(role, threshold=float(thresholds.get(name, role.threshold)))
        for name, role in facts.roles.items()
    }
    curves = {role.quantity.key: role.quantity for role in roles.values()}
    return replace(facts, roles=roles, quantities={**facts.quantities, **curves})


def thresholds_of(headers: Sequence[Mapping[str, Any]]) -> dict[str, float]:
    """Role → the threshold that the first configuration gives which has one: cells made before
    there were facts say no more of a role.
    """
    found: dict[str, float] = {}
    for header in headers:
        heads = (header.get("config") or {}).get("heads")
        levels = heads.get("thresholds") if isinstance(heads, dict) else None
        for role, level in levels.items() if isinstance(levels, dict) else ():
            if isinstance(level, int | float):
                found.setdefault(role, float(level))
    return found


def _written(item: Any) -> dict[str, Any]:
    """An object's fields that can be written down and aren't what they are by default."""
    known = {f.name: getattr(item, f.name) for f in fields(item) if f.name not in FUNCTIONS}
    blank = {f.name: f.default for f in fields(item)}
    return {
        name: dict(value) if isinstance(value, Mapping) else value
        for name, value in known.items()
        if value != blank[name] and not (isinstance(value, Mapping) and not value)
    }


def _read(items: Mapping[str, Any], kind: type) -> dict[str, Any]:
    """Objects from what `_written` gave; what a later version added is passed over."""
    known = {f.name for f in fields(kind)}
    return {
        name: kind(**{key: _as_tuple(value) for key, value in item.items() if key in known})
        for name, item in items.items()
    }


def _as_tuple(value: Any) -> Any:
    """Lists, as JSON has them, as the tuples that they were written from."""
    return tuple(map(_as_tuple, value)) if isinstance(value, list) else value


def _in_order(items: dict[str, Any]) -> dict[str, Any]:
    return dict(sorted(items.items(), key=lambda item: (item[1].place, item[0])))
