"""Reads a GraphQL document: its one operation, the fragments it spreads, and what its arguments
are once the variables are known. Only as much of the language as clients of W&B write.
"""

from __future__ import annotations

import json
import re
from dataclasses import dataclass, field
from typing import Any

_TOKEN = re.compile(
    r"""
    (?P<blank> [\s,\ufeff]+ | \#[^\n]* )
  | (?P<block> \"\"\" .*? \"\"\" )
  | (?P<text> " (?: [^"\\] | \\. )* " )
  | (?P<number> -? \d+ (?: \.\d+ )? (?: [eE][+-]?\d+ )? )
  | (?P<name> [A-Za-z_]\w* )
  | (?P<mark> \.\.\. | [!$&():=@\[\]{|}] )
    """,
    re.VERBOSE | re.DOTALL,
)


class SyntaxProblem(ValueError):
    """A document that is no GraphQL."""


@dataclass(frozen=True)
class Variable:
    """A variable where a value is expected."""

    name: str


@dataclass
class Selection:
    """A field with its arguments, or a fragment whose fields stand here: a named one (`spread`)
    or one written in place (neither name nor spread).
    """

    name: str = ""
    alias: str = ""
    spread: str = ""
    on: str = ""
    arguments: dict[str, Any] = field(default_factory=dict)
    directives: list[tuple[str, dict[str, Any]]] = field(default_factory=list)
    selections: list[Selection] = field(default_factory=list)


@dataclass
class Document:
    """An operation (`query` or `mutation`), its variables' defaults, and the fragments."""

    kind: str = ""
    name: str = ""
    defaults: dict[str, Any] = field(default_factory=dict)
    selections: list[Selection] = field(default_factory=list)
    fragments: dict[str, Selection] = field(default_factory=dict)


def parse(source: str) -> Document:
    """The document that a text is."""
    return _Parser(_tokens(source)).document()


def known(value: Any, variables: dict[str, Any]) -> Any:
    """A value with its variables put in. What a variable without a value would be is left out of
    the objects and lists around it, as GraphQL has it.
    """
    match value:
        case Variable(name):
            return variables[name]
        case dict():
            return {
                key: known(inner, variables)
                for key, inner in value.items()
                if not (isinstance(inner, Variable) and inner.name not in variables)
            }
        case list():
            return [known(inner, variables) for inner in value]
    return value


def _tokens(source: str) -> list[tuple[str, str]]:
    found, at = [], 0
    while at < len(source):
        match = _TOKEN.match(source, at)
        if match is None:
            raise SyntaxProblem(f"Unexpected character {source[at]!r}")
        if match.lastgroup != "blank":
            found.append((str(match.lastgroup), match.group()))
        at = match.end()
    return [*found, ("end", "")]


class _Parser:
    def __init__(self, tokens: list[tuple[str, str]]) -> None:
        self.tokens = tokens
        self.at = 0

    def document(self) -> Document:
        document = Document()
        while self.tokens[self.at][0] != "end":
            if self.sees("{"):
                document.kind, document.selections = "query", self.selections()
            elif (kind := self.name()) == "fragment":
                fragment = Selection(name=self.name())
                self.take("on")
                fragment.on = self.name()
                fragment.directives = self.directives()
                fragment.selections = self.selections()
                document.fragments[fragment.name] = fragment
            else:
                document.kind = kind
                document.name = "" if self.sees("(", "{", "@") else self.name()
                document.defaults = self.variables()
                self.directives()
                document.selections = self.selections()
        if document.kind not in ("query", "mutation"):
            raise SyntaxProblem(f"No query or mutation, but {document.kind!r}")
        return document

    def variables(self) -> dict[str, Any]:
        """The defaults of the variables; their types are read over."""
        defaults = {}
        if self.took("("):
            while not self.took(")"):
                self.take("$")
                name = self.name()
                self.take(":")
                self.type()
                if self.took("="):
                    defaults[name] = self.value()
                self.directives()
        return defaults

    def type(self) -> None:
        if self.took("["):
            self.type()
            self.take("]")
        else:
            self.name()
        self.took("!")

    def selections(self) -> list[Selection]:
        self.take("{")
        found = []
        while not self.took("}"):
            found.append(self.selection())
        return found

    def selection(self) -> Selection:
        if self.took("..."):
            found = Selection()
            if self.tokens[self.at][1] == "on":
                self.at += 1
                found.on = self.name()
            elif self.tokens[self.at][0] == "name":
                found.spread = self.name()
            found.directives = self.directives()
            if not found.spread:
                found.selections = self.selections()
            return found
        found = Selection(name=self.name())
        found.alias = found.name
        if self.took(":"):
            found.name = self.name()
        found.arguments = self.arguments()
        found.directives = self.directives()
        if self.sees("{"):
            found.selections = self.selections()
        return found

    def arguments(self) -> dict[str, Any]:
        found = {}
        if self.took("("):
            while not self.took(")"):
                name = self.name()
                self.take(":")
                found[name] = self.value()
        return found

    def directives(self) -> list[tuple[str, dict[str, Any]]]:
        found = []
        while self.took("@"):
            name = self.name()
            found.append((name, self.arguments()))
        return found

    def value(self) -> Any:
        kind, text = self.tokens[self.at]
        self.at += 1
        if kind == "text":
            return json.loads(text)
        if kind == "block":
            return text[3:-3]
        if kind == "number":
            return json.loads(text)
        if kind == "name":
            return {"true": True, "false": False, "null": None}.get(text, text)
        if text == "$":
            return Variable(self.name())
        if text == "[":
            items = []
            while not self.took("]"):
                items.append(self.value())
            return items
        if text == "{":
            found = {}
            while not self.took("}"):
                name = self.name()
                self.take(":")
                found[name] = self.value()
            return found
        raise SyntaxProblem(f"No value, but {text!r}")

    def name(self) -> str:
        kind, text = self.tokens[self.at]
        if kind != "name":
            raise SyntaxProblem(f"No name, but {text!r}")
        self.at += 1
        return text

    def sees(self, *marks: str) -> bool:
        kind, text = self.tokens[self.at]
        return kind == "mark" and text in marks

    def took(self, mark: str) -> bool:
        seen = self.sees(mark)
        self.at += seen
        return seen

    def take(self, text: str) -> None:
        if self.tokens[self.at][1] != text:
            raise SyntaxProblem(f"Not {text!r}, but {self.tokens[self.at][1]!r}")
        self.at += 1
