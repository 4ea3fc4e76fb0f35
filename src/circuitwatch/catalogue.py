"""What can be watched: tasks, head roles and quantities, each one object in one file, ours found in
the same way as a user's.

A package announces what it has by entry points:

    [project.entry-points."circuitwatch.roles"]
    attention_sink = "my_package.attention_sink:ROLE"

The groups are circuitwatch.tasks, circuitwatch.roles and circuitwatch.quantities. An entry point
names an object, or a package whose modules hold one each, called TASK, ROLE or QUANTITY; ours are
the packages `tasks`, `roles` and `quantities` here. A notebook may `add` an object without any of
this.

What can be written down of such an object (all but its functions) goes into `cell.json`, so that a
summary needs no import of the package that made the cell: see `facts`. Nothing here imports torch.
"""

from __future__ import annotations

import importlib
import pkgutil
import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from functools import cache
from importlib.metadata import EntryPoint, entry_points
from types import ModuleType
from typing import TYPE_CHECKING, Any, Final, Literal, TypeVar

from circuitwatch.errors import UserError

if TYPE_CHECKING:
    from circuitwatch.algorithms.causes import Case, Findings
    from circuitwatch.algorithms.effects import Effects
    from circuitwatch.heads.measuring import Inputs, Measuring
    from circuitwatch.tasks.prompts import PromptSet

MetricKind = Literal["logit_diff", "prob_diff", "log_prob"]
HALF_RISE: Final = "half-rise"
LAST_PLACE = 1000
ROLE_PLACES = 600
"""The curves of roles come after all else that we have."""


@dataclass(frozen=True)
class Metric:
    """What a behaviour is measured in: what it is called and its unit; least: what counts as more
    than 0 when a behaviour is asked whether it is above chance (`tasks.behaviour`).
    """

    words: str
    unit: str
    least: float


METRICS: dict[MetricKind, Metric] = {
    "logit_diff": Metric("logit difference", "logits", 0.1),
    "prob_diff": Metric("probability difference", "probability", 0.01),
    "log_prob": Metric("log-probability of the answer", "nats", 0.1),
}
BELOW_ZERO: Final = "log_prob"
"""The metric that is below 0 whatever the model does, so that no share of it means anything."""


def require_criterion(metric: str, criterion: str, option: str) -> None:
    """Raise UserError where a circuit's criterion (an option) has no meaning for a metric."""
    if metric == BELOW_ZERO and criterion == "recovery":
        raise UserError(
            f"{option}=recovery: the metric {BELOW_ZERO} is below 0 whatever the model does, so "
            f"that a share of it means nothing; take {option}=faithfulness"
        )


@dataclass(frozen=True)
class Quantity:
    """A number that a record has of a checkpoint.

    Attributes:
        key: its name in records, W&B and tables, such as `behaviour/value`.
        words: what a person calls it.
        unit: such as `share` or `edges`; `task`: that of the task's metric.
        range: the least and the most it can be; None for an open end.
        rise: how its emergence is asked for: HALF_RISE, a level, or None where it is not.
        falls: whether it falls as a model learns, as a loss does.
        chance: what a model that knows nothing has; for the half-rise it must be cleared.
        panel: the figure it is drawn in: behaviour, circuits, overlaps, roles, algorithm, text, or
            another; empty where it is drawn in none.
        interval: the keys of the ends of its 95 % interval.
        of: whether each task has its own (`task`), or it is the model's, whatever the task.
        compared_by_size: whether its mean over checkpoints is compared with model size.
        over_cutoffs: whether it hangs on who holds a role, so that it is also measured with one
            cut-off for all roles (`algorithms.shares`), whose holders are those of `roles`.
        roles: the roles whose holders it counts; empty where it counts none.
        colour, marker, label: how it is drawn, and what it is called in a legend.
        place: where it comes among others.
        measure: for a quantity that is measured on every checkpoint beside the task: values of each
            unit (text, sequence, …), [unit], whose mean is the quantity and whose bootstrap gives
            its interval; or a `measuring.Score` where it is no mean. Raises
            `measuring.NotMeasurable` with the reason where it can't be.
        probe: makes what `measure` reads by `inputs.of(probe)`, once a cell, before any weights are
            loaded; None where nothing is to be made.
    """

    key: str
    words: str
    unit: str = ""
    range: tuple[float | None, float | None] = (None, None)
    rise: float | Literal["half-rise"] | None = None
    falls: bool = False
    chance: float | None = None
    panel: str = ""
    interval: tuple[str, str] | None = None
    of: Literal["task", "model"] = "task"
    compared_by_size: bool = False
    over_cutoffs: bool = False
    roles: tuple[str, ...] = ()
    colour: str = ""
    marker: str = ""
    label: str = ""
    place: int = LAST_PLACE
    measure: Callable[[Measuring], Any] | None = None
    probe: Callable[[Inputs], Any] | None = None

    @property
    def name(self) -> str:
        """Its key."""
        return self.key


@dataclass(frozen=True)
class Algorithm:
    """What path patching measures of how a task is done.

    Attributes:
        quantities: what it measures; their keys begin with `algorithm/`.
        inspect: fills in the findings of a checkpoint whose behaviour is above chance, from its
            case, and every sender's effect on the logits.
        observe: the same where the behaviour is not above chance: what is seen without patching.
        patches_mlps: whether the effects on the logits are wanted of MLPs too.
        steps: how it is drawn: (what computes, words of the arrow to the next, key of the quantity
            that the arrow stands for) in order; the last has no arrow.
    """

    quantities: tuple[Quantity, ...]
    inspect: Callable[[Case, Findings, Effects], None]
    observe: Callable[[Case, Findings], None]
    patches_mlps: bool = False
    steps: tuple[tuple[str, str, str], ...] = ()


@dataclass(frozen=True)
class Task:
    """A behaviour that can be watched.

    Attributes:
        name: as in `task=name`, folders and tables.
        words: what a person calls it.
        metric: which of METRICS.
        make_prompts: called with (tokenizer, n_prompts=…, seed=…, prepend_bos=…) and the options
            named in `options`; the same arguments give the same prompts. Raises UserError where a
            tokenizer lacks too many of its words.
        options: fields of the task's configuration that make_prompts takes beside.
        chance: the metric of a model that ignores the deciding word; None where it depends on the
            model, as a log-probability does.
        roles: the roles that serve it, in the order in which its circuit uses them.
        algorithm: what is known of how models do it.
        place: where it comes among others.
    """

    name: str
    words: str
    metric: MetricKind
    make_prompts: Callable[..., PromptSet]
    options: tuple[str, ...] = ()
    chance: float | None = 0.0
    roles: tuple[str, ...] = ()
    algorithm: Algorithm | None = None
    place: int = LAST_PLACE


@dataclass(frozen=True)
class Role:
    """What a head (or MLP) may do, and how it is told.

    Attributes:
        name: as in tables and `heads.thresholds.name`.
        words: what a person calls it.
        about: what its score is, in a sentence.
        threshold: the score from which a head holds it, in (0, 1].
        source: where that number comes from.
        probe: makes the inputs that it is measured on, once a cell; roles that name the same
            function share them. None for a role that needs no inputs.
        score: scores of every head from a checkpoint and the probe: of each unit (sequence,
            prompt, item), [layer, head, unit] in [0, 1], whose mean is the score and whose
            bootstrap gives its interval; or a `measuring.Score` where it is no mean. Raises
            `measuring.NotMeasurable` with the reason where it can't be. None for a role that a
            task's algorithm scores.
        confirmed_on: task → what a holder's effect is measured on there; it can be confirmed by
            cause in no other task. A role without any accounts for no effect.
        sign: the sign that an effect must have to confirm it: `helps`, `hurts`, or either.
        first_layer: the first layer whose heads can hold it, whatever their score.
        writes_answer: whether it acts on the logits themselves, so that in a circuit it needs an
            edge to them.
        colour, line: how it is drawn; line is `solid` or `dotted`.
        place: where it comes among others.
    """

    name: str
    words: str
    about: str
    threshold: float
    source: str
    probe: Callable[[Inputs], Any] | None = None
    score: Callable[[Measuring, Any], Any] | None = None
    confirmed_on: Mapping[str, str] = field(default_factory=dict)
    sign: Literal["helps", "hurts", "either"] = "either"
    first_layer: int = 0
    writes_answer: bool = False
    colour: str = "#777777"
    line: Literal["solid", "dotted"] = "solid"
    place: int = LAST_PLACE

    @property
    def quantity(self) -> Quantity:
        """Its curve: the score of the strongest head (or MLP)."""
        return Quantity(
            key=f"roles/{self.name}/max",
            words=self.words,
            unit="strongest head's score",
            range=(0, 1),
            rise=self.threshold,
            panel="roles",
            of="model",
            colour=self.colour,
            place=ROLE_PLACES + self.place,
        )


@dataclass(frozen=True)
class Later:
    """A function that is imported when it is first called: see `later`."""

    path: str

    @property
    def function(self) -> Callable[..., Any]:
        """The function itself."""
        module, _, name = self.path.partition(":")
        found: Callable[..., Any] = getattr(importlib.import_module(module), name)
        return found

    def __call__(self, *arguments: Any, **options: Any) -> Any:
        """Import it, and call it."""
        return self.function(*arguments, **options)


def later(path: str) -> Later:
    """A function that is imported when it is first called, `package.module:function`: so that what
    the catalogue says can be read without torch.
    """
    return Later(path)


def checked(item: Any) -> Any:
    """A task, role or quantity, if it can be used. Raises UserError naming the field and what would
    be right.
    """
    if type(item) not in KINDS:
        raise UserError(f"{item!r} is no Task, Role or Quantity")
    called = f"{type(item).__name__.lower()} {item.name}"
    if isinstance(item, Quantity):
        if not re.fullmatch(r"[\w-]+(/[\w-]+)+", item.key):
            raise UserError(f"{called}: its key must be like text/entropy")
        if item.rise not in (None, HALF_RISE) and not isinstance(item.rise, int | float):
            raise UserError(f"{called}: rise={item.rise!r} is no level, {HALF_RISE} or None")
        _require(called, "of", item.of, ("task", "model"))
    elif not re.fullmatch(r"[A-Za-z]\w*", item.name):
        raise UserError(f"{called}: a name must be letters, digits and underscores")
    elif isinstance(item, Task):
        _require(called, "metric", item.metric, METRICS)
        if not callable(item.make_prompts):
            raise UserError(f"{called}: make_prompts={item.make_prompts!r} is no function")
    else:
        if not 0 < item.threshold <= 1:
            raise UserError(f"{called}: threshold={item.threshold}; it must be in (0, 1]")
        _require(called, "sign", item.sign, ("helps", "hurts", "either"))
        _require(called, "line", item.line, ("solid", "dotted"))
    return item


def _require(called: str, name: str, value: object, choices: Iterable[object]) -> None:
    if value not in list(choices):
        known = ", ".join(map(str, choices))
        raise UserError(f"{called}: {name}={value!r}; choose one of {known}")


Item = TypeVar("Item", Task, Role, Quantity)
KINDS: dict[type, tuple[str, str]] = {
    Task: ("circuitwatch.tasks", "TASK"),
    Role: ("circuitwatch.roles", "ROLE"),
    Quantity: ("circuitwatch.quantities", "QUANTITY"),
}
"""Kind → the group of its entry points, and what a module calls the one it has."""
ADDED: dict[type, dict[str, Any]] = {kind: {} for kind in KINDS}


def tasks() -> dict[str, Task]:
    """Every task by name, in order. Raises UserError for an entry point that can't be used, and for
    a task that names a role which isn't there.
    """
    found, known = _known(Task), roles()
    for task in found.values():
        for role in task.roles:
            _require(f"task {task.name}", "roles", role, known)
    return found


def roles() -> dict[str, Role]:
    """Every role by name, in order. Raises UserError for an entry point that can't be used."""
    return _known(Role)


def quantities() -> dict[str, Quantity]:
    """Every quantity of a record by key, in order: those in the catalogue, the roles' curves and
    what the tasks' algorithms measure. Raises UserError for an entry point that can't be used.
    """
    found = _known(Quantity)
    found |= {role.quantity.key: role.quantity for role in roles().values()}
    for task in tasks().values():
        if task.algorithm is not None:
            found |= {quantity.key: quantity for quantity in task.algorithm.quantities}
    return _in_order(found)


def add(item: Task | Role | Quantity) -> None:
    """Put a task, a role or a quantity into the catalogue of this process; one of the same name is
    replaced. Raises UserError for one that can't be used.
    """
    ADDED[type(checked(item))][item.name] = item


def _known(kind: type[Item]) -> dict[str, Item]:
    found = {**_announced(kind), **ADDED[kind]}  # type: ignore[arg-type]
    return _in_order(found)


def _in_order(items: dict[str, Item]) -> dict[str, Item]:
    return dict(sorted(items.items(), key=lambda item: (item[1].place, item[0])))


@cache
def _announced(kind: type[Item]) -> dict[str, Item]:
    group, attribute = KINDS[kind]
    found: dict[str, Item] = {}
    sources: dict[str, str] = {}
    for entry in entry_points(group=group):
        for item in _items(entry, group, attribute, kind):
            if item.name in found:
                raise UserError(
                    f"{group}: {item.name} comes from {sources[item.name]} and from {entry.value}; "
                    "uninstall one of them or give it another name"
                )
            found[item.name], sources[item.name] = item, entry.value
    return found


def _items(entry: EntryPoint, group: str, attribute: str, kind: type[Item]) -> list[Item]:
    """What an entry point names: an object, several, or a package's modules' objects."""
    try:
        loaded = entry.load()
        if isinstance(loaded, ModuleType):
            loaded = _in_package(loaded, attribute)
    except Exception as error:  # whatever a plug-in's import may raise
        reason = " ".join(f"{type(error).__name__}: {error}".split())
        raise UserError(f"{group}: {entry.value} can't be loaded ({reason})") from error
    items = list(loaded) if isinstance(loaded, list | tuple) else [loaded]
    for item in items:
        if not isinstance(item, kind):
            raise UserError(f"{group}: {entry.value} is no {kind.__name__} but {item!r}")
        checked(item)
    return items


def _in_package(package: ModuleType, attribute: str) -> list[Any]:
    names = [module.name for module in pkgutil.iter_modules(package.__path__)]
    modules = [importlib.import_module(f"{package.__name__}.{name}") for name in sorted(names)]
    found: list[Any] = []
    for module in (package, *modules):
        item = getattr(module, attribute, ())
        found += item if isinstance(item, list | tuple) else [item]
    return found
