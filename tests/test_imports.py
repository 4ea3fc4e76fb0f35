"""Imports run one way: what a part of the program may import, and that no modules import each other
in a circle. Read from the source, where imports for types alone don't count.
"""

from __future__ import annotations

import ast
from collections.abc import Iterator
from graphlib import CycleError, TopologicalSorter
from pathlib import Path

import pytest

SOURCE = Path(__file__).parents[1] / "src/circuitwatch"
LAYERS = (
    # what all build on
    {"errors", "units", "options", "lexicon", "catalogue", "directions", "facts", "transformer"}
    | {"components"}
    | {"encoding"}
    | {"records", "timing", "soundness", "locks", "shards", "limits", "names", "spreadsheets"}
    | {"shapes", "headers", "transfer_files", "json_files", "record_files", "comparing", "sealing"},
    # what is done at one checkpoint, and what shows it
    {"circuits", "checkpoints", "tasks", "heads", "roles", "quantities", "behaviour", "algorithms"}
    | {"nano", "scalars", "linking", "progress", "tracking", "usable"}
    | {"beside", "ending"},
    {"config"},
    {"analysis"},
    {"recording"},
    {"following"},
    {"monitor", "api", "bridge"},
    {"transfer", "live"},
    {"watcher"},
    {"callback"},
    {"cli", "sweeping", "launching", "__main__", "__init__"},
)
"""From the bottom up: a part imports its own layer and those below."""
READERS = {"summary", "results"}
"""They read records, and import nothing that makes them; only the command line and the public API
import them.
"""
RECORDS = {"errors", "units", "options", "catalogue", "directions", "facts", "records", "progress"}
RECORDS |= {"locks", "limits", "names", "spreadsheets", "transfer_files", "soundness", "json_files"}
RECORDS |= {"record_files", "comparing", "sealing", "beside"}
EXCEPTIONS = {
    ("tracking.charts", "summary"): "what the runs of a sweep have, as the figures draw it",
    ("tracking.questions", "summary"): "the answers of a sweep, in the words of the summary",
    ("tracking.wording", "summary"): "the answers of a sweep, in the words of the summary",
    ("nano.check", "config"): "a command of its own, `python -m circuitwatch.nano.check`",
    ("nano.check", "monitor"): "a command of its own, `python -m circuitwatch.nano.check`",
    ("summary", "tracking"): "which settings a run in W&B was made with",
    ("summary", "checkpoints.suites"): "sizes of the models that others' results name",
    ("summary", "checkpoints.schedule"): "numbers of tokens as people write them",
    ("summary", "circuits.graph"): "names of nodes and edges",
    ("summary", "circuits.overlap"): "overlaps of recorded circuits",
    ("summary", "heads.checks"): "names of what effects are measured on",
    ("summary", "quantities.unexplained"): "the keys of what no role explains",
    ("tracking", "heads.holding"): "who can hold a role",
    ("tracking", "results"): "when the curves of a cell emerged, for its run",
    ("tracking", "summary.figures"): "circuits are drawn as in the figures",
    ("tracking", "circuits.graph"): "the graph that a circuit is drawn in",
    ("summary", "quantities.overlap"): "names of the measures of overlap",
    ("results", "checkpoints.suites"): "sizes of the models that others' results name",
}
"""(who imports, what): why it may all the same."""


def name_of(path: Path) -> str:
    """`circuits.graph` for circuits/graph.py, `circuits` for circuits/__init__.py."""
    parts = path.relative_to(SOURCE).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" and len(parts) > 1 else parts)


MODULES = {name_of(path): path for path in sorted(SOURCE.rglob("*.py"))}


def statements(node: ast.AST) -> Iterator[ast.AST]:
    """Every statement below a node, but those for type checkers."""
    for child in ast.iter_child_nodes(node):
        if isinstance(child, ast.If) and ast.unparse(child.test) == "TYPE_CHECKING":
            continue
        yield child
        yield from statements(child)


def imported(path: Path) -> set[str]:
    """The modules of ours that one imports, in functions too."""
    modules = set()
    for node in statements(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom) and node.module:
            names = [f"{node.module}.{alias.name}" for alias in node.names]
        else:
            continue
        for name in names:
            package, _, rest = name.partition(".")
            if package == "circuitwatch":
                # The longest part that is a module: what follows is an object in it.
                parts = rest.split(".")
                known = [".".join(parts[:n]) for n in range(len(parts), 0, -1)]
                modules.add(next((module for module in known if module in MODULES), "__init__"))
    return modules


IMPORTS = {name: imported(path) for name, path in MODULES.items()}


def is_excepted(importer: str, module: str) -> bool:
    return any(
        f"{importer}.".startswith(f"{who}.") and f"{module}.".startswith(f"{what}.")
        for who, what in EXCEPTIONS
    )


def rank(part: str) -> int:
    ranks = [rank for rank, parts in enumerate(LAYERS) if part in parts]
    assert ranks, f"{part} stands in no layer: say in which"
    return ranks[0]


def edges() -> list[tuple[str, str]]:
    """(importer, imported) between different parts, but for the version number."""
    return [
        (name, module)
        for name, modules in IMPORTS.items()
        for module in sorted(modules)
        if name.split(".")[0] != module.split(".")[0] and module != "__init__"
    ]


def test_the_walk_sees_imports() -> None:
    assert "circuits.graph" in IMPORTS["circuits.attribution"]
    assert "algorithms.confirming" in IMPORTS["algorithms.causes"]  # `from package import module`
    assert "monitor" in IMPORTS["cli.watch"]  # in a function
    assert "heads.measuring" not in IMPORTS["catalogue"]  # for types alone


def test_no_arrow_points_up() -> None:
    wrong = [
        f"{importer} → {module}"
        for importer, module in edges()
        if not {importer.split(".")[0], module.split(".")[0]} & READERS
        and rank(importer.split(".")[0]) < rank(module.split(".")[0])
        and not is_excepted(importer, module)
    ]
    assert wrong == []


@pytest.mark.parametrize("reader", [*sorted(READERS), "tracking"])
def test_readers_import_nothing_that_makes_records(reader: str) -> None:
    wrong = [
        f"{importer} → {module}"
        for importer, module in edges()
        if importer.split(".")[0] == reader
        and module.split(".")[0] not in RECORDS | READERS
        and not is_excepted(importer, module)
    ]
    assert wrong == []


def test_only_the_command_line_and_the_api_import_the_readers() -> None:
    importers = {
        importer.split(".")[0]
        for importer, module in edges()
        if module.split(".")[0] in READERS and not is_excepted(importer, module)
    }
    assert importers <= {"cli", "api", "__init__", *READERS}


def test_circuits_stand_alone() -> None:
    """A model, prompts and a metric in, numbers out."""
    own = {"circuits", "transformer", "components", "errors"}
    for name, modules in IMPORTS.items():
        if f"{name}.".startswith("circuits."):
            assert {module.split(".")[0] for module in modules} <= own, name
    for path in (SOURCE / "circuits").rglob("*.py"):
        for library in ("hydra", "omegaconf", "wandb", "transformers", "rich"):
            assert f"import {library}" not in path.read_text(), path
            assert f"from {library}" not in path.read_text(), path


def test_no_circle() -> None:
    try:
        TopologicalSorter(IMPORTS).prepare()
    except CycleError as error:
        pytest.fail(f"these import each other: {' ← '.join(error.args[1])}")


def test_exceptions_are_still_needed() -> None:
    for who, what in EXCEPTIONS:
        assert any(
            f"{importer}.".startswith(f"{who}.") and f"{module}.".startswith(f"{what}.")
            for importer, module in edges()
        ), f"{who} no longer imports {what}"
