"""Mutations of a JSON file: of one place in its content, or of its bytes."""

from __future__ import annotations

import copy
import json
import random
from typing import Any

ODD: tuple[Any, ...] = (
    *(None, True, False, 0, -1, 3, 2**31, 2**63, -(2**63) - 1, 10**400, 0.5, -0.0, 1e308, -1e308),
    *(float("nan"), float("inf"), float("-inf"), "", "x", "nan", "=1+1", "\x00", "ä" * 3, "../.."),
    *("x" * 10_000, [], {}, [1], ["a", None], {"a": 1}, {"": {}}, [[[]]], "12", "1e3", " "),
)
"""What a value is replaced by."""
DEEP = 100_000
"""Brackets one in another, which a recursive reader can't follow."""


def places(tree: Any, at: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    """Where every value of a tree is, the tree itself last."""
    if isinstance(tree, dict):
        below = [place for key, value in tree.items() for place in places(value, (*at, key))]
    elif isinstance(tree, list):
        few = {*range(min(len(tree), 3)), *range(len(tree))[-2:]}
        below = [place for k in sorted(few) for place in places(tree[k], (*at, k))]
    else:
        below = []
    return [*below, at]


def picked(rng: random.Random, tree: Any) -> tuple[Any, ...]:
    """A place, those near the root as probable as the many leaves."""
    every = [place for place in places(tree) if place]
    if not every:
        return ()
    depth = rng.choice(sorted({len(place) for place in every}))
    return rng.choice([place for place in every if len(place) == depth])


def within(tree: Any, place: tuple[Any, ...]) -> Any:
    """The value at a place."""
    for key in place:
        tree = tree[key]
    return tree


def mutated_tree(rng: random.Random, tree: Any) -> tuple[Any, str]:
    """A copy of a tree with one change, and which change in words."""
    tree = copy.deepcopy(tree)
    place = picked(rng, tree)
    if not place:
        odd = rng.choice(ODD)
        return odd, f"all → {short(odd)}"
    parent, key = within(tree, place[:-1]), place[-1]
    where = "/".join(map(str, place))
    kind = rng.choice(("drop", "replace", "replace", "replace", "rename", "copy", "empty", "add"))
    if kind == "drop":
        del parent[key]
    elif kind == "rename" and isinstance(parent, dict):
        parent[f"{key}_"] = parent.pop(key)
    elif kind == "copy":
        other = picked(rng, tree)
        parent[key] = copy.deepcopy(within(tree, other))
        where += f" := {'/'.join(map(str, other))}"
    elif kind == "empty" and isinstance(parent[key], dict | list | str):
        parent[key] = type(parent[key])()
    elif kind == "add" and isinstance(parent, list):
        parent.append(copy.deepcopy(parent[key]))
    else:
        kind = "replace"
        parent[key] = rng.choice(ODD)
        where += f" → {short(parent[key])}"
    return tree, f"{kind} {where}"


def mutated_json(rng: random.Random, content: bytes) -> tuple[bytes, str]:
    """Other bytes for a JSON file, and what was done."""
    if rng.random() < 0.8:
        tree, what = mutated_tree(rng, json.loads(content))
        return json.dumps(tree).encode(), what
    kind = rng.choice(("utf-16", "latin-1", "bom", "deep", "deep list", "twice", "bytes"))
    text = content.decode()
    if kind == "bytes":
        return mutated_bytes(rng, content)
    made = {
        "utf-16": text.encode("utf-16"),
        "latin-1": text.replace('"', '"é', 1).encode("latin-1"),
        "bom": b"\xef\xbb\xbf" + content,
        "deep": b'{"a":' * DEEP + b"1" + b"}" * DEEP,
        "deep list": b"[" * DEEP,
        "twice": content + content,
    }
    return made[kind], kind


def mutated_bytes(rng: random.Random, content: bytes) -> tuple[bytes, str]:
    """Bytes that are cut, flipped, emptied, put in or written over."""
    kind = rng.choice(("cut", "flip", "empty", "zeros", "insert", "noise", "append"))
    at = rng.randrange(max(len(content), 1))
    if kind == "flip" and content:
        flipped = content[at] ^ (1 << rng.randrange(8))
        return content[:at] + bytes([flipped]) + content[at + 1 :], f"flip a bit of byte {at}"
    noise = rng.randbytes(16)
    made = {
        "cut": content[:at],
        "empty": b"",
        "zeros": b"\0" * len(content),
        "insert": content[:at] + noise + content[at:],
        "noise": rng.randbytes(len(content)),
        "append": content + noise,
    }
    return made.get(kind, b""), f"{kind} at {at}"


def short(value: Any) -> str:
    """A value as it is shown in a recipe."""
    digits = isinstance(value, int) and abs(value) > 10**30
    text = "10**400" if digits else repr(value)
    return text if len(text) < 40 else f"{text[:36]} …"
