"""What cell.json, checkpoints.json and the other files beside a cell's records must say for
everything that reads cells to do without looking again.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, NotRequired, TypedDict

from circuitwatch.catalogue import Quantity, Role
from circuitwatch.facts import TaskFacts
from circuitwatch.shapes import AtLeast, misfit

Count = Annotated[int, AtLeast(0)]
Size = Annotated[int, AtLeast(1)]


class Entry(TypedDict):
    """A checkpoint of the schedule."""

    step: Count
    tokens: Count
    revision: str


class Skipped(TypedDict):
    """A checkpoint without a record."""

    tokens: Count
    revision: str
    reason: str
    again: bool
    seen: NotRequired[str]


class About(TypedDict):
    """A record's scalars.json."""

    step: Count
    tokens: Count
    revision: str
    scalars: Mapping[str, float | bool | str]
    made_by: NotRequired[Mapping[str, Any]]
    cell: NotRequired[str]


class Model(TypedDict):
    """What is known of the model."""

    name: str
    params_total: NotRequired[Count | None]
    params_non_embedding: NotRequired[Count | None]
    n_layers: NotRequired[Size]
    n_heads: NotRequired[Size]
    d_model: NotRequired[Size]
    parallel: NotRequired[bool | None]
    architecture: NotRequired[str | None]


class Edges(TypedDict):
    """The names of what a model's edges go between."""

    senders: NotRequired[list[str]]
    receivers: NotRequired[list[str]]
    n_edges: NotRequired[Count]


class FactsSaid(TypedDict):
    """What is known of the task, and of all roles and quantities."""

    tasks: NotRequired[Mapping[str, TaskFacts]]
    roles: NotRequired[Mapping[str, Role]]
    quantities: NotRequired[Mapping[str, Quantity]]


class Heads(TypedDict):
    """Of the options of heads, those that a summary reads."""

    thresholds: NotRequired[Mapping[str, float] | None]
    min_effect: NotRequired[float | None]
    curves: NotRequired[str | None]


class Options(TypedDict):
    """Of the configuration, what is read without making a `Config` of it."""

    sweep: NotRequired[str | None]
    model: NotRequired[Mapping[str, Any]]
    task: NotRequired[Mapping[str, Any]]
    circuit: NotRequired[Mapping[str, Any] | None]
    heads: NotRequired[Heads | None]
    tracking: NotRequired[Mapping[str, Any] | None]


class Header(TypedDict):
    """A cell's cell.json, with the schedule."""

    config: Options
    model: Model
    task: str
    seed: Count
    schedule: list[Entry]
    graph: NotRequired[Edges | None]
    facts: NotRequired[FactsSaid | None]
    code_version: NotRequired[str]
    versions: NotRequired[Mapping[str, str]]
    task_variant: NotRequired[str | None]


def unsound_header(header: Mapping[str, Any]) -> str | None:
    """What is wrong with a cell's header, in words; None for a sound one."""
    return misfit(header, Header) or _of_its_names(header) or _of_its_graph(header)


def _of_its_names(header: Mapping[str, Any]) -> str | None:
    """What is said twice must be the same twice."""
    config = header["config"]
    for group, own in (("model", header["model"]["name"]), ("task", header["task"])):
        said = (config.get(group) or {}).get("name")
        if said is not None and said != own:
            return f"config.{group}.name is {said!r}, {group} is {own!r}"
    if config.get("seed", header["seed"]) != header["seed"]:
        return f"config.seed is {config['seed']!r}, seed is {header['seed']}"
    steps = [entry["step"] for entry in header["schedule"]]
    if len(set(steps)) < len(steps):
        return "its checkpoints have a step twice"
    if steps != sorted(steps):
        return "its checkpoints are not in the order of their steps"
    for kind, items in (header.get("facts") or {}).items():
        if kind in ("tasks", "roles", "quantities"):
            field = "key" if kind == "quantities" else "name"
            for name, item in items.items():
                if item[field] != name:
                    return f"facts.{kind}.{name} has the {field} {item[field]!r}"
    return None


def _of_its_graph(header: Mapping[str, Any]) -> str | None:
    """Whether the names of senders and receivers are as many as the model's layers and heads
    have.
    """
    graph, model = header.get("graph") or {}, header["model"]
    if "n_layers" not in model or "n_heads" not in model:
        return None
    layers, heads = model["n_layers"], model["n_heads"]
    sizes = {"senders": 1 + layers * (heads + 1), "receivers": 1 + layers * (3 * heads + 1)}
    for name, size in sizes.items():
        if name in graph and len(set(graph[name])) != size:
            return f"graph.{name} are {len(set(graph[name]))}, of this model {size}"
        if name in graph and len(graph[name]) != size:
            return f"graph.{name} has names twice"
    whole = graph.get("n_edges")
    if whole is not None and len(graph) == 3 and whole > sizes["senders"] * sizes["receivers"]:
        return f"graph.n_edges is {whole}, more than between its senders and receivers"
    return None
