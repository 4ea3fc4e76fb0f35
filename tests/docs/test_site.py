"""The documentation as a site: it builds without a warning and without a network, and its words are
the report's. What lies beside it: README.md, how to cite, what changed.
"""

from __future__ import annotations

import os
import re
import subprocess
import sys
import tomllib
from importlib.util import find_spec
from pathlib import Path

import pytest
import yaml

from circuitwatch import __version__, catalogue
from circuitwatch.cli.command import COMMANDS
from circuitwatch.summary.report.terms import PAGE, TERMS
from support.pages import DOCS, ROOT, pages

NAV = [
    *("Getting started", "Tutorial", "Your own training run", "Your own task, role, measure"),
    *("Reading a report", "Methods", "Validation", "Cost and clusters", "W&B", "Files on disk"),
    *("API", "How it is built", "Contributing", "Changelog"),
]
OURS = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["urls"]["Documentation"]


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    if any(find_spec(name) is None for name in ("mkdocs", "material", "mkdocs_jupyter")):
        pytest.skip("the extra docs is not installed: make docs builds the site")
    folder = tmp_path_factory.mktemp("site")
    done = subprocess.run(
        [sys.executable, "-m", "mkdocs", "build", "--strict", "--quiet", "--site-dir", str(folder)],
        cwd=ROOT,
        env={**os.environ, "NO_MKDOCS_2_WARNING": "1"},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    return folder


def test_every_word_of_the_report_has_its_line_and_its_place(site: Path) -> None:
    text = (site / PAGE / "index.html").read_text(encoding="utf-8")
    for term in TERMS:
        assert text.count(f'id="term-{term.key}"') == 1, term.key
    assert "<!-- term" not in text and "<!-- other terms" not in text
    plain = re.sub(r"<[^>]+>|&#\w+;|\s+", " ", text)
    for term in TERMS:
        assert term.line[1:40] in plain.replace("&gt;", ">"), term.key


def test_pages_ask_no_other_server(site: Path) -> None:
    """Not for fonts, scripts, styles or pictures; links to others are for people to follow."""
    asked = re.compile(
        r"""<(?:script|img|iframe|source)[^>]+src=["']?(?:https?:)?//|"""
        r"""<link[^>]+rel=["']?(?:stylesheet|preconnect|preload)["']?[^>]*href=["']?(?:https?:)?//|"""
        r"""\bimport\b[^;<]{0,80}https?://""",
        flags=re.I,
    )
    for page in site.rglob("*.html"):
        found = asked.search(page.read_text(encoding="utf-8"))
        assert found is None, f"{page.relative_to(site)}: {found and found[0]}"


def test_every_public_name_is_in_the_reference(site: Path) -> None:
    import circuitwatch

    text = (site / "api" / "index.html").read_text(encoding="utf-8")
    for name in set(circuitwatch.__all__) - {"callback"}:
        assert re.search(rf'id="circuitwatch[\w.]*\.{name}"', text), name
    assert "CircuitwatchCallback" in text


def test_the_pages_are_those_that_readers_were_promised() -> None:
    found = re.findall(r"^  - ([^:\n]+):", (ROOT / "mkdocs.yml").read_text(), flags=re.M)
    assert [name for name in found if name[0].isupper()] == NAV


def test_the_readme_is_one_screen_or_two() -> None:
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    assert len(text.encode()) < 7000
    assert text.count("<img ") == 1


def test_on_pypi_links_lead_to_the_site(site: Path) -> None:
    """As the build rewrites them (pyproject.toml): each to a page, a picture or another server."""
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    hook = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["hatch"]["metadata"][
        "hooks"
    ]
    for rule in hook["fancy-pypi-readme"]["substitutions"]:
        text = re.sub(rule["pattern"], rule["replacement"], text)
    links = re.findall(r"(?:\]\(|src=\")([^)\s\"]+)", text)
    assert len(links) > 20 and all(link.startswith("https://") for link in links)
    for link in links:
        if link.startswith(OURS):
            place = site / link.removeprefix(OURS)
            assert (place / "index.html" if link.endswith("/") else place).exists(), link


@pytest.mark.parametrize("page", pages(), ids=lambda page: page.name)
def test_links_within_the_repository_lead_somewhere(page: Path) -> None:
    """mkdocs looks after anchors; README.md it does not see."""
    text = page.read_text(encoding="utf-8")
    for link in re.findall(r"(?:\]\(|src=\")([^)#\s\"]+)", text):
        if not re.match(r"https?:", link):
            assert (page.parent / link).exists(), link


def test_docs_named_in_the_program_are_there() -> None:
    for folder in ("src", "conf", "tests"):
        for path in (ROOT / folder).rglob("*"):
            if path.suffix in (".py", ".yaml"):
                for name in re.findall(r"\bdocs/[\w-]+\.(?:md|ipynb)", path.read_text("utf-8")):
                    assert (ROOT / name).exists(), f"{path}: {name}"


def test_methods_has_every_task_and_role() -> None:
    text = (DOCS / "methods.md").read_text(encoding="utf-8")
    for task in catalogue.tasks():
        assert f"| `{task}`" in text, task
    for role in catalogue.roles().values():
        assert role.words in text, role.words


def test_getting_started_has_every_command() -> None:
    text = (DOCS / "index.md").read_text(encoding="utf-8")
    for command in COMMANDS[1:]:
        assert f"`circuitwatch {command}`" in text, command


def test_how_to_cite() -> None:
    """By the schema of cffconvert where it is installed; what it needs at least everywhere."""
    path = ROOT / "CITATION.cff"
    cff = yaml.safe_load(path.read_text(encoding="utf-8"))
    assert cff["cff-version"] == "1.2.0" and cff["message"] and cff["type"] == "software"
    assert cff["title"] == "circuitwatch" and cff["version"] == __version__
    assert cff["authors"] == [{"name": "The circuitwatch developers"}]
    assert (cff["license"], cff["url"]) == ("Apache-2.0", OURS)
    (paper,) = cff["references"]
    assert paper["url"].endswith("2407.10827") and len(paper["authors"]) == 4
    if find_spec("cffconvert") is not None:
        subprocess.run(
            [Path(sys.executable).parent / "cffconvert", "--validate", "-i", path],
            check=True, capture_output=True,
        )  # fmt: skip


def test_what_changed() -> None:
    """A section for each version, newest first, this one among them."""
    text = (ROOT / "CHANGELOG.md").read_text(encoding="utf-8")
    versions = re.findall(r"^## (.*)$", text, flags=re.M)
    assert __version__ in versions[0] or any(__version__ in one for one in versions)
    kinds = set(re.findall(r"^### (.*)$", text, flags=re.M))
    assert kinds <= {"Added", "Changed", "Deprecated", "Removed", "Fixed", "Security"}
