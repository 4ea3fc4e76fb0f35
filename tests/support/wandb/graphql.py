"""Answers a GraphQL document out of nodes: a node is a type's name and its fields, each a value or
a function of the field's arguments. A field that a node has not is an error, as on a real server:
what the stand-in can't answer is noticed rather than made up.
"""

from __future__ import annotations

import inspect
import math
from collections.abc import Iterable
from typing import Any

from support.wandb.language import Document, Selection, known


class Refusal(Exception):
    """What the server answers instead of data: an error message and the HTTP status it has."""

    def __init__(self, message: str, status: int = 400) -> None:
        super().__init__(message)
        self.message = message
        self.status = status


class Unknown(Refusal):
    """A field or an argument that the stand-in has not."""


class Node:
    """An object of the graph, and what is told beside it where it is one of a list (`edge`)."""

    def __init__(self, kind: str, /, **fields: Any) -> None:
        self.kind = kind
        self.fields = fields
        self.edge: dict[str, Any] = {}

    def get(self, name: str, arguments: dict[str, Any]) -> Any:
        """What a field holds, given its arguments."""
        if name == "__typename":
            return self.kind
        if name not in self.fields:
            raise Unknown(f'Cannot query field "{name}" on type "{self.kind}".')
        value = self.fields[name]
        if not callable(value):
            if arguments:
                raise Unknown(f"{self.kind}.{name} takes no arguments, but got {arguments}")
            return value
        try:
            bound = inspect.signature(value).bind(**arguments)
        except TypeError as problem:
            raise Unknown(f"{self.kind}.{name}: {problem}") from problem
        return value(*bound.args, **bound.kwargs)


def answer(document: Document, variables: dict[str, Any], roots: dict[str, Node]) -> dict[str, Any]:
    """The data that a document asks for."""
    given = document.defaults | variables

    def fields(node: Node, selections: list[Selection]) -> dict[str, Any]:
        found: dict[str, Any] = {}
        for selection in selections:
            if not _wanted(selection, given):
                continue
            if selection.name:
                arguments = known(selection.arguments, given)
                value = whole(node.get(selection.name, arguments), selection.selections)
                old = found.get(selection.alias)
                found[selection.alias] = _merged(old, value)
                continue
            if selection.spread:
                selection = document.fragments[selection.spread]
            if _applies(selection.on, node.kind):
                for alias, value in fields(node, selection.selections).items():
                    found[alias] = _merged(found.get(alias), value)
        return found

    def whole(value: Any, selections: list[Selection]) -> Any:
        if isinstance(value, Node):
            return fields(value, selections)
        if isinstance(value, list):
            return [whole(inner, selections) for inner in value]
        return plain(value)

    return fields(roots[document.kind], document.selections)


def plain(value: Any) -> Any:
    """A value as strict JSON has it: what is no number is its name, as W&B answers it."""
    match value:
        case float() if not math.isfinite(value):
            return "NaN" if math.isnan(value) else "Infinity" if value > 0 else "-Infinity"
        case dict():
            return {key: plain(inner) for key, inner in value.items()}
        case list():
            return [plain(inner) for inner in value]
    return value


def problem(message: str) -> dict[str, Any]:
    """What stands in the place of an answer."""
    return {"data": None, "errors": [{"message": message, "path": []}]}


def page(
    items: Iterable[Node], first: int | None, after: str | None, kind: str = "", **more: Any
) -> Node:
    """A connection that shows a part of some nodes: those after a cursor, and no more than
    `first`. A cursor is the number of nodes up to it.
    """
    every = list(items)
    start = int(after) if after else 0
    end = len(every) if first is None else min(len(every), start + first)
    edges = [
        Node("Edge", node=node, cursor=str(number), **node.edge)
        for number, node in enumerate(every[start:end], start + 1)
    ]
    info = Node("PageInfo", endCursor=str(end) if edges else None, hasNextPage=end < len(every))
    return Node(kind or "Connection", edges=edges, pageInfo=info, totalCount=len(every), **more)


def _wanted(selection: Selection, variables: dict[str, Any]) -> bool:
    for name, arguments in selection.directives:
        chosen = known(arguments, variables).get("if")
        if (name == "include" and not chosen) or (name == "skip" and chosen):
            return False
    return True


# The interfaces of W&B's schema: fragments on them hold for each type that is one of them.
_INTERFACES = {"ArtifactCollection": ("ArtifactSequence", "ArtifactPortfolio")}


def _applies(on: str, kind: str) -> bool:
    return on in ("", kind) or kind in _INTERFACES.get(on, ())


def _merged(old: Any, new: Any) -> Any:
    """A field selected twice has the fields of both selections."""
    if isinstance(old, dict) and isinstance(new, dict):
        return old | {key: _merged(old.get(key), value) for key, value in new.items()}
    if isinstance(old, list) and isinstance(new, list) and len(old) == len(new):
        return [_merged(one, other) for one, other in zip(old, new, strict=True)]
    return new
