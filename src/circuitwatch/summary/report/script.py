"""The page's script: the modules in templates/js as one, since a page that is opened from a disk
may not load modules.

Each is a module of its own for eslint and for the tests. Here each becomes a function that returns
what it exports, after those that it imports, so that names are as much its own as before. Only
functions and constants are exported, by their declaration.
"""

from __future__ import annotations

import re
from functools import cache
from graphlib import TopologicalSorter
from pathlib import Path

FOLDER = Path(__file__).parent / "templates" / "js"
IMPORT = re.compile(r'^import (?:(\{[^}]*\}) from )?"\./([\w-]+)\.js";\n', re.M)
EXPORT = re.compile(r"^export ((?:async )?function|const) (\w+)", re.M)


@cache
def script() -> str:
    """One classic script of all the modules."""
    modules = {path.stem: path.read_text(encoding="utf-8") for path in sorted(FOLDER.glob("*.js"))}
    needs = {name: [one[1] for one in IMPORT.findall(text)] for name, text in modules.items()}
    order = TopologicalSorter(needs).static_order()
    return '"use strict";\n' + "".join(_wrapped(name, modules[name]) for name in order)


def _wrapped(name: str, text: str) -> str:
    exported = ", ".join(one[1] for one in EXPORT.findall(text))
    text = IMPORT.sub(lambda found: f"const {found[1]} = {_module(found[2])};\n", text)
    text = EXPORT.sub(r"\1 \2", text)
    return f"const {_module(name)} = (() => {{\n{text}return {{ {exported} }};\n}})();\n"


def _module(name: str) -> str:
    return f"{name.replace('-', '_')}_js"
